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

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::capture::Captured;
use super::checkpoint::TableState;
use super::ledger::{Origin, Source};
use super::ranges::{bounds, copy_statement};
use super::session::{End, Recovery, Session, only_grew};
use super::truncate::Notice;
use super::writer::Writer;
use crate::config::{Config, OnGap};
use crate::error::{Error, SlotUse};
use crate::lsn::Lsn;
use crate::plan::{Plan, stream_names};
use crate::postgres::copy::{CopyEvent, split_row};
use crate::postgres::snapshot::{self, Snapshot};
use crate::postgres::{Connection, Purpose};
use crate::progress::{Phase, Progress, TableProgress, Totals};
use crate::row::{Cell, Change, Row};
use crate::sink::{Sink, Workspace};

/// A table that is being read.
#[derive(Debug)]
struct Reading {
    name: String,
    captured: Captured,
    plan: Rc<Plan>,
    state: TableState,
    /// All streams among its outputs.
    streams: Vec<String>,
    progress: Arc<TableProgress>,
}

/// A part of a table that one COPY reads.
#[derive(Debug, Clone, Copy)]
struct Range {
    /// Index in the list of tables.
    table: usize,
    number: u32,
}

impl Reading {
    /// One of its streams has got rows of a snapshot that was not read to its end.
    fn has_begun(&self) -> bool {
        let streams = self.plan.sinks.iter().filter_map(Sink::stream);
        streams.map(|stream| stream.name()).any(|name| self.state.told.contains_key(name))
    }
}

#[derive(Debug)]
struct Worker {
    connection: Connection,
    reading: Option<Range>,
    rows: u64,
    /// When it last brought something, or was not asked to.
    heard: Instant,
}

impl Worker {
    fn new(connection: Connection) -> Worker {
        Worker { connection, reading: None, rows: 0, heard: Instant::now() }
    }
}

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

/// A worker that is silent for so long may have lost its connection.
const SILENCE: Duration = Duration::from_secs(10);

/// What the loop stopped for.
#[derive(Debug)]
enum Event {
    /// This worker has nothing to do.
    Free(usize),
    Heartbeat,
    Stop,
    Trouble(Error),
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
        let position = self.snapshot_position(tables.iter().any(Reading::has_begun));
        let mut workspace = self.snapshot_workspace(position);
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
        self.recall_letters(position).await?;
        let until = sliced.then(|| Instant::now() + SLICE);
        let lsn = position;
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

    /// Finds the tables whose rows in Redis were written as something else than they would be now.
    fn compare_states(&mut self) -> Result<(), Error> {
        for captured in self.captured.values() {
            let name = captured.name();
            let Some(state) = self.states.get_mut(&name) else { continue };
            // Nothing was read yet, or it is to be read again already.
            if state.columns.is_empty() {
                continue;
            }
            let shape = &captured.shape;
            if !state.published.is_empty() && state.published != captured.published {
                let reason = format!(
                    "the publication {} was made anew or changed, or {name} was taken out of it: changes in between \
                     can be missing",
                    self.pipeline.config.source.publication
                );
                if self.pipeline.config.on_gap == OnGap::Fail {
                    return Err(Error::gap(reason, SlotUse::Usable));
                }
                tracing::warn!(
                    event = "resnapshot",
                    table = name,
                    "{reason}. It is read again (on_gap: resnapshot)"
                );
                state.read_again(true);
                state.forget_streams();
                state.gap = Some(reason);
            } else if state.outputs != captured.fingerprint {
                tracing::info!(
                    event = "resnapshot",
                    table = name,
                    "its configuration changed: it is read again"
                );
                state.read_again(true);
            } else if state.oid != captured.table.oid || state.key != shape.key_names() {
                tracing::info!(
                    event = "resnapshot",
                    table = name,
                    "it was made anew, or its key changed: it is read again"
                );
                state.read_again(true);
                if state.oid != captured.table.oid {
                    state.forget_streams();
                    state.gap = Some(format!("{name} was dropped and made anew: its former rows are gone"));
                }
            } else if state.columns == shape.record() && !state.again {
                continue;
            } else if state.complete && !state.again && only_grew(state, captured) {
                state.columns = shape.record();
            } else {
                tracing::info!(
                    event = "resnapshot",
                    table = name,
                    "its definition changed: it is read again"
                );
                let moved = captured.plan(&self.pipeline.file)?.has_moved_rows(&state.columns);
                state.read_again(moved);
            }
            self.writer.extra().table(&name, state);
        }
        let names: Vec<String> = self.captured.values().map(Captured::name).collect();
        for (name, state) in &mut self.states {
            // Should it be captured again one day, it will have missed changes.
            if !names.contains(name) && !state.columns.is_empty() {
                tracing::warn!(
                    event = "table_gone",
                    table = name,
                    "not captured any more; its keys stay in Redis"
                );
                state.read_again(true);
                state.forget_streams();
                state.gap =
                    Some(format!("{name} was not captured for a while: changes in between are missing"));
                self.writer.extra().table(name, state);
            }
        }
        Ok(())
    }

