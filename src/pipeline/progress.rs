//! What the pipeline is doing, for those who watch: written by the data loop, read by other threads.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::lsn::Lsn;

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
    Stopping,
}

const PHASES: [Phase; 6] =
    [Phase::Starting, Phase::Waiting, Phase::Snapshot, Phase::Streaming, Phase::Retrying, Phase::Stopping];

/// One table's snapshot.
#[derive(Debug)]
pub(crate) struct TableProgress {
    pub(crate) name: String,
    /// The planner's estimate.
    pub(crate) expected: u64,
    pub(crate) rows: AtomicU64,
    pub(crate) done: AtomicBool,
}

/// Counters of one process.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    phase: AtomicU8,
    /// Changes that Redis has confirmed, snapshot rows included.
    pub(crate) changes: AtomicU64,
    /// Everything before it is in Redis.
    position: AtomicU64,
    /// This process has written a batch.
    written: AtomicBool,
    /// PostgreSQL's end of the log, as last heard.
    server_position: AtomicU64,
    /// Commit time of the last transaction that was received, in µs since 2000-01-01 UTC.
    pub(crate) commit_time: AtomicI64,
    /// Nothing that was received waits to be written.
    pub(crate) caught_up: AtomicBool,
    tables: Mutex<Vec<Arc<TableProgress>>>,
}

impl Progress {
    pub(crate) fn phase(&self) -> Phase {
        PHASES.get(usize::from(self.phase.load(Relaxed))).copied().unwrap_or(Phase::Starting)
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        let index = PHASES.iter().position(|p| *p == phase).unwrap_or(0);
        self.phase.store(index as u8, Relaxed);
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

    pub(crate) fn begin_snapshot(&self, tables: Vec<Arc<TableProgress>>) {
        *self.tables.lock().unwrap_or_else(PoisonError::into_inner) = tables;
    }

    pub(crate) fn tables(&self) -> Vec<Arc<TableProgress>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
