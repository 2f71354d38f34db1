//! The receive buffer: filled from the socket at its end, read as messages from its beginning.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::Transport;

/// What a buffer holds at first, and shrinks back to after a large message.
const CAPACITY: usize = 256 * 1024;

/// A growable window over received bytes.
///
/// It grows only to hold a single message that is larger than it is, and shrinks again when that
/// message is consumed; so its size is bounded by the largest message, not by the traffic.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
}

impl ReadBuffer {
    pub(crate) fn new() -> ReadBuffer {
        ReadBuffer { data: vec![0; CAPACITY], start: 0, end: 0 }
    }

    /// What was received and not yet consumed.
    #[inline]
    pub(crate) fn unread(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    #[inline]
    pub(crate) fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start..self.end]
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Forgets the first `count` unread bytes.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Makes room for a message of `total` bytes, of which the first part may be here already.
    ///
    /// Nothing is allocated ahead of the bytes themselves by more than a factor of two: a peer that
    /// announces a gigabyte and sends nothing costs nothing.
    fn make_room(&mut self, total: usize) {
        if self.start > 0 {
            // What is unread is part of one message: little, or soon alone in the buffer.
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.data.len() {
            let grown = (self.data.len() * 2).min(total.max(self.data.len() + CAPACITY));
            self.data.resize(grown, 0);
        } else if self.end == 0 && self.data.len() > CAPACITY && total <= CAPACITY {
            self.data.truncate(CAPACITY);
            self.data.shrink_to(CAPACITY);
        }
    }

    /// Reads once from `transport`; `wanted` is the length of the message that is incomplete, as
    /// far as it is known. Ready with the number of bytes read; at the end of the stream an error.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        transport: &mut Transport,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        self.make_room(wanted);
        let mut space = ReadBuf::new(&mut self.data[self.end..]);
        ready!(Pin::new(transport).poll_read(cx, &mut space))?;
        let count = space.filled().len();
        if count == 0 {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed the connection",
            )));
        }
        self.end += count;
        Poll::Ready(Ok(count))
    }

    pub(crate) async fn fill(&mut self, transport: &mut Transport, wanted: usize) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx, transport, wanted)).await
    }
}
