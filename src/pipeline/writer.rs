//! From commands to confirmed batches: one being filled, one in flight.
//!
//! ```text
//!   sinks ─> open ──mark──> [ whole transactions | begun one ]
//!                             └── flush: + checkpoint ─> Lane ─> Redis
//!                                                         └── Durable
//! ```
//!
//! A batch ends at a [`Writer::mark`], the end of a transaction; what was appended after it moves to
//! the next batch. So a transaction is never torn apart by chance: only one that is larger than the
//! configured size is marked inside, on purpose, with the ordinal of its last change.
//!
//! What Redis has confirmed is a type of its own, [`Durable`]; only this module makes it, and only
//! from replies that were read. Feedback to PostgreSQL takes nothing else.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::checkpoint::{self, Extra, Keys, Position};
use super::progress::Progress;
use crate::config::Target;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::redis::lane::{FailedCommand, Fence, Lane};
use crate::redis::resp::Commands;
use crate::redis::{self, Connection};

/// A position that Redis has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Durable(Position);

impl Durable {
    pub(super) fn lsn(self) -> Lsn {
        self.0.lsn
    }

    #[cfg(test)]
    pub(super) fn for_test(lsn: Lsn) -> Durable {
        Durable(Position { lsn, split: None })
    }
}

/// How long an idle pipeline writes nothing.
const TOUCH: Duration = Duration::from_secs(5);

/// A point of the open batch at which it may end.
#[derive(Debug, Clone, Copy)]
struct Mark {
    len: usize,
    commands: usize,
    changes: usize,
    position: Position,
}

/// A batch in flight.
#[derive(Debug, Clone, Copy)]
struct Flight {
    position: Position,
    changes: usize,
    number: u64,
}

#[derive(Debug)]
pub(super) struct Writer {
    target: Target,
    keys: Keys,
    lane: Lane,
    open: Commands,
    spare: Commands,
    /// Changes in `open`.
    changes: usize,
    mark: Option<Mark>,
    extra: Extra,
    /// Dead letters, written with the next batch.
    letters: Commands,
    flight: Option<Flight>,
    durable: Position,
    batch: u64,
    written: Instant,
    progress: Arc<Progress>,
}

/// What a writer begins with.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) position: Position,
    pub(super) batch: u64,
}

impl Writer {
    /// `redis` is the connection whose fence was raised.
    pub(super) async fn new(
        target: &Target,
        keys: &Keys,
        (redis, fence): (Connection, Fence),
        start: Start,
        progress: Arc<Progress>,
    ) -> Result<Writer, Error> {
        Ok(Writer {
            target: target.clone(),
            keys: keys.clone(),
            lane: Lane::new(redis, fence).await?,
            open: Commands::transaction(),
            spare: Commands::transaction(),
            changes: 0,
            mark: None,
            extra: Extra::default(),
            letters: Commands::default(),
            flight: None,
            durable: start.position,
            batch: start.batch,
            written: Instant::now(),
            progress,
        })
    }

    /// The names of what belongs to this pipeline in Redis.
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where sinks append the commands of one change; [`Writer::count_change`] follows.
    #[inline]
    pub(super) fn commands(&mut self) -> &mut Commands {
        &mut self.open
    }

    #[inline]
    pub(super) fn count_change(&mut self) {
        self.changes += 1;
    }

    pub(super) fn count_changes(&mut self, count: usize) {
        self.changes += count;
    }

    /// Fields that go into the checkpoint with the next batch.
    pub(super) fn extra(&mut self) -> &mut Extra {
        &mut self.extra
    }

    /// With the next batch, what a `reset` had left behind is forgotten.
    pub(super) fn forget_former(&mut self) {
        self.open.command(&[b"DEL", self.keys.former.as_bytes()]);
    }

