//! From commands to confirmed batches: one being filled, one in flight.
//!
//! ```text
//!   sinks ─> open ──mark──> [ whole transactions | begun one ]
//!                             └── flush: + letters + checkpoint ─> Lane ─> Redis
//!                                                                   └── Durable
//! ```
//!
//! A batch ends at a [`Writer::mark`], the end of a transaction; what was appended after it moves to
//! the next batch. So a transaction is never torn apart by chance: only one that is larger than the
//! configured size is marked inside, on purpose, with the ordinal of its last change.
//!
//! What Redis has confirmed is a type of its own, [`Durable`]; only this module makes it, and only
//! from replies that were read. Feedback to PostgreSQL takes nothing else.
//!
//! EXEC tells which commands failed, and a process that is killed never reads it. So the checkpoint
//! says where the changes of its batch begin (`before`), until the next batch, which is sent when the
//! replies were read and has the dead letters. A session that finds a batch whose replies nobody may
//! have read starts the stream at `before` and does it again, in one batch that reaches at least as far;
//! nothing shorter is written, so Redis is never seen to go back.

mod enough;
mod reconnect;
mod restored;

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::checkpoint::{self, Extra, Keys, Position};
use super::dead_letters::{Batch, DeadLetters};
use super::ledger::{Extent, Ledger, Origin};
use super::recorder::Recorder;
use crate::config::{Config, Target};
use crate::error::{Error, SlotUse};
use crate::lsn::Lsn;
use crate::progress::{self, Progress, Totals};
use crate::redis::lane::{Done, FailedCommand, RETAINED};
use crate::redis::lanes::Lanes;
use crate::redis::limits::Limits;
use crate::redis::resp::Commands;
use crate::redis::{Client, Spread};
use enough::Enough;
pub(super) use restored::Restoring;

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

/// Bytes of changes: while a batch of more is in flight, the next one is not begun. Large values are held several times
/// as it is.
const ALONE: usize = 16 << 20;

/// How long an idle pipeline writes nothing.
const TOUCH: Duration = Duration::from_secs(5);

/// A point of the open batch at which it may end.
#[derive(Debug, Clone, Copy)]
struct Mark {
    len: usize,
    commands: usize,
    changes: usize,
    ledger: Extent,
    /// `None`: nothing of it comes from the stream, whose position stays.
    position: Option<Position>,
}

/// A batch in flight.
#[derive(Debug, Clone, Copy)]
struct Flight {
    position: Position,
    /// Where its changes of the stream begin.
    before: Position,
    /// Commands of changes; letters and the checkpoint follow.
    commands: usize,
    letters: bool,
    changes: usize,
    number: u64,
    /// It was carried out before, and its replies were lost.
    repeated: bool,
}

/// Where a change begins in the open batch.
#[derive(Debug, Clone, Copy)]
#[must_use = "Writer::end_change tells what became of it"]
pub(super) struct Begun {
    commands: usize,
    len: usize,
}

#[derive(Debug)]
pub(super) struct Writer {
    target: Target,
    keys: Keys,
    lanes: Lanes,
    open: Commands,
    spare: Commands,
    /// Where the commands of `open` come from, and those in flight.
    ledger: Ledger,
    sent: Ledger,
    limits: Limits,
    enough: Enough,
    /// Changes in `open`.
    changes: usize,
    mark: Option<Mark>,
    extra: Extra,
    /// Fields that are to be written when the replies to the batch with this number were read.
    later: Vec<(u64, String, String)>,
    letters: DeadLetters,
    flight: Option<Flight>,
    /// What the checkpoint says.
    position: Position,
    /// How far the stream was flushed: behind `position` while changes are repeated.
    flushed: Position,
    /// The checkpoint says that its batch may have to be done again.
    repeatable: bool,
    durable: Position,
    batch: u64,
    /// Batches so far that have something beside the stream, and whether the open one does.
    beside: u64,
    is_beside: bool,
    written: Instant,
    /// Commit times of the transactions that end in `open`, and in the batch in flight.
    commits: Vec<i64>,
    committed: Vec<i64>,
    restoring: Restoring,
    /// The fields of the checkpoint that name markers.
    markers: Vec<String>,
    /// How many batches Redis has counted when it was last heard of.
    counted: Option<i64>,
    /// What changes write, while somebody wants to know.
    pub(super) recorder: Option<Recorder>,
    progress: Arc<Progress>,
}

