//! Changes into batches: which plan a relation has, what is skipped, what has to be looked up.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::checkpoint::TableState;
use super::ledger::{Origin, Source};
use super::writer::Writer;
use crate::lsn::Lsn;
use crate::plan::{Alike, Plan};
use crate::postgres::snapshot::Visibility;
use crate::progress::{Operation, TableProgress};
use crate::row::Change;
use crate::sink::{Needs, Workspace};

/// What the stream says of one relation, by its OID.
#[derive(Debug)]
pub(super) struct Relation {
    /// `None`: not captured.
    pub(super) table: Option<Rc<Tracked>>,
}

/// A captured table in the stream.
#[derive(Debug, Clone)]
pub(super) struct Tracked {
    pub(super) name: String,
    pub(super) plan: Rc<Plan>,
    pub(super) overlap: Overlap,
    pub(super) progress: Arc<TableProgress>,
}

impl Tracked {
    /// What is done again was counted when it was done first.
    #[inline]
    pub(super) fn count(&self, operation: Operation, transaction: &Transaction) {
        if !transaction.is_repeated() {
            self.progress.count(operation, transaction.commit_time);
        }
    }
}

/// What a snapshot saw, and the position behind which it saw nothing.
#[derive(Debug, Clone)]
struct Seen {
    visibility: Visibility,
    until: Lsn,
}

impl Seen {
    fn parse((visibility, until): &(String, u64)) -> Option<Seen> {
        Some(Seen { visibility: visibility.parse().ok()?, until: Lsn(*until) })
    }

    fn has(&self, transaction: &Transaction) -> bool {
        transaction.commit_lsn < self.until && self.visibility.saw(transaction.xid)
    }
}

/// How a table's snapshot and the stream overlap.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlap {
    /// The first snapshot that rows were read in.
    base: Option<Seen>,
    /// By the names of streams, the snapshots whose rows they have got first.
    told: Vec<(Rc<str>, Seen)>,
    /// Streams that are yet to get the rows of a first snapshot, which will have seen all of this.
    untold: Vec<Rc<str>>,
    /// The position behind which no snapshot of the table saw anything.
    pub(super) until: Lsn,
    /// Some of its rows are yet to be read: one that moves may not be in Redis, or not as it should be, and can
    /// move to where everything was read.
    unread: bool,
}

impl Overlap {
    pub(super) fn of(state: &TableState) -> Overlap {
        let told =
            state.told.iter().filter_map(|(name, seen)| Some((name.as_str().into(), Seen::parse(seen)?)));
        Overlap {
            base: state.base.as_ref().and_then(Seen::parse),
            told: told.collect(),
            untold: Vec::new(),
            until: Lsn(state.until),
            unread: !state.columns.is_empty() && !state.complete && !state.is_read(),
        }
    }

    /// Of a table that is going to be read again, into these streams among others.
    pub(super) fn before_it_is_read(state: &TableState, streams: Vec<String>) -> Overlap {
        let untold = streams.into_iter().filter(|stream| !state.has_told(stream));
        Overlap { untold: untold.map(Rc::from).collect(), ..Overlap::of(state) }
    }

    /// The transaction's changes are in the rows that the snapshot read.
    fn has(&self, transaction: &Transaction) -> bool {
        self.base.as_ref().is_some_and(|base| base.has(transaction))
    }

    /// Notes which streams have the transaction's changes in the rows that they got.
    #[inline]
    pub(super) fn note_told(&self, transaction: &Transaction, workspace: &mut Workspace) {
        workspace.told.clear();
        let told = self.told.iter().filter(|(_, seen)| seen.has(transaction));
        workspace.told.extend(told.map(|(stream, _)| stream).chain(&self.untold).map(Rc::clone));
    }

    /// The table's rows are as late as the stream from `lsn` on: nothing overlaps any more.
    pub(super) fn is_past(&self, lsn: Lsn) -> bool {
        lsn >= self.until && self.base.as_ref().is_none_or(|base| lsn >= base.until)
    }

    /// Nor has any stream got rows that are later than that.
    fn is_forgettable(&self, lsn: Lsn) -> bool {
        self.is_past(lsn)
            && !self.unread
            && self.untold.is_empty()
            && self.told.iter().all(|(_, seen)| lsn >= seen.until)
    }

    fn extend(&mut self, until: Lsn) {
        self.until = self.until.max(until);
    }

