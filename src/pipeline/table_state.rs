//! What the checkpoint says of a table: how far its snapshot is, and what its rows were written as.
//!
//! A table whose state does not fit what it would be written as now is read again; what was only needed for
//! reading is forgotten when that is done.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::plan::key::KeyPattern;
use crate::plan::shape::ColumnRecord;

/// How far one table's snapshot is, and what it was read as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(crate) struct TableState {
    /// The columns as they were when the rows were written.
    pub(crate) columns: Arc<[ColumnRecord]>,
    /// What the rows were written as.
    pub(crate) outputs: Arc<str>,
    /// The table's OID, the columns of its key, and what the keys look like.
    #[serde(default)]
    pub(crate) oid: u32,
    #[serde(default)]
    pub(crate) key: Vec<String>,
    #[serde(default)]
    pub(crate) keys: Vec<KeyPattern>,
    /// Fields of its hashes that are not named as a column is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<String>,
    /// See [`crate::postgres::catalog::Table::files`].
    #[serde(default)]
    pub(crate) files: String,
    /// See [`crate::postgres::catalog::Table::columns_as_of`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) columns_as_of: String,
    /// An ALTER TABLE has given rows other values and told nothing of it: the table is read again when the
    /// stream has passed that (`again`), and its keys can be others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) rewritten: bool,
    /// All ranges are read, and keys without rows are removed.
    pub(crate) complete: bool,
    /// Rows read.
    pub(crate) rows: u64,
    /// The first snapshot that rows were read in (`txid_current_snapshot`), and the position behind
    /// which it saw nothing. A transaction that it saw is not applied to this table. `None`: the rows
    /// replace older ones, so every transaction is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<(String, u64)>,
    /// The position behind which no snapshot of this table saw anything. Until the stream is there,
    /// rows can be newer than the stream.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) until: u64,
    /// Key values between which the ranges lie: range i ends before `bounds[i]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) bounds: Vec<Vec<String>>,
    /// Ranges that are read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) done: Vec<u32>,
    /// Fields that the table no longer has, to be deleted from its hashes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) retired: Vec<String>,
    /// As what rows in Redis were written last, while the table is still to be read: columns and key. The stream goes
    /// on writing rows of it, as the definition is then, which need not be the one that it is read by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) draft: Option<(Arc<[ColumnRecord]>, Vec<String>)>,
    /// Keys that look so are removed, where no row has them, when the table has been read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stale_keys: Vec<KeyPattern>,
    /// Streams that have got the rows of a snapshot: reading the table again is no event for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) announced: Vec<String>,
    /// For each stream, the first snapshot of which it has got rows, as in `base`. A transaction that this
    /// snapshot saw is no event, also when the table is read again and `base` is forgotten. One that only
    /// a later snapshot saw is: it can have changed rows that the first one brought.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "as_map")]
    pub(crate) told: Vec<(String, (String, u64))>,
    /// The stream could not bring the rows to their present definition while they overlapped: the table
    /// is read again when they don't any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) again: bool,
    /// What the publication was when the rows were read: another one may have left changes out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) published: String,
    /// Why changes are missing: its streams are still to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gap: Option<String>,
}

