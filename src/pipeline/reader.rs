//! Rows on their way from several connections, each of which reads a range, to the writer.
//!
//! ```text
//!   worker 1 ── COPY range ──┐
//!   worker 2 ── COPY range ──┴─> Writer ── rows … rows ─> confirmed ─> "range 7 of emp is done" ──> Redis
//! ```
//!
//! A range is recorded as done with the batch after the one that has its last rows: when it is known
//! what Redis replied to all of them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::ledger::{Origin, Source};
use super::ranges::copy_statement;
use super::session::{End, Recovery, Session};
use super::snapshot::redefined;
use super::unread::Reading;
use super::writer::Writer;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::postgres::copy::{CopyEvent, split_row};
use crate::postgres::{Connection, Purpose};
use crate::progress::{Progress, Totals};
use crate::row::{Cell, Change, Row};
use crate::sink::Workspace;

/// A part of a table that one COPY reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    /// Index in the list of tables.
    table: usize,
    number: u32,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) connection: Connection,
    reading: Option<Range>,
    rows: u64,
    /// When it last brought something, or was not asked to.
    heard: Instant,
}

impl Worker {
    pub(super) fn new(connection: Connection) -> Worker {
        Worker { connection, reading: None, rows: 0, heard: Instant::now() }
    }
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
    pub(super) async fn read_ranges(
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

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) tables: Vec<Reading>,
    pub(super) workers: Vec<Worker>,
    pub(super) cells: Vec<Cell>,
    pub(super) workspace: Workspace,
    /// Where the stream follows from.
    pub(super) lsn: Lsn,
    /// No range is begun after this.
    pub(super) until: Option<Instant>,
    pub(super) progress: Arc<Progress>,
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
        self.workspace.packing = writer.packing_of_rows().filter(|_| table.state.base.is_some());
        let result = loop {
            if writer.is_full() || writer.is_alone() {
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

pub(super) fn ranges_to_read(tables: &[Reading]) -> VecDeque<Range> {
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