    fn incomplete(&mut self) -> Result<Vec<Reading>, Error> {
        let mut tables = Vec::new();
        for captured in self.captured.values() {
            let name = captured.name();
            let mut state = self.states.get(&name).cloned().unwrap_or_default();
            if state.complete {
                continue;
            }
            let streams = stream_names(&captured.outputs);
            let mut plan = captured.plan(&self.pipeline.file)?;
            plan.retire(&state.retired);
            plan.without_streams(&state.announced);
            if plan.sinks.is_empty() && state.stale_keys.is_empty() {
                // Its streams have the rows already, and there is nothing else.
                note_definition(&mut state, captured);
                state.completed(&streams);
                self.writer.extra().table(&name, &state);
                self.states.insert(name, state);
                continue;
            }
            let plan = Rc::new(plan);
            let progress = self.progress.table(&name);
            progress.expected.store(captured.table.estimated_rows, Relaxed);
            progress.set_snapshot(state.rows, false);
            tables.push(Reading { name, captured: captured.clone(), plan, state, streams, progress });
        }
        Ok(tables)
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

    async fn read_ranges(
        &mut self,
        reader: &mut Reader,
        ranges: &mut VecDeque<Range>,
    ) -> Result<Option<End>, Error> {
        let mut timer = Session::heartbeat_timer();
        for index in 0..reader.workers.len() {
            self.assign(reader, index, ranges).await?;
        }
        while reader.workers.iter().any(|worker| worker.reading.is_some()) {
            let event = tokio::select! {
                biased;
                _ = self.shutdown.wait_for(|stop| *stop) => Event::Stop,
                _ = timer.tick() => Event::Heartbeat,
                event = poll_fn(|cx| reader.poll(cx, &mut self.writer)) => event,
            };
            match event {
                Event::Free(index) => self.assign(reader, index, ranges).await?,
                Event::Heartbeat => {
                    self.writer.flush(Duration::ZERO);
                    self.heartbeat().await?;
                    self.check_workers(reader).await?;
                    if self.progress.is_to_pause() {
                        if self.stay_paused().await? == Recovery::Stopped {
                            return Ok(Some(End::Stopped));
                        }
                        reader.workers.iter_mut().for_each(|worker| worker.heard = Instant::now());
                    }
                }
                Event::Stop => return Ok(Some(End::Stopped)),
                Event::Trouble(error) => {
                    if self.recover(error).await? == Recovery::Stopped {
                        return Ok(Some(End::Stopped));
                    }
                }
            }
        }
        Ok(None)
    }

    /// A worker that brings nothing, although PostgreSQL is not looking for rows but waiting to send them,
    /// has a dead connection.
    async fn check_workers(&mut self, reader: &mut Reader) -> Result<(), Error> {
        for worker in &mut reader.workers {
            if worker.reading.is_none() || worker.heard.elapsed() < SILENCE {
                continue;
            }
            let positions = (self.writer.accepted().lsn, self.retention.confirmable());
            let sql = format!(
                "SELECT 1 FROM pg_catalog.pg_stat_activity WHERE pid = {} AND state = 'active' \
                 AND wait_event IS DISTINCT FROM 'ClientWrite'",
                worker.connection.backend_pid()
            );
            let source = &self.pipeline.config.source;
            let busy = async {
                let mut asking = Connection::open(source, Purpose::Sql).await?;
                Ok(asking.query_one(&sql).await?.is_some())
            };
            if !Session::meanwhile(&mut self.stream, positions, busy).await? {
                return Err(worker.connection.silent(SILENCE).into());
            }
            worker.heard = Instant::now();
        }
        Ok(())
    }

    async fn assign(
        &mut self,
        reader: &mut Reader,
        index: usize,
        ranges: &mut VecDeque<Range>,
    ) -> Result<(), Error> {
        let Some(worker) = reader.workers.get_mut(index) else { return Ok(()) };
        let over = reader.until.is_some_and(|until| Instant::now() >= until);
        worker.reading = if over { None } else { ranges.pop_front() };
        worker.rows = 0;
        worker.heard = Instant::now();
        if let Some(range) = worker.reading {
            let table = &reader.tables[range.table];
            let statement = copy_statement(&table.captured, &table.state.bounds, range.number);
            // It waits for as long as somebody has the table locked.
            let positions = (self.writer.accepted().lsn, self.retention.confirmable());
            let start = async { worker.connection.start_copy(&statement).await.map_err(redefined) };
            Session::meanwhile(&mut self.stream, positions, start).await?;
        }
        Ok(())
    }
}

/// What the rows are written as from now on.
fn note_definition(state: &mut TableState, captured: &Captured) {
    state.columns = captured.shape.record();
    state.oid = captured.table.oid;
    state.key = captured.shape.key_names();
    state.files.clone_from(&captured.table.files);
    state.outputs.clone_from(&captured.fingerprint);
    state.published.clone_from(&captured.published);
}

#[derive(Debug)]
struct Reader {
    tables: Vec<Reading>,
    workers: Vec<Worker>,
    cells: Vec<Cell>,
    workspace: Workspace,
    /// Where the stream follows from.
    lsn: Lsn,
    /// No range is begun after this.
    until: Option<Instant>,
    progress: Arc<Progress>,
}

impl Reader {
    /// Moves rows from the workers to the writer until a worker is free or Redis makes trouble.
    fn poll(&mut self, cx: &mut Context<'_>, writer: &mut Writer) -> Poll<Event> {
        loop {
            let confirmed = writer.poll_confirmed(cx);
            if let Poll::Ready(Err(error)) = confirmed {
                return Poll::Ready(Event::Trouble(error));
            }
            let mut waiting = true;
            for index in 0..self.workers.len() {
                match self.poll_worker(cx, index, writer) {
                    Poll::Ready(Ok(true)) => {
                        writer.mark_beside_the_stream();
                        writer.flush(Duration::ZERO);
                        return Poll::Ready(Event::Free(index));
                    }
                    Poll::Ready(Ok(false)) => waiting = false,
                    Poll::Ready(Err(error)) => return Poll::Ready(Event::Trouble(error)),
                    Poll::Pending => {}
                }
            }
            writer.mark_beside_the_stream();
            let was_idle = writer.is_idle();
            // Each batch has a checkpoint. Rows that come slowly wait for others, until the end of their range
            // or the next heartbeat.
            if writer.is_well_filled() {
                writer.flush(Duration::ZERO);
            }
            if waiting && (!was_idle || writer.is_idle()) {
                return Poll::Pending;
            }
        }
    }