/// What a writer begins with.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) position: Position,
    /// Where the stream begins.
    pub(super) before: Position,
    pub(super) batch: u64,
    /// See [`checkpoint::Written`].
    pub(super) beside: u64,
}

impl Writer {
    pub(super) async fn new(
        config: &Config,
        keys: &Keys,
        (redis, lanes): (&mut Client, Lanes),
        start: Start,
        progress: Arc<Progress>,
    ) -> Result<Writer, Error> {
        let target = &config.target;
        let limits = Limits::read(redis).await?.beside(target.batch.bytes);
        let mut letters = DeadLetters::open(redis, keys, (config.dlq, limits), &progress).await?;
        if redis.spread() != Spread::Whole {
            letters.recall_stream(redis, start.before.lsn).await?;
        }
        let besides = lanes.fence().besides().unwrap_or(Duration::MAX);
        let enough = Enough::new(&target.batch, besides, lanes.tags().len());
        Ok(Writer {
            target: target.clone(),
            keys: keys.clone(),
            lanes,
            open: Commands::transaction(),
            spare: Commands::transaction(),
            ledger: Ledger::default(),
            sent: Ledger::default(),
            limits,
            enough,
            changes: 0,
            mark: None,
            extra: Extra::default(),
            later: Vec::new(),
            letters,
            flight: None,
            position: start.position,
            flushed: start.before,
            repeatable: start.before != start.position,
            durable: start.before,
            batch: start.batch,
            beside: start.beside,
            is_beside: false,
            written: Instant::now(),
            commits: Vec::new(),
            committed: Vec::new(),
            restoring: Restoring::default(),
            markers: Vec::new(),
            counted: None,
            recorder: None,
            progress,
        })
    }

    /// The names of what belongs to this pipeline in Redis.
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where commands are appended.
    #[inline]
    pub(super) fn commands(&mut self) -> &mut Commands {
        &mut self.open
    }

    /// What is appended from here on to [`Writer::end_change`] belongs to the change that was received
    /// as these bytes.
    #[inline]
    pub(super) fn begin_change(&mut self, received: &[u8]) -> Begun {
        self.ledger.keep(received);
        Begun { commands: self.open.count(), len: self.open.len() }
    }

    #[inline]
    pub(super) fn end_change(&mut self, begun: Begun, origin: Origin) {
        self.changes += 1;
        if self.open.count() == begun.commands {
            self.ledger.drop_kept();
            return;
        }
        if self.open.len() - begun.len > self.limits.argument.min(self.limits.commands) {
            self.leave_out_what_is_too_long(begun);
        }
        self.ledger.note(origin, begun.commands..self.open.count());
        if let Some(recorder) = &mut self.recorder {
            self.open.walk_behind(begun.len).for_each(|command| recorder.note(&command));
        }
    }

    #[cold]
    fn leave_out_what_is_too_long(&mut self, begun: Begun) {
        let all = self.open.len() - begun.len;
        let Writer { open, ledger, limits, .. } = self;
        open.retain_behind((begun.len, begun.commands), |command| match limits.refuse(command, all) {
            None => true,
            Some(reason) => {
                ledger.leave_out(command, reason);
                false
            }
        });
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

    /// The checkpoint names markers in these fields.
    pub(super) fn set_markers(&mut self, fields: Vec<String>) {
        self.markers = fields;
    }

    /// The checkpoint names the markers that are written with it, and no other: one that is not written any
    /// more, since its slot has another server, would look like that of a shard that has forgotten data.
    fn name_markers(&mut self) {
        let mut markers = Vec::new();
        for tag in self.lanes.tags() {
            markers.push(self.extra.shard(tag));
        }
        self.markers.retain(|field| !markers.contains(field));
        if !self.markers.is_empty() {
            self.open.begin(2 + self.markers.len());
            self.open.argument(b"HDEL");
            self.open.argument(self.keys.checkpoint.as_bytes());
            for field in &self.markers {
                self.open.argument(field.as_bytes());
            }
        }
        self.markers = markers;
    }

    /// The open batch has reached its limit: nothing may be appended until it was flushed.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        let batch = &self.target.batch;
        self.changes >= batch.rows || self.open.len().max(self.ledger.len()) >= batch.bytes
    }

    /// Whole transactions that are enough for a batch wait for the one in flight. Asked before every message, so what is
    /// open is looked at first: of that no mark can have more.
    #[inline]
    pub(super) fn has_enough(&self) -> bool {
        self.flight.is_some()
            && self.enough.is_reached(self.changes, self.open.len())
            && self.reached().is_some_and(|mark| self.enough.is_reached(mark.changes, mark.len))
    }

