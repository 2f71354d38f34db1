//! Reads rows again by their keys, for changes that do not tell the whole row.
//!
//! ```text
//!   a change with values that were not sent ─┐
//!   more such changes in the receive buffer ─┴─> one COPY … WHERE key IN (…) ─> rows, kept until used
//! ```
//!
//! A row is read as it is now, which can be later than the change. That is as good: the stream brings
//! what happened in between. Rows that are read ahead belong to changes that had been received before
//! they were read, so they are no older than those changes either.
//!
//! The table can have another definition now than the change was made under. Of the columns that it still
//! has the values are as good as ever; the others are not known any more.

use std::collections::HashMap;
use std::future::poll_fn;

use crate::plan::shape::{Shape, ShapeColumn};
use crate::postgres::catalog::{self, Table};
use crate::postgres::copy::{CopyEvent, split_row};
use crate::postgres::{Connection, Error, identifier, literal};
use crate::row::{Cell, Row, Value};

/// A row that owns its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OwnedRow {
    data: Vec<u8>,
    cells: Vec<Cell>,
}

impl OwnedRow {
    /// A copy of a borrowed row.
    pub(crate) fn of(row: &Row<'_>) -> OwnedRow {
        OwnedRow::from_values((0..row.len()).map(|index| row.get(index)))
    }

    pub(crate) fn from_values<'a>(values: impl Iterator<Item = Value<'a>>) -> OwnedRow {
        let mut owned = OwnedRow::default();
        values.for_each(|value| owned.push(value));
        owned
    }

    /// The row, with the values that it lacks taken from another.
    pub(super) fn completed(row: &Row<'_>, other: &Row<'_>) -> OwnedRow {
        let mut owned = OwnedRow::default();
        for index in 0..row.len() {
            owned.push(match row.get(index) {
                Value::Unchanged => other.get(index),
                value => value,
            });
        }
        owned
    }

    fn push(&mut self, value: Value<'_>) {
        self.cells.push(match value {
            Value::Null => Cell::NULL,
            Value::Unchanged => Cell::UNCHANGED,
            Value::Text(text) => {
                let start = self.data.len();
                self.data.extend_from_slice(text);
                Cell::text(start, text.len())
            }
        });
    }

    pub(crate) fn row(&self) -> Row<'_> {
        Row::new(&self.data, &self.cells)
    }

    fn len(&self) -> usize {
        self.data.len() + self.cells.len() * size_of::<Cell>()
    }
}

/// The values of a row's key, one after the other.
pub(crate) type Key = Vec<Vec<u8>>;

/// The row's key; `None` where a value of it was not sent or is NULL.
pub(crate) fn key(shape: &Shape, row: &Row<'_>) -> Option<Key> {
    if shape.key.is_empty() {
        return None;
    }
    let value = |&index: &usize| match row.get(index) {
        Value::Text(text) => Some(text.to_vec()),
        Value::Null | Value::Unchanged => None,
    };
    shape.key.iter().map(value).collect()
}

/// Rows that were read ahead, by relation and key; `None`: there was no such row.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    rows: HashMap<(u32, Key), Option<OwnedRow>>,
}

/// Keys that are read at once.
pub(crate) const MOST_KEYS: usize = 200;

/// Bytes of rows that are kept; those beyond are read when their change comes.
const MOST_BYTES: usize = 8 << 20;

impl ReadAhead {
    /// The row with this key, if it was read; it is given once.
    pub(super) fn take(&mut self, relation: u32, key: &Key) -> Option<Option<OwnedRow>> {
        self.rows.remove(&(relation, key.clone()))
    }

    /// Keeps what was read. What was there and not used was read for changes that were skipped.
    pub(super) fn fill(&mut self, relation: u32, keys: &[Key], mut rows: Rows) {
        self.rows.clear();
        for key in keys {
            match rows.found.remove(key) {
                // It may exist, and did not fit.
                None if rows.left_out => {}
                row => drop(self.rows.insert((relation, key.clone()), row)),
            }
        }
    }
}

