//! A connection to Redis: from a URL to an authenticated session, and commands whose replies matter.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncWrite;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Error;
use super::resp::{Commands, Reply, Unread, reply};
use crate::config::{RedisHost, RedisUrl, Target, Topology};
use crate::net::{ReadBuffer, Socket, TlsSettings, Transport, Trust, client_config};

/// How long one attempt at one host may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A reply that takes longer comes from a dead connection, or from a Redis that is no use now.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// An authenticated connection with its database selected.
#[derive(Debug)]
pub(crate) struct Connection {
    transport: Transport,
    pub(super) input: ReadBuffer,
    address: String,
}

impl Connection {
    pub(crate) async fn open(target: &Target) -> Result<Connection, Error> {
        let password = match target.password.read().map_err(|e| Error::Setting(e.to_string()))? {
            Some(password) => Some(password),
            None => target.url.password.clone(),
        };
        if matches!(target.url.topology, Topology::Sentinel { .. }) {
            return Err(Error::Setting(
                "target.url: this version does not ask sentinels; name the master (redis://)".to_owned(),
            ));
        }
        let mut last = Error::Setting("target.url names no host".to_owned());
        for host in &target.url.hosts {
            match timeout(CONNECT_TIMEOUT, open_host(&target.url, host, password.as_ref())).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) if !error.is_transient() => return Err(error),
                Ok(Err(error)) => last = error,
                Err(_) => {
                    last = Error::Silent { address: host.to_string(), seconds: CONNECT_TIMEOUT.as_secs() };
                }
            }
        }
        Err(last)
    }

    /// A connection to one server of a cluster.
    pub(super) async fn open_at(target: &Target, host: &RedisHost) -> Result<Connection, Error> {
        let mut target = target.clone();
        target.url.hosts = vec![host.clone()];
        Connection::open(&target).await
    }

    pub(super) fn io_error(&self, source: io::Error) -> Error {
        Error::Io { address: self.address.clone(), source }
    }

    pub(super) fn silent(&self) -> Error {
        Error::Silent { address: self.address.clone(), seconds: REPLY_TIMEOUT.as_secs() }
    }

    pub(super) fn nonsense(&self) -> Error {
        Error::Protocol {
            address: self.address.clone(),
            what: "the reply is not what Redis' protocol says; is this the right port?".to_owned(),
        }
    }

    /// Sends as much of `bytes` as goes; ready with how much.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.transport).poll_write(cx, bytes))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => Poll::Ready(Ok(count)),
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        self.input.poll_fill(cx, &mut self.transport, wanted)
    }

    /// Sends one command; an error reply is an error.
    pub(crate) async fn call(&mut self, arguments: &[&[u8]]) -> Result<Reply, Error> {
        let mut commands = Commands::default();
        commands.command(arguments);
        let mut replies = self.call_all(&commands).await?;
        match replies.pop() {
            // Not the arguments: one of them can be a password.
            Some(Reply::Error(reply)) => Err(Error::Refused {
                doing: String::from_utf8_lossy(arguments.first().copied().unwrap_or_default()).into_owned(),
                reply,
            }),
            Some(reply) => Ok(reply),
            None => Err(self.nonsense()),
        }
    }

    /// Sends commands in one go and returns their replies, error replies among them.
    pub(crate) async fn call_all(&mut self, commands: &Commands) -> Result<Vec<Reply>, Error> {
        match timeout(REPLY_TIMEOUT, self.exchange(commands)).await {
            Ok(result) => result,
            Err(_) => Err(self.silent()),
        }
    }

    async fn exchange(&mut self, commands: &Commands) -> Result<Vec<Reply>, Error> {
        let mut sent = 0;
        poll_fn(|cx| {
            while let Some(rest) = commands.bytes().get(sent..).filter(|rest| !rest.is_empty()) {
                sent += ready!(self.poll_write(cx, rest))?;
            }
            self.poll_flush(cx)
        })
        .await
        .map_err(|e| self.io_error(e))?;
        let mut replies = Vec::new();
        while replies.len() < commands.count() {
            match reply(self.input.unread()) {
                Ok((found, length)) => {
                    self.input.consume(length);
                    replies.push(found);
                }
                Err(Unread::Nonsense) => return Err(self.nonsense()),
                Err(Unread::Incomplete(wanted)) => {
                    poll_fn(|cx| self.poll_fill(cx, wanted)).await.map_err(|e| self.io_error(e))?;
                }
            }
        }
        Ok(replies)
    }
}

async fn open_host(
    url: &RedisUrl,
    host: &RedisHost,
    password: Option<&SecretString>,
) -> Result<Connection, Error> {
    let io = |source| Error::Io { address: host.to_string(), source };
    let transport = match host {
        RedisHost::Unix(path) => Transport::Plain(Socket::unix(UnixStream::connect(path).await.map_err(io)?)),
        RedisHost::Tcp { host: name, port } => {
            let stream = TcpStream::connect((name.as_str(), *port)).await.map_err(io)?;
            let socket = Socket::tcp(stream).map_err(io)?;
            if url.tls { start_tls(host, name, socket).await? } else { Transport::Plain(socket) }
        }
    };
    let mut connection = Connection { transport, input: ReadBuffer::new(), address: host.to_string() };
    if let Some(password) = password {
        let password = password.expose_secret().as_bytes();
        match &url.username {
            Some(user) => connection.call(&[b"AUTH", user.as_bytes(), password]).await?,
            None => connection.call(&[b"AUTH", password]).await?,
        };
    }
    if url.database != 0 {
        connection.call(&[b"SELECT", url.database.to_string().as_bytes()]).await?;
        return Ok(connection);
    }
    // A server that is no Redis, or wants a password, should be told now.
    match connection.call(&[b"PING"]).await {
        // It is one, and does not let us ask.
        Err(Error::Refused { reply, .. }) if reply.starts_with("NOPERM") => Ok(connection),
        answer => answer.map(|_| connection),
    }
}

async fn start_tls(host: &RedisHost, name: &str, socket: Socket) -> Result<Transport, Error> {
    let settings = TlsSettings { trust: Trust::Full, roots: None, identity: None };
    let config = client_config(&settings).map_err(Error::Setting)?;
    let server = ServerName::try_from(name.to_owned())
        .map_err(|_| Error::Setting(format!("`{name}` is not a name that a certificate can be for")))?;
    let stream = TlsConnector::from(config).connect(server, socket).await.map_err(|source| {
        match source.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
            Some(error @ rustls::Error::InvalidCertificate(_)) => {
                Error::Setting(format!("Redis at {host}: TLS: {error}"))
            }
            _ => Error::Io { address: host.to_string(), source },
        }
    })?;
    Ok(Transport::Tls(Box::new(stream)))
}
