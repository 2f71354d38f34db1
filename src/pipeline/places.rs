//! Where the rows of a table are in Redis: their keys, and their members in keys that rows share.
//!
//! Only the columns that decide it are read.

use std::collections::HashSet;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::capture::Captured;
use crate::plan::Plan;
use crate::postgres::copy::{CopyEvent, split_row};
use crate::postgres::{Connection, Error, identifier};
use crate::row::Row;
use crate::sink::{Sink, Workspace};

/// Stands for a key, or for a member in it, where there are too many to remember.
pub(crate) fn fingerprint(key: &[u8], member: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, member).hash(&mut hasher);
    hasher.finish()
}

/// Visits the place of each row in each output that has one: the key, and the member, which is empty
/// where the row has the key alone.
pub(crate) async fn read(
    source: &mut Connection,
    captured: &Captured,
    plan: &Plan,
    mut visit: impl FnMut(&[u8], &[u8]),
) -> Result<(), Error> {
    let needed: HashSet<usize> = plan.sinks.iter().flat_map(Sink::place_columns).collect();
    let columns: Vec<String> = captured
        .shape
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            // Whether a row is a member can depend on more than where it would be.
            let needed = needed.contains(&index) || plan.sinks.iter().any(Sink::has_members);
            if needed { identifier(&column.name) } else { "NULL".to_owned() }
        })
        .collect();
    let sql = format!("COPY (SELECT {} FROM {}) TO STDOUT", columns.join(", "), captured.table.sql_rows());
    source.start_copy(&sql).await?;
    let (mut cells, mut workspace) = (Vec::new(), Workspace::default());
    loop {
        match source.copy_event()? {
            CopyEvent::Row(frame) => {
                let line = source.copy_row(&frame);
                split_row(line, &mut cells);
                let row = Row::new(line, &cells);
                for sink in &plan.sinks {
                    if sink.place(&row, &mut workspace) {
                        visit(&workspace.key, &workspace.member);
                    }
                }
                source.copy_consume(&frame);
            }
            CopyEvent::Incomplete(wanted) => {
                poll_fn(|cx| source.poll_more(cx, wanted)).await?;
            }
            CopyEvent::Done => return Ok(()),
        }
    }
}
