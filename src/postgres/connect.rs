//! From a URL to an authenticated session.
//!
//! The startup packet pins the settings that decide how values are spelled. They go there, and not
//! into `SET` afterwards, because a walsender's output functions read them too, and because they
//! then outrank what `ALTER ROLE … SET` says.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::wire::{Fields, Frame, Framing, frame};
use super::{Error, ServerError};
use crate::config::{PostgresHost, PostgresUrl, RootCert, Source, SslMode};
use crate::net::{ReadBuffer, Socket, TlsSettings, Transport, Trust, client_config};

/// How long one attempt at one host may take, where the URL does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The server drops a replication connection whose reader has been silent for this long. It bounds
/// how long a dead instance, whose machine vanished without a reset, keeps the slot from the next.
const WAL_SENDER_TIMEOUT: &str = "4s";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Catalog queries and COPY.
    Sql,
    /// A walsender bound to the database, for logical replication.
    Replication,
}

/// An authenticated connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) transport: Transport,
    pub(super) input: ReadBuffer,
    output: Vec<u8>,
    address: String,
    backend_pid: u32,
}

impl Connection {
    /// Tries the hosts of the URL in their order and stays with the first that lets us in.
    pub(crate) async fn open(source: &Source, purpose: Purpose) -> Result<Connection, Error> {
        let password = match source.password.read().map_err(|e| Error::Setting(e.to_string()))? {
            Some(password) => Some(password),
            None => source.url.password.clone(),
        };
        let limit = source.url.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        let mut last = Error::Setting("source.url names no host".to_owned());
        for host in &source.url.hosts {
            let attempt = open_host(&source.url, host, password.as_ref(), purpose);
            match timeout(limit, attempt).await {
                Ok(Ok(connection)) => return Ok(connection),
                // A wrong password is wrong everywhere; a host that can't be reached is not.
                Ok(Err(error)) if !error.is_transient() => return Err(error),
                Ok(Err(error)) => last = error,
                Err(_) => last = Error::Silent { address: address(host), seconds: limit.as_secs() },
            }
        }
        Err(last)
    }

    /// The process that serves this connection.
    pub(crate) fn backend_pid(&self) -> u32 {
        self.backend_pid
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn io_error(&self, source: io::Error) -> Error {
        Error::Io { address: self.address.clone(), source }
    }

    pub(crate) fn silent(&self, limit: Duration) -> Error {
        Error::Silent { address: self.address.clone(), seconds: limit.as_secs() }
    }

    pub(crate) fn protocol_error(&self, what: impl Into<String>) -> Error {
        Error::Protocol { address: self.address.clone(), what: what.into() }
    }

    /// Queues bytes for the server; [`Connection::poll_flush`] sends them.
    pub(super) fn queue(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Sends what is queued. Ready when nothing is left.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let count = ready!(Pin::new(&mut self.transport).poll_write(cx, &self.output))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.drain(..count);
        }
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        self.queue(message);
        poll_fn(|cx| self.poll_flush(cx)).await.map_err(|e| self.io_error(e))
    }

    /// Waits for the next message; its body stays in the buffer until `consume`d.
    pub(super) async fn next(&mut self) -> Result<Frame, Error> {
        loop {
            match frame(self.input.unread()) {
                Framing::Whole(frame) => return Ok(frame),
                Framing::Nonsense => return Err(self.nonsense()),
                Framing::Incomplete(wanted) => {
                    self.input
                        .fill(&mut self.transport, wanted)
                        .await
                        .map_err(|source| Error::Io { address: self.address.clone(), source })?;
                }
            }
        }
    }

    pub(super) fn nonsense(&self) -> Error {
        self.protocol_error("the answer is not PostgreSQL's protocol; is this the right port?")
    }

    pub(super) fn body(&self, frame: &Frame) -> &[u8] {
        self.input.unread().get(frame.body.clone()).unwrap_or_default()
    }

    pub(super) fn consume(&mut self, frame: &Frame) {
        self.input.consume(frame.body.end);
    }

    /// Tells the server that we leave, so that its log stays clean. Best effort.
    pub(crate) async fn close(mut self) {
        let mut message = BytesMut::new();
        frontend::terminate(&mut message);
        let _ = timeout(Duration::from_millis(200), async {
            let _ = self.send(&message).await;
            let _ = self.transport.shutdown().await;
        })
        .await;
    }
}

