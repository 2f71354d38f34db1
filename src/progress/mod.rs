//! What the pipeline is doing, for those who watch: written by the data loop, read by other threads.
//!
//! ```text
//!   data loop ──> counters, histograms, phase ──> Progress <── view, HTTP (status, metrics, dashboard)
//!                                                    ^ │
//!                                                    │ └──> paused? requests?
//!   tasks beside it: lag, requests ──────────────────┘
//! ```
//!
//! The data loop pays a store or two for a row and nothing that waits: what it writes often has one
//! writer and is an atomic, what is behind a lock changes a few times a minute. Counters begin at zero
//! with the process and outlive the sessions in it.

mod clock;
mod histogram;
mod journal;
mod reason;
mod slot;
mod table;
mod trouble;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Error;
use crate::lsn::Lsn;

pub(crate) use clock::{now, seconds_since, timestamp};
pub(crate) use histogram::{Counted, Histogram};
pub(crate) use journal::{Happening, Journal, JournalLayer};
#[cfg(test)]
pub(crate) use reason::REASONS;
pub(crate) use slot::{STATUSES, SlotSeen};
pub(crate) use table::{OPERATIONS, Operation, OutputProgress, TableProgress};
pub(crate) use trouble::Trouble;

/// The phases of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    /// Another instance is at work.
    Waiting,
    Snapshot,
    Streaming,
    /// An error passes by itself, or a connection is made anew.
    Retrying,
    /// Its user wants it to do nothing for a while.
    Paused,
    Stopping,
}

pub(crate) const PHASES: [Phase; 7] = [
    Phase::Starting,
    Phase::Waiting,
    Phase::Snapshot,
    Phase::Streaming,
    Phase::Retrying,
    Phase::Paused,
    Phase::Stopping,
];

impl Phase {
    /// Its name in the API, the metrics and the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Waiting => "waiting",
            Phase::Snapshot => "snapshot",
            Phase::Streaming => "streaming",
            Phase::Retrying => "retrying",
            Phase::Paused => "paused",
            Phase::Stopping => "stopping",
        }
    }
}

/// Adds to a counter that only one thread writes: cheaper than an atomic addition.
#[inline]
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

/// How much was done; every counter has the data loop as its only writer.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Changes that Redis has confirmed, snapshot rows included.
    pub(crate) changes: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) batches: AtomicU64,
    /// Bytes of the stream and of tables that PostgreSQL has sent.
    pub(crate) received: AtomicU64,
    /// Bytes of batches for Redis.
    pub(crate) sent: AtomicU64,
    pub(crate) dead_letters: AtomicU64,
    /// Sessions that were begun.
    pub(crate) sessions: AtomicU64,
    pub(crate) takeovers: AtomicU64,
    /// Redis had forgotten data, and got it again.
    pub(crate) rewinds: AtomicU64,
    /// Changes were lost, and all tables were read again.
    pub(crate) gaps: AtomicU64,
}

impl Totals {
    #[inline]
    pub(crate) fn add(counter: &AtomicU64, more: u64) {
        add(counter, more);
    }
}

/// Everything that is known of one process.
#[derive(Debug)]
pub(crate) struct Progress {
    phase: AtomicU8,
    /// When the phase began, as all times here in µs since 2000-01-01 UTC.
    phase_since: AtomicI64,
    pub(crate) started: i64,
    pub(crate) totals: Totals,
    /// From a transaction's COMMIT in PostgreSQL to Redis' reply.
    pub(crate) latency: Histogram,
    /// From the sending of a batch to Redis' reply.
    pub(crate) batch_time: Histogram,
    /// Everything before it is in Redis.
    position: AtomicU64,
    /// This process has written a batch.
    written: AtomicBool,
    /// PostgreSQL's end of the log, as last heard.
    server_position: AtomicU64,
    /// Commit time of the last transaction that was received.
    pub(crate) commit_time: AtomicI64,
    /// Nothing that was received waits to be written.
    pub(crate) caught_up: AtomicBool,
    /// When that was so last.
    caught_up_at: AtomicI64,
    /// When the data loop's thread last had a moment.
    beat: AtomicI64,
    /// Letters that are in Redis.
    pub(crate) dead_letters: AtomicU64,
    /// µs that Redis took for one short question; 0 when none was asked.
    pub(crate) round_trip: AtomicU64,
    /// Its user wants it to do nothing.
    paused: AtomicBool,
    /// Somebody has asked for tables to be read again.
    requested: AtomicBool,
    tables: Mutex<BTreeMap<String, Arc<TableProgress>>>,
    /// Those that are read now, or were last.
    reading: Mutex<Vec<Arc<TableProgress>>>,
    trouble: Mutex<Option<Trouble>>,
    retries: Mutex<BTreeMap<&'static str, u64>>,
    slot: Mutex<Option<SlotSeen>>,
}

