//! What became of one table's rows.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use super::{add, lock, now};
use crate::lsn::Lsn;
use crate::row::Change;

/// What can happen to a row or a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The row was read by a snapshot.
    Read,
    Insert,
    Update,
    Delete,
    Truncate,
}

/// All of them, with their names in metrics and the API.
pub(crate) const OPERATIONS: [(Operation, &str); 5] = [
    (Operation::Read, "read"),
    (Operation::Insert, "insert"),
    (Operation::Update, "update"),
    (Operation::Delete, "delete"),
    (Operation::Truncate, "truncate"),
];

impl From<&Change<'_>> for Operation {
    #[inline]
    fn from(change: &Change<'_>) -> Operation {
        match change {
            Change::Whole { .. } => Operation::Insert,
            Change::Update { .. } => Operation::Update,
            Change::Delete { .. } => Operation::Delete,
        }
    }
}

/// A captured table.
#[derive(Debug)]
pub(crate) struct TableProgress {
    pub(crate) name: String,
    /// Type and key template of each output.
    outputs: Mutex<Vec<(&'static str, String)>>,
    operations: [AtomicU64; OPERATIONS.len()],
    /// When a change of it was last received.
    last_change: AtomicI64,
    /// The planner's estimate of its rows.
    pub(crate) expected: AtomicU64,
    /// Rows that its snapshot has brought.
    pub(crate) rows: AtomicU64,
    /// Its snapshot is done.
    pub(crate) done: AtomicBool,
    /// Up to this position of the stream its rows can be newer than the stream.
    overlap: AtomicU64,
    dead_letters: AtomicU64,
    last_error: Mutex<Option<(i64, String)>>,
}

impl TableProgress {
    pub(super) fn new(name: &str) -> TableProgress {
        TableProgress {
            name: name.to_owned(),
            outputs: Mutex::default(),
            operations: Default::default(),
            last_change: AtomicI64::new(0),
            expected: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            done: AtomicBool::new(false),
            overlap: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            last_error: Mutex::default(),
        }
    }

    pub(crate) fn set_outputs(&self, outputs: Vec<(&'static str, String)>) {
        *lock(&self.outputs) = outputs;
    }

    pub(crate) fn outputs(&self) -> Vec<(&'static str, String)> {
        lock(&self.outputs).clone()
    }

    /// A change of a transaction that was committed then. By the data loop only.
    #[inline]
    pub(crate) fn count(&self, operation: Operation, commit_time: i64) {
        add(&self.operations[operation as usize], 1);
        self.last_change.store(commit_time, Relaxed);
    }

    /// Rows that a snapshot has read. By the data loop only.
    pub(crate) fn count_read(&self, rows: u64) {
        add(&self.operations[Operation::Read as usize], rows);
        add(&self.rows, rows);
    }

    pub(crate) fn counted(&self, operation: Operation) -> u64 {
        self.operations[operation as usize].load(Relaxed)
    }

    /// Rows of all operations.
    pub(crate) fn total(&self) -> u64 {
        self.operations.iter().map(|count| count.load(Relaxed)).sum()
    }

    pub(crate) fn last_change(&self) -> Option<i64> {
        Some(self.last_change.load(Relaxed)).filter(|time| *time != 0)
    }

    /// How far its snapshot is when a session begins.
    pub(crate) fn set_snapshot(&self, rows: u64, done: bool) {
        self.rows.store(rows, Relaxed);
        self.done.store(done, Relaxed);
    }

    pub(crate) fn set_overlap(&self, until: Lsn) {
        self.overlap.store(until.0, Relaxed);
    }

    /// Rows were read at different times, and the stream has not brought them together yet.
    pub(crate) fn is_converging(&self, position: Lsn) -> bool {
        position.0 < self.overlap.load(Relaxed)
    }

    /// A row of it could not be written.
    pub(crate) fn refused(&self, error: String) {
        add(&self.dead_letters, 1);
        *lock(&self.last_error) = Some((now(), error));
    }

    pub(crate) fn dead_letters(&self) -> u64 {
        self.dead_letters.load(Relaxed)
    }

    pub(crate) fn last_error(&self) -> Option<(i64, String)> {
        lock(&self.last_error).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_in_their_places() {
        for (index, (operation, _)) in OPERATIONS.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
        }
    }

    #[test]
    fn counts() {
        let table = TableProgress::new("public.emp");
        table.count_read(10);
        table.count(Operation::Delete, 7);
        assert_eq!((table.total(), table.rows.load(Relaxed), table.last_change()), (11, 10, Some(7)));
        assert!(!table.is_converging(Lsn(5)));
        table.set_overlap(Lsn(6));
        assert!(table.is_converging(Lsn(5)) && !table.is_converging(Lsn(6)));
    }
}
