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

/// One output of a table. Every change of the table is given to each of them.
#[derive(Debug, Clone)]
pub(crate) struct OutputProgress {
    pub(crate) kind: &'static str,
    /// The template of its key.
    pub(crate) key: String,
    /// Rows of it that Redis has refused.
    pub(crate) dead_letters: u64,
    /// When and why that was last.
    pub(crate) last_error: Option<(i64, String)>,
}

impl OutputProgress {
    pub(crate) fn new(kind: &'static str, key: String) -> OutputProgress {
        OutputProgress { kind, key, dead_letters: 0, last_error: None }
    }

    /// A command of this name for this key can be one of it.
    fn has_written(&self, command: &str, key: &str) -> bool {
        let kind = match command {
            "HSET" | "HDEL" => "hash",
            "JSON.SET" | "JSON.DEL" => "json",
            "SET" => "string",
            "SADD" | "SREM" => "set",
            "ZADD" | "ZREM" => "sorted_set",
            "XADD" => "stream",
            // UNLINK, RENAME, EXPIRE: any that has keys of its own.
            _ => self.kind,
        };
        let before_columns = self.key.split('{').next().unwrap_or_default();
        kind == self.kind && key.starts_with(before_columns)
    }
}

/// A captured table.
#[derive(Debug)]
pub(crate) struct TableProgress {
    pub(crate) name: String,
    outputs: Mutex<Vec<OutputProgress>>,
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

    /// What it goes to now; those that it went to before keep their counts.
    pub(crate) fn set_outputs(&self, mut outputs: Vec<OutputProgress>) {
        let mut before = lock(&self.outputs);
        for output in &mut outputs {
            if let Some(known) = before.iter().find(|o| o.kind == output.kind && o.key == output.key) {
                output.clone_from(known);
            }
        }
        *before = outputs;
    }

    pub(crate) fn outputs(&self) -> Vec<OutputProgress> {
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

    /// A row of it could not be written, by this command for this key.
    pub(crate) fn refused(&self, (command, key): (&str, &str), error: String) {
        add(&self.dead_letters, 1);
        let error = (now(), error);
        if let Some(output) = lock(&self.outputs).iter_mut().find(|output| output.has_written(command, key)) {
            output.dead_letters += 1;
            output.last_error = Some(error.clone());
        }
        *lock(&self.last_error) = Some(error);
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
    fn an_error_is_that_of_an_output() {
        let table = TableProgress::new("public.emp");
        let outputs = || {
            let output = |kind, key: &str| OutputProgress::new(kind, key.to_owned());
            vec![output("hash", "{table}:{pk}"), output("set", "a:{v}"), output("set", "b:{v}")]
        };
        table.set_outputs(outputs());
        table.refused(("SADD", "b:7"), "WRONGTYPE".to_owned());
        table.set_outputs(outputs());
        table.refused(("HSET", "emp:1"), "OOM".to_owned());
        let letters: Vec<u64> = table.outputs().iter().map(|output| output.dead_letters).collect();
        assert_eq!((letters, table.dead_letters()), (vec![1, 0, 1], 2));
        assert_eq!(table.outputs()[2].last_error.as_ref().unwrap().1, "WRONGTYPE");
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
