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

use super::checkpoint::{
    Checkpoint, Keys, Position, SHARD, Written, parse, parse_position, read_hash, spell_position,
};
use crate::error::{Error, SlotUse};
use crate::postgres::Connection;
use crate::redis::shards::marker_key;
use crate::redis::{self, Client, Spread};

/// More rows than one batch has.
const BATCH: u64 = 1 << 24;

/// Goes back to where all shards have everything.
pub(super) async fn rewind(
    checkpoint: &mut Checkpoint,
    redis: &mut Client,
    keys: &Keys,
) -> Result<(), Error> {
    if redis.spread() == Spread::Whole {
        return Ok(());
    }
    checkpoint.position = checkpoint.before;
    // Entries for rows of a snapshot are numbered; some may be there that the checkpoint does not know.
    checkpoint.events.1 += BATCH;
    let Some(behind) = behind(redis, keys).await? else { return Ok(()) };
    let Some(before) = behind.before else {
        let reason = format!(
            "a shard of Redis has forgotten rows that the stream does not bring: its marker {} is gone or from before \
             they were read",
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
    Ok(Position { lsn: control.end_of_log().await?, split: None })
}

/// Asks every shard for its marker. One that is older than the checkpoint belongs to a shard that has
/// forgotten data: `Some` tells from where on changes have to be done again, as far as that is known.
pub(super) async fn behind(redis: &mut Client, keys: &Keys) -> Result<Option<Behind>, redis::Error> {
    if redis.spread() == Spread::Whole {
        return Ok(None);
    }
    let fields = read_hash(redis, &keys.checkpoint).await?;
    let Some(checkpoint) = parse(&fields) else { return Ok(None) };
    let mut behind: Option<Behind> = None;
    for field in &checkpoint.shards {
        let key = marker_key(&keys.marker, field.strip_prefix(SHARD).unwrap_or_default());
        let marker = redis.call(&[b"GET", key.as_bytes()]).await?.text();
        let this = match marker.as_deref().and_then(Written::parse_marker) {
            Some(marker) if marker.beside < checkpoint.beside => Behind { marker: key, before: None },
            Some(marker) if marker.position.reaches(&checkpoint.position) => continue,
            Some(marker) => Behind { marker: key, before: Some(marker.before) },
            None => Behind { marker: key, before: None },
        };
        let is_earlier = behind.as_ref().is_none_or(|known| match (known.before, this.before) {
            (Some(known), Some(this)) => !this.reaches(&known),
            (known, _) => known.is_some(),
        });
        if is_earlier {
            behind = Some(this);
        }
    }
    Ok(behind)
}

/// A shard that has forgotten data.
#[derive(Debug, Clone)]
pub(super) struct Behind {
    /// The key of its marker.
    pub(super) marker: String,
    /// Changes from here on have to be done again. `None`: it has also forgotten what the stream does not
    /// bring, rows of a snapshot.
    pub(super) before: Option<Position>,
}

impl Written {
    /// What the markers of the shards say.
    pub(super) fn marker(&self) -> String {
        let Written { position, before, batch, beside } = *self;
        format!("{};{};{batch};{beside}", spell_position(position), spell_position(before))
    }

    fn parse_marker(text: &str) -> Option<Written> {
        let mut parts = text.split(';');
        Some(Written {
            position: parse_position(parts.next()?)?,
            before: parse_position(parts.next()?)?,
            batch: parts.next()?.parse().ok()?,
            beside: parts.next()?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::Lsn;
    use crate::pipeline::checkpoint::Split;

    #[test]
    fn what_markers_say_is_read() {
        let split = Some(Split { commit_lsn: Lsn(9), ordinal: 3 });
        let (position, before) = (Position { lsn: Lsn(7), split }, Position { lsn: Lsn(5), split: None });
        let written = Written { position, before, batch: 5, beside: 6 };
        assert_eq!(written.marker(), "0/7 0/9 3;0/5;5;6");
        assert_eq!(Written::parse_marker(&written.marker()), Some(written));
        assert_eq!(Written::parse_marker("0/7;0/5"), None);
    }
}
