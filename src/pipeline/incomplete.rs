//! Changes that do not tell the whole row: what is missing is read from the table.
//!
//! Outputs that can leave a value alone are written from the change itself; the others get the change
//! with what was not sent filled in from the row as it is now. Where rows are newer than the stream, or
//! two rows swapped their keys, the rows that are under both keys now are written instead of a move.

use std::rc::Rc;

use super::apply::Tracked;
use super::ledger::Source;
use super::reread::{self, Key, MOST_KEYS, OwnedRow, Rows};
use super::session::Session;
use super::stream::Following;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::plan::Plan;
use crate::postgres::pgoutput::{Decoder, Frame, Message};
use crate::postgres::snapshot::before_page_header;
use crate::row::{Change, Row};
use crate::sink::{Again, Needs, Sink};

/// Such a change, and what it needs.
#[derive(Debug)]
pub(super) struct Incomplete {
    relation: u32,
    table: Rc<Tracked>,
    needs: Needs,
    old: Option<OwnedRow>,
    new: Option<OwnedRow>,
    /// The message that it came in.
    received: Vec<u8>,
}

impl Incomplete {
    pub(super) fn new(
        (relation, table): (u32, Rc<Tracked>),
        needs: Needs,
        (change, received): (&Change<'_>, &[u8]),
    ) -> Incomplete {
        let (old, new) = match change {
            Change::Update { old, new } => (old.as_ref(), Some(new)),
            Change::Whole { new } => (None, Some(new)),
            Change::Delete { old } => (Some(old), None),
        };
        let (old, new) = (old.map(OwnedRow::of), new.map(OwnedRow::of));
        Incomplete { relation, table, needs, old, new, received: received.to_vec() }
    }
}

impl Session<'_> {
    pub(super) async fn complete(
        &mut self,
        following: &mut Following,
        incomplete: Incomplete,
    ) -> Result<(), Error> {
        let plan = Rc::clone(&incomplete.table.plan);
        let begun = self.writer.begin_change(&incomplete.received);
        match incomplete.needs {
            Needs::Whole => self.write_whole(following, &plan, &incomplete).await?,
            Needs::Rows => self.write_rows(following, &plan, &incomplete).await?,
        }
        if let Some(transaction) = &following.transaction {
            self.writer.end_change(begun, transaction.origin(Source::Change(plan)));
        }
        Ok(())
    }

    /// Fills in what was not sent.
    async fn write_whole(
        &mut self,
        following: &mut Following,
        plan: &Plan,
        incomplete: &Incomplete,
    ) -> Result<(), Error> {
        let Some(new) = incomplete.new.as_ref().map(OwnedRow::row) else { return Ok(()) };
        let old = incomplete.old.as_ref().map(OwnedRow::row);
        let found = self.row_now(following, plan, (incomplete.relation, &new)).await?;
        let completed = found.map(|found| OwnedRow::completed(&new, &found.row()));
        let told = Change::Update { old, new };
        let whole = completed.as_ref().map(|row| Change::Update { old, new: row.row() });
        let workspace = &mut following.applier.workspace;
        for sink in &plan.sinks {
            // What leaves values alone is not given newer ones: a later change could move them about.
            let change = match &whole {
                Some(whole) if sink.needs(&told, workspace).is_some() => whole,
                _ => &told,
            };
            sink.write(change, workspace, self.writer.commands());
        }
        Ok(())
    }

