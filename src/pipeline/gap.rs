//! Changes that are lost: recognised before the first row is written, and never passed over.
//!
//! ```text
//!   checkpoint (Redis)   system id, timeline, position ─┐
//!   server, slot         system id, history, confirmed ─┴─> fits | reason
//! ```
//!
//! The checkpoint says which changes Redis has, of which server. If this is another server, or one that
//! took another way than Redis (a promoted standby, a restore to an earlier point), or the slot begins
//! behind the checkpoint, something is missing that no stream will bring. With `on_gap: resnapshot` a new
//! session then begins at the slot's position: all tables are read again, keys and members without rows
//! are removed, and streams get an entry that says so.
//!
//! Entry IDs must grow. Where positions went back, or a stream has entries of something else, what is
//! missing is added to the positions in IDs (`id_base` in the checkpoint; else 0).

use std::collections::BTreeMap;

use super::capture::Captured;
use super::checkpoint::{Checkpoint, Keys, Origin, Position};
use crate::config::Config;
use crate::error::{Error, SlotUse};
use crate::lsn::Lsn;
use crate::postgres::Connection;
use crate::postgres::slot::Slot;
use crate::redis;
use crate::redis::resp::Reply;
use crate::sink::Sink;

/// A gap that the next session is to mend.
#[derive(Debug, Clone)]
pub(super) struct Gap {
    pub(super) reason: String,
    pub(super) slot: SlotUse,
}

/// What is there on PostgreSQL's side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) origin: &'a Origin,
    /// The timelines before the server's, and where each ended.
    pub(super) history: &'a [(u32, Lsn)],
    pub(super) slot: &'a Slot,
}

/// An error when changes are missing between checkpoint and slot.
pub(super) fn check(checkpoint: &Checkpoint, found: &Found<'_>, config: &Config) -> Result<(), Error> {
    let known = &checkpoint.origin;
    let slot = &config.source.slot;
    let missing = |reason: String| Err(Error::gap(reason, SlotUse::Usable));
    if !known.system_id.is_empty() && known.system_id != found.origin.system_id {
        return missing(format!(
            "the checkpoint in Redis belongs to another PostgreSQL (system identifier {}, this one is {}): is \
             source.url right?",
            known.system_id, found.origin.system_id
        ));
    }
    if !known.slot.is_empty() && known.slot != found.origin.slot {
        return missing(format!(
            "the checkpoint in Redis belongs to the slot {0}, but source.slot is {1}: changes between the two can be \
             lost ({0} keeps write-ahead log until it is dropped: SELECT pg_drop_replication_slot('{0}'))",
            known.slot, found.origin.slot
        ));
    }
    let reached = reached(checkpoint);
    if let Some(ended) = left_timeline(known, found)
        && reached > ended
    {
        return missing(format!(
            "PostgreSQL is on timeline {}, which left timeline {} of the checkpoint at {ended}, but Redis has changes \
             up to {reached}: a standby was promoted that had not got them, or an earlier state was restored",
            found.origin.timeline, known.timeline
        ));
    }
    if found.slot.confirmed > checkpoint.position.lsn {
        return missing(format!(
            "the replication slot {slot} is at {}, later than the checkpoint in Redis ({}): somebody else has read it, or \
             made it anew, or Redis has lost more than source.retain. Changes in between are lost",
            found.slot.confirmed, checkpoint.position.lsn
        ));
    }
    Ok(())
}

/// How far Redis has changes, those of a transaction that was split among them.
fn reached(checkpoint: &Checkpoint) -> Lsn {
    let split = checkpoint.position.split.map_or(Lsn::ZERO, |split| Lsn(split.commit_lsn.0 + 1));
    checkpoint.position.lsn.max(split)
}

/// Where the server's history left the timeline of the checkpoint; `None` while it is on it.
fn left_timeline(known: &Origin, found: &Found<'_>) -> Option<Lsn> {
    if known.timeline.is_empty() || known.timeline == found.origin.timeline {
        return None;
    }
    let timeline: u32 = known.timeline.parse().ok()?;
    let left = found.history.iter().find(|(past, _)| *past == timeline);
    // A timeline that the server never was on: nothing of it is here.
    Some(left.map_or(Lsn::ZERO, |(_, ended)| *ended))
}

/// The timelines before the server's, if the checkpoint is of another.
///
/// Source: PostgreSQL documentation, "Streaming Replication Protocol", TIMELINE_HISTORY.
pub(super) async fn history(
    connection: &mut Connection,
    origin: &Origin,
    checkpoint: Option<&Checkpoint>,
) -> Result<Vec<(u32, Lsn)>, Error> {
    let Some(checkpoint) = checkpoint else { return Ok(Vec::new()) };
    let timeline = &origin.timeline;
    let known = &checkpoint.origin;
    if known.timeline.is_empty() || known.timeline == *timeline || timeline == "1" {
        return Ok(Vec::new());
    }
    let rows = connection.query(&format!("TIMELINE_HISTORY {timeline}")).await?;
    let content =
        rows.into_iter().next().and_then(|row| row.into_iter().nth(1).flatten()).unwrap_or_default();
    Ok(parse_history(&content))
}

