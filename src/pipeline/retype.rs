//! Outputs that were given another type: keys of the former one make way before a row is written to the same name.
//!
//! ```text
//!   former outputs     string t:{id} ─┐
//!   outputs as they are  hash t:{id} ─┴─> SCAN MATCH t:* TYPE string ─> UNLINK ─> rows
//! ```
//!
//! Redis refuses to write a hash where there is a string, so that each row would become a dead letter. And a key
//! that expires goes on to do so when its fields are written again, also where no output has a `ttl` any more. It is
//! done before anything is streamed, and such keys are gone until their rows are read again. Only keys that a former
//! output can have made are removed, and none that another table's can.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::capture::Captured;
use super::checkpoint::{TableState, is_own};
use super::session::{Recovery, Session};
use super::truncate::remove;
use crate::config::{Output, OutputKind};
use crate::error::Error;
use crate::plan::key::KeyPattern;
use crate::redis::scan::Scan;

/// A table whose outputs are not what they were.
#[derive(Debug)]
pub(super) struct Retyped {
    captured: Arc<Captured>,
    /// The types of the former outputs, as Redis calls them.
    types: BTreeSet<&'static str>,
    /// In words, see [`crate::plan::fingerprint`].
    outputs: Vec<String>,
    keys: Vec<KeyPattern>,
}

impl Retyped {
    /// `state` is still that of the former outputs.
    pub(super) fn of(state: &TableState, captured: &Arc<Captured>) -> Retyped {
        let outputs: Vec<String> = state.outputs.split("; ").map(str::to_owned).collect();
        let kinds = outputs.iter().filter_map(|output| OutputKind::named(output.split(' ').next()?));
        let types = kinds.map(OutputKind::redis_type).collect();
        let keys = state.keys.iter().chain(&state.stale_keys).cloned().collect();
        Retyped { captured: Arc::clone(captured), types, outputs, keys }
    }

    /// Keys that this output writes expire, since it had a `ttl` before.
    fn expires(&self, output: &Output) -> bool {
        let same = format!(" key={} columns=", output.key);
        let former = self.outputs.iter().find(|former| former.contains(&same));
        let expired = former
            .is_some_and(|words| words.split(' ').any(|word| word.starts_with("ttl=") && word != "ttl=0"));
        expired && output.ttl.is_none()
    }
}

impl Session<'_> {
    pub(super) async fn make_way(&mut self, retyped: Vec<Retyped>) -> Result<(), Error> {
        for table in retyped {
            let name = table.captured.name();
            let plan = table.captured.plan(&self.pipeline.file)?;
            let others = self.patterns_of_others(|other| other == name)?;
            let mut removed = 0;
            for (output, sink) in table.captured.outputs.iter().zip(&plan.sinks) {
                let kind = output.structure.kind();
                // SET takes the place of any other, and entries of a stream stay.
                if matches!(kind, OutputKind::String | OutputKind::Stream) {
                    continue;
                }
                let (pattern, expires) = (sink.pattern(), table.expires(output));
                let is_key = |key: &[u8]| {
                    pattern.matches(key)
                        && table.keys.iter().any(|former| former.matches(key))
                        && !is_own(key)
                        && !others.matches(key)
                };
                for former in table.types.iter().filter(|former| **former != kind.redis_type() || expires) {
                    removed += self.remove_typed(Scan::of_type(pattern.glob(), former), is_key).await?;
                }
            }
            if removed > 0 {
                tracing::info!(
                    table = name,
                    keys = removed,
                    "keys that former outputs had written as something else are removed"
                );
            }
        }
        Ok(())
    }

    /// Removes those keys of a scan, and says how many they were.
    async fn remove_typed(&mut self, mut scan: Scan, is_key: impl Fn(&[u8]) -> bool) -> Result<usize, Error> {
        let mut redis = self.open_redis().await?;
        let mut removed = 0;
        while let Some(mut keys) = self.page(&mut scan, &mut redis).await? {
            keys.retain(|key| is_key(key));
            if keys.is_empty() {
                continue;
            }
            removed += keys.len();
            remove(&keys, self.writer.commands());
            self.writer.count_changes(keys.len());
            self.writer.mark_beside_the_stream();
            // On a signal the stop is noticed where rows are read.
            if self.drain().await? == Recovery::Stopped {
                break;
            }
        }
        Ok(removed)
    }
}