/// What a reading found.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) found: HashMap<Key, OwnedRow>,
    /// Not all that was found is here.
    pub(crate) left_out: bool,
}

/// The rows that have one of these keys now. `table` is the table as it was looked at last; where it has
/// been redefined since, values of columns that it has no more are [`Value::Unchanged`].
pub(crate) async fn read(
    connection: &mut Connection,
    (shape, table): (&Shape, &Table),
    keys: &[Key],
) -> Result<Rows, Error> {
    if keys.is_empty() {
        return Ok(Rows::default());
    }
    let mut table = match shape.columns.iter().all(|column| has(table, column)) {
        true => table.clone(),
        false => match catalog::table(connection, table.oid).await? {
            Some(now) => now,
            None => return Ok(Rows::default()),
        },
    };
    loop {
        let error = match read_as(connection, (shape, &table), keys).await {
            Err(error) if error.sqlstate().is_some() => error,
            result => return result,
        };
        match catalog::table(connection, table.oid).await? {
            None => return Ok(Rows::default()),
            // It is not that.
            Some(now) if now.columns == table.columns && now.sql_name() == table.sql_name() => {
                return Err(error);
            }
            Some(now) => table = now,
        }
    }
}

/// The table has a column of this name and type.
fn has(table: &Table, column: &ShapeColumn) -> bool {
    table.columns.iter().any(|now| (&now.name, now.type_oid) == (&column.name, column.type_oid))
}

/// The same for this definition of the table.
async fn read_as(
    connection: &mut Connection,
    (shape, table): (&Shape, &Table),
    keys: &[Key],
) -> Result<Rows, Error> {
    let has = |column: &ShapeColumn| has(table, column);
    let mut rows = Rows::default();
    let key_columns: Vec<&ShapeColumn> = shape.key.iter().filter_map(|&i| shape.columns.get(i)).collect();
    if !key_columns.iter().all(|column| has(column)) {
        return Ok(rows);
    }
    let select = |column: &ShapeColumn| match has(column) {
        true => identifier(&column.name),
        false => "NULL".to_owned(),
    };
    let columns: Vec<String> = shape.columns.iter().map(select).collect();
    let names: Vec<String> = key_columns.iter().map(|column| identifier(&column.name)).collect();
    let tuple = |key: &Key| {
        let values: Vec<String> = key.iter().map(|v| literal(&String::from_utf8_lossy(v))).collect();
        format!("({})", values.join(", "))
    };
    let tuples: Vec<String> = keys.iter().map(tuple).collect();
    // COPY takes its snapshot before it waits for a lock. A table that somebody has rewritten meanwhile
    // (ALTER TABLE) would have no rows for it.
    let rows_of = table.sql_rows();
    let sql = format!(
        "LOCK TABLE {rows_of} IN ACCESS SHARE MODE; COPY (SELECT {} FROM {rows_of} WHERE ({}) IN ({})) TO STDOUT",
        columns.join(", "),
        names.join(", "),
        tuples.join(", ")
    );
    connection.start_copy(&sql).await?;
    let mut bytes = 0;
    loop {
        match connection.copy_event()? {
            CopyEvent::Row(frame) => {
                let mut owned = OwnedRow { data: connection.copy_row(&frame).to_vec(), cells: Vec::new() };
                split_row(&mut owned.data, &mut owned.cells);
                connection.copy_consume(&frame);
                for (cell, column) in owned.cells.iter_mut().zip(shape.columns.iter()) {
                    if !has(column) {
                        *cell = Cell::UNCHANGED;
                    }
                }
                bytes += owned.len();
                // The first key is the one that is needed now; of the others, what memory allows.
                match key(shape, &owned.row()) {
                    Some(key) if bytes <= MOST_BYTES || keys.first() == Some(&key) => {
                        rows.found.insert(key, owned);
                    }
                    _ => rows.left_out = true,
                }
            }
            CopyEvent::Done => return Ok(rows),
            CopyEvent::Incomplete(wanted) => {
                poll_fn(|cx| connection.poll_more(cx, wanted)).await?;
            }
        }
    }
}
