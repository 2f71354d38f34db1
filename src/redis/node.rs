//! The one way to open a connection to one node, whichever topology it was found in.
//!
//! ```text
//!   RedisHost ──socket──[TLS]── AUTH ── SELECT ──> Connection
//! ```
//!
//! Passwords are read for each connection, so that one that was changed is used by the next. All steps share one
//! limit of time. A port that speaks TLS when we don't, or the other way round, answers with silence, with an end or
//! with nonsense; here is known what was tried, so here it is put into words.

use std::io;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

use super::{Connection, Error, tls};
use crate::config::{Protocol, RedisHost, Secret, Target, Tls};
use crate::net::{Socket, Transport};

/// How long one attempt at a host may take where there is no other.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a node is told, and how it is trusted.
#[derive(Debug)]
pub(super) struct Login<'a> {
    tls: Option<&'a Tls>,
    username: Option<&'a str>,
    password: Option<SecretString>,
    database: u32,
    protocol: Protocol,
}

impl<'a> Login<'a> {
    /// For the servers that hold the data.
    pub(super) fn of_data(target: &'a Target) -> Result<Login<'a>, Error> {
        let url = &target.url;
        Ok(Login {
            tls: url.tls.then_some(&target.tls),
            username: url.username.as_deref(),
            password: read(&target.password)?.or_else(|| url.password.clone()),
            database: url.database,
            protocol: url.protocol,
        })
    }

    /// For those who know where the data are.
    pub(super) fn of_sentinels(target: &'a Target) -> Result<Login<'a>, Error> {
        let sentinel = &target.sentinel;
        Ok(Login {
            tls: sentinel.tls.unwrap_or(target.url.tls).then_some(&target.tls),
            username: sentinel.username.as_deref(),
            password: read(&sentinel.password)?,
            database: 0,
            protocol: target.url.protocol,
        })
    }

    pub(super) async fn open(&self, host: &RedisHost, limit: Duration) -> Result<Connection, Error> {
        let deadline = Instant::now() + limit;
        let address = host.to_string();
        let silent = |_| Error::Silent { address: address.clone(), seconds: limit.as_secs() };
        let io = |source| Error::Io { address: address.clone(), source };
        let socket = timeout_at(deadline, connect(host)).await.map_err(silent)?.map_err(io)?;
        let transport = match (self.tls, host) {
            (Some(tls), RedisHost::Tcp { host: name, .. }) => {
                let handshake = timeout_at(deadline, tls::start(host, name, tls, socket)).await;
                handshake.map_err(|_| io(handshake_unanswered(limit)))??
            }
            _ => Transport::Plain(socket),
        };
        let mut connection = Connection::over(transport, address.clone());
        match timeout_at(deadline, self.enter(&mut connection)).await.map_err(silent)? {
            Ok(()) => Ok(connection),
            Err(error) => Err(self.explain(error, &connection)),
        }
    }

    async fn enter(&self, connection: &mut Connection) -> Result<(), Error> {
        match self.protocol {
            Protocol::Resp2 => self.authenticate(connection).await?,
            Protocol::Resp3 => self.greet(connection).await?,
        }
        if self.database != 0 {
            connection.call(&[b"SELECT", self.database.to_string().as_bytes()]).await?;
            return Ok(());
        }
        // A server that is no Redis, or wants a password, should be told now.
        match connection.call(&[b"PING"]).await {
            // It is one, and does not let us ask.
            Err(Error::Refused { reply, .. }) if reply.starts_with("NOPERM") => Ok(()),
            answer => answer.map(drop),
        }
    }

    async fn authenticate(&self, connection: &mut Connection) -> Result<(), Error> {
        let Some(password) = &self.password else { return Ok(()) };
        let password = password.expose_secret().as_bytes();
        match self.username {
            Some(user) => connection.call(&[b"AUTH", user.as_bytes(), password]).await?,
            None => connection.call(&[b"AUTH", password]).await?,
        };
        Ok(())
    }

    /// Asks for version 3 of the protocol, and logs in by the way.
    async fn greet(&self, connection: &mut Connection) -> Result<(), Error> {
        let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = &self.password {
            let user = self.username.unwrap_or("default");
            hello.extend([b"AUTH", user.as_bytes(), password.expose_secret().as_bytes()]);
        }
        match connection.call(&hello).await {
            Err(Error::Refused { reply, .. })
                if reply.starts_with("ERR unknown command") || reply.starts_with("NOPROTO") =>
            {
                Err(Error::Setting(format!(
                    "the server does not speak version 3 of Redis' protocol ({reply}): leave protocol=3 out of target.url"
                )))
            }
            answer => answer.map(drop),
        }
    }

    /// The first answer of a server tells what it is.
    fn explain(&self, error: Error, connection: &Connection) -> Error {
        /// The first byte of an alert of TLS.
        const ALERT: u8 = 0x15;
        let alert = connection.input.unread().first() == Some(&ALERT);
        match (error, self.tls) {
            (Error::Protocol { address, .. }, None) if alert => Error::Protocol {
                address,
                what:
                    "the answer is TLS: write rediss:// (rediss-sentinel://, rediss-cluster://) in target.url"
                        .to_owned(),
            },
            (Error::Io { address, source }, None) if is_end(&source) => {
                let text = format!(
                    "{source} at the first command; if this port is one for TLS, write rediss:// in target.url"
                );
                Error::Io { address, source: io::Error::new(source.kind(), text) }
            }
            (Error::Io { address, source }, Some(Tls { identity: None, .. })) if is_end(&source) => {
                let text = format!(
                    "{source} after the handshake; if the server asks for a client certificate, set \
                     target.tls.cert_file and target.tls.key_file"
                );
                Error::Io { address, source: io::Error::new(source.kind(), text) }
            }
            (error, _) => error,
        }
    }
}

fn read(secret: &Secret) -> Result<Option<SecretString>, Error> {
    secret.read().map_err(|error| Error::Secret(error.to_string()))
}

async fn connect(host: &RedisHost) -> io::Result<Socket> {
    match host {
        RedisHost::Unix(path) => Ok(Socket::unix(UnixStream::connect(path).await?)),
        RedisHost::Tcp { host, port } => Socket::tcp(TcpStream::connect((host.as_str(), *port)).await?),
    }
}

fn handshake_unanswered(limit: Duration) -> io::Error {
    let text = format!(
        "no answer to the handshake of TLS for {} s; if this port is one without TLS, write redis:// in target.url",
        limit.as_secs()
    );
    io::Error::new(io::ErrorKind::TimedOut, text)
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