impl Default for Progress {
    fn default() -> Progress {
        let now = now();
        Progress {
            phase: AtomicU8::new(0),
            phase_since: now.into(),
            started: now,
            totals: Totals::default(),
            latency: Histogram::default(),
            batch_time: Histogram::default(),
            position: AtomicU64::new(0),
            written: AtomicBool::new(false),
            server_position: AtomicU64::new(0),
            commit_time: AtomicI64::new(0),
            caught_up: AtomicBool::new(false),
            caught_up_at: AtomicI64::new(0),
            beat: now.into(),
            dead_letters: AtomicU64::new(0),
            round_trip: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            requested: AtomicBool::new(false),
            tables: Mutex::default(),
            reading: Mutex::default(),
            trouble: Mutex::default(),
            retries: Mutex::default(),
            slot: Mutex::default(),
        }
    }
}

/// A thread that has panicked does not keep others from looking.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    pub(crate) fn phase(&self) -> Phase {
        PHASES.get(usize::from(self.phase.load(Relaxed))).copied().unwrap_or(Phase::Starting)
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        let index = PHASES.iter().position(|p| *p == phase).unwrap_or(0) as u8;
        if self.phase.swap(index, Relaxed) != index {
            self.phase_since.store(now(), Relaxed);
        }
    }

    pub(crate) fn phase_since(&self) -> i64 {
        self.phase_since.load(Relaxed)
    }

    pub(crate) fn position(&self) -> Lsn {
        Lsn(self.position.load(Relaxed))
    }

    /// Where a session begins.
    pub(crate) fn begin_at(&self, lsn: Lsn) {
        self.position.store(lsn.0, Relaxed);
        self.heard_of(lsn);
    }

    /// A batch that ends here is confirmed.
    pub(crate) fn set_position(&self, lsn: Lsn) {
        self.begin_at(lsn);
        self.written.store(true, Relaxed);
    }

    /// This process has written a batch: passwords, rights and certificates were good then.
    pub(crate) fn has_written(&self) -> bool {
        self.written.load(Relaxed)
    }

    /// PostgreSQL's log reaches at least so far.
    pub(crate) fn heard_of(&self, lsn: Lsn) {
        self.server_position.fetch_max(lsn.0, Relaxed);
    }

    pub(crate) fn server_position(&self) -> Lsn {
        Lsn(self.server_position.load(Relaxed))
    }

    /// Called about once a second by the data loop's thread. A thread that is stuck does not call it.
    pub(crate) fn beat(&self) {
        let now = now();
        self.beat.store(now, Relaxed);
        if self.caught_up.load(Relaxed) {
            self.caught_up_at.store(now, Relaxed);
        }
    }

    /// How long ago the data loop's thread last had a moment.
    pub(crate) fn silence(&self) -> Duration {
        seconds_since(self.beat.load(Relaxed))
    }

    /// How far Redis is behind PostgreSQL in bytes of write-ahead log, of which not all need be for us.
    pub(crate) fn lag_bytes(&self) -> u64 {
        self.server_position().bytes_since(self.position())
    }

    /// For how long something has waited to be written: 0 when nothing does, as far as we know. A
    /// transaction that was not received yet was committed after those that were, and after we had
    /// everything last.
    pub(crate) fn lag_seconds(&self) -> f64 {
        let cut_off = matches!(self.phase(), Phase::Retrying | Phase::Paused) && self.lag_bytes() > 0;
        if self.caught_up.load(Relaxed) && !cut_off {
            return 0.0;
        }
        match self.commit_time.load(Relaxed).max(self.caught_up_at.load(Relaxed)) {
            0 => 0.0,
            since => seconds_since(since).as_secs_f64(),
        }
    }

    /// The table's counters; the same ones for as long as the process lives.
    pub(crate) fn table(&self, name: &str) -> Arc<TableProgress> {
        let mut tables = lock(&self.tables);
        if let Some(table) = tables.get(name) {
            return Arc::clone(table);
        }
        let table = Arc::new(TableProgress::new(name));
        tables.insert(name.to_owned(), Arc::clone(&table));
        table
    }

    /// Only these are captured.
    pub(crate) fn keep_tables(&self, captured: impl Fn(&str) -> bool) {
        lock(&self.tables).retain(|name, _| captured(name));
    }

    /// All captured tables, by their names.
    pub(crate) fn tables(&self) -> Vec<Arc<TableProgress>> {
        lock(&self.tables).values().map(Arc::clone).collect()
    }

    pub(crate) fn begin_snapshot(&self, tables: Vec<Arc<TableProgress>>) {
        *lock(&self.reading) = tables;
    }

    /// The tables that are read now, or were last.
    pub(crate) fn reading(&self) -> Vec<Arc<TableProgress>> {
        lock(&self.reading).clone()
    }

    /// Something failed and is tried again.
    pub(crate) fn count_retry(&self, error: &Error) {
        *lock(&self.retries).entry(reason::of(error)).or_default() += 1;
    }

    /// What fails at the moment; `None` when all is well.
    pub(crate) fn set_trouble(&self, trouble: Option<Trouble>) {
        *lock(&self.trouble) = trouble;
    }

    pub(crate) fn trouble(&self) -> Option<Trouble> {
        lock(&self.trouble).clone()
    }

    /// How often something was tried again, by reason.
    pub(crate) fn retries(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.retries).clone()
    }

    pub(crate) fn set_slot(&self, slot: SlotSeen) {
        *lock(&self.slot) = Some(slot);
    }

    pub(crate) fn slot(&self) -> Option<SlotSeen> {
        lock(&self.slot).clone()
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Relaxed);
    }

    pub(crate) fn is_to_pause(&self) -> bool {
        self.paused.load(Relaxed)
    }

    pub(crate) fn set_requested(&self) {
        self.requested.store(true, Relaxed);
    }

    pub(crate) fn take_requested(&self) -> bool {
        self.requested.swap(false, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_from_what_is_known() {
        let progress = Progress::default();
        assert_eq!(progress.lag_seconds(), 0.0);
        progress.commit_time.store(now() - 5_000_000, Relaxed);
        assert!((5.0..6.0).contains(&progress.lag_seconds()));
        // Everything was there three seconds ago: what waits is younger.
        progress.caught_up_at.store(now() - 3_000_000, Relaxed);
        assert!((3.0..4.0).contains(&progress.lag_seconds()));
        progress.caught_up.store(true, Relaxed);
        progress.set_phase(Phase::Streaming);
        progress.heard_of(Lsn(100));
        assert_eq!(progress.lag_seconds(), 0.0);
        // Nothing more is received, and there is more.
        progress.set_phase(Phase::Paused);
        assert!(progress.lag_seconds() >= 3.0);
        progress.set_position(Lsn(100));
        assert_eq!(progress.lag_seconds(), 0.0);
    }

    #[test]
    fn a_phase_has_its_name() {
        let progress = Progress::default();
        for phase in PHASES {
            progress.set_phase(phase);
            assert_eq!(progress.phase(), phase);
        }
        let names: std::collections::BTreeSet<_> = PHASES.iter().map(|phase| phase.name()).collect();
        assert_eq!(names.len(), PHASES.len());
    }
}
