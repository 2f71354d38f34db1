//! Reading tables: the first time, again after an interruption, again after their definition changed.
//!
//! ```text
//!   plan ── which tables, in which key ranges ──> checkpoint
//!   worker 1 ── COPY range ──┐
//!   worker 2 ── COPY range ──┴─> Writer ── rows … rows ─> confirmed ─> "range 7 of emp is done" ──> Redis
//! ```
//!
//! A range is recorded as done with the batch after the one that has its last rows: when it is known
//! what Redis replied to all of them. So an interrupted snapshot goes on with the ranges that are
//! missing, and with those that had rows whose dead letters nobody has written yet. Those are then read in a newer snapshot; the
//! stream still begins where the first one did and brings both to the same state (see
//! [`super::apply::Overlap`]).
//!
//! Ranges are ranges of the key and not of ctid: a row can move to another page, but not to another
//! key without a change that the stream shows.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::ranges::bounds;
use super::reader::{Reader, Worker, ranges_to_read};
use super::session::{End, Recovery, Session};
use super::truncate::Notice;
use super::unread::{Reading, note_definition};
use crate::config::Config;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::postgres::snapshot::{self, Snapshot};
use crate::postgres::stream::postgres_now;
use crate::postgres::{Connection, Purpose};
use crate::progress::Phase;
use crate::sink::{Sink, Workspace};

/// How long tables are read while the stream waits, when there are others that it brings changes of.
const SLICE: Duration = Duration::from_secs(1);

/// What came of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// Every table is in Redis.
    Done,
    /// There are more rows to read.
    More,
    Ended(End),
}

