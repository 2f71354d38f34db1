//! Outputs that were given another type: keys of the former one make way before a row is written to the same name.
//!
//! ```text
//!   former outputs     string t:{id} ─┐
//!   outputs as they are  hash t:{id} ─┴─> SCAN MATCH t:* TYPE string ─> UNLINK ─> rows
//! ```
//!
//! Redis refuses to write a hash where there is a string, so that each row would become a dead letter. And a key
//! that expires goes on to do so when its fields are written again, also where no output has a `ttl` any more. It is
//! done before anything is streamed, and such keys are gone until their rows are read again. Only keys that a former output can have made are removed, and none that another table's can.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::capture::Captured;
use super::checkpoint::{TableState, is_own};
use super::session::{Recovery, Session};
use super::truncate::remove;
use crate::config::Output;
use crate::error::Error;
use crate::plan::key::KeyPattern;
use crate::redis::scan::Scan;
use crate::sink::Sink;

/// A table whose outputs are not what they were.
#[derive(Debug)]
pub(super) struct Retyped {
    captured: Arc<Captured>,
    /// What Redis calls the types of the former outputs.
    types: BTreeSet<&'static str>,
    /// In words, see [`crate::plan::fingerprint`].
    outputs: Vec<String>,
    keys: Vec<KeyPattern>,
}

/// By the names of structures, what TYPE says of their keys.
const TYPES: [(&str, &str); 5] =
    [("hash", "hash"), ("json", "ReJSON-RL"), ("string", "string"), ("set", "set"), ("sorted_set", "zset")];

impl Retyped {
    /// `state` is still that of the former outputs.
    pub(super) fn of(state: &TableState, captured: &Arc<Captured>) -> Retyped {
        let outputs: Vec<String> = state.outputs.split("; ").map(str::to_owned).collect();
        let words = outputs.iter().filter_map(|output| output.split(' ').next());
        let types = words.filter_map(|word| Some(TYPES.iter().find(|(name, _)| *name == word)?.1)).collect();
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

/// What the key of a row must be, if it is not to be refused. SET takes any.
fn needed(sink: &Sink) -> Option<&'static str> {
    match sink {
        Sink::Hash(_) => Some("hash"),
        Sink::Json(_) => Some("ReJSON-RL"),
        Sink::Set(_) => Some("set"),
        Sink::SortedSet(_) => Some("zset"),
        Sink::String(_) | Sink::Stream(_) => None,
    }
}

impl Session<'_> {
    pub(super) async fn make_way(&mut self, retyped: Vec<Retyped>) -> Result<(), Error> {
        for table in retyped {
            let plan = table.captured.plan(&self.pipeline.file)?;
            for (output, sink) in table.captured.outputs.iter().zip(&plan.sinks) {
                let Some(needed) = needed(sink) else { continue };
                let expires = table.expires(output);
                for former in table.types.iter().filter(|former| **former != needed || expires) {
                    self.remove_typed(&table.captured.name(), (&sink.pattern(), &table.keys), former).await?;
                }
            }
        }
        Ok(())
    }

    /// Removes keys of this type that both this pattern and a former one can have made.
    async fn remove_typed(
        &mut self,
        name: &str,
        (pattern, former): (&KeyPattern, &[KeyPattern]),
        typed: &str,
    ) -> Result<(), Error> {
        let others = self.patterns_of_others(name)?;
        let mut redis = self.open_redis().await?;
        let mut scan = Scan::of_type(pattern.glob(), typed);
        let mut removed = 0;
        while let Some(mut keys) = self.page(&mut scan, &mut redis).await? {
            keys.retain(|key| {
                pattern.matches(key)
                    && former.iter().any(|former| former.matches(key))
                    && !is_own(key)
                    && !others.iter().any(|other| other.matches(key))
            });
            if keys.is_empty() {
                continue;
            }
            removed += keys.len();
            remove(&keys, self.writer.commands());
            self.writer.count_changes(keys.len());
            self.writer.mark_beside_the_stream();
            // On a signal the stop is noticed where rows are read.
            if self.drain().await? == Recovery::Stopped {
                return Ok(());
            }
        }
        if removed > 0 {
            tracing::info!(
                table = name,
                keys = removed,
                "keys of type {typed} that former outputs had written are removed"
            );
        }
        Ok(())
    }
}
