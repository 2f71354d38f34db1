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
use std::time::Duration;

use super::capture::Captured;
use super::checkpoint::TableState;
use super::places::{self, fingerprint};
use super::session::{Recovery, Session};
use super::snapshot::redefined;
use super::truncate::remove;
use crate::error::Error;
use crate::plan::Plan;
use crate::plan::key::Holds;
use crate::postgres::Connection;
use crate::redis::resp::Commands;
use crate::redis::scan::Scan;

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
            let mut rows = HashSet::new();
            let visit = |key: &[u8], member: &[u8]| rows.extend(share(fingerprint(key, member)));
            let read = async { places::read(source, captured, plan, visit).await.map_err(redefined) };
            Session::meanwhile(&mut self.stream, positions, read).await?;
            let is_stale = |key: &[u8], member: &[u8]| {
                share(fingerprint(key, member)).is_some_and(|hash| !rows.contains(&hash))
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
        self.writer.mark_beside_the_stream();
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
