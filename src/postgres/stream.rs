//! The replication stream: START_REPLICATION, rows in, feedback out.
//!
//! ```text
//!   XLogData  ──> Decoder ──> pipeline ──> Redis
//!   Keepalive ──> position           │
//!   StandbyStatusUpdate <── durable ─┘      at least once a second, also when nobody reads
//! ```
//!
//! Reading adapts to the load. Idle: the socket wakes us for every byte, so a commit is seen at
//! once. Loaded (a read brought a good chunk, or reads come thick and fast): the low-water mark goes up, and the pipeline fetches
//! what is there on its timer and whenever Redis has room ([`Stream::read_now`]).

use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use super::wire::{Fields, Frame, Framing, frame};
use super::{Connection, Error, ServerError};
use crate::lsn::Lsn;

/// Bytes that wake the reader while there is load.
const LOADED_MARK: usize = 32 * 1024;

/// Load is a read of so many bytes, or so many reads within a millisecond: then waking for each of them
/// costs more than what they bring.
const LOADED_READ: usize = 16 * 1024;
const LOADED_READS: u32 = 8;

/// Fewer bytes than this within a millisecond are the end of the load.
const IDLE_BYTES: usize = 2 * 1024;

/// So many bytes in every millisecond are a stream that is busy: tens of thousands of rows a second.
const BUSY_BYTES: u128 = 8 * 1024;

/// Over which time reads are counted.
const WINDOW: Duration = Duration::from_millis(1);

/// PostgreSQL sends something at least this often when it is asked to; longer silence is a dead
/// connection.
const SILENCE: Duration = Duration::from_secs(10);

/// What arrived.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message of the output plugin lies in this frame.
    Data(Payload),
    /// Everything that committed before this position has been sent.
    Keepalive { end: Lsn },
    /// More must be received.
    Incomplete(usize),
}

/// Where a plugin message lies in the receive buffer.
#[derive(Debug)]
pub(crate) struct Payload(Frame);

/// Bytes of XLogData before the plugin's message: type, start, end, time.
const XLOG_HEADER: usize = 1 + 8 + 8 + 8;

/// A connection in CopyBoth mode.
#[derive(Debug)]
pub(crate) struct Stream {
    connection: Connection,
    loaded: bool,
    busy: bool,
    window: Window,
    received: Instant,
    asked: bool,
}

/// What was read in the present millisecond or so.
#[derive(Debug)]
struct Window {
    since: Instant,
    reads: u32,
    bytes: usize,
}

impl Window {
    fn new(since: Instant) -> Window {
        Window { since, reads: 0, bytes: 0 }
    }

    /// It had so much in every millisecond.
    fn is_busy(&self, lasted: Duration) -> bool {
        self.bytes as u128 * WINDOW.as_micros() >= BUSY_BYTES * lasted.as_micros()
    }
}

impl Stream {
    /// Starts streaming at `from`; the slot is ours until the connection ends.
    pub(crate) async fn start(
        mut connection: Connection,
        slot: &str,
        from: Lsn,
        options: &str,
    ) -> Result<Stream, (Connection, Error)> {
        let sql = format!("START_REPLICATION SLOT \"{slot}\" LOGICAL {from} ({options})");
        match start_copy_both(&mut connection, &sql).await {
            Ok(()) => Ok(Stream {
                connection,
                loaded: false,
                busy: false,
                window: Window::new(Instant::now()),
                received: Instant::now(),
                asked: false,
            }),
            Err(error) => Err((connection, error.doing(format!("reading from the replication slot {slot}")))),
        }
    }

    pub(crate) fn backend_pid(&self) -> u32 {
        self.connection.backend_pid()
    }

