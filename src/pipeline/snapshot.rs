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

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::apply::Overlap;
use super::capture::Captured;
use super::ranges::{RangeSize, bounds};
use super::reader::{Reader, Worker, ranges_to_read};
use super::session::{End, Recovery, Session};
use super::sweep::together;
use super::truncate::Notice;
use super::unread::{Due, Reading, note_definition};
use crate::config::Config;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::plan::shape::ColumnRecord;
use crate::postgres::snapshot::{self, Snapshot};
use crate::postgres::{Connection, Purpose};
use crate::progress::Phase;
use crate::sink::{Sink, Workspace};

/// How long tables are read while the stream waits, when there are others that it brings changes of.
const SLICE: Duration = Duration::from_millis(100);

/// How often a snapshot is taken that has all that was streamed. It has it a moment after, if not at once.
const ATTEMPTS: u32 = 10;
/// How long the stream goes on, where it still had not.
const NOT_NOW: Duration = Duration::from_millis(200);
/// How often it is looked whether the stream has come to where the session has found the tables.
const CATCHING_UP: Duration = Duration::from_millis(10);
/// The stream does not wait for somebody who has a table locked.
const LOCK_PATIENCE: &str = "SET lock_timeout = '50ms'";

/// What a session knows of tables that it reads while others are streamed.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// There is something to be read.
    reading: bool,
    /// It was told that reading has begun.
    begun: bool,
    /// Rows are read, and the next ones in a snapshot that has all that was applied.
    noting: bool,
    /// Transactions that were applied, and that no snapshot has been known to see.
    applied: Vec<u32>,
    /// The end of what was committed after the session had looked at the tables: what comes behind it was written
    /// when they were defined as they were found, or later.
    pub(super) reach: Option<Lsn>,
    /// Where rows are read.
    connection: Option<Connection>,
    prepared: BTreeMap<String, Prepared>,
}

/// A table that can be read from now on.
#[derive(Debug)]
struct Prepared {
    /// As which it was cut into ranges.
    columns: Arc<[ColumnRecord]>,
    bounds: Vec<Vec<String>>,
}

