//! Mends what was found, beside a running connector.
//!
//! ```text
//!   WATCH key ── row, read again ── differs? ── MULTI  UNLINK key, write the row  EXEC
//! ```
//!
//! What is written must not be older than what the stream has brought. Everything that the stream had
//! brought to the key before the WATCH can be seen in the row that is read after it; whatever it brings
//! after the WATCH makes the EXEC nil, and all is done again. A commit can be streamed before it is seen, for as long
//! as a synchronous standby does not confirm it. So while somebody who has written to the table is not done,
//! nothing is mended. What is newer than the stream does no
//! harm: the stream brings what happened in between, and ends at the same row.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::sleep;

use super::compare::{answers, questions};
use super::expected::State;
use super::report::{Kind, Repaired};
use super::rows::{Chunk, RowId, Wanted};
use super::surplus::{Surplus, without_row};
use super::{Servers, Table};
use crate::error::Error;
use crate::plan::key::Holds;
use crate::postgres::snapshot::{COMMIT, are_visible_within};
use crate::redis::Spread;
use crate::redis::resp::{Commands, Reply};

/// A key that is written so often is left alone.
const ATTEMPTS: u32 = 100;
/// The same where all places of the table are read for each.
const LONG_ATTEMPTS: u32 = 5;
/// How often those who write to the table are waited for, and how long where that was in vain before.
const TRIES: u32 = 5;
const SHORT: Duration = Duration::from_millis(20);
/// Keys that are removed at once.
const AT_ONCE: usize = 500;

/// What came of an EXEC.
#[derive(Debug, PartialEq, Eq)]
enum Executed {
    Done,
    /// A watched key was written.
    Disturbed,
    /// What the stream has brought may not be seen yet.
    Unseen,
    Refused(String),
}

/// Writes the row as it is where one output has it.
pub(super) async fn row(
    table: &Table<'_>,
    servers: &mut Servers,
    (id, sink): (&RowId, usize),
) -> Result<Repaired, Error> {
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            servers.redis.call(&[b"UNWATCH"]).await?;
            sleep(Duration::from_millis(u64::from(attempt % 20))).await;
        }
        match attempt_row(table, servers, (id, sink)).await? {
            Executed::Done => return Ok(Repaired::Mended),
            Executed::Refused(reply) => return Ok(Repaired::Failed(reply)),
            Executed::Unseen => {
                servers.redis.call(&[b"UNWATCH"]).await?;
                return Ok(written_by_an_open_transaction());
            }
            Executed::Disturbed => {}
        }
    }
    Ok(written_all_the_time())
}

/// All that the stream has brought of the table can be seen. Where it could not be, patience is short from then on.
async fn is_seen(table: &Table<'_>, servers: &mut Servers) -> Result<bool, Error> {
    let oid = table.captured.table.oid;
    let tries = if servers.written == Some(oid) { 1 } else { TRIES };
    for _ in 0..tries {
        let patience = if tries > 1 { COMMIT } else { SHORT };
        if are_visible_within(&mut servers.control, oid, patience).await? {
            servers.written = None;
            return Ok(true);
        }
    }
    servers.written = Some(oid);
    Ok(false)
}

fn written_by_an_open_transaction() -> Repaired {
    Repaired::Failed(
        "its table is written by a transaction that is still open, or that a standby has not confirmed; repair it when that \
         is over"
            .to_owned(),
    )
}

fn written_all_the_time() -> Repaired {
    Repaired::Failed("its key is written all the time; repair it when less is written".to_owned())
}

