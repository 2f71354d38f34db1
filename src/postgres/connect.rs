//! A session: how it begins, and how messages are sent and received.
//!
//! [`super::hosts`] chooses the host, [`super::tls`] opens the way to it, [`super::authenticate`] says who we are.
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
use postgres_protocol::message::frontend;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::authenticate::Login;
use super::tls::{self, Way};
use super::wire::{Fields, Frame, Framing, frame};
use super::{Error, ServerError};
use crate::config::{PostgresHost, PostgresUrl};
use crate::net::{ReadBuffer, Transport};

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
    /// What the server reports by itself, from PostgreSQL 14 on.
    pub(super) hot_standby: Option<bool>,
    pub(super) read_only: Option<bool>,
}

impl Connection {
    /// One attempt at the host with this index.
    pub(super) async fn log_in(
        login: &Login<'_>,
        (index, way): (usize, Way),
        purpose: Purpose,
    ) -> Result<Connection, Error> {
        let host = login.url.hosts.get(index);
        let mut connection = Connection {
            transport: tls::open(login.url, index, way).await?,
            input: ReadBuffer::new(),
            output: Vec::new(),
            address: host.map(PostgresHost::to_string).unwrap_or_default(),
            backend_pid: 0,
            hot_standby: None,
            read_only: None,
        };
        connection.start(login, purpose).await?;
        Ok(connection)
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

    /// What the server says by itself on a connection that asks nothing: an error when it has ended it.
    pub(crate) async fn still_there(&mut self) -> Result<(), Error> {
        poll_fn(|cx| Poll::Ready(self.hear(cx))).await
    }

    fn hear(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        loop {
            match frame(self.input.unread()) {
                Framing::Whole(found) if found.kind == b'E' => {
                    let error = Box::new(ServerError::parse(self.body(&found)));
                    return Err(Error::Server { doing: "waiting".to_owned(), error });
                }
                // A setting that has changed, a notice.
                Framing::Whole(found) => self.consume(&found),
                Framing::Nonsense => return Err(self.nonsense()),
                Framing::Incomplete(wanted) => match self.input.poll_fill(cx, &mut self.transport, wanted) {
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(e)) => return Err(self.io_error(e)),
                    Poll::Pending => return Ok(()),
                },
            }
        }
    }

    pub(super) fn nonsense(&self) -> Error {
        let first: Vec<u8> = self.input.unread().iter().take(8).copied().collect();
        self.protocol_error(not_postgres(&first))
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

/// What is told of an answer that begins like this.
pub(super) fn not_postgres(answer: &[u8]) -> String {
    format!(
        "the answer is not PostgreSQL's protocol (it begins with \"{}\"); is this the right port?",
        answer.escape_ascii()
    )
}

impl Connection {
    async fn start(&mut self, login: &Login<'_>, purpose: Purpose) -> Result<(), Error> {
        let url = login.url;
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
        if let Some(options) = &url.options {
            parameters.push(("options", options));
        }
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
        self.authenticate(login).await?;
        loop {
            let frame = self.next().await?;
            let body = self.body(&frame);
            let ready = match frame.kind {
                b'K' => {
                    self.backend_pid = Fields::new(body).u32().unwrap_or(0);
                    false
                }
                b'S' => {
                    let mut fields = Fields::new(body);
                    let on = |value: &str| Some(value == "on");
                    match (fields.string(), fields.string()) {
                        (Some("in_hot_standby"), Some(value)) => self.hot_standby = on(value),
                        (Some("default_transaction_read_only"), Some(value)) => self.read_only = on(value),
                        _ => {}
                    }
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

    /// What TLS says of a connection that has not got anywhere: in TLS 1.3 a server refuses a client's
    /// certificate when the client takes itself for connected.
    pub(super) fn before_login(&self, error: Error, url: &PostgresUrl) -> Error {
        match error {
            Error::Io { address, source } => tls::failed(url, &address, source),
            other => other,
        }
    }

    pub(super) fn pooler(&self, error: &ServerError) -> Error {
        Error::Setting(format!(
            "{} is a connection pooler, not PostgreSQL itself, and refuses what logical replication needs ({error}): \
             name PostgreSQL's own host and port in source.url",
            self.address
        ))
    }

    pub(super) fn refused(&self, url: &PostgresUrl, frame: &Frame) -> Error {
        let error = ServerError::parse(self.body(frame));
        if error.is_of_a_pooler() {
            return self.pooler(&error);
        }
        Error::Server {
            doing: format!("logging in at {} as {} to database {}", self.address, url.user, url.dbname),
            error: Box::new(error),
        }
    }
}