    /// Rows can be newer than the stream here: some were read later than the first, or changes are done
    /// again.
    fn converging(&self, transaction: &Transaction) -> bool {
        if transaction.is_repeated() || self.unread {
            return true;
        }
        let base = self.base.as_ref().map_or(Lsn::ZERO, |base| base.until);
        transaction.commit_lsn < self.until && self.until != base
    }
}

/// The transaction that the stream is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transaction {
    pub(super) commit_lsn: Lsn,
    pub(super) xid: u32,
    /// µs since 2000-01-01 UTC.
    pub(super) commit_time: i64,
    /// Changes of it that were received, captured or not.
    pub(super) ordinal: u64,
    /// Changes of it that Redis has already.
    pub(super) skip: u64,
    /// Changes of it that Redis has, but are done again, since nobody has read what it replied.
    pub(super) repeat: u64,
}

impl Transaction {
    /// The last change that was received is done again.
    #[inline]
    pub(super) fn is_repeated(&self) -> bool {
        self.ordinal <= self.repeat
    }

    /// For the ledger.
    #[inline]
    pub(super) fn origin(&self, source: Source) -> Origin {
        Origin { source, lsn: self.commit_lsn, ordinal: self.ordinal, repeated: self.is_repeated() }
    }
}

/// Relations by OID, and buffers.
#[derive(Debug)]
pub(super) struct Applier {
    pub(super) relations: HashMap<u32, Relation>,
    pub(super) workspace: Workspace,
    /// What the plans have alike.
    alike: Alike,
    /// The relation of the last change: most changes are of the same as the one before.
    last: Option<(u32, Rc<Tracked>)>,
    /// Redis is sharded: a batch can be carried out in part, and is done again.
    scattered: bool,
}

/// Why a change was not applied.
#[derive(Debug)]
pub(super) enum Unapplied {
    /// The change alone does not tell what to write.
    Needs(Rc<Tracked>, Needs),
    /// A change of a relation that the stream has not described.
    UnknownRelation,
}

impl Applier {
    pub(super) fn new(workspace: Workspace, scattered: bool) -> Applier {
        Applier { relations: HashMap::new(), workspace, alike: Alike::default(), last: None, scattered }
    }

    /// A plan to keep for as long as the stream has the table.
    pub(super) fn keep(&mut self, plan: Plan) -> Rc<Plan> {
        Rc::new(plan.sharing(&mut self.alike))
    }

    pub(super) fn set(&mut self, oid: u32, relation: Relation) {
        self.last = None;
        self.relations.insert(oid, relation);
    }

    /// A row of this table was read outside its snapshots: it can be newer than the stream up to `until`.
    pub(super) fn extend_overlap(&mut self, name: &str, until: Lsn) {
        self.last = None;
        for relation in self.relations.values_mut() {
            if let Some(table) = &mut relation.table
                && table.name == name
            {
                Rc::make_mut(table).overlap.extend(until);
            }
        }
    }

    /// Of this table, more rows were read or are going to be.
    pub(super) fn set_overlap(&mut self, name: &str, overlap: &Overlap) {
        self.last = None;
        for relation in self.relations.values_mut() {
            if let Some(table) = &mut relation.table
                && table.name == name
            {
                Rc::make_mut(table).overlap = overlap.clone();
            }
        }
    }

    /// Tables whose overlap the stream has passed are tracked more cheaply from then on.
    pub(super) fn forget_overlaps(&mut self, lsn: Lsn) {
        self.last = None;
        for relation in self.relations.values_mut() {
            if let Some(table) = &mut relation.table
                && table.overlap.is_forgettable(lsn)
            {
                Rc::make_mut(table).overlap = Overlap::default();
            }
        }
    }