async fn attempt_row(
    table: &Table<'_>,
    servers: &mut Servers,
    (id, sink): (&RowId, usize),
) -> Result<Executed, Error> {
    let (mut before, mut now) = (Chunk::default(), Chunk::default());
    read(table, servers, id, &mut before).await?;
    let places = before.wanted();
    // A row that has gone, or is nowhere any more: the stream takes away what it had.
    let Some(place) = places.iter().find(|place| place.sink == sink) else { return Ok(Executed::Done) };
    servers.redis.call(&[b"WATCH", place.expected.key]).await?;
    if !is_seen(table, servers).await? {
        return Ok(Executed::Unseen);
    }
    read(table, servers, id, &mut now).await?;
    let mut wanted = now.wanted();
    wanted.retain(|now| now.sink == sink);
    match wanted.first() {
        Some(now) if now.expected.key == place.expected.key => {}
        // It has moved.
        _ => return Ok(Executed::Disturbed),
    }
    let replies = servers.redis.call_all(&questions(&wanted)).await?;
    let found = answers(&wanted, &replies)?;
    let (Some(now), Some(found)) = (wanted.first(), found.first()) else {
        servers.redis.call(&[b"UNWATCH"]).await?;
        return Ok(Executed::Done);
    };
    let mut transaction = Commands::default();
    transaction.command(&[b"MULTI"]);
    mend(now, found.finding.kind, &mut transaction);
    transaction.command(&[b"EXEC"]);
    Ok(executed(servers.redis.call_all(&transaction).await?))
}

async fn read(table: &Table<'_>, servers: &mut Servers, id: &RowId, chunk: &mut Chunk) -> Result<(), Error> {
    table.reader.some(&mut servers.control, std::slice::from_ref(id)).await?;
    // One row can fill a chunk; what follows is the end.
    if table.reader.fill(&mut servers.control, &table.plan, chunk, None).await? {
        table.reader.fill(&mut servers.control, &table.plan, &mut Chunk::default(), None).await?;
    }
    Ok(())
}

/// What makes the place as it should be.
fn mend(place: &Wanted<'_>, kind: Kind, out: &mut Commands) {
    let key = place.expected.key;
    let is_shared = match place.expected.state {
        State::Nothing => {
            out.command(&[b"UNLINK", key]);
            return;
        }
        State::NoMember(member) => {
            out.command(&[b"ZREM", key, member]);
            return;
        }
        State::Member(_) | State::Scored(..) => true,
        State::Hash(_) | State::Json(_) | State::Text(_) => false,
    };
    if !is_shared || kind == Kind::WrongType {
        out.command(&[b"UNLINK", key]);
    }
    for command in &place.commands {
        out.command(command);
    }
    if kind == Kind::SurplusTtl {
        out.command(&[b"PERSIST", key]);
    }
}

fn executed(replies: Vec<Reply>) -> Executed {
    let error = |replies: &[Reply]| {
        replies.iter().find_map(|reply| match reply {
            Reply::Error(error) => Some(Executed::Refused(error.clone())),
            _ => None,
        })
    };
    match replies.last() {
        Some(Reply::Nil) => Executed::Disturbed,
        Some(Reply::Array(carried_out)) => error(carried_out).unwrap_or(Executed::Done),
        _ => error(&replies).unwrap_or(Executed::Disturbed),
    }
}

/// Removes keys and members that no row has; tells what became of each.
pub(super) async fn surplus(
    table: &Table<'_>,
    servers: &mut Servers,
    found: &[Surplus],
) -> Result<HashMap<u64, Repaired>, Error> {
    let mut outcome = HashMap::new();
    // In a cluster, keys of one transaction must share a hash slot.
    let at_once = if servers.redis.spread() == Spread::Whole { AT_ONCE } else { 1 };
    let mut parts: Vec<&[Surplus]> = found.chunks(at_once).collect();
    while let Some(part) = parts.pop() {
        let keys: BTreeSet<&[u8]> = part.iter().map(|surplus| surplus.key.as_slice()).collect();
        let mut repaired = written_all_the_time();
        for _ in 0..LONG_ATTEMPTS {
            match attempt_surplus(table, servers, part, &keys).await? {
                Executed::Done => repaired = Repaired::Mended,
                Executed::Refused(reply) => repaired = Repaired::Failed(reply),
                Executed::Unseen => repaired = written_by_an_open_transaction(),
                Executed::Disturbed => continue,
            }
            break;
        }
        if repaired == written_all_the_time() && keys.len() > 1 {
            // One key that is written often must not keep the others.
            let (one, other) = part.split_at(part.len() / 2);
            parts.extend([one, other]);
            continue;
        }
        outcome.extend(part.iter().map(|surplus| (surplus.fingerprint(), repaired.clone())));
    }
    Ok(outcome)
}

