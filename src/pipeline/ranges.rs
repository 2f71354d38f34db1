//! Ranges of a table's key: where they are cut, and how one is read.

use super::capture::Captured;
use super::snapshot::redefined;
use crate::error::Error;
use crate::postgres::{Connection, identifier, literal};

fn key_columns(captured: &Captured) -> Vec<String> {
    captured.shape.key.iter().map(|&index| identifier(&captured.shape.columns[index].name)).collect()
}

/// Reads the range of this number, of those that lie between `bounds`.
pub(super) fn copy_statement(captured: &Captured, bounds: &[Vec<String>], number: u32) -> String {
    let key = key_columns(captured).join(", ");
    let bound = |index: usize| {
        let values = bounds.get(index)?;
        let values: Vec<String> = values.iter().map(|value| literal(value)).collect();
        Some(values.join(", "))
    };
    let number = number as usize;
    let from_bound = number.checked_sub(1).and_then(bound).map(|values| format!("({key}) >= ({values})"));
    let to_bound = bound(number).map(|values| format!("({key}) < ({values})"));
    let conditions: Vec<String> = [from_bound, to_bound].into_iter().flatten().collect();
    let filter =
        if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    format!(
        "COPY (SELECT {} FROM {}{filter}) TO STDOUT",
        captured.shape.sql_columns(),
        captured.table.sql_rows()
    )
}

/// OIDs from here on belong to types that users and extensions make.
const FIRST_USER_OID: u32 = 16_384;

/// How many rows a range is to have, about.
#[derive(Debug, Clone, Copy)]
pub(super) enum RangeSize {
    Given(u64),
    /// Not more than these, and so few that the stream can wait while they are read.
    Short(u64),
}

/// Rows of a short range. It takes 100 ms or so.
const SHORT: u64 = 10_000;
/// The checkpoint has all of a table's bounds, and is written with each range.
const MOST_SHORT_RANGES: u64 = 4_000;

impl RangeSize {
    /// Rows, and how many pages are sampled for each bound.
    fn of(self, rows: u64) -> (u64, u64) {
        match self {
            RangeSize::Given(range_rows) => (range_rows, 30),
            RangeSize::Short(most) => ((rows / MOST_SHORT_RANGES).max(SHORT).min(most), 8),
        }
    }
}

/// Key values that cut the table into ranges of about `range_rows` rows, from a sample of its pages.
/// None for small tables, and where the key's order can't be relied on: operators of types outside
/// pg_catalog are found by the search path.
pub(super) async fn bounds(
    leader: &mut Connection,
    captured: &Captured,
    wanted: RangeSize,
) -> Result<Vec<Vec<String>>, Error> {
    let shape = &captured.shape;
    let keyed = !captured.table.primary_key.is_empty() || !captured.table.identity_index.is_empty();
    let ordered = shape.key.iter().all(|&index| shape.columns[index].type_oid < FIRST_USER_OID);
    if !keyed || !ordered || shape.key.is_empty() {
        return Ok(Vec::new());
    }
    let oid = captured.table.oid;
    let size = if captured.table.partitioned {
        format!("SELECT sum(pg_catalog.pg_relation_size(relid)) FROM pg_catalog.pg_partition_tree({oid})")
    } else {
        format!("SELECT pg_catalog.pg_relation_size({oid})")
    };
    let bytes: u64 = leader.query_one(&size).await?.and_then(|text| text.parse().ok()).unwrap_or(0);
    let pages = (bytes / 8192).max(1);
    // A table that was never analysed: a row takes some hundred bytes.
    let rows = if captured.table.estimated_rows > 0 { captured.table.estimated_rows } else { bytes / 100 };
    let (range_rows, sampled_pages) = wanted.of(rows);
    let count = rows / range_rows.max(1);
    if count < 1 {
        return Ok(Vec::new());
    }
    let percent = (100.0 * (count * sampled_pages) as f64 / pages as f64).clamp(0.001, 100.0);
    let key = key_columns(captured).join(", ");
    let (number, total) = (unused_name(captured, "n"), unused_name(captured, "of"));
    let sql = format!(
        "SELECT {key} FROM (SELECT {key}, pg_catalog.row_number() OVER (ORDER BY {key}) AS {number}, \
                                   pg_catalog.count(*) OVER () AS {total} \
                              FROM {} TABLESAMPLE SYSTEM ({percent})) s \
          WHERE {number} % greatest({total} / {}, 1) = 0 ORDER BY {key}",
        captured.table.sql_rows(),
        count + 1
    );
    let rows = leader
        .query(&sql)
        .await
        .map_err(|e| redefined(e.doing(format!("cutting {} into ranges", captured.name()))))?;
    let mut bounds: Vec<Vec<String>> =
        rows.into_iter().filter_map(|row| row.into_iter().collect::<Option<Vec<String>>>()).collect();
    bounds.dedup();
    Ok(bounds)
}

/// A name, quoted, that no column has.
fn unused_name(captured: &Captured, wish: &str) -> String {
    let mut name = wish.to_owned();
    while captured.shape.index_of(&name).is_some() {
        name.push('_');
    }
    identifier(&name)
}
