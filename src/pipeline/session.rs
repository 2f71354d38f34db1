//! One session: from the checkpoint to the first error, signal or wish to begin again. It is begun in
//! [`super::begin`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::capture::Captured;
use super::checkpoint::{Position, States, TableState};
use super::retain::Retention;
use super::stream::Following;
use super::supervise::{Pipeline, Retry};
use super::writer::Writer;
use crate::error::{Error, Family};
use crate::lsn::Lsn;
use crate::postgres::Connection;
use crate::postgres::catalog::Types;
use crate::postgres::stream::Stream;
use crate::progress::{Phase, Progress};
use crate::redis;
use crate::redis::scan::Scan;

/// How often PostgreSQL hears from us, and how old a moved position may get before it is written.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// Everything that a session holds.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) control: Connection,
    pub(super) types: Types,
    pub(super) captured: BTreeMap<u32, Arc<Captured>>,
    pub(super) states: States,
    /// See [`super::checkpoint::Checkpoint`].
    pub(super) events: (u64, u64),
    pub(super) indexes: BTreeMap<String, String>,
    /// Every table was read once: from then on the stream is not kept waiting for one that is read again.
    pub(super) was_read: bool,
    /// Added to the positions in entry IDs, see [`super::gap`].
    pub(super) id_base: u64,
    /// See [`super::changes`].
    pub(super) watched: String,
    pub(super) stream: Stream,
    /// What is known of tables that are to be read while others are streamed.
    pub(super) again: super::snapshot::Again,
    /// What is known of the stream so far; `None` before it was followed.
    pub(super) following: Option<Box<Following>>,
    pub(super) writer: Writer,
    pub(super) retention: Retention,
    /// Where the stream began.
    pub(super) start: Position,
    /// How far Redis was. What lies between is done again.
    pub(super) written: Position,
    /// Redis is sharded.
    pub(super) scattered: bool,
    /// How many batches had been written when a slot was found to have moved, and how often that was so.
    pub(super) moved: (u64, u32),
    /// How many tables are read in one snapshot at most.
    pub(super) tables_at_once: usize,
    /// What kept sessions from working until now.
    pub(super) trouble: Option<&'a Retry>,
    pub(super) shutdown: watch::Receiver<bool>,
    pub(super) progress: Arc<Progress>,
}

/// How a session was left on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    SnapshotDone,
    CaughtUp,
    Stopped,
}

/// What became of an attempt to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recovery {
    Resumed,
    Stopped,
}

impl<'a> Session<'a> {
    /// It does what could not be done before.
    pub(super) fn works(&mut self) {
        if let Some(trouble) = self.trouble.take() {
            trouble.over();
        }
    }

    pub(super) fn heartbeat_timer() -> Interval {
        let mut timer = interval(HEARTBEAT);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer
    }

    /// Tells PostgreSQL that we live and what it may forget. Never waits.
    pub(super) async fn heartbeat(&mut self) -> Result<(), Error> {
        self.retention.note(self.writer.durable());
        beat(&mut self.stream, self.writer.accepted().lsn, self.retention.confirmable()).await
    }