    /// Writes the rows that are under the old and the new key now.
    async fn write_rows(
        &mut self,
        following: &mut Following,
        plan: &Plan,
        incomplete: &Incomplete,
    ) -> Result<(), Error> {
        let (old, new) = (&incomplete.old, &incomplete.new);
        let transaction = following.transaction.map(|transaction| transaction.xid);
        self.wait_until_visible(transaction.as_slice()).await?;
        let mut current = [None, None];
        for (row, current) in [old, new].into_iter().zip(&mut current) {
            if let Some(row) = row.as_ref().map(OwnedRow::row) {
                *current = self
                    .read_rows(incomplete.relation, plan, key_of(plan, &row))
                    .await?
                    .found
                    .into_values()
                    .next();
            }
        }
        let name = &incomplete.table.name;
        // Those rows can be newer than the stream up to here.
        let now = before_page_header(self.end_of_log().await?);
        if let Some(state) = self.states.get_mut(name) {
            state.until = state.until.max(now.0);
            self.progress.table(name).set_overlap(Lsn(state.until));
            self.writer.extra().table(name, state);
        }
        following.applier.extend_overlap(name, now);
        let [at_old_key, at_new_key] = &current;
        let again = Again {
            old: old.as_ref().map(OwnedRow::row),
            new: new.as_ref().map(OwnedRow::row),
            at_old_key: at_old_key.as_ref().map(OwnedRow::row),
            at_new_key: at_new_key.as_ref().map(OwnedRow::row),
        };
        let workspace = &mut following.applier.workspace;
        for sink in &plan.sinks {
            sink.write_again(&again, workspace, self.writer.commands());
        }
        // An event tells what happened, not what came of it.
        let completed = match (&again.new, &again.at_new_key) {
            (Some(new), Some(found)) => Some(OwnedRow::completed(new, found)),
            _ => None,
        };
        let new = completed.as_ref().map(OwnedRow::row).or(again.new);
        let change = match (again.old, new) {
            (old, Some(new)) => Change::Update { old, new },
            (Some(old), None) => Change::Delete { old },
            (None, None) => return Ok(()),
        };
        for sink in plan.sinks.iter().filter(|sink| Sink::is_stream(sink)) {
            sink.write(&change, workspace, self.writer.commands());
        }
        Ok(())
    }

    /// The row that has this row's key now. With it, those that the next changes will need are read.
    async fn row_now(
        &mut self,
        following: &mut Following,
        plan: &Plan,
        (relation, row): (u32, &Row<'_>),
    ) -> Result<Option<OwnedRow>, Error> {
        let Some(key) = reread::key(&plan.shape, row) else { return Ok(None) };
        if let Some(row) = following.ahead.take(relation, &key) {
            return Ok(row);
        }
        let mut keys = vec![key.clone()];
        let mut transactions: Vec<u32> =
            following.transaction.map(|transaction| transaction.xid).into_iter().collect();
        let mut decoder = Decoder::default();
        for payload in self.stream.ahead() {
            match decoder.decode(payload) {
                Some(Message::Row(oid, Change::Update { new, .. }))
                    if oid == relation && new.has_unchanged() =>
                {
                    if let Some(key) = reread::key(&plan.shape, &new)
                        && !keys.contains(&key)
                    {
                        keys.push(key);
                    }
                }
                Some(Message::Frame(Frame::Begin { xid, .. })) => transactions.push(xid),
                // A table may look otherwise from there on.
                Some(Message::Frame(Frame::Relation(_))) | None => break,
                _ => {}
            }
            if keys.len() >= MOST_KEYS || transactions.len() >= MOST_KEYS {
                break;
            }
        }
        // A row as it was before a change must not be taken for the row after it.
        self.wait_until_visible(&transactions).await?;
        let mut rows = self.read_rows(relation, plan, keys.clone()).await?;
        let found = rows.found.remove(&key);
        following.ahead.fill(relation, keys.get(1..).unwrap_or_default(), rows);
        Ok(found)
    }

    async fn read_rows(&mut self, relation: u32, plan: &Plan, keys: Vec<Key>) -> Result<Rows, Error> {
        let Some(captured) = self.captured.get(&relation) else { return Ok(Rows::default()) };
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        let read = reread::read(&mut self.control, (&plan.shape, &captured.table), &keys);
        Session::meanwhile(&mut self.stream, positions, async { Ok(read.await?) }).await
    }
}

fn key_of(plan: &Plan, row: &Row<'_>) -> Vec<Key> {
    reread::key(&plan.shape, row).into_iter().collect()
}
