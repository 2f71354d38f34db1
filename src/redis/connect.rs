//! A connection to Redis, opened where the URL says, and commands whose replies matter.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::timeout;

use super::node::{CONNECT_TIMEOUT, Login};
use super::resp::{Commands, Reply, Unread, reply};
use super::{Error, sentinel, tls};
use crate::config::{RedisHost, Target, Topology};
use crate::net::{ReadBuffer, Transport};

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
    /// Opens a connection to the server that is to be written to.
    pub(crate) async fn open(target: &Target) -> Result<Connection, Error> {
        if let Topology::Sentinel { service } = &target.url.topology {
            return Box::pin(sentinel::open(target, service)).await;
        }
        let mut last = Error::Setting("target.url names no host".to_owned());
        for host in &target.url.hosts {
            match Connection::open_at(target, host).await {
                Err(error) if error.is_transient() => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }

    /// Opens a connection to this one of the servers that hold the data.
    pub(super) async fn open_at(target: &Target, host: &RedisHost) -> Result<Connection, Error> {
        Login::of_data(target)?.open(host, CONNECT_TIMEOUT).await
    }

    pub(super) fn over(transport: Transport, address: String) -> Connection {
        Connection { transport, input: ReadBuffer::new(), address }
    }

    pub(super) fn io_error(&self, source: io::Error) -> Error {
        let address = self.address.clone();
        match tls::told(&source) {
            Some(what) => Error::Tls { address, what },
            None => Error::Io { address, source },
        }
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

    /// Sends what of `bytes` is behind the first `sent`, as far as it goes.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        sent: &mut usize,
    ) -> Result<(), Error> {
        while let Some(rest) = bytes.get(*sent..).filter(|rest| !rest.is_empty()) {
            match self.poll_write(cx, rest) {
                Poll::Ready(Ok(count)) => *sent += count,
                Poll::Ready(Err(e)) => return Err(self.io_error(e)),
                Poll::Pending => break,
            }
        }
        match self.poll_flush(cx) {
            Poll::Ready(Err(e)) => Err(self.io_error(e)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        self.input.poll_fill(cx, &mut self.transport, wanted)
    }

    /// Sends one command; an error reply is an error.
    pub(crate) async fn call(&mut self, arguments: &[&[u8]]) -> Result<Reply, Error> {
        let mut commands = Commands::default();
        commands.command(arguments);
        let replies = self.call_all(&commands).await?;
        the_only(replies, arguments).unwrap_or_else(|| Err(self.nonsense()))
    }

    /// Sends commands in one go and returns their replies, error replies among them.
    pub(crate) async fn call_all(&mut self, commands: &Commands) -> Result<Vec<Reply>, Error> {
        self.call_all_within(commands, REPLY_TIMEOUT).await
    }

    pub(super) async fn call_all_within(
        &mut self,
        commands: &Commands,
        limit: Duration,
    ) -> Result<Vec<Reply>, Error> {
        match timeout(limit, self.exchange(commands)).await {
            Ok(result) => result,
            Err(_) => Err(Error::Silent { address: self.address.clone(), seconds: limit.as_secs() }),
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

/// The reply to one command; an error reply is an error. `None`: there is none.
pub(super) fn the_only(mut replies: Vec<Reply>, arguments: &[&[u8]]) -> Option<Result<Reply, Error>> {
    Some(match replies.pop()? {
        // Not the arguments: one of them can be a password.
        Reply::Error(reply) => Err(Error::Refused {
            doing: String::from_utf8_lossy(arguments.first().copied().unwrap_or_default()).into_owned(),
            reply,
        }),
        reply => Ok(reply),
    })
}
