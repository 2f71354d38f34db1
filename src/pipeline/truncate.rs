//! TRUNCATE: finds the keys that a table's rows have and removes them.
//!
//! SCAN finds candidates by a glob; the plan then says whether the table's template can have produced
//! the key, by the types of its columns. Keys that the open batch is about to write are not in Redis
//! yet; they are found by walking the batch. Keys are removed page by page, so memory does not grow
//! with the table: what fits in a batch vanishes in the transaction that truncated it, a larger table
//! in several.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::apply::{Tracked, Transaction};
use super::ledger::Source;
use super::session::{Recovery, Session};
use crate::error::Error;
use crate::plan::Plan;
use crate::plan::key::KeyPattern;
use crate::redis::resp::Commands;
use crate::redis::scan::Scan;
use crate::sink::{Sink, Workspace};

/// Appends the removal of some keys.
pub(super) fn remove(keys: &[Vec<u8>], out: &mut Commands) {
    // One for each: in a cluster, keys of one command must share a hash slot.
    for key in keys {
        out.command(&[b"UNLINK", key]);
    }
}

/// What a table's streams are told beside its rows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Notice<'a> {
    Truncated,
    /// Changes are missing before this, for the given reason.
    Gap(&'a str),
}

impl Session<'_> {
    /// Removes the keys of one table. The transaction is the one that truncated it; should it be split
    /// here, it is split before the TRUNCATE, which is then done again.
    pub(super) async fn remove_keys(
        &mut self,
        table: &Tracked,
        transaction: Transaction,
        workspace: &mut Workspace,
    ) -> Result<Recovery, Error> {
        let mut redis = self.open_redis().await?;
        let mut count = 0;
        for pattern in table.plan.key_patterns() {
            let mut keys: Vec<Vec<u8>> = Vec::new();
            for command in self.writer.open_commands().walk() {
                let written: &[&[u8]] = match command.as_slice() {
                    [b"RENAME", keys @ ..] => keys,
                    [b"HSET" | b"RESTORE" | b"JSON.SET" | b"SET" | b"SADD" | b"ZADD", key, ..] => {
                        std::slice::from_ref(key)
                    }
                    _ => &[],
                };
                keys.extend(written.iter().filter(|key| pattern.matches(key)).map(|key| key.to_vec()));
            }
            let mut scan = Scan::new(pattern.glob());
            loop {
                count += keys.len();
                remove(&keys, self.writer.commands());
                self.writer.count_changes(keys.len());
                if self.writer.is_full() {
                    self.split_at(Some(transaction), transaction.ordinal - 1);
                    if self.drain().await? == Recovery::Stopped {
                        return Ok(Recovery::Stopped);
                    }
                }
                match self.page(&mut scan, &mut redis).await? {
                    Some(page) => keys = page.into_iter().filter(|key| pattern.matches(key)).collect(),
                    None => break,
                }
            }
        }
        workspace.event.ordinal = transaction.ordinal;
        let begun = self.writer.begin_change(&[]);
        self.tell_streams(&table.plan, Notice::Truncated, workspace).await?;
        self.writer.end_change(begun, transaction.origin(Source::Truncate(Rc::clone(&table.plan))));
        tracing::info!(table = table.name, keys = count, "truncated");
        Ok(Recovery::Resumed)
    }

    /// Writes an event that concerns no single row to the table's streams.
    pub(super) async fn tell_streams(
        &mut self,
        plan: &Plan,
        notice: Notice<'_>,
        workspace: &mut Workspace,
    ) -> Result<(), Error> {
        for stream in plan.sinks.iter().filter_map(Sink::stream) {
            let keys = match stream.fixed_key() {
                Some(key) => BTreeSet::from([key.to_vec()]),
                // Rows have several streams: each that there is gets to know.
                None => self.streams_like(&stream.pattern()).await?,
            };
            for key in keys {
                workspace.key = key;
                match notice {
                    Notice::Truncated => stream.truncated(workspace, self.writer.commands()),
                    Notice::Gap(reason) => {
                        // Each table's is an entry of its own.
                        workspace.event.ordinal += 1;
                        stream.gap(reason, workspace, self.writer.commands());
                    }
                }
            }
        }
        Ok(())
    }

    async fn streams_like(&mut self, pattern: &KeyPattern) -> Result<BTreeSet<Vec<u8>>, Error> {
        let mut redis = self.open_redis().await?;
        let mut scan = Scan::new(pattern.glob());
        let mut keys = BTreeSet::new();
        for command in self.writer.open_commands().walk() {
            if let [b"XADD", key, ..] = command.as_slice()
                && pattern.matches(key)
            {
                keys.insert(key.to_vec());
            }
        }
        while let Some(page) = self.page(&mut scan, &mut redis).await? {
            keys.extend(page.into_iter().filter(|key| pattern.matches(key)));
        }
        Ok(keys)
    }
}
