//! After a table was read again over what an older mapping left: keys that no row has are removed.
//!
//! ```text
//!   COPY of the key's columns ──> hashes of the keys that rows have ──┐
//!   Redis ──SCAN──> keys that the old or the new template makes ──────┴─> UNLINK those without a row
//! ```
//!
//! The rows are read in the snapshot that the table was read in, while the stream waits; so no key is
//! removed that the stream has written. Memory is bounded by working in passes: each looks only at the
//! keys whose hash falls into its share.

use std::collections::HashSet;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::capture::Captured;
use super::checkpoint::TableState;
use super::session::{Recovery, Session};
use super::truncate::remove;
use crate::error::Error;
use crate::plan::Plan;
use crate::plan::key::Holds;
use crate::postgres::copy::{CopyEvent, split_row};
use crate::postgres::{self, Connection, identifier};
use crate::redis::resp::Commands;
use crate::redis::scan::Scan;
use crate::row::Row;
use crate::sink::{Sink, Workspace};

/// Keys that are remembered in one pass: 16 MB of hashes.
const KEYS_PER_PASS: u64 = 1_000_000;

impl Session<'_> {
    /// Removes the keys and members of `state.stale_keys` and of the present templates that no row has.
    pub(super) async fn sweep(
        &mut self,
        source: &mut Connection,
        (captured, plan): (&Captured, &Plan),
        state: &TableState,
    ) -> Result<Recovery, Error> {
        let mut redis = self.open_redis().await?;
        let mut patterns = state.stale_keys.clone();
        patterns.extend(plan.key_patterns());
        patterns.retain(|pattern| pattern.holds != Holds::Events);
        patterns.dedup();
        let passes = state.rows / KEYS_PER_PASS + 1;
        let mut removed = 0;
        for pass in 0..passes {
            let share = |hash: u64| (hash % passes == pass).then_some(hash);
            let positions = (self.writer.accepted().lsn, self.retention.confirmable());
            let read = async { Ok(places_of_rows(source, captured, plan, share).await?) };
            let rows = Session::meanwhile(&mut self.stream, positions, read).await?;
            let is_stale = |key: &[u8], member: &[u8]| {
                share(hash(key, member)).is_some_and(|hash| !rows.contains(&hash))
            };
            for pattern in &patterns {
                let mut scan = Scan::new(pattern.glob());
                while let Some(mut keys) = self.page(&mut scan, &mut redis).await? {
                    keys.retain(|key| pattern.matches(key));
                    if pattern.holds == Holds::Row {
                        keys.retain(|key| is_stale(key, b""));
                        removed += keys.len();
                        remove(&keys, self.writer.commands());
                        self.writer.count_changes(keys.len());
                        if self.swept().await? == Recovery::Stopped {
                            return Ok(Recovery::Stopped);
                        }
                        continue;
                    }
                    for key in keys {
                        let mut scan = Scan::of_members(pattern.holds, &key);
                        while let Some(mut members) = self.page(&mut scan, &mut redis).await? {
                            members.retain(|member| is_stale(&key, member));
                            removed += members.len();
                            remove_members(pattern.holds, &key, &members, self.writer.commands());
                            self.writer.count_changes(members.len());
                            if self.swept().await? == Recovery::Stopped {
                                return Ok(Recovery::Stopped);
                            }
                        }
                    }
                }
            }
        }
        tracing::info!(table = captured.name(), keys = removed, "keys without a row removed");
        Ok(Recovery::Resumed)
    }

    /// What was appended may be written.
    async fn swept(&mut self) -> Result<Recovery, Error> {
        self.writer.mark(self.writer.accepted());
        self.writer.flush(Duration::ZERO);
        if self.writer.is_full() { self.drain().await } else { Ok(Recovery::Resumed) }
    }
}

fn remove_members(holds: Holds, key: &[u8], members: &[Vec<u8>], out: &mut Commands) {
    if !members.is_empty() {
        out.begin(2 + members.len());
        out.argument(if holds == Holds::Set { b"SREM" } else { b"ZREM" });
        out.argument(key);
        for member in members {
            out.argument(member);
        }
    }
}

/// Of a key, or of a member in it.
fn hash(key: &[u8], member: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, member).hash(&mut hasher);
    hasher.finish()
}

/// Hashes of where the rows are, as far as `share` wants them.
async fn places_of_rows(
    source: &mut Connection,
    captured: &Captured,
    plan: &Plan,
    share: impl Fn(u64) -> Option<u64>,
) -> Result<HashSet<u64>, postgres::Error> {
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
    let mut found = HashSet::new();
    loop {
        match source.copy_event()? {
            CopyEvent::Row(frame) => {
                let line = source.copy_row(&frame);
                split_row(line, &mut cells);
                let row = Row::new(line, &cells);
                for sink in &plan.sinks {
                    if sink.place(&row, &mut workspace) {
                        found.extend(share(hash(&workspace.key, &workspace.member)));
                    }
                }
                source.copy_consume(&frame);
            }
            CopyEvent::Incomplete(wanted) => {
                poll_fn(|cx| source.poll_more(cx, wanted)).await?;
            }
            CopyEvent::Done => return Ok(found),
        }
    }
}