fn address(host: &PostgresHost) -> String {
    host.to_string()
}

async fn open_host(
    url: &PostgresUrl,
    host: &PostgresHost,
    password: Option<&SecretString>,
    purpose: Purpose,
) -> Result<Connection, Error> {
    let transport = open_transport(url, host).await?;
    let mut connection = Connection {
        transport,
        input: ReadBuffer::new(),
        output: Vec::new(),
        address: address(host),
        backend_pid: 0,
    };
    connection.start(url, password, purpose).await?;
    Ok(connection)
}

async fn open_transport(url: &PostgresUrl, host: &PostgresHost) -> Result<Transport, Error> {
    let io = |source| Error::Io { address: address(host), source };
    match host {
        PostgresHost::Unix { dir, port } => {
            let path = dir.join(format!(".s.PGSQL.{port}"));
            Ok(Transport::Plain(Socket::unix(UnixStream::connect(path).await.map_err(io)?)))
        }
        PostgresHost::Tcp { host: name, port } => {
            let stream = TcpStream::connect((name.as_str(), *port)).await.map_err(io)?;
            let mut socket = Socket::tcp(stream).map_err(io)?;
            if matches!(url.sslmode, SslMode::Disable | SslMode::Allow) {
                return Ok(Transport::Plain(socket));
            }
            let mut request = BytesMut::new();
            frontend::ssl_request(&mut request);
            socket.write_all(&request).await.map_err(io)?;
            match socket.read_u8().await.map_err(io)? {
                b'S' => start_tls(url, host, name, socket).await,
                _ if url.sslmode == SslMode::Prefer => Ok(Transport::Plain(socket)),
                _ => Err(Error::Setting(format!(
                    "PostgreSQL at {} does not offer TLS, but sslmode={} asks for it: set ssl = on in \
                     postgresql.conf, or sslmode=disable if the network is trusted",
                    address(host),
                    url.sslmode
                ))),
            }
        }
    }
}

async fn start_tls(
    url: &PostgresUrl,
    host: &PostgresHost,
    name: &str,
    socket: Socket,
) -> Result<Transport, Error> {
    let trust = match url.sslmode {
        SslMode::VerifyFull => Trust::Full,
        SslMode::VerifyCa => Trust::Authority,
        // libpq: "require" with a root certificate behaves like verify-ca.
        SslMode::Require if url.sslrootcert.is_some() => Trust::Authority,
        _ => Trust::Any,
    };
    let roots = match &url.sslrootcert {
        Some(RootCert::File(path)) => Some(path.clone()),
        Some(RootCert::System) | None => None,
    };
    let identity = url.sslcert.clone().zip(url.sslkey.clone());
    let config = client_config(&TlsSettings { trust, roots, identity }).map_err(Error::Setting)?;
    let server = ServerName::try_from(name.to_owned())
        .map_err(|_| Error::Setting(format!("`{name}` is not a name that a certificate can be for")))?;
    let stream = TlsConnector::from(config).connect(server, socket).await.map_err(|source| {
        match source.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
            // A certificate that does not hold will not hold the next time either.
            Some(error @ rustls::Error::InvalidCertificate(_)) => Error::Setting(format!(
                "PostgreSQL at {}: TLS: {error}; sslmode={} checks the server's certificate: name the \
                 authority with sslrootcert=FILE",
                address(host),
                url.sslmode
            )),
            _ => Error::Io { address: address(host), source },
        }
    })?;
    Ok(Transport::Tls(Box::new(stream)))
}

