//! Rows of a table, with what finds each of them again and tells whether it has changed since.
//!
//! ```text
//!   COPY (SELECT its columns, its key, xmin …) ──> the sinks ──> a chunk: commands, and whose they are
//! ```
//!
//! A row is found again by its primary key, or by the index of its replica identity; one that has
//! neither by where it lies (`tableoid`, `ctid`), which an UPDATE changes. Every UPDATE changes `xmin`:
//! two readings of a row that are the same in everything have seen the same version of it.

use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::expected::{Expected, interpret};
use crate::pipeline::Captured;
use crate::pipeline::places::Places;
use crate::plan::Plan;
use crate::postgres::copy::{CopyEvent, split_row};
use crate::postgres::{Connection, Error, identifier, literal};
use crate::redis::resp::Commands;
use crate::row::{Cell, Change, Row, Value};
use crate::sink::Workspace;

/// Rows and bytes that are compared in one round trip.
const ROWS: usize = 1000;
const BYTES: usize = 1 << 20;

/// What finds a row again: the texts of some of its columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct RowId(Vec<Vec<u8>>);

/// One version of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Version(u64);

impl Version {
    /// From everything that was read of the row.
    pub(super) fn of(line: &[u8]) -> Version {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        Version(hasher.finish())
    }
}

/// How the rows of a table are read.
#[derive(Debug)]
pub(super) struct Reader {
    select: String,
    from: String,
    /// The columns of the table, which are the first that are read.
    columns: usize,
    /// The columns after them that find a row again, as SQL.
    identity: Vec<String>,
}

/// Rows, and what the sinks would write for them.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    commands: Commands,
    written: Vec<Written>,
    pub(super) rows: Vec<(RowId, Version)>,
    workspace: Workspace,
    cells: Vec<Cell>,
}

/// What one sink wrote for one row.
#[derive(Debug, Clone, Copy)]
struct Written {
    row: usize,
    sink: usize,
    commands: usize,
}

/// What should be at the place of a row of a [`Chunk`].
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// Its number in the chunk.
    pub(super) row: usize,
    pub(super) sink: usize,
    pub(super) expected: Expected<'a>,
    /// What writes it.
    pub(super) commands: Vec<Vec<&'a [u8]>>,
}

impl Reader {
    pub(super) fn new(captured: &Captured) -> Reader {
        let table = &captured.table;
        let named = if table.primary_key.is_empty() { &table.identity_index } else { &table.primary_key };
        let mut identity: Vec<String> = named.iter().map(|name| identifier(name)).collect();
        if identity.is_empty() {
            identity = vec!["tableoid".to_owned(), "ctid".to_owned()];
        }
        let columns: Vec<String> =
            captured.shape.columns.iter().map(|column| identifier(&column.name)).collect();
        let select: Vec<&str> = columns.iter().chain(&identity).map(String::as_str).chain(["xmin"]).collect();
        Reader { select: select.join(", "), from: table.sql_rows(), columns: columns.len(), identity }
    }

    /// Begins to read all rows.
    pub(super) async fn all(&self, source: &mut Connection) -> Result<(), Error> {
        source.start_copy(&format!("COPY (SELECT {} FROM {}) TO STDOUT", self.select, self.from)).await
    }

    /// Begins to read those that there still are.
    pub(super) async fn some(&self, source: &mut Connection, ids: &[RowId]) -> Result<(), Error> {
        let tuple = |id: &RowId| {
            let values: Vec<String> = id.0.iter().map(|v| literal(&String::from_utf8_lossy(v))).collect();
            format!("({})", values.join(", "))
        };
        let tuples: Vec<String> = ids.iter().map(tuple).collect();
        let sql = format!(
            "COPY (SELECT {} FROM {} WHERE ({}) IN ({})) TO STDOUT",
            self.select,
            self.from,
            self.identity.join(", "),
            tuples.join(", ")
        );
        source.start_copy(&sql).await
    }

    /// Fills the chunk with what comes next; false at the end.
    pub(super) async fn fill(
        &self,
        source: &mut Connection,
        plan: &Plan,
        chunk: &mut Chunk,
        mut places: Option<&mut Places>,
    ) -> Result<bool, Error> {
        chunk.clear();
        while chunk.rows.len() < ROWS && chunk.commands.len() < BYTES {
            match source.copy_event()? {
                CopyEvent::Row(frame) => {
                    chunk.take(source.copy_row(&frame), self, plan, places.as_deref_mut());
                    source.copy_consume(&frame);
                }
                CopyEvent::Incomplete(wanted) => {
                    poll_fn(|cx| source.poll_more(cx, wanted)).await?;
                }
                CopyEvent::Done => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl Chunk {
    fn clear(&mut self) {
        self.commands.clear();
        self.commands.shrink_to(4 * BYTES);
        self.written.clear();
        self.rows.clear();
    }

    fn take(&mut self, line: &mut [u8], reader: &Reader, plan: &Plan, places: Option<&mut Places>) {
        let version = Version::of(line);
        split_row(line, &mut self.cells);
        let (cells, others) = self.cells.split_at(reader.columns.min(self.cells.len()));
        let row = Row::new(line, cells);
        let others = Row::new(line, others);
        let identity = (0..reader.identity.len()).map(|index| match others.get(index) {
            Value::Text(text) => text.to_vec(),
            Value::Null | Value::Unchanged => Vec::new(),
        });
        let change = Change::Whole { new: row };
        for (sink, output) in plan.sinks.iter().enumerate() {
            let before = self.commands.count();
            output.write(&change, &mut self.workspace, &mut self.commands);
            let commands = self.commands.count() - before;
            if commands > 0 {
                self.written.push(Written { row: self.rows.len(), sink, commands });
            }
        }
        self.rows.push((RowId(identity.collect()), version));
        if let Some(places) = places {
            for sink in &plan.sinks {
                if sink.place(&row, &mut self.workspace) {
                    places.add(&self.workspace.key, &self.workspace.member);
                }
            }
        }
    }

    /// What should be in Redis for these rows.
    pub(super) fn wanted(&self) -> Vec<Wanted<'_>> {
        let mut commands = self.commands.walk();
        let wanted = |written: &Written| {
            let commands: Vec<Vec<&[u8]>> = commands.by_ref().take(written.commands).collect();
            let expected = interpret(&commands)?;
            Some(Wanted { row: written.row, sink: written.sink, expected, commands })
        };
        self.written.iter().filter_map(wanted).collect()
    }
}
