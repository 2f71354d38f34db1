//! Reads one row again by its key, for a change that does not tell the whole row.
//!
//! The row is read as it is now, which can be later than the change. That is as good: the stream
//! brings what happened in between, and leaves alone only what it did not touch.

use std::future::poll_fn;

use crate::plan::Plan;
use crate::postgres::copy::{CopyEvent, split_row};
use crate::postgres::{Connection, Error, identifier, literal};
use crate::row::{Cell, Row, Value};

/// A row that owns its bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnedRow {
    data: Vec<u8>,
    cells: Vec<Cell>,
}

impl OwnedRow {
    /// A copy of a borrowed row.
    pub(super) fn of(row: &Row<'_>) -> OwnedRow {
        let mut owned = OwnedRow::default();
        for index in 0..row.len() {
            let cell = match row.get(index) {
                Value::Null => Cell::NULL,
                Value::Unchanged => Cell::UNCHANGED,
                Value::Text(text) => {
                    let start = owned.data.len();
                    owned.data.extend_from_slice(text);
                    Cell::text(start, text.len())
                }
            };
            owned.cells.push(cell);
        }
        owned
    }

    pub(super) fn row(&self) -> Row<'_> {
        Row::new(&self.data, &self.cells)
    }
}

/// The row whose key `row` has; `None` when there is none now, or when the key can't be told.
pub(super) async fn read_again(
    connection: &mut Connection,
    plan: &Plan,
    row: &Row<'_>,
) -> Result<Option<OwnedRow>, Error> {
    let shape = &plan.shape;
    let mut conditions = Vec::new();
    for &index in &shape.key {
        let (Value::Text(text), Some(column)) = (row.get(index), shape.columns.get(index)) else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(text);
        conditions.push(format!("{} = {}", identifier(&column.name), literal(&text)));
    }
    let sql = format!(
        "COPY (SELECT {} FROM {} WHERE {}) TO STDOUT",
        shape.sql_columns(),
        shape.sql_name(),
        conditions.join(" AND ")
    );
    connection.start_copy(&sql).await?;
    let mut found = None;
    loop {
        match connection.copy_event()? {
            CopyEvent::Row(frame) => {
                let mut owned = OwnedRow { data: connection.copy_row(&frame).to_vec(), cells: Vec::new() };
                split_row(&mut owned.data, &mut owned.cells);
                connection.copy_consume(&frame);
                found = Some(owned);
            }
            CopyEvent::Done => return Ok(found),
            CopyEvent::Incomplete(wanted) => {
                poll_fn(|cx| connection.poll_more(cx, wanted)).await?;
            }
        }
    }
}