impl Connection {
    async fn start(
        &mut self,
        url: &PostgresUrl,
        password: Option<&SecretString>,
        purpose: Purpose,
    ) -> Result<(), Error> {
        let mut parameters = vec![
            ("user", url.user.as_str()),
            ("database", url.dbname.as_str()),
            ("application_name", url.application_name.as_deref().unwrap_or("redis-connect-postgres")),
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO, YMD"),
            ("IntervalStyle", "iso_8601"),
            ("TimeZone", "UTC"),
            ("extra_float_digits", "1"),
            ("bytea_output", "hex"),
        ];
        match purpose {
            Purpose::Replication => {
                parameters.push(("replication", "database"));
                parameters.push(("wal_sender_timeout", WAL_SENDER_TIMEOUT));
            }
            Purpose::Sql => {
                parameters.push(("statement_timeout", "0"));
                // A policy would hide rows from the snapshot that the stream then brings: an error is better.
                parameters.push(("row_security", "off"));
            }
        }
        let mut message = BytesMut::new();
        frontend::startup_message(parameters, &mut message).map_err(|e| self.io_error(e))?;
        self.send(&message).await?;
        self.authenticate(url, password).await?;
        loop {
            let frame = self.next().await?;
            let body = self.body(&frame);
            let ready = match frame.kind {
                b'K' => {
                    self.backend_pid = Fields::new(body).u32().unwrap_or(0);
                    false
                }
                b'E' => return Err(self.refused(url, &frame)),
                b'Z' => true,
                _ => false,
            };
            self.consume(&frame);
            if ready {
                return Ok(());
            }
        }
    }

    async fn authenticate(
        &mut self,
        url: &PostgresUrl,
        password: Option<&SecretString>,
    ) -> Result<(), Error> {
        let mut scram: Option<ScramSha256> = None;
        loop {
            let frame = self.next().await?;
            if frame.kind == b'E' {
                return Err(self.refused(url, &frame));
            }
            if frame.kind != b'R' {
                self.consume(&frame);
                continue;
            }
            let body = self.body(&frame).to_vec();
            self.consume(&frame);
            let mut fields = Fields::new(&body);
            let method = fields.u32().unwrap_or(u32::MAX);
            let rest = body.get(4..).unwrap_or_default();
            let mut answer = BytesMut::new();
            let needed = || {
                password.ok_or_else(|| {
                    Error::Setting(format!(
                        "PostgreSQL at {} asks for a password for the role {}: set source.password, \
                         source.password_file or PGPASSWORD",
                        self.address, url.user
                    ))
                })
            };
            match method {
                0 => return Ok(()),
                3 => frontend::password_message(needed()?.expose_secret().as_bytes(), &mut answer)
                    .map_err(|e| self.io_error(e))?,
                5 => {
                    let salt = *rest
                        .first_chunk::<4>()
                        .ok_or_else(|| self.protocol_error("an MD5 salt is too short"))?;
                    let hash = md5_hash(url.user.as_bytes(), needed()?.expose_secret().as_bytes(), salt);
                    frontend::password_message(hash.as_bytes(), &mut answer).map_err(|e| self.io_error(e))?;
                }
                10 => {
                    if !rest.split(|&b| b == 0).any(|name| name == SCRAM_SHA_256.as_bytes()) {
                        return Err(self.protocol_error("no SASL mechanism that we know is offered"));
                    }
                    let exchange =
                        ScramSha256::new(needed()?.expose_secret().as_bytes(), ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, exchange.message(), &mut answer)
                        .map_err(|e| self.io_error(e))?;
                    scram = Some(exchange);
                }
                11 => {
                    let exchange = scram.as_mut().ok_or_else(|| self.protocol_error("SASL out of order"))?;
                    exchange.update(rest).map_err(|e| self.protocol_error(format!("SCRAM: {e}")))?;
                    frontend::sasl_response(exchange.message(), &mut answer).map_err(|e| self.io_error(e))?;
                }
                12 => {
                    let exchange = scram.as_mut().ok_or_else(|| self.protocol_error("SASL out of order"))?;
                    exchange.finish(rest).map_err(|e| {
                        self.protocol_error(format!("SCRAM: the server does not know the password: {e}"))
                    })?;
                    continue;
                }
                other => {
                    return Err(self.protocol_error(format!(
                        "authentication method {other} is not supported; scram-sha-256, md5, password, \
                         trust and client certificates are: change the line in pg_hba.conf"
                    )));
                }
            }
            self.send(&answer).await?;
        }
    }

    fn refused(&self, url: &PostgresUrl, frame: &Frame) -> Error {
        let error = ServerError::parse(self.body(frame));
        Error::Server {
            doing: format!("logging in at {} as {} to database {}", self.address, url.user, url.dbname),
            error: Box::new(error),
        }
    }
}