    /// Takes what one worker has received. Ready with true when its range is finished, with false
    /// when there can be more at once.
    fn poll_worker(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        writer: &mut Writer,
    ) -> Poll<Result<bool, Error>> {
        let Some(worker) = self.workers.get_mut(index) else { return Poll::Pending };
        let Some(range) = worker.reading else { return Poll::Pending };
        let Some(table) = self.tables.get_mut(range.table) else { return Poll::Pending };
        let before = worker.rows;
        let events = self.workspace.event.ordinal;
        let has_streams = table.plan.has_streams();
        // Rows of a table that is read again are there already.
        self.workspace.packing = writer.packing().filter(|_| table.state.base.is_some());
        let result = loop {
            if writer.is_full() {
                worker.heard = Instant::now();
                break Poll::Pending;
            }
            match worker.connection.copy_event() {
                Err(error) => break Poll::Ready(Err(error.into())),
                Ok(CopyEvent::Row(frame)) => {
                    let line = worker.connection.copy_row(&frame);
                    let begun = writer.begin_change(line);
                    split_row(line, &mut self.cells);
                    let change = Change::Whole { new: Row::new(line, &self.cells) };
                    self.workspace.event.ordinal += u64::from(has_streams);
                    for sink in &table.plan.sinks {
                        sink.write(&change, &mut self.workspace, writer.commands());
                    }
                    let source = Source::Row(Rc::clone(&table.plan));
                    let origin = Origin { source, lsn: self.lsn, ordinal: 0, repeated: false };
                    writer.end_change(begun, origin);
                    worker.rows += 1;
                    worker.connection.copy_consume(&frame);
                }
                Ok(CopyEvent::Done) => break Poll::Ready(Ok(true)),
                Ok(CopyEvent::Incomplete(wanted)) => match worker.connection.poll_more(cx, wanted) {
                    Poll::Ready(Ok(bytes)) => {
                        worker.heard = Instant::now();
                        Totals::add(&self.progress.totals.received, bytes as u64);
                        break Poll::Ready(Ok(false));
                    }
                    Poll::Ready(Err(error)) => break Poll::Ready(Err(error.into())),
                    Poll::Pending => break Poll::Pending,
                },
            }
        };
        let event = &self.workspace.event;
        if event.ordinal > events {
            writer.extra().events((event.id_lsn(), event.ordinal));
        }
        table.progress.count_read(worker.rows - before);
        if matches!(result, Poll::Ready(Ok(true))) {
            worker.reading = None;
            table.state.rows += worker.rows;
            table.state.done.push(range.number);
            if table.state.is_read() {
                if table.state.stale_keys.is_empty() {
                    table.state.completed(&table.streams);
                }
                table.progress.done.store(true, Relaxed);
            }
            let (field, value) = table.state.field(&table.name);
            writer.extra_when_confirmed(&field, value);
        }
        result
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

fn ranges_to_read(tables: &[Reading]) -> VecDeque<Range> {
    let mut ranges = VecDeque::new();
    for (index, table) in tables.iter().enumerate() {
        for number in 0..=table.state.bounds.len() as u32 {
            if !table.state.done.contains(&number) {
                ranges.push_back(Range { table: index, number });
            }
        }
    }
    ranges
}