    /// The open batch has reached its limit: nothing may be appended until it was flushed.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.changes >= self.target.batch.rows || self.open.len() >= self.target.batch.bytes
    }

    /// Everything appended so far belongs to what `position` says.
    #[inline]
    pub(super) fn mark(&mut self, position: Position) {
        self.mark =
            Some(Mark { len: self.open.len(), commands: self.open.count(), changes: self.changes, position });
    }

    pub(super) fn has_mark(&self) -> bool {
        self.mark.is_some()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.flight.is_none()
    }

    pub(super) fn durable(&self) -> Durable {
        Durable(self.durable)
    }

    /// The position that was marked last, confirmed or not.
    pub(super) fn accepted(&self) -> Position {
        self.mark
            .map(|mark| mark.position)
            .or(self.flight.map(|flight| flight.position))
            .unwrap_or(self.durable)
    }

    /// Commands that wait to be written, of whole and of begun transactions.
    pub(super) fn open_commands(&self) -> &Commands {
        &self.open
    }

    /// An idle pipeline writes its checkpoint now and then, to notice when Redis has forgotten it.
    pub(super) fn touch(&mut self) {
        if self.is_idle() && self.mark.is_none() && self.open.count() == 0 && self.written.elapsed() >= TOUCH
        {
            self.mark(self.durable);
        }
    }

    /// Sends what is marked, if nothing is in flight. A mark that only moves the position waits until
    /// the last write is `patience` ago.
    pub(super) fn flush(&mut self, patience: Duration) {
        let Some(mark) = self.mark else { return };
        let only_position = mark.commands == 0 && self.extra.is_empty() && self.letters.count() == 0;
        if self.flight.is_some() || (only_position && self.written.elapsed() < patience) {
            return;
        }
        self.open.split_off(mark.len, mark.commands, &mut self.spare);
        self.open.append(&mut self.letters);
        self.batch += 1;
        let epoch = self.lane.fence().epoch();
        checkpoint::write(&self.keys, mark.position, self.batch, epoch, &mut self.extra, &mut self.open);
        self.lane.send(&mut self.open);
        std::mem::swap(&mut self.open, &mut self.spare);
        self.changes -= mark.changes;
        self.mark = None;
        self.flight = Some(Flight { position: mark.position, changes: mark.changes, number: self.batch });
        self.written = Instant::now();
    }

    /// Drives the batch in flight; ready when Redis has confirmed it.
    pub(super) fn poll_confirmed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.flight.is_none() {
            return Poll::Ready(Ok(()));
        }
        let failed = ready!(self.lane.poll_done(cx))?;
        self.landed();
        for command in failed {
            self.bury(&command);
        }
        Poll::Ready(Ok(()))
    }

    fn landed(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.durable = flight.position;
            self.progress.changes.fetch_add(flight.changes as u64, Relaxed);
            self.progress.set_position(flight.position.lsn);
        }
    }

    pub(super) async fn confirmed(&mut self) -> Result<(), Error> {
        std::future::poll_fn(|cx| self.poll_confirmed(cx)).await
    }

    /// Writes everything that is marked and waits for it.
    pub(super) async fn drain(&mut self) -> Result<(), Error> {
        while self.flight.is_some() || self.mark.is_some() {
            self.confirmed().await?;
            self.flush(Duration::ZERO);
        }
        Ok(())
    }

    /// A command that Redis could not carry out, while the rest of its transaction was: kept in the
    /// dead-letter stream with its reason, and said aloud.
    fn bury(&mut self, command: &FailedCommand) {
        if command.name == b"RENAME" && command.reply.starts_with("ERR no such key") {
            tracing::warn!(
                command = command.description,
                "a row's key changed, but its old key was gone from Redis; fields that PostgreSQL did not send are \
                 missing until the row is written again"
            );
            return;
        }
        let error = redis::Error::Row { command: command.description.clone(), reply: command.reply.clone() };
        tracing::error!("{error}; kept in {}", self.keys.dead_letters);
        let lsn = self.durable.lsn.to_string();
        self.letters.command(&[
            b"XADD",
            self.keys.dead_letters.as_bytes(),
            b"*",
            b"reason",
            command.reply.as_bytes(),
            b"command",
            command.description.as_bytes(),
            b"after_lsn",
            lsn.as_bytes(),
        ]);
        if self.mark.is_none() && self.open.count() == 0 {
            self.mark(self.durable);
        }
    }

    /// One attempt at going on after `error`: a new connection, the fence armed, and the batch in
    /// flight either found in the checkpoint or sent again.
    pub(super) async fn reconnect(&mut self) -> Result<(), Error> {
        let mut redis = Connection::open(&self.target).await?;
        self.lane.fence().renew(&mut redis).await?;
        let found = checkpoint::read_batch(&mut redis, &self.keys).await?;
        match self.flight {
            Some(flight) if found == flight.number => {
                self.lane.replace_connection(redis, true);
                self.landed();
            }
            Some(flight) if found + 1 == flight.number => self.lane.replace_connection(redis, false),
            None if found == self.batch => self.lane.replace_connection(redis, true),
            _ => {
                return Err(Error::Restart(format!(
                    "Redis is at batch {found}, which is not where it was left (batch {}); beginning again from its \
                     checkpoint",
                    self.batch
                )));
            }
        }
        Ok(())
    }
}