impl Again {
    /// A transaction was applied.
    #[inline]
    pub(super) fn note(&mut self, xid: Option<u32>) {
        if self.noting {
            self.applied.extend(xid);
        }
    }
}

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
        loop {
            self.compare_states().await?;
            let Due { tables, all } = self.due()?;
            if tables.is_empty() {
                return self.all_are_read().await;
            }
            self.again.reading = true;
            self.again.noting = tables.iter().any(|table| !table.state.is_read());
            if self.was_read {
                match self.prepare_tables(&tables).await? {
                    None => return Ok(Read::Ended(End::Stopped)),
                    // They can have changed meanwhile.
                    Some(true) => continue,
                    Some(false) => {}
                }
            }
            let recovery = if self.again.noting {
                self.progress.set_phase(Phase::Snapshot);
                let number = all.len();
                self.progress.begin_snapshot(all);
                self.read_unread(tables, number).await?
            } else {
                self.sweep_tables(&tables).await?
            };
            if recovery == Recovery::Stopped {
                return Ok(Read::Ended(End::Stopped));
            }
            if self.streams_meanwhile() {
                return Ok(Read::More);
            }
        }
    }

    /// Reads what is to be read of these tables, or as much of it as takes a moment. `all`: how many are to be read,
    /// these included.
    async fn read_unread(&mut self, mut tables: Vec<Reading>, all: usize) -> Result<Recovery, Error> {
        let sliced = self.streams_meanwhile();
        let (taken, pause) = match sliced && self.is_behind().await? {
            true => (None, CATCHING_UP),
            false => (self.take_snapshot(&mut tables).await?, NOT_NOW),
        };
        let Some((snapshot, workers)) = taken else {
            let pause = async {
                sleep(pause).await;
                Ok(())
            };
            return Ok(match self.beside(pause).await? {
                Some(()) => Recovery::Resumed,
                None => Recovery::Stopped,
            });
        };
        let position = self.snapshot_position(tables.iter().any(Reading::has_begun));
        let mut workspace = self.snapshot_workspace(position);
        let resumed = self.announce(&mut tables, &snapshot, &mut workspace).await?;
        let mut ranges = ranges_to_read(&tables);
        if !std::mem::replace(&mut self.again.begun, true) {
            tracing::info!(
                event = if resumed { "snapshot_goes_on" } else { "snapshot_begins" },
                tables = all,
                ranges = ranges.len(),
                workers = workers.len(),
                "{}",
                if resumed { "snapshot goes on" } else { "snapshot begins" }
            );
        }
        self.works();
        self.recall_letters(position).await?;
        let until = sliced.then(|| Instant::now() + SLICE);
        let lsn = position;
        let progress = Arc::clone(&self.progress);
        let mut reader = Reader { tables, workers, cells: Vec::new(), workspace, lsn, until, progress };
        if self.read_ranges(&mut reader, &mut ranges).await?.is_some() {
            return Ok(Recovery::Stopped);
        }
        self.conclude(reader).await
    }

    /// Notes how far the tables are.
    async fn conclude(&mut self, reader: Reader) -> Result<Recovery, Error> {
        // Everything is recorded as done, as far as it is.
        if self.drain().await? == Recovery::Stopped {
            return Ok(Recovery::Stopped);
        }
        let Reader { tables, mut workers, workspace, .. } = reader;
        self.events = (workspace.event.id_lsn(), workspace.event.ordinal);
        for table in tables {
            if let Some(following) = &mut self.following {
                following.applier.set_overlap(&table.name, &Overlap::of(&table.state));
            }
            self.states.insert(table.name, table.state);
        }
        self.writer.mark_beside_the_stream();
        if self.drain().await? == Recovery::Stopped {
            return Ok(Recovery::Stopped);
        }
        if self.streams_meanwhile()
            && let Some(mut worker) = workers.pop()
        {
            worker.connection.query("COMMIT").await?;
            self.again.connection = Some(worker.connection);
        }
        for worker in workers {
            worker.connection.close().await;
        }
        Ok(Recovery::Resumed)
    }

    /// Removes what has no row in tables that have been read as a whole.
    async fn sweep_tables(&mut self, tables: &[Reading]) -> Result<Recovery, Error> {
        let mut left = tables;
        while !left.is_empty() {
            let (some, rest) = left.split_at(together(left));
            left = rest;
            if self.sweep(some).await? == Recovery::Stopped {
                return Ok(Recovery::Stopped);
            }
            for table in some {
                if let Some(state) = self.states.get_mut(&table.name) {
                    state.completed(&table.streams);
                    self.writer.extra().table(&table.name, state);
                }
            }
        }
        Ok(Recovery::Resumed)
    }

    /// Every table is in Redis.
    async fn all_are_read(&mut self) -> Result<Read, Error> {
        if self.was_read && !self.again.reading {
            return Ok(Read::Done);
        }
        self.writer.extra().field("snapshot", "done");
        self.writer.extra().field("first_snapshot", "done");
        self.writer.forget_former();
        self.was_read = true;
        self.writer.mark_beside_the_stream();
        if self.drain().await? == Recovery::Stopped {
            return Ok(Read::Ended(End::Stopped));
        }
        if let Some(connection) = std::mem::take(&mut self.again).connection {
            connection.close().await;
        }
        tracing::info!(
            event = "snapshot_done",
            rows = self.progress.totals.changes.load(Relaxed),
            "snapshot done, all tables are in Redis"
        );
        Ok(Read::Done)
    }

    /// Before tables are read that the stream may have changed: sees to it that a snapshot has what was streamed
    /// before this session, and, where others are streamed meanwhile, cuts them into ranges. False when there was
    /// nothing to do, `None` on a signal.
    async fn prepare_tables(&mut self, tables: &[Reading]) -> Result<Option<bool>, Error> {
        let mut todo: Vec<(Arc<Captured>, bool)> = Vec::new();
        for table in tables.iter().filter(|table| !table.state.is_read()) {
            let prepared = self.again.prepared.get(&table.name);
            if prepared.is_none_or(|prepared| prepared.columns != *table.captured.shape.record()) {
                let is_cut = self.streams_meanwhile() && table.state.columns.is_empty();
                todo.push((Arc::clone(&table.captured), is_cut));
            }
        }
        if todo.is_empty() {
            return Ok(Some(false));
        }
        let config = &self.pipeline.config;
        let prepare = async {
            let mut connection = Connection::open(&config.source, Purpose::Sql).await?;
            let mut prepared = Vec::new();
            for (captured, is_cut) in todo {
                wait_for_writers(&mut connection, &captured).await?;
                let bounds = match is_cut {
                    true => {
                        bounds(&mut connection, &captured, RangeSize::Short(config.snapshot.range_rows))
                            .await?
                    }
                    false => Vec::new(),
                };
                prepared.push((
                    captured.name(),
                    Prepared { columns: Arc::clone(captured.shape.record()), bounds },
                ));
            }
            connection.close().await;
            Ok(prepared)
        };
        let Some(prepared) = self.beside(prepare).await? else { return Ok(None) };
        self.again.prepared.extend(prepared);
        Ok(Some(true))
    }

    /// A snapshot of these tables, and the connections that read in it. Where others are streamed, one that
    /// has all that was streamed; `None` when there is none yet.
    async fn take_snapshot(
        &mut self,
        tables: &mut [Reading],
    ) -> Result<Option<(Snapshot, Vec<Worker>)>, Error> {
        let config = &self.pipeline.config;
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        if !self.streams_meanwhile() {
            let prepare = prepare(config, tables);
            return Ok(Some(Session::meanwhile(&mut self.stream, positions, prepare).await?));
        }
        for table in tables.iter_mut().filter(|table| table.state.columns.is_empty()) {
            if let Some(prepared) = self.again.prepared.get(&table.name) {
                table.state.bounds.clone_from(&prepared.bounds);
            }
        }
        let names: Vec<String> = tables.iter().map(|table| table.captured.table.sql_rows()).collect();
        let Again { connection, applied, .. } = &mut self.again;
        let take = async {
            let mut reader = match connection.take() {
                Some(reader) => reader,
                None => {
                    let mut reader = Connection::open(&config.source, Purpose::Sql).await?;
                    reader.query(LOCK_PATIENCE).await?;
                    reader
                }
            };
            for _ in 0..ATTEMPTS {
                let snapshot = match snapshot::take(&mut reader, &names).await {
                    Ok(snapshot) => snapshot,
                    // Somebody has a table locked.
                    Err(error) if error.sqlstate() == Some("55P03") => break,
                    Err(error) => return Err(redefined(error)),
                };
                // What a standby sends was applied there before.
                applied.retain(|xid| !snapshot.vague && !snapshot.visibility.saw(*xid));
                if applied.is_empty() {
                    return Ok(Some((snapshot, vec![Worker::new(reader)])));
                }
                reader.query("ROLLBACK").await?;
                sleep(Duration::from_millis(2)).await;
            }
            reader.query("ROLLBACK").await?;
            *connection = Some(reader);
            Ok(None)
        };
        Session::meanwhile(&mut self.stream, positions, take).await
    }

    /// Rows that were read before an interruption have their dead letters already.
    async fn recall_letters(&mut self, lsn: Lsn) -> Result<(), Error> {
        if self.writer.letters().is_empty() {
            return Ok(());
        }
        let mut redis = self.open_redis().await?;
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
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
            let begins = table.state.columns.is_empty();
            if let Some(reason) = table.state.gap.take() {
                self.tell_streams(&table.plan, Notice::Gap(&reason), workspace).await?;
                self.writer.extra().events((workspace.event.id_lsn(), workspace.event.ordinal));
            }
            let state = &mut table.state;
            if state.columns.is_empty() {
                let fresh = state.retired.is_empty();
                state.write_as(&table.plan);
                note_definition(state, &table.captured);
                state.keys = table.plan.key_patterns();
                let seen = (snapshot.visibility.to_string(), snapshot.exact_until().0);
                state.tell(table.plan.sinks.iter().filter_map(Sink::stream).map(|s| s.name()), &seen);
                state.base = fresh.then_some(seen);
            } else {
                resumed = true;
            }
            state.until = snapshot.until.0;
            if begins && let Some(following) = &mut self.following {
                following.applier.set_overlap(&table.name, &Overlap::of(state));
            }
            table.progress.set_overlap(snapshot.until);
            self.writer.extra().table(&table.name, state);
        }
        self.writer.extra().field("snapshot", "running");
        if self.scattered {
            // Should it be interrupted before a row is recorded: it goes on at the same position.
            self.events = (workspace.event.id_lsn(), workspace.event.ordinal);
            self.writer.extra().events(self.events);
        }
        self.writer.mark_beside_the_stream();
        // On a signal the stop is noticed where rows are read.
        self.drain().await?;
        Ok(resumed)
    }
}

/// All that has been written to the table by now can be seen when this ends.
pub(super) async fn wait_for_writers(connection: &mut Connection, captured: &Captured) -> Result<(), Error> {
    let waiting = |count: usize| {
        tracing::info!(
            table = captured.name(),
            transactions = count,
            "reading {} goes on when the transactions are over that have written to it",
            captured.name()
        );
    };
    Ok(snapshot::until_written(connection, captured.table.oid, waiting).await?)
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
        table.state.bounds =
            bounds(&mut leader, &table.captured, RangeSize::Given(config.snapshot.range_rows)).await?;
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