    /// Tries for ever to go on after an error on the way to Redis, while PostgreSQL hears from us.
    pub(super) async fn recover(&mut self, error: Error) -> Result<Recovery, Error> {
        if matches!(error, Error::DeadLetters { .. }) {
            return self.look_for_room(error).await;
        }
        if !passes(&error, &self.progress) {
            return Err(error);
        }
        if matches!(&error, Error::Redis(error) if error.is_moved()) && self.moves_on() {
            // No trouble: slots of a cluster move. Whoever has them now may have to be looked at first.
            let positions = (self.writer.accepted().lsn, self.retention.confirmable());
            let writer = &mut self.writer;
            let work = async { writer.reconnect().await };
            match Session::meanwhile(&mut self.stream, positions, work).await {
                Ok(()) => return Ok(Recovery::Resumed),
                Err(error) if error.family() == Family::Transient => {}
                Err(error) => return Err(error),
            }
        }
        let phase = self.progress.phase();
        self.progress.set_phase(Phase::Retrying);
        let mut retry = super::supervise::Retry::new("writing to Redis", &error, &self.progress);
        let mut timer = Session::heartbeat_timer();
        loop {
            let received = self.writer.accepted().lsn;
            let pause = retry.pause();
            let attempt = async {
                sleep(pause).await;
                self.writer.reconnect().await?;
                // A right may be missing that only the batch needs.
                self.writer.confirmed().await
            };
            let mut attempt = Box::pin(attempt);
            let result = loop {
                tokio::select! {
                    result = &mut attempt => break result,
                    _ = timer.tick() => {
                        beat(&mut self.stream, received, self.retention.confirmable()).await?;
                        // A PostgreSQL that shuts down ends this connection, and waits until the stream has been
                        // read to its end, or is left.
                        self.control.still_there().await?;
                    }
                    _ = self.shutdown.wait_for(|stop| *stop) => return Ok(Recovery::Stopped),
                }
            };
            drop(attempt);
            match result {
                Ok(()) => {
                    retry.over();
                    self.progress.set_phase(phase);
                    return Ok(Recovery::Resumed);
                }
                Err(error) if passes(&error, &self.progress) => retry.failed(&error),
                Err(error @ Error::DeadLetters { .. }) => {
                    retry.over();
                    self.progress.set_phase(phase);
                    return self.look_for_room(error).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Not again and again for the same batch, as where two servers of a cluster each send to the other.
    fn moves_on(&mut self) -> bool {
        const OFTEN: u32 = 16;
        let batches = self.progress.totals.batches.load(Relaxed);
        let (before, count) = self.moved;
        self.moved = if before == batches { (batches, count + 1) } else { (batches, 1) };
        self.moved.1 <= OFTEN
    }

    /// There were more dead letters than there may be; somebody may have removed some.
    async fn look_for_room(&mut self, error: Error) -> Result<Recovery, Error> {
        let mut redis = self.open_redis().await?;
        let is_room = self.writer.letters().recount(&mut redis).await?;
        if is_room { Ok(Recovery::Resumed) } else { Err(error) }
    }

    /// Runs something that takes a while, and keeps the replication connection alive meanwhile.
    pub(super) async fn meanwhile<T>(
        stream: &mut Stream,
        (received, confirmed): (Lsn, Lsn),
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::pin!(work);
        let mut timer = Session::heartbeat_timer();
        loop {
            tokio::select! {
                result = &mut work => return result,
                _ = timer.tick() => beat(stream, received, confirmed).await?,
            }
        }
    }

    /// A second connection to Redis, for looking around.
    pub(super) async fn open_redis(&mut self) -> Result<redis::Client, Error> {
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        let open = async { Ok(redis::Client::open(&self.pipeline.config.target).await?) };
        Session::meanwhile(&mut self.stream, positions, open).await
    }

    /// The next page of a SCAN over that connection.
    pub(super) async fn page(
        &mut self,
        scan: &mut Scan,
        redis: &mut redis::Client,
    ) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        let page = async { Ok(scan.page(redis).await?) };
        Session::meanwhile(&mut self.stream, positions, page).await
    }

    /// Writes everything that is marked and waits for it, through an outage of Redis.
    pub(super) async fn drain(&mut self) -> Result<Recovery, Error> {
        self.settle(true).await
    }

    /// Waits for the batch in flight; with `all`, for everything that is marked.
    pub(super) async fn settle(&mut self, all: bool) -> Result<Recovery, Error> {
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        loop {
            let writer = &mut self.writer;
            let work = async { if all { writer.drain().await } else { writer.confirmed().await } };
            let Err(error) = Session::meanwhile(&mut self.stream, positions, work).await else {
                return Ok(Recovery::Resumed);
            };
            if self.recover(error).await? == Recovery::Stopped {
                return Ok(Recovery::Stopped);
            }
        }
    }

    /// For another session: writes what is marked, and that nothing of it has to be done again. Done again,
    /// changes of an older definition would make it read the table once more, and so on.
    pub(super) async fn leave(&mut self) -> Result<(), Error> {
        if self.drain().await? == Recovery::Stopped {
            return Ok(());
        }
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        Session::meanwhile(&mut self.stream, positions, self.writer.settle_up()).await
    }

    /// Writes what is marked, waits for it, and leaves slot and server in order.
    pub(super) async fn finish(mut self) -> Result<(), Error> {
        self.progress.set_phase(Phase::Stopping);
        let result = tokio::time::timeout(Duration::from_secs(3), self.writer.settle_up()).await;
        self.retention.note(self.writer.durable());
        let confirmed = self.retention.confirmable();
        self.stream.close(self.writer.durable().lsn(), confirmed).await;
        self.control.close().await;
        match result {
            // Nothing is lost: the checkpoint says where to go on.
            Ok(Err(error)) if passes(&error, &self.progress) => Ok(()),
            Err(_) => Ok(()),
            Ok(result) => result,
        }
    }
}

/// An error on the way to Redis that ends without us.
fn passes(error: &Error, progress: &Progress) -> bool {
    match error.family() {
        Family::Transient => matches!(error, Error::Redis(_)),
        Family::Denied => progress.has_written(),
        _ => false,
    }
}

/// Queues feedback and sends what goes out at once; the rest goes with the next.
async fn beat(stream: &mut Stream, received: Lsn, confirmed: Lsn) -> Result<(), Error> {
    stream.queue_feedback(received, confirmed, true);
    stream.queue_received(received);
    std::future::poll_fn(|cx| match stream.poll_flush(cx) {
        std::task::Poll::Ready(result) => std::task::Poll::Ready(result),
        std::task::Poll::Pending => std::task::Poll::Ready(Ok(())),
    })
    .await?;
    Ok(())
}

/// True when the table only got columns since, which no existing row has a value for: none was filled
/// in, and the rows were not written anew.
pub(super) fn only_grew(state: &TableState, captured: &Captured) -> bool {
    let record = captured.shape.record();
    let Some(added) = record.strip_prefix(&*state.columns) else { return false };
    let columns = &captured.table.columns;
    state.files == captured.table.files
        && !captured.writes_nulls()
        && added.iter().all(|added| columns.iter().any(|column| column.name == added.0 && !column.filled_in))
}