    /// What is in flight is so large that nothing may be appended until Redis has confirmed it.
    #[inline]
    pub(super) fn is_alone(&self) -> bool {
        self.flight.is_some() && self.sent.len() > ALONE
    }

    /// Enough is open for a batch of its own, where nobody waits for a single row.
    pub(super) fn is_well_filled(&self) -> bool {
        let batch = &self.target.batch;
        4 * self.changes >= batch.rows || 4 * self.open.len().max(self.ledger.len()) >= batch.bytes
    }

    /// Everything appended so far belongs to what `position` says.
    #[inline]
    pub(super) fn mark(&mut self, position: Position) {
        self.mark = Some(Mark { position: Some(position), ..self.end() });
    }

    /// A transaction that was committed then ends at `position`.
    #[inline]
    pub(super) fn mark_commit(&mut self, position: Position, time: i64) {
        if self.changes > self.mark.map_or(0, |mark| mark.changes) {
            self.commits.push(time);
        }
        self.mark(position);
    }

    /// Everything appended so far comes from elsewhere than the stream, and may be written.
    pub(super) fn mark_beside_the_stream(&mut self) {
        self.is_beside = true;
        self.mark = Some(Mark { position: self.mark.and_then(|mark| mark.position), ..self.end() });
    }

    /// A batch may be written with nothing of what is open.
    fn mark_nothing(&mut self) {
        if self.mark.is_none() {
            let (len, ledger) = (self.open.empty_len(), Extent::default());
            self.mark = Some(Mark { len, commands: 0, changes: 0, ledger, position: None });
        }
    }

    fn end(&self) -> Mark {
        Mark {
            len: self.open.len(),
            commands: self.open.count(),
            changes: self.changes,
            ledger: self.ledger.extent(),
            position: None,
        }
    }

    /// The mark, if it may be written: not one inside what is done again.
    fn reached(&self) -> Option<Mark> {
        self.mark.filter(|mark| mark.position.is_none_or(|position| position.reaches(&self.position)))
    }

    pub(super) fn has_mark(&self) -> bool {
        self.reached().is_some()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.flight.is_none()
    }

    pub(super) fn durable(&self) -> Durable {
        Durable(self.durable)
    }

    /// The position of the stream that was marked last, confirmed or not.
    pub(super) fn accepted(&self) -> Position {
        self.mark.and_then(|mark| mark.position).unwrap_or(self.flushed)
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

    /// A batch was sent no longer ago than this, and what is open is not much.
    pub(super) fn has_just_written(&self, ago: Duration) -> bool {
        !self.is_well_filled() && self.written.elapsed() < ago
    }

    /// Sends what is marked, if nothing is in flight. A mark that only moves the position waits until
    /// the last write is `patience` ago.
    pub(super) fn flush(&mut self, patience: Duration) {
        let Some(mark) = self.reached() else { return };
        let only_position = mark.commands == 0 && self.extra.is_empty() && !self.letters.are_waiting();
        if self.flight.is_some() || (only_position && self.written.elapsed() < patience) {
            return;
        }
        self.open.split_off(mark.len, mark.commands, &mut self.spare);
        self.ledger.split_off(mark.ledger, mark.commands, &mut self.sent);
        std::mem::swap(&mut self.ledger, &mut self.sent);
        self.batch += 1;
        let before = match mark.position {
            None => self.flushed,
            // Nothing of it can fail, so nothing has to be done again.
            Some(position) if mark.commands == 0 => position,
            Some(_) => self.flushed,
        };
        if let Some(position) = mark.position {
            (self.position, self.flushed) = (position, position);
        }
        self.beside += u64::from(std::mem::take(&mut self.is_beside));
        let written =
            checkpoint::Written { position: self.position, before, batch: self.batch, beside: self.beside };
        self.repeatable = before != self.position;
        self.flight = Some(Flight {
            position: self.position,
            before,
            commands: mark.commands,
            letters: self.letters.are_waiting(),
            changes: mark.changes,
            number: self.batch,
            repeated: false,
        });
        self.open.append(self.letters.waiting());
        self.name_markers();
        checkpoint::write(&self.keys, written, self.lanes.fence().epoch(), &mut self.extra, &mut self.open);
        Totals::add(&self.progress.totals.sent, self.open.len() as u64);
        self.lanes.send(&mut self.open, || written.marker());
        std::mem::swap(&mut self.commits, &mut self.committed);
        std::mem::swap(&mut self.open, &mut self.spare);
        self.changes -= mark.changes;
        self.mark = None;
        self.written = Instant::now();
    }

    /// Drives the batch in flight; ready when Redis has confirmed it, or with an error when more of it
    /// failed than may.
    pub(super) fn poll_confirmed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.flight.is_none() {
            return Poll::Ready(Ok(()));
        }
        let done = ready!(self.lanes.poll_done(cx));
        let Done { failed, last } = done.map_err(|error| self.without_restore(error))?;
        let Some(flight) = self.flight.take() else { return Poll::Ready(Ok(())) };
        self.check_count(last)?;
        Totals::add(&self.progress.totals.changes, flight.changes as u64);
        self.progress.set_position(flight.position.lsn);
        self.note_times();
        let (whole, failed): (Vec<FailedCommand>, Vec<_>) =
            failed.into_iter().partition(|command| command.name == b"RESTORE");
        if let Some(error) = self.refused_insert(&whole) {
            return Poll::Ready(Err(error));
        }
        let batch = Batch { ledger: &self.sent, commands: flight.commands, repeated: flight.repeated };
        let buried = self.letters.bury(batch, &failed);
        let again = self.write_in_parts(&whole, flight.commands);
        self.sent.clear(RETAINED);
        // Only with its letters is a batch complete.
        self.durable = if self.letters.are_waiting() { flight.before } else { flight.position };
        // What is written again is to be replied to as well.
        let due = self.later.iter().take_while(|(batch, ..)| again == 0 && *batch <= flight.number).count();
        for (_, name, value) in self.later.drain(..due) {
            self.extra.field(&name, value);
        }
        if self.letters.are_waiting() || due > 0 {
            self.mark_nothing();
        }
        Poll::Ready(buried)
    }