    /// The next message that has been received, without waiting.
    #[inline]
    pub(crate) fn event(&mut self) -> Result<Event, Error> {
        loop {
            let found = match frame(self.connection.input.unread()) {
                Framing::Whole(found) => found,
                Framing::Incomplete(wanted) => return Ok(Event::Incomplete(wanted)),
                Framing::Nonsense => return Err(self.connection.nonsense()),
            };
            let body = self.connection.body(&found);
            match (found.kind, body.first()) {
                (b'd', Some(b'w')) if body.len() > XLOG_HEADER => return Ok(Event::Data(Payload(found))),
                (b'd', Some(b'k')) => {
                    let mut fields = Fields::new(body.get(1..).unwrap_or_default());
                    let end = fields.u64().map(Lsn);
                    self.connection.consume(&found);
                    match end {
                        Some(end) => return Ok(Event::Keepalive { end }),
                        None => return Err(self.connection.protocol_error("a keepalive is cut short")),
                    }
                }
                (b'E', _) => {
                    return Err(Error::Server {
                        doing: "streaming".to_owned(),
                        error: Box::new(ServerError::parse(body)),
                    });
                }
                (b'c', _) => {
                    return Err(self.connection.io_error(std::io::Error::new(
                        std::io::ErrorKind::ConnectionAborted,
                        "the server ended the stream",
                    )));
                }
                _ => self.connection.consume(&found),
            }
        }
    }

    /// The plugin's message; [`Stream::consume`] frees it.
    #[inline]
    pub(crate) fn payload(&self, payload: &Payload) -> &[u8] {
        self.connection.body(&payload.0).get(XLOG_HEADER..).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn consume(&mut self, payload: &Payload) {
        self.connection.consume(&payload.0);
    }

    /// The plugin's messages that have been received and come next.
    pub(crate) fn ahead(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.connection.input.unread();
        std::iter::from_fn(move || {
            loop {
                let Framing::Whole(found) = frame(rest) else { return None };
                let (message, after) = rest.split_at_checked(found.body.end)?;
                rest = after;
                let body = message.get(found.body)?;
                if found.kind == b'd' && body.first() == Some(&b'w') {
                    return body.get(XLOG_HEADER..);
                }
            }
        })
    }

    /// Receives once, and notes from the size whether there is load.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Error>> {
        let connection = &mut self.connection;
        let result = connection.input.poll_fill(cx, &mut connection.transport, wanted);
        result.map(|result| {
            let count = result.map_err(|e| self.connection.io_error(e))?;
            self.received = Instant::now();
            self.asked = false;
            self.weigh(count);
            Ok(count)
        })
    }

    /// Decides from what was read lately whether there is load.
    fn weigh(&mut self, count: usize) {
        self.window.reads += 1;
        self.window.bytes += count;
        let lasted = self.received.duration_since(self.window.since);
        let over = lasted >= WINDOW;
        if self.loaded {
            if over && self.window.bytes < IDLE_BYTES {
                self.relax();
            }
        } else if count >= LOADED_READ || self.window.reads >= LOADED_READS {
            self.loaded = true;
            self.connection.transport.socket().set_low_water_mark(LOADED_MARK);
        }
        if over {
            self.busy = self.window.is_busy(lasted);
            self.window = Window::new(self.received);
        }
    }

    pub(crate) async fn more(&mut self, wanted: usize) -> Result<usize, Error> {
        std::future::poll_fn(|cx| self.poll_more(cx, wanted)).await
    }

    /// While there is load, the socket does not wake us for the last few bytes.
    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// There is load, and much of it.
    pub(crate) fn is_busy(&self) -> bool {
        self.loaded && self.busy
    }

    /// The next [`Stream::more`] takes what is there, however little. If there is nothing at all,
    /// the load is over.
    pub(crate) fn read_now(&mut self) {
        self.connection.transport.socket().read_now();
    }

    /// Nothing came since the low-water mark went up: wake for every byte again.
    pub(crate) fn relax(&mut self) {
        self.loaded = false;
        self.busy = false;
        self.connection.transport.socket().set_low_water_mark(1);
    }

