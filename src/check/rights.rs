//! Which rights are missing in Redis, without using any.
//!
//! `ACL DRYRUN` and `ACL GETUSER` would tell, and are for administrators, whose rights the connector's
//! user must not have. But Redis checks rights already when a command is queued in a transaction. So each
//! command that will be used is queued, with a key that a row could have, and the connection is closed:
//! the transaction is never carried out. It could not be, since its first command has too few arguments,
//! which spoils the whole; only when Redis has said so is the next command sent. All of it goes over one
//! connection to one server, never over a client that divides commands among several: outside the
//! transaction they would be carried out.
//!
//! [`own`] and [`of`] are what `docs/redis.md` lists; the tests of the documentation run with those.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use crate::config::{Durability, Output, OutputKind};
use crate::error::Problem;
use crate::pipeline::checkpoint::Keys;
use crate::plan::Plan;
use crate::plan::key::KeyPattern;
use crate::redis::resp::{Commands, Reply};
use crate::redis::{Connection, Error, Spread};

/// A right that is missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Missing {
    Command(String),
    /// A pattern of keys.
    Keys(String),
}

/// A command to be tried, and the pattern of keys that it stands for.
struct Trial {
    arguments: Vec<Vec<u8>>,
    keys: String,
}

/// A table with more than this many outputs of a kind is like the ones before.
const MOST: usize = 10_000;

/// Tries all commands of the pipeline, over a connection of its own; those that are missing, each once.
pub(crate) async fn missing<'p>(
    mut redis: Connection,
    (keys, spread, durability): (&Keys, Spread, Durability),
    plans: impl Iterator<Item = (impl Borrow<Plan>, &'p [Output])>,
) -> Result<BTreeSet<Missing>, Error> {
    let mut opening = Commands::default();
    // There is no transaction yet, so this can only be refused, for the one reason or the other.
    opening.command(&[b"EXEC"]);
    opening.command(&[b"MULTI"]);
    opening.command(&[b"GET"]);
    let exec = match redis.call_all(&opening).await?.as_slice() {
        [exec, Reply::Text(_), Reply::Error(_)] => Trial::new("", &[b"EXEC"]).missing(exec),
        [_, Reply::Error(reply), _] if is_refusal(reply) => Some(Missing::Command("multi".to_owned())),
        _ => return Err(Error::Setting("Redis does not take transactions as it should".to_owned())),
    };
    if exec == Some(Missing::Command("multi".to_owned())) {
        return Ok(exec.into_iter().collect());
    }
    let mut trials = own(keys);
    trials.extend(of_sharded(spread));
    trials.extend(of_durability(durability));
    for (plan, outputs) in plans {
        let plan = plan.borrow();
        let sinks = plan.sinks.iter().zip(outputs);
        trials.extend(sinks.flat_map(|(sink, output)| of(&sink.pattern(), output)));
        if plan.index.is_some() {
            trials.extend(index());
        }
        if trials.len() > MOST {
            break;
        }
    }
    let mut commands = Commands::default();
    for trial in &trials {
        let arguments: Vec<&[u8]> = trial.arguments.iter().map(Vec::as_slice).collect();
        commands.command(&arguments);
    }
    let replies = redis.call_all(&commands).await?;
    let refused = trials.iter().zip(&replies).filter_map(|(trial, reply)| trial.missing(reply));
    Ok(refused.chain(exec).collect())
}

/// What gives the rights that are missing.
pub(crate) fn problem(missing: &BTreeSet<Missing>, user: &str) -> Option<Problem> {
    let grants: Vec<String> = missing
        .iter()
        .map(|one| match one {
            Missing::Command(command) => format!("+{command}"),
            Missing::Keys(pattern) => format!("~{pattern}"),
        })
        .collect();
    let grants = grants.join(" ");
    (!missing.is_empty()).then(|| Problem {
        found: format!("the user {user} may not do in Redis what is needed (NOPERM): {grants} are missing"),
        mend: format!("ACL SETUSER {user} {grants} (see docs/redis.md)"),
    })
}

/// EXEC itself: `EXECABORT Transaction discarded because of: NOPERM …`.
fn is_refusal(reply: &str) -> bool {
    reply.starts_with("NOPERM") || (reply.starts_with("EXECABORT") && reply.contains(": NOPERM"))
}

impl Trial {
    fn new(keys: &str, arguments: &[&[u8]]) -> Trial {
        Trial { arguments: arguments.iter().map(|one| one.to_vec()).collect(), keys: keys.to_owned() }
    }

    fn missing(&self, reply: &Reply) -> Option<Missing> {
        let Reply::Error(reply) = reply else { return None };
        // Whatever else is wrong (a full or read-only Redis, a slot elsewhere) is not a matter of rights.
        if !is_refusal(reply) {
            return None;
        }
        // "… no permissions to run the 'hset' command", "… to access one of the keys used as arguments".
        if reply.contains(" key") {
            return Some(Missing::Keys(self.keys.clone()));
        }
        let name = self.arguments.first().map(|name| String::from_utf8_lossy(name).to_lowercase());
        let has_subcommands = |name: &str| ["xinfo", "client", "cluster"].contains(&name);
        let sub = self.arguments.get(1).filter(|_| name.as_deref().is_some_and(has_subcommands));
        let sub =
            sub.map_or(String::new(), |sub| format!("|{}", String::from_utf8_lossy(sub).to_lowercase()));
        Some(Missing::Command(name.unwrap_or_default() + &sub))
    }
}