    /// The table, unless this transaction's changes are not to be applied to it.
    pub(super) fn table(
        &mut self,
        oid: u32,
        transaction: &Transaction,
    ) -> Result<Option<&Tracked>, Unapplied> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != oid) {
            let relation = self.relations.get(&oid).ok_or(Unapplied::UnknownRelation)?;
            match &relation.table {
                Some(table) => self.last = Some((oid, Rc::clone(table))),
                None => return Ok(None),
            }
        }
        let table = self.last.as_ref().map(|(_, table)| &**table);
        Ok(table.filter(|table| !table.overlap.has(transaction)))
    }

    /// Appends the commands for one change.
    #[inline]
    pub(super) fn apply(
        &mut self,
        oid: u32,
        (change, received): (&Change<'_>, &[u8]),
        transaction: &Transaction,
        writer: &mut Writer,
    ) -> Result<(), Unapplied> {
        let Some(table) = self.table(oid, transaction)? else { return Ok(()) };
        let (plan, converging) = (Rc::clone(&table.plan), table.overlap.converging(transaction));
        if let Some((_, table)) = &self.last {
            table.overlap.note_told(transaction, &mut self.workspace);
            table.count(change.into(), transaction);
        }
        self.workspace.converging = converging || self.scattered;
        self.workspace.event.ordinal = transaction.ordinal;
        if let Some(needs) = plan.needs(change, &mut self.workspace) {
            return match self.last.clone() {
                Some((_, table)) => Err(Unapplied::Needs(table, needs)),
                None => Err(Unapplied::UnknownRelation),
            };
        }
        let begun = writer.begin_change(received);
        // Where rows can be newer than the stream, this one can be there.
        if matches!(change, Change::Whole { .. }) && !self.workspace.converging {
            self.workspace.packing = writer.packing_of_inserts();
        }
        for sink in &plan.sinks {
            sink.write(change, &mut self.workspace, writer.commands());
        }
        self.workspace.packing = None;
        writer.end_change(begun, transaction.origin(Source::Change(plan)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(commit_lsn: u64, xid: u32) -> Transaction {
        Transaction { commit_lsn: Lsn(commit_lsn), xid, commit_time: 0, ordinal: 1, skip: 0, repeat: 0 }
    }

    /// Transaction 12 was running when the first snapshot was taken, and over at the second.
    fn overlap() -> Overlap {
        let mut state = TableState { until: 200, ..TableState::default() };
        state.tell(["a", "b"].into_iter(), &("12:14:12".to_owned(), 100));
        state.tell(["b", "c"].into_iter(), &("20:20:".to_owned(), 200));
        Overlap::of(&state)
    }

    #[test]
    fn a_stream_has_what_its_first_snapshot_saw() {
        let overlap = overlap();
        let mut workspace = Workspace::default();
        let mut told = |commit_lsn, xid| {
            overlap.note_told(&transaction(commit_lsn, xid), &mut workspace);
            let names: Vec<&str> = workspace.told.iter().map(|name| &**name).collect();
            names.join(" ")
        };
        assert_eq!(told(50, 11), "a b c");
        assert_eq!(told(110, 12), "c");
        assert_eq!(told(120, 15), "c");
        assert_eq!(told(210, 16), "");
        // Without a base all of it is written to what is no stream.
        assert!(!overlap.has(&transaction(50, 11)));
    }

    #[test]
    fn what_comes_before_the_rows_is_in_them() {
        let mut state = TableState::default();
        state.tell(["a"].into_iter(), &("12:14:12".to_owned(), 100));
        let overlap = Overlap::before_it_is_read(&state, vec!["a".to_owned(), "b".to_owned()]);
        let mut workspace = Workspace::default();
        overlap.note_told(&transaction(210, 16), &mut workspace);
        assert_eq!(workspace.told.iter().map(|name| &**name).collect::<Vec<_>>(), ["b"]);
        assert!(!overlap.is_forgettable(Lsn(300)));
    }

    #[test]
    fn rows_can_be_missing_until_all_are_read() {
        let json = r#"{"columns":[["id",23,-1]],"outputs":"","complete":false,"rows":0,"bounds":[["5"]],"done":[0]}"#;
        let mut state: TableState = serde_json::from_str(json).unwrap();
        let overlap = Overlap::of(&state);
        assert!(overlap.converging(&transaction(300, 9)) && !overlap.is_forgettable(Lsn(300)));
        state.done.push(1);
        let overlap = Overlap::of(&state);
        assert!(!overlap.converging(&transaction(300, 9)) && overlap.is_forgettable(Lsn(300)));
    }

    #[test]
    fn forgotten_when_all_are_passed() {
        let overlap = overlap();
        assert!(!overlap.is_forgettable(Lsn(199)) && overlap.is_forgettable(Lsn(200)));
        // The table was read, and is to be read again: only what its streams have got is left.
        let overlap = Overlap { until: Lsn::ZERO, ..overlap };
        assert!(overlap.is_past(Lsn(150)) && !overlap.is_forgettable(Lsn(150)));
    }
}
