//! TRUNCATE: finds the keys that a table's rows have, so that they can be removed.
//!
//! SCAN finds candidates by a glob; the plan then says whether the table's template can have produced
//! the key, by the types of its columns. Keys that the open batch is about to write are not in Redis
//! yet; they are found by walking the batch.

use crate::plan::Plan;
use crate::redis::resp::Commands;
use crate::redis::scan::scan;
use crate::redis::{Connection, Error};
use crate::sink::Sink;

/// Keys that one UNLINK removes.
const CHUNK: usize = 500;

/// All keys that `plan` can have produced, among those in Redis and those in the open batch.
pub(super) async fn keys_of(
    redis: &mut Connection,
    plan: &Plan,
    open: &Commands,
) -> Result<Vec<Vec<u8>>, Error> {
    let mut keys = Vec::new();
    for sink in &plan.sinks {
        let Sink::Hash(hash) = sink;
        let template = hash.key();
        scan(redis, &template.glob(), |key| {
            if template.matches(key) {
                keys.push(key.to_vec());
            }
        })
        .await?;
        for command in open.walk() {
            if let [b"HSET" | b"RENAME", arguments @ ..] = command.as_slice() {
                let written = arguments.iter().take(2).filter(|key| template.matches(key));
                keys.extend(written.map(|key| key.to_vec()));
            }
        }
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

/// Appends the removal of some of `keys`; they are taken off the end.
pub(super) fn remove_some(keys: &mut Vec<Vec<u8>>, out: &mut Commands) -> usize {
    let chunk = keys.split_off(keys.len().saturating_sub(CHUNK));
    if !chunk.is_empty() {
        out.begin(1 + chunk.len());
        out.argument(b"UNLINK");
        for key in &chunk {
            out.argument(key);
        }
    }
    chunk.len()
}
