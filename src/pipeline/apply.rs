//! Changes into batches: which plan a relation has, what is skipped, what has to be looked up.

use std::collections::HashMap;
use std::rc::Rc;

use super::checkpoint::TableState;
use super::ledger::{Origin, Source};
use super::writer::Writer;
use crate::lsn::Lsn;
use crate::plan::Plan;
use crate::postgres::snapshot::Visibility;
use crate::row::Change;
use crate::sink::{Needs, Workspace};

/// What the stream says of one relation, by its OID.
#[derive(Debug)]
pub(super) struct Relation {
    /// `None`: not captured.
    pub(super) table: Option<Tracked>,
}

/// A captured table in the stream.
#[derive(Debug, Clone)]
pub(super) struct Tracked {
    pub(super) name: String,
    pub(super) plan: Rc<Plan>,
    pub(super) overlap: Overlap,
}

/// How a table's snapshot and the stream overlap.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlap {
    /// The first snapshot that rows were read in, and the position behind which it saw nothing.
    base: Option<(Visibility, Lsn)>,
    /// The position behind which no snapshot of the table saw anything.
    pub(super) until: Lsn,
}

impl Overlap {
    pub(super) fn of(state: &TableState) -> Overlap {
        let base = state.base.as_ref().and_then(|(text, until)| Some((text.parse().ok()?, Lsn(*until))));
        Overlap { base, until: Lsn(state.until) }
    }

    /// The transaction's changes are in the rows that the snapshot read.
    fn has(&self, transaction: &Transaction) -> bool {
        match &self.base {
            Some((base, until)) => transaction.commit_lsn < *until && base.saw(transaction.xid),
            None => false,
        }
    }

    /// The table's rows are as late as the stream from `lsn` on: nothing overlaps any more.
    pub(super) fn is_past(&self, lsn: Lsn) -> bool {
        lsn >= self.until && self.base.as_ref().is_none_or(|(_, until)| lsn >= *until)
    }

    fn extend(&mut self, until: Lsn) {
        self.until = self.until.max(until);
    }

    /// Rows can be newer than the stream here: some were read later than the first, or changes are done
    /// again.
    fn converging(&self, transaction: &Transaction) -> bool {
        if transaction.is_repeated() {
            return true;
        }
        let base = self.base.as_ref().map_or(Lsn::ZERO, |(_, until)| *until);
        transaction.commit_lsn < self.until && self.until != base
    }
}

/// The transaction that the stream is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transaction {
    pub(super) commit_lsn: Lsn,
    pub(super) xid: u32,
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
    /// The relation of the last change: most changes are of the same as the one before.
    last: Option<(u32, Tracked)>,
    /// Redis is sharded: a batch can be carried out in part, and is done again.
    scattered: bool,
}

/// Why a change was not applied.
#[derive(Debug)]
pub(super) enum Unapplied {
    /// The change alone does not tell what to write.
    Needs(Tracked, Needs),
    /// A change of a relation that the stream has not described.
    UnknownRelation,
}

impl Applier {
    pub(super) fn new(workspace: Workspace, scattered: bool) -> Applier {
        Applier { relations: HashMap::new(), workspace, last: None, scattered }
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
                table.overlap.extend(until);
            }
        }
    }

    /// Tables whose overlap the stream has passed are tracked more cheaply from then on.
    pub(super) fn forget_overlaps(&mut self, lsn: Lsn) {
        self.last = None;
        for relation in self.relations.values_mut() {
            if let Some(table) = &mut relation.table
                && table.overlap.is_past(lsn)
            {
                table.overlap = Overlap::default();
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
                Some(table) => self.last = Some((oid, table.clone())),
                None => return Ok(None),
            }
        }
        let table = self.last.as_ref().map(|(_, table)| table);
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
        self.workspace.converging = converging || self.scattered;
        self.workspace.event.ordinal = transaction.ordinal;
        if let Some(needs) = plan.needs(change, &mut self.workspace) {
            return match self.last.clone() {
                Some((_, table)) => Err(Unapplied::Needs(table, needs)),
                None => Err(Unapplied::UnknownRelation),
            };
        }
        let begun = writer.begin_change(received);
        for sink in &plan.sinks {
            sink.write(change, &mut self.workspace, writer.commands());
        }
        writer.end_change(begun, transaction.origin(Source::Change(plan)));
        Ok(())
    }
}