async fn attempt_surplus(
    table: &Table<'_>,
    servers: &mut Servers,
    part: &[Surplus],
    keys: &BTreeSet<&[u8]>,
) -> Result<Executed, Error> {
    let mut watch: Vec<&[u8]> = vec![b"WATCH"];
    watch.extend(keys);
    servers.redis.call(&watch).await?;
    if !is_seen(table, servers).await? {
        servers.redis.call(&[b"UNWATCH"]).await?;
        return Ok(Executed::Unseen);
    }
    let mut gone: HashMap<u64, Surplus> =
        part.iter().map(|surplus| (surplus.fingerprint(), surplus.clone())).collect();
    without_row(table, servers, &mut gone).await?;
    let mut transaction = Commands::default();
    transaction.command(&[b"MULTI"]);
    for surplus in gone.values() {
        match (&surplus.member, surplus.holds) {
            (None, _) => transaction.command(&[b"UNLINK", &surplus.key]),
            (Some(member), Holds::SortedSet) => transaction.command(&[b"ZREM", &surplus.key, member]),
            (Some(member), _) => transaction.command(&[b"SREM", &surplus.key, member]),
        }
    }
    transaction.command(&[b"EXEC"]);
    Ok(executed(servers.redis.call_all(&transaction).await?))
}

#[cfg(test)]
mod tests {
    use super::super::expected::interpret;
    use super::*;

    fn mended(commands: &[&str], kind: Kind) -> Vec<String> {
        let commands: Vec<Vec<&[u8]>> =
            commands.iter().map(|command| command.split(' ').map(str::as_bytes).collect()).collect();
        let expected = interpret(&commands).unwrap();
        let mut out = Commands::default();
        mend(&Wanted { row: 0, sink: 0, expected, commands }, kind, &mut out);
        out.walk().map(|command| String::from_utf8(command.join(&b' ')).unwrap()).collect()
    }

    #[test]
    fn a_key_is_written_anew_and_a_shared_one_is_not() {
        let hash = ["HSET t:1 a 1", "HDEL t:1 b", "EXPIRE t:1 60"];
        assert_eq!(mended(&hash, Kind::SurplusField), [&["UNLINK t:1"][..], &hash].concat());
        assert_eq!(mended(&["HDEL t:1 a"], Kind::SurplusKey), ["UNLINK t:1"]);
        assert_eq!(mended(&["SADD t m"], Kind::MissingMember), ["SADD t m"]);
        assert_eq!(mended(&["SADD t m"], Kind::WrongType), ["UNLINK t", "SADD t m"]);
        assert_eq!(mended(&["SADD t m"], Kind::SurplusTtl), ["SADD t m", "PERSIST t"]);
        assert_eq!(mended(&["ZADD t 5 m", "EXPIRE t 60"], Kind::MissingTtl), ["ZADD t 5 m", "EXPIRE t 60"]);
        assert_eq!(mended(&["ZREM t m", "ZADD t x m"], Kind::SurplusMember), ["ZREM t m"]);
    }

    #[test]
    fn what_came_of_a_transaction() {
        let queued = Reply::Text(b"QUEUED".to_vec());
        let ends = |last| executed(vec![queued.clone(), last]);
        let error = || Reply::Error("ERR no".to_owned());
        assert_eq!(ends(Reply::Nil), Executed::Disturbed);
        assert_eq!(ends(Reply::Array(vec![Reply::Integer(1)])), Executed::Done);
        assert_eq!(ends(Reply::Array(vec![error()])), Executed::Refused("ERR no".to_owned()));
        let refused = executed(vec![error(), Reply::Error("EXECABORT".to_owned())]);
        assert_eq!(refused, Executed::Refused("ERR no".to_owned()));
    }
}
