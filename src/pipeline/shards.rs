//! How a session begins where Redis is sharded: data and checkpoint are no transaction there.
//!
//! ```text
//!   checkpoint ──────────── P                      at least this is in every shard …
//!   marker of a shard  M                           … but this one has forgotten what came after M
//!   end of the log                       E         … and nobody can have written more than this
//!
//!                      begin ─────────> converging ─────> as usual
//! ```
//!
//! What was written behind the checkpoint is not known. But it had been committed before this session
//! began, so up to the end of the log as it is now rows can be newer than the stream, and changes are
//! applied as such: nothing is taken from one key to another, and entries that are there are there.

use super::checkpoint::{self, Checkpoint, Keys, Position};
use crate::error::{Error, SlotUse};
use crate::postgres::Connection;
use crate::redis::Client;

/// More rows than one batch has.
const BATCH: u64 = 1 << 24;

/// Goes back to where all shards have everything.
pub(super) async fn rewind(
    checkpoint: &mut Checkpoint,
    redis: &mut Client,
    keys: &Keys,
) -> Result<(), Error> {
    checkpoint.position = checkpoint.before;
    // Entries for rows of a snapshot are numbered; some may be there that the checkpoint does not know.
    checkpoint.events.1 += BATCH;
    let Some(behind) = checkpoint::shards_behind(redis, keys).await? else { return Ok(()) };
    let Some(before) = behind.before else {
        let reason = format!(
            "a shard of Redis is empty: {} is gone, which had been written there. What that shard had is lost",
            behind.marker
        );
        return Err(Error::gap(reason, SlotUse::Usable));
    };
    if checkpoint.before.reaches(&before) {
        tracing::warn!(
            marker = behind.marker,
            from = %before.lsn,
            "a shard of Redis has forgotten data: changes are done again from there on"
        );
        (checkpoint.position, checkpoint.before) = (before, before);
    }
    Ok(())
}

/// Nobody can have written more than this.
pub(super) async fn reach(control: &mut Connection) -> Result<Position, Error> {
    let lsn = control.query_one("SELECT pg_catalog.pg_current_wal_insert_lsn()").await?;
    Ok(Position { lsn: lsn.and_then(|lsn| lsn.parse().ok()).unwrap_or_default(), split: None })
}