    /// Every batch counts up by one. Redis counts from lower when it has forgotten batches, and with them
    /// their data, while the connection lived: a proxy can go over to a replica that was behind without
    /// telling. What the batch just wrote hides how far Redis was before.
    fn check_count(&mut self, counted: Option<i64>) -> Result<(), Error> {
        let (before, now) = (self.counted, counted.unwrap_or(i64::MAX));
        if counted.is_some() {
            self.counted = counted;
        }
        match before {
            Some(before) if now <= before => Err(Error::gap(
                format!(
                    "Redis has forgotten batches behind our back ({} counts {now} batches, and had counted {before}): \
                     something between us and Redis has gone over to another server that was behind",
                    self.keys.checkpoint
                ),
                SlotUse::Usable,
            )),
            _ => Ok(()),
        }
    }

    /// A batch is confirmed: how long it took, and its transactions.
    fn note_times(&mut self) {
        let took = self.written.elapsed().as_micros();
        self.progress.batch_time.observe(u64::try_from(took).unwrap_or(u64::MAX));
        Totals::add(&self.progress.totals.batches, 1);
        Totals::add(&self.progress.totals.transactions, self.committed.len() as u64);
        if !self.committed.is_empty() {
            let now = progress::now();
            for time in self.committed.drain(..) {
                // Another machine's clock can be ahead of ours.
                self.progress.latency.observe(now.saturating_sub(time).max(0).unsigned_abs());
            }
        }
    }

    pub(super) async fn confirmed(&mut self) -> Result<(), Error> {
        std::future::poll_fn(|cx| self.poll_confirmed(cx)).await
    }

    /// Writes everything that is marked and waits for it.
    pub(super) async fn drain(&mut self) -> Result<(), Error> {
        while self.flight.is_some() || self.has_mark() {
            self.confirmed().await?;
            self.flush(Duration::ZERO);
        }
        Ok(())
    }

    /// Writes that the replies to everything were read, so that nothing is done again at the next start.
    pub(super) async fn settle_up(&mut self) -> Result<(), Error> {
        self.drain().await?;
        // Behind what is still to be done again there is nothing to be said.
        if self.repeatable && self.flushed == self.position {
            self.mark_nothing();
            self.drain().await?;
        }
        Ok(())
    }

    /// With the batch after the one that gets everything appended so far.
    pub(super) fn extra_when_confirmed(&mut self, name: &str, value: String) {
        self.later.push((self.batch + 1, name.to_owned(), value));
    }

    pub(super) fn letters(&mut self) -> &mut DeadLetters {
        &mut self.letters
    }
}