/// By names of tables. A map has room for more than it holds.
pub(crate) type States = BTreeMap<String, Box<TableState>>;

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl TableState {
    /// Forgets what was read, so that the table is read again over what is in Redis. With `sweep`, rows
    /// can have gone, or got other keys, without the stream telling.
    pub(crate) fn read_again(&mut self, sweep: bool) {
        if sweep {
            self.sweep();
        }
        if !self.columns.is_empty() {
            self.retire();
            self.draft = Some((std::mem::take(&mut self.columns), self.key.clone()));
        }
        self.complete = false;
        self.again = false;
        self.rewritten = false;
        self.base = None;
        self.bounds.clear();
        self.done.clear();
        self.rows = 0;
    }

    /// Keys that look as they do until now are removed, where no row has them, when the table has been read.
    fn sweep(&mut self) {
        for pattern in std::mem::take(&mut self.keys) {
            if !self.stale_keys.contains(&pattern) {
                self.stale_keys.push(pattern);
            }
        }
    }

    /// Hashes can have the fields that were written until now.
    fn retire(&mut self) {
        let draft = self.draft.iter().flat_map(|(columns, _)| columns.iter());
        let columns = self.columns.iter().chain(draft).map(|column| &column.0);
        self.retired.extend(columns.chain(&self.fields).cloned().collect::<Vec<_>>());
        self.retired.sort();
        self.retired.dedup();
    }

    /// It is written for other outputs from now on, as which what was written until now says nothing.
    pub(crate) fn is_reconfigured(&mut self, outputs: &Arc<str>) {
        self.read_again(true);
        self.draft = None;
        self.outputs = Arc::clone(outputs);
    }

    /// Rows of a table that is still to be read are written by this plan from now on. False when they were before.
    pub(crate) fn write_as(&mut self, plan: &Plan) -> bool {
        let (columns, key) = (Arc::clone(plan.shape.record()), plan.shape.key_names());
        if let Some(draft) = &self.draft {
            if (&draft.0, &draft.1) == (&columns, &key) {
                return false;
            }
            if draft.1 != key || plan.has_moved_rows(&draft.0) {
                self.sweep();
            }
        }
        self.keys = plan.key_patterns();
        self.fields = plan.other_fields();
        self.draft = Some((columns, key));
        self.retire();
        true
    }

    /// What streams have got counts for nothing any more: they are given the rows as they are now, whatever became of
    /// the table and its publication before.
    pub(crate) fn forget_streams(&mut self) {
        self.oid = 0;
        self.published.clear();
        self.announced.clear();
        self.told.clear();
    }

    /// Streams get rows of this snapshot.
    pub(crate) fn tell<'a>(&mut self, streams: impl Iterator<Item = &'a str>, seen: &(String, u64)) {
        for stream in streams {
            if !self.has_told(stream) {
                self.told.push((stream.to_owned(), seen.clone()));
            }
        }
    }

    /// The stream has got rows of a snapshot.
    pub(crate) fn has_told(&self, stream: &str) -> bool {
        self.told.iter().any(|(name, _)| name == stream)
    }

    /// All ranges are read.
    pub(crate) fn is_read(&self) -> bool {
        !self.columns.is_empty() && self.done.len() > self.bounds.len()
    }

    /// How the checkpoint has it: a field and its value.
    pub(crate) fn field(&self, name: &str) -> (String, String) {
        // A struct of strings and numbers always has a JSON form.
        (format!("{}{name}", super::checkpoint::TABLE), serde_json::to_string(self).unwrap_or_default())
    }

    /// Everything is read and removed: what was only needed for that is forgotten. `streams` have got
    /// the rows.
    pub(crate) fn completed(&mut self, streams: &[String]) {
        self.complete = true;
        self.announced = streams.to_vec();
        self.told.retain(|(stream, _)| streams.contains(stream));
        self.bounds.clear();
        self.done.clear();
        self.retired.clear();
        self.draft = None;
        self.stale_keys.clear();
        self.shrink();
    }

    /// There can be very many of them, for as long as the process lives.
    pub(crate) fn shrink(&mut self) {
        self.keys.iter_mut().for_each(KeyPattern::shrink_to_fit);
        for patterns in [&mut self.keys, &mut self.stale_keys] {
            patterns.shrink_to_fit();
        }
        for names in [&mut self.key, &mut self.fields, &mut self.retired, &mut self.announced] {
            names.shrink_to_fit();
        }
        self.told.shrink_to_fit();
        self.bounds.shrink_to_fit();
        self.done.shrink_to_fit();
    }
}

/// A few pairs, in JSON an object.
mod as_map {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<V: Serialize, S: Serializer>(
        pairs: &[(String, V)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
    }

    pub(super) fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(String, V)>, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_streams_have_got() {
        let mut state = TableState::default();
        let (first, second) = (("5:5:".to_owned(), 10), ("7:7:".to_owned(), 20));
        state.tell(["a", "gone"].into_iter(), &first);
        state.read_again(false);
        state.tell(["a", "b"].into_iter(), &second);
        state.completed(&["a".to_owned(), "b".to_owned()]);
        assert_eq!(state.told, [("a".to_owned(), first), ("b".to_owned(), second.clone())]);
        let (_, json) = state.field("public.t");
        assert!(json.contains(r#""told":{"a":["5:5:",10],"b":["7:7:",20]}"#), "{json}");
        assert_eq!(serde_json::from_str::<TableState>(&json).unwrap(), state);
        state.forget_streams();
        state.tell(["a"].into_iter(), &second);
        assert_eq!(state.told, [("a".to_owned(), second)]);
        assert!(state.announced.is_empty());
    }
}