impl Session<'_> {
    /// Reads captured tables that are not in Redis yet, or not as they should be: all of them, or, where
    /// others are being streamed, as much as takes a moment.
    pub(super) async fn read_tables(&mut self) -> Result<Read, Error> {
        self.compare_states()?;
        let mut tables = self.incomplete()?;
        if tables.is_empty() {
            return Ok(Read::Done);
        }
        self.progress.set_phase(Phase::Snapshot);
        // Rows of a stream's snapshot stand before everything that the stream brings, so nothing may come
        // between them.
        let sliced = self.was_read && !tables.iter().any(|table| table.plan.has_streams());
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        let prepare = prepare(&self.pipeline.config, &mut tables);
        let (snapshot, workers) = Session::meanwhile(&mut self.stream, positions, prepare).await?;
        let mut workspace = self.snapshot_workspace();
        let resumed = self.announce(&mut tables, &snapshot, &mut workspace).await?;
        let mut ranges = ranges_to_read(&tables);
        if self.following.is_none() {
            tracing::info!(
                event = if resumed { "snapshot_goes_on" } else { "snapshot_begins" },
                tables = tables.len(),
                ranges = ranges.len(),
                workers = workers.len(),
                "{}",
                if resumed { "snapshot goes on" } else { "snapshot begins" }
            );
        }
        self.progress.begin_snapshot(tables.iter().map(|table| Arc::clone(&table.progress)).collect());
        self.recall_letters().await?;
        let until = sliced.then(|| Instant::now() + SLICE);
        let lsn = self.snapshot_position();
        let progress = Arc::clone(&self.progress);
        let mut reader = Reader { tables, workers, cells: Vec::new(), workspace, lsn, until, progress };
        if let Some(end) = self.read_ranges(&mut reader, &mut ranges).await? {
            return Ok(Read::Ended(end));
        }
        self.conclude(reader, &snapshot).await
    }

    /// Sweeps the tables that have been read and notes how far the others are.
    async fn conclude(&mut self, reader: Reader, snapshot: &Snapshot) -> Result<Read, Error> {
        // Everything is recorded as done, as far as it is.
        if self.drain().await? == Recovery::Stopped {
            return Ok(Read::Ended(End::Stopped));
        }
        let Reader { tables, mut workers, workspace, .. } = reader;
        self.events = (workspace.event.id_lsn(), workspace.event.ordinal);
        let mut read = Read::Done;
        for mut table in tables {
            if let Some(following) = &mut self.following {
                following.applier.extend_overlap(&table.name, snapshot.until);
            }
            if !table.state.is_read() && !table.state.complete {
                read = Read::More;
            } else if !table.state.complete
                && let Some(worker) = workers.last_mut()
            {
                let mapping = (&table.captured, &*table.plan);
                if self.sweep(&mut worker.connection, mapping, &table.state).await? == Recovery::Stopped {
                    return Ok(Read::Ended(End::Stopped));
                }
                table.state.completed(&table.streams);
                self.writer.extra().table(&table.name, &table.state);
            }
            self.states.insert(table.name, table.state);
        }
        if read == Read::Done {
            self.writer.extra().field("snapshot", "done");
            self.writer.extra().field("first_snapshot", "done");
            self.writer.forget_former();
            self.was_read = true;
        }
        self.writer.mark_beside_the_stream();
        if self.drain().await? == Recovery::Stopped {
            return Ok(Read::Ended(End::Stopped));
        }
        for worker in workers {
            worker.connection.close().await;
        }
        if read == Read::Done {
            tracing::info!(
                event = "snapshot_done",
                rows = self.progress.totals.changes.load(Relaxed),
                "snapshot done, all tables are in Redis"
            );
        }
        Ok(read)
    }

    /// The position that rows are read at: before what the stream still brings, and not before what it
    /// has brought.
    fn snapshot_position(&self) -> Lsn {
        self.writer.accepted().lsn.max(self.written.lsn)
    }

    /// For rows that stand directly before that position, and after what was written there.
    fn snapshot_workspace(&self) -> Workspace {
        let mut workspace = Workspace::new(&self.pipeline.config);
        workspace.event.set_id_base(self.id_base);
        workspace.event.begin_snapshot(self.snapshot_position(), 0, postgres_now());
        if workspace.event.id_lsn() == self.events.0 {
            workspace.event.ordinal = self.events.1;
        }
        workspace
    }

    /// Rows that were read before an interruption have their dead letters already.
    async fn recall_letters(&mut self) -> Result<(), Error> {
        if self.writer.letters().is_empty() {
            return Ok(());
        }
        let mut redis = self.open_redis().await?;
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        let lsn = self.snapshot_position();
        let recall = self.writer.letters().recall(&mut redis, lsn);
        Session::meanwhile(&mut self.stream, positions, recall).await
    }

    /// Writes down what is going to be read before any row is.
    async fn announce(
        &mut self,
        tables: &mut [Reading],
        snapshot: &Snapshot,
        workspace: &mut Workspace,
    ) -> Result<bool, Error> {
        let mut resumed = false;
        for table in tables.iter_mut() {
            if let Some(reason) = table.state.gap.take() {
                self.tell_streams(&table.plan, Notice::Gap(&reason), workspace).await?;
                self.writer.extra().events((workspace.event.id_lsn(), workspace.event.ordinal));
            }
            let state = &mut table.state;
            if state.columns.is_empty() {
                let fresh = state.retired.is_empty();
                note_definition(state, &table.captured);
                state.keys = table.plan.key_patterns();
                let seen = (snapshot.visibility.to_string(), snapshot.exact_until().0);
                state.tell(table.plan.sinks.iter().filter_map(Sink::stream).map(|s| s.name()), &seen);
                state.base = fresh.then_some(seen);
            } else {
                resumed = true;
            }
            state.until = snapshot.until.0;
            table.progress.set_overlap(snapshot.until);
            self.writer.extra().table(&table.name, state);
        }
        self.writer.extra().field("snapshot", "running");
        self.writer.mark_beside_the_stream();
        // On a signal the stop is noticed where rows are read.
        self.drain().await?;
        Ok(resumed)
    }
}

/// A table that was redefined between the look at the catalog and the reading is looked at again.
pub(super) fn redefined(error: crate::postgres::Error) -> Error {
    if error.is_undefined() {
        return Error::Restart(format!("{error}: a table was redefined while it was read; looking again"));
    }
    error.into()
}

/// Takes the snapshot, cuts tables that are read for the first time into ranges, and connects workers.
async fn prepare(config: &Config, tables: &mut [Reading]) -> Result<(Snapshot, Vec<Worker>), Error> {
    let mut leader = Connection::open(&config.source, Purpose::Sql).await?;
    let names: Vec<String> = tables.iter().map(|table| table.captured.table.sql_rows()).collect();
    let snapshot = snapshot::take(&mut leader, &names).await.map_err(redefined)?;
    for table in tables.iter_mut().filter(|table| table.state.columns.is_empty()) {
        table.state.bounds = bounds(&mut leader, &table.captured, config.snapshot.range_rows).await?;
    }
    let ranges: usize = tables.iter().map(|table| table.state.bounds.len() + 1).sum();
    let mut workers = Vec::new();
    for _ in 1..config.snapshot.workers.min(ranges) {
        let mut connection = Connection::open(&config.source, Purpose::Sql).await?;
        if let Err(error) = snapshot::join(&mut connection, &snapshot).await {
            // A snapshot ends with the connection that took it, and is then not known any more.
            leader.query("SELECT 1").await?;
            return Err(error.into());
        }
        workers.push(Worker::new(connection));
    }
    workers.push(Worker::new(leader));
    Ok((snapshot, workers))
}