/// Lines of timeline, switch point and reason, and comments.
fn parse_history(text: &str) -> Vec<(u32, Lsn)> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// Makes of a checkpoint one from which everything is read again, beginning at `confirmed`.
pub(super) fn begin_anew(
    checkpoint: &mut Checkpoint,
    captured: &BTreeMap<u32, Captured>,
    (reason, confirmed): (&str, Lsn),
    file: &str,
) -> Result<(), Error> {
    checkpoint.reached =
        checkpoint.reached.max(Lsn(reached(checkpoint).0.saturating_add(checkpoint.id_base)));
    checkpoint.position = Position { lsn: confirmed, split: None };
    checkpoint.before = checkpoint.position;
    for state in checkpoint.tables.values_mut() {
        state.read_again(true);
        state.forget_streams();
    }
    for captured in captured.values() {
        let plan = captured.plan(file)?;
        let state = checkpoint.tables.entry(captured.name()).or_default();
        state.gap = Some(reason.to_owned());
        // Without a checkpoint, what has our keys is still ours.
        if state.stale_keys.is_empty() {
            state.stale_keys = plan.key_patterns();
        }
    }
    Ok(())
}

/// Sees to it that entry IDs grow, whatever is in the streams already.
pub(super) async fn raise_ids(
    checkpoint: &mut Checkpoint,
    redis: &mut redis::Client,
    (keys, captured): (&Keys, &BTreeMap<u32, Captured>),
) -> Result<(), Error> {
    let mut streams = vec![keys.messages.clone().into_bytes()];
    for captured in captured.values() {
        let plan = captured.streaming_plan("")?;
        streams
            .extend(plan.sinks.iter().filter_map(Sink::stream).filter_map(|s| Some(s.fixed_key()?.to_vec())));
    }
    streams.sort();
    streams.dedup();
    let mut last = checkpoint.reached.0;
    for stream in &streams {
        last = last.max(last_id(redis, stream).await?);
    }
    // Rows of the snapshot stand before the position.
    let first = checkpoint.position.lsn.0.saturating_sub(1) + checkpoint.id_base;
    if last >= first {
        checkpoint.id_base += last + 1 - first;
        tracing::warn!(
            id_base = checkpoint.id_base,
            "streams have later entries than the log's positions: this is added to the positions in entry IDs"
        );
    }
    Ok(())
}

/// The first part of a stream's last ID; 0 when there is no stream.
async fn last_id(redis: &mut redis::Client, stream: &[u8]) -> Result<u64, Error> {
    let fields = match redis.call(&[b"XINFO", b"STREAM", stream]).await {
        Ok(Reply::Array(fields)) => fields,
        Ok(_) => return Ok(0),
        // No such key, or one of another type, which will be told when it is written to.
        Err(redis::Error::Refused { reply, .. }) if !reply.starts_with("NOPERM") => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let id = fields.chunks_exact(2).find_map(|pair| match pair {
        [name, id] if name.text().as_deref() == Some("last-generated-id") => id.text(),
        _ => None,
    });
    Ok(id.and_then(|id| id.split_once('-')?.0.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::checkpoint::Split;

    fn checkpoint(timeline: &str, lsn: u64) -> Checkpoint {
        Checkpoint {
            position: Position { lsn: Lsn(lsn), split: None },
            origin: Origin { system_id: "7".into(), timeline: timeline.into(), slot: "s".into() },
            ..Checkpoint::default()
        }
    }

    fn reason(
        checkpoint: &Checkpoint,
        timeline: &str,
        history: &[(u32, Lsn)],
        confirmed: u64,
    ) -> Option<String> {
        let text = "source: { url: postgresql://h/d, slot: s }\ntarget: { url: redis://h }";
        let config = Config::parse(text, "", &|name| (name == "PGUSER").then(|| "me".to_owned())).unwrap();
        let origin = Origin { timeline: timeline.into(), ..checkpoint.origin.clone() };
        let slot = Slot {
            plugin: String::new(),
            database: String::new(),
            active_pid: None,
            confirmed: Lsn(confirmed),
            lost: None,
            synced: false,
            restart: None,
            safe: None,
            status: "reserved".to_owned(),
        };
        let found = Found { origin: &origin, history, slot: &slot };
        check(checkpoint, &found, &config).err().map(|error| error.to_string())
    }

    #[test]
    fn timelines() {
        let history = [(1, Lsn(100)), (2, Lsn(200))];
        assert_eq!(reason(&checkpoint("3", 500), "3", &[], 0), None);
        assert_eq!(reason(&checkpoint("2", 200), "3", &history, 0), None);
        assert!(reason(&checkpoint("2", 201), "3", &history, 0).unwrap().contains("left timeline 2"));
        assert!(reason(&checkpoint("1", 101), "3", &history, 0).is_some());
        // Restored to a time before its own timeline.
        assert!(reason(&checkpoint("4", 50), "3", &history, 0).is_some());
        let mut split = checkpoint("2", 190);
        split.position.split = Some(Split { commit_lsn: Lsn(210), ordinal: 1 });
        assert!(reason(&split, "3", &history, 0).is_some());
    }

    #[test]
    fn a_slot_ahead_of_the_checkpoint() {
        assert_eq!(reason(&checkpoint("1", 100), "1", &[], 100), None);
        assert!(reason(&checkpoint("1", 100), "1", &[], 101).unwrap().contains("on_gap: resnapshot"));
    }

    #[test]
    fn the_history_file() {
        let text = "1\t0/5000028\tno recovery target specified\n\n# comment\n2\t1/0\treason\n";
        assert_eq!(parse_history(text), [(1, Lsn(0x500_0028)), (2, Lsn(1 << 32))]);
        assert_eq!(parse_history("nonsense\n1\n"), []);
    }
}