    /// Queues a standby status update: we have seen the stream up to `received`, and PostgreSQL may
    /// forget everything before `confirmed`.
    ///
    /// The two are told apart because the walsender pings a reader that has seen less than was sent.
    pub(crate) fn queue_feedback(&mut self, received: Lsn, confirmed: Lsn, reply: bool) {
        self.queue_status([received.max(confirmed), confirmed, confirmed], reply);
    }

    /// Queues a status update that confirms nothing and says only what was received. A PostgreSQL that
    /// shuts down waits until everything it sent is flushed, which for retained positions would be for
    /// ever; without a flush position it goes by what was received.
    pub(crate) fn queue_received(&mut self, received: Lsn) {
        self.queue_status([received, Lsn::ZERO, Lsn::ZERO], false);
    }

    /// Written, flushed and applied positions, as the message has them.
    fn queue_status(&mut self, positions: [Lsn; 3], reply: bool) {
        let mut message = Vec::with_capacity(39);
        message.push(b'd');
        message.extend_from_slice(&38_u32.to_be_bytes());
        message.push(b'r');
        for lsn in positions {
            message.extend_from_slice(&lsn.0.to_be_bytes());
        }
        message.extend_from_slice(&postgres_now().to_be_bytes());
        message.push(u8::from(reply));
        self.connection.queue(&message);
    }

    /// Sends what is queued. Ready when nothing is left.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.connection.poll_flush(cx).map_err(|e| self.connection.io_error(e))
    }

    /// Nothing came for so long, although an answer was asked for, that the connection may be dead. Only
    /// to be asked while the stream is being read. (It may also be busy: a walsender that decodes a
    /// large transaction of other tables answers nobody.)
    pub(crate) fn is_silent(&mut self) -> bool {
        let silent = self.asked && self.received.elapsed() > SILENCE;
        self.asked = true;
        silent
    }

    pub(crate) fn silence(&self) -> Error {
        self.connection.silent(SILENCE)
    }

    /// The silence of a stream that nobody read is nobody's fault.
    pub(crate) fn forgive_silence(&mut self) {
        self.received = Instant::now();
        self.asked = false;
    }

    /// Sends the last feedback and leaves, so that the slot is free at once.
    pub(crate) async fn close(mut self, received: Lsn, confirmed: Lsn) {
        self.queue_feedback(received, confirmed, false);
        let mut done = BytesMut::new();
        frontend::copy_done(&mut done);
        self.connection.queue(&done);
        self.connection.close().await;
    }
}

async fn start_copy_both(connection: &mut Connection, sql: &str) -> Result<(), Error> {
    let mut message = BytesMut::new();
    frontend::query(sql, &mut message).map_err(|e| connection.io_error(e))?;
    connection.send(&message).await?;
    let mut failure = None;
    loop {
        let found = connection.next().await?;
        let body = connection.body(&found);
        match found.kind {
            b'W' => {
                connection.consume(&found);
                return Ok(());
            }
            b'E' => failure = Some(ServerError::parse(body)),
            b'Z' => {
                connection.consume(&found);
                return Err(match failure {
                    Some(error) => Error::Server { doing: String::new(), error: Box::new(error) },
                    None => connection.protocol_error("START_REPLICATION was not answered"),
                });
            }
            _ => {}
        }
        connection.consume(&found);
    }
}

/// µs since 2000-01-01 UTC, as the replication protocol counts.
pub(crate) fn postgres_now() -> i64 {
    const Y2000: Duration = Duration::from_secs(946_684_800);
    let since = SystemTime::now().duration_since(UNIX_EPOCH + Y2000).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_busy_from_eight_kib_a_millisecond_on() {
        let window = |bytes| Window { since: Instant::now(), reads: 1, bytes };
        let [one, two] = [1, 2].map(Duration::from_millis);
        assert!(window(8 * 1024).is_busy(one) && !window(8 * 1024 - 1).is_busy(one));
        assert!(window(16 * 1024).is_busy(two) && !window(8 * 1024).is_busy(two));
    }
}
