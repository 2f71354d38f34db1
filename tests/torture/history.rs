//! What really happened: every committed change, in the order of the commits.
//!
//! A second replication slot, with PostgreSQL's own `test_decoding` instead of `pgoutput`, is read when
//! everything is over. So what is expected comes from the write-ahead log, by another way than the
//! program's: whether a COMMIT whose reply was lost did happen, and which of two came first, nobody
//! else knows.

use std::collections::BTreeMap;

use super::faults::is_undecodable;
use super::tables::{self, Table};
use crate::harness::World;

const SLOT: &str = "history";

/// A value as PostgreSQL spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    Unchanged,
    Text(String),
}

pub(crate) type Tuple = BTreeMap<String, Cell>;

/// A whole row; `None` is NULL.
pub(crate) type Row = BTreeMap<String, Option<String>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Insert,
    Update,
    Delete,
    Truncate,
}

#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) table: &'static Table,
    pub(crate) op: Op,
    /// What the log has of the old row: NULLs are left out.
    pub(crate) old: Option<Tuple>,
    pub(crate) new: Option<Tuple>,
}

impl Change {
    /// The key that the change leaves behind; `None` when it leaves none.
    pub(crate) fn key_left(&self) -> Option<String> {
        let old = self.table.key_of(self.old.as_ref()?);
        match &self.new {
            Some(new) if self.table.key_of(new) == old => None,
            _ => Some(old),
        }
    }

    pub(crate) fn key_now(&self) -> Option<String> {
        self.new.as_ref().map(|new| self.table.key_of(new))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    pub(crate) xid: String,
    pub(crate) changes: Vec<Change>,
}

/// To be called before the first row is written.
pub(crate) fn begin(world: &World) {
    world.sql(&format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'test_decoding')"));
}

/// `None` when PostgreSQL can't decode it, see [`super::faults::UNDECODABLE`].
pub(crate) fn read(world: &World) -> Option<Vec<Transaction>> {
    let sql = format!("SELECT data FROM pg_logical_slot_peek_changes('{SLOT}', NULL, NULL)");
    let mut transactions: Vec<Transaction> = Vec::new();
    let lines = match world.with_postgres(|client| client.query(&sql, &[])) {
        Err(error) if error.as_db_error().is_some_and(|error| is_undecodable(error.message())) => {
            return None;
        }
        lines => lines.unwrap(),
    };
    for row in lines {
        let line: String = row.get(0);
        if let Some(xid) = line.strip_prefix("BEGIN ") {
            transactions.push(Transaction { xid: xid.to_owned(), changes: Vec::new() });
        } else if let Some(change) = line.strip_prefix("table ") {
            transactions.last_mut().unwrap().changes.extend(changes(change));
        } else {
            assert!(line.starts_with("COMMIT "), "{line}");
        }
    }
    transactions.retain(|transaction| !transaction.changes.is_empty());
    Some(transactions)
}

/// `public.t: INSERT: id[integer]:1 …`, or `public.a, public.b: TRUNCATE: (no-flags)`.
fn changes(line: &str) -> Vec<Change> {
    let (names, rest) = line.split_once(": ").unwrap();
    let (op, rest) = rest.split_once(": ").unwrap();
    if op == "TRUNCATE" {
        // A partition's own TRUNCATE is part of its root's.
        let tables = names.split(", ").filter_map(|name| tables::named(name.strip_prefix("public.")?));
        return tables.map(|table| Change { table, op: Op::Truncate, old: None, new: None }).collect();
    }
    let Some(table) = names.strip_prefix("public.").and_then(tables::of_relation) else { return Vec::new() };
    let one = |op, old, new| vec![Change { table, op, old, new }];
    match op {
        "INSERT" => one(Op::Insert, None, Some(tuple(rest))),
        "DELETE" => one(Op::Delete, Some(tuple(rest)), None),
        "UPDATE" => match rest.strip_prefix("old-key: ") {
            None => one(Op::Update, None, Some(tuple(rest))),
            Some(rest) => {
                let (old, rest) = tuple_and_rest(rest);
                one(Op::Update, Some(old), Some(tuple(rest.strip_prefix("new-tuple: ").unwrap())))
            }
        },
        _ => panic!("{line}"),
    }
}

fn tuple(text: &str) -> Tuple {
    let (tuple, rest) = tuple_and_rest(text);
    assert!(rest.is_empty(), "{text}");
    tuple
}

/// `id[integer]:1 v[text]:'it''s' w[text]:null`
fn tuple_and_rest(text: &str) -> (Tuple, &str) {
    let mut tuple = Tuple::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('[')
        && !name.contains(':')
    {
        let (_, value) = after.split_once("]:").unwrap();
        let cell;
        if let Some(mut quoted) = value.strip_prefix('\'') {
            let mut content = String::new();
            loop {
                let (part, after) = quoted.split_once('\'').unwrap();
                content += part;
                match after.strip_prefix('\'') {
                    Some(after) => {
                        content.push('\'');
                        quoted = after;
                    }
                    None => {
                        quoted = after;
                        break;
                    }
                }
            }
            cell = Cell::Text(content);
            rest = quoted;
        } else {
            let end = value.find(' ').unwrap_or(value.len());
            cell = match &value[..end] {
                "null" => Cell::Null,
                "unchanged-toast-datum" => Cell::Unchanged,
                text => Cell::Text(text.to_owned()),
            };
            rest = &value[end..];
        }
        tuple.insert(name.to_owned(), cell);
        rest = rest.strip_prefix(' ').unwrap_or(rest);
    }
    (tuple, rest)
}

/// The rows of one table, changed by one change after the other.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rows(pub(crate) Vec<Row>);

impl Rows {
    /// Carries a change out; returns the whole new row.
    pub(crate) fn apply(&mut self, change: &Change) -> Option<Row> {
        let former = match change.op {
            Op::Insert => None,
            Op::Truncate => {
                self.0.clear();
                None
            }
            Op::Update | Op::Delete => {
                // Two rows can have one key for a while, where it is deferrable; the whole old row is
                // known there. A column that came and went can have had another value meanwhile that no
                // change tells: only those count that stay.
                let core = change.table.core;
                let keys = change.table.key;
                let new = change.new.as_ref();
                let at = self.0.iter().position(|row| match &change.old {
                    Some(old) => old.iter().all(|(name, cell)| match cell {
                        Cell::Text(text) if core.contains(&name.as_str()) => {
                            row.get(name).is_none_or(|v| v.as_ref() == Some(text))
                        }
                        _ => true,
                    }),
                    None => keys.iter().all(
                        |&key| matches!((&new.unwrap()[key], &row[key]), (Cell::Text(a), Some(b)) if a == b),
                    ),
                });
                Some(self.0.swap_remove(at.unwrap_or_else(|| panic!("no row for {change:?}"))))
            }
        };
        let new = change.new.as_ref()?;
        let value = |(name, cell): (&String, &Cell)| {
            let value = match cell {
                Cell::Null => None,
                Cell::Text(text) => Some(text.clone()),
                Cell::Unchanged => former.as_ref().unwrap()[name].clone(),
            };
            (name.clone(), value)
        };
        let row: Row = new.iter().map(value).collect();
        self.0.push(row.clone());
        Some(row)
    }
}