/// What every pipeline does with its own keys. Not PING: who may not ask has been answered.
fn own(keys: &Keys) -> Vec<Trial> {
    let prefix = keys.checkpoint.trim_end_matches("checkpoint");
    let all = format!("{prefix}*");
    let [epoch, checkpoint] = [keys.epoch.as_bytes(), keys.checkpoint.as_bytes()];
    let [requests, letters] = [keys.requests.as_bytes(), keys.dead_letters.as_bytes()];
    let trials: &[&[&[u8]]] = &[
        &[b"MULTI"],
        &[b"WATCH", epoch],
        &[b"GET", epoch],
        &[b"SET", epoch, b"0"],
        &[b"INCR", epoch],
        &[b"HSET", checkpoint, b"f", b"v"],
        &[b"HINCRBY", checkpoint, b"f", b"1"],
        &[b"HGET", checkpoint, b"f"],
        &[b"HGETALL", checkpoint],
        &[b"HKEYS", requests],
        &[b"HDEL", requests, b"f"],
        &[b"SCAN", b"0"],
        &[b"XADD", letters, b"*", b"f", b"v"],
        &[b"XLEN", letters],
        &[b"XRANGE", letters, b"-", b"+"],
        &[b"XINFO", b"STREAM", letters],
        &[b"DEL", keys.former.as_bytes()],
    ];
    let beside = format!("{}*", keys.beside);
    let is_beside = |key: &&[u8]| key.starts_with(keys.beside.as_bytes());
    let glob = |arguments: &[&[u8]]| if arguments.iter().any(is_beside) { &beside } else { &all };
    trials.iter().map(|arguments| Trial::new(glob(arguments), arguments)).collect()
}

/// What the lanes do where Redis is sharded.
fn of_sharded(spread: Spread) -> Vec<Trial> {
    let name: &[&[&[u8]]] = &[
        &[b"CLIENT", b"SETNAME", b"n"],
        &[b"CLIENT", b"ID"],
        &[b"CLIENT", b"LIST"],
        &[b"CLIENT", b"KILL", b"ID", b"0"],
    ];
    let moving: &[&[&[u8]]] = &[&[b"ASKING"], &[b"CLUSTER", b"SLOTS"], &[b"CLUSTER", b"NODES"]];
    let trials: &[&[&[&[u8]]]] = match spread {
        Spread::Whole => &[],
        Spread::Endpoint => &[name],
        Spread::Cluster => &[name, moving],
    };
    trials.iter().copied().flatten().map(|arguments| Trial::new("", arguments)).collect()
}

/// What waits for replicas or the disk.
fn of_durability(durability: Durability) -> Option<Trial> {
    match durability {
        Durability::Memory => None,
        Durability::Replicas(_) => Some(Trial::new("", &[b"WAIT", b"0", b"1"])),
        Durability::AppendOnly(_) => Some(Trial::new("", &[b"WAITAOF", b"0", b"0", b"1"])),
    }
}

/// What an output does.
fn of(pattern: &KeyPattern, output: &Output) -> Vec<Trial> {
    let kind = output.structure.kind();
    let (key, glob) = (pattern.example(), String::from_utf8_lossy(&pattern.glob()).into_owned());
    let key = key.as_bytes();
    let expire: &[&[u8]] = &[b"EXPIRE", key, b"1"];
    let trials: &[&[&[u8]]] = match kind {
        OutputKind::Hash => {
            &[&[b"HSET", key, b"f", b"v"], &[b"HDEL", key, b"f"], &[b"UNLINK", key], &[b"RENAME", key, key]]
        }
        OutputKind::Json => &[
            &[b"JSON.SET", key, b"$", b"{}"],
            &[b"JSON.DEL", key, b"$"],
            &[b"UNLINK", key],
            &[b"RENAME", key, key],
        ],
        OutputKind::String => &[&[b"SET", key, b"v"], &[b"UNLINK", key]],
        OutputKind::Set => {
            &[&[b"SADD", key, b"m"], &[b"SREM", key, b"m"], &[b"SSCAN", key, b"0"], &[b"UNLINK", key]]
        }
        OutputKind::SortedSet => {
            &[&[b"ZADD", key, b"1", b"m"], &[b"ZREM", key, b"m"], &[b"ZSCAN", key, b"0"], &[b"UNLINK", key]]
        }
        OutputKind::Stream => &[&[b"XADD", key, b"*", b"f", b"v"]],
    };
    // SET has its own option for it.
    let expires = output.ttl.is_some() && kind != OutputKind::String;
    let trials = trials.iter().copied().chain(expires.then_some(expire));
    trials.map(|arguments| Trial::new(&glob, arguments)).collect()
}

/// What a search index needs.
fn index() -> Vec<Trial> {
    let trials: &[&[&[u8]]] =
        &[&[b"FT.CREATE", b"idx", b"SCHEMA", b"f", b"TEXT"], &[b"FT._LIST"], &[b"FT.DROPINDEX", b"idx"]];
    trials.iter().map(|arguments| Trial::new("*", arguments)).collect()
}
