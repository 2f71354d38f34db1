//! Search indexes, and the modules that outputs need.
//!
//! An index is made before rows are read, so that it fills while they are written, and made anew when
//! its definition has changed; what it was made from is in the checkpoint. Documents stay: dropping an
//! index and making it again only makes the module read them once more. These commands can't stand in a
//! transaction, so they go over a connection of their own, after this instance has taken over.

use std::collections::{BTreeMap, BTreeSet};

use super::capture::Captured;
use super::session::Session;
use crate::config::{Output, OutputKind, RedisHost};
use crate::error::{Error, Problem};
use crate::plan::search::SearchIndex;
use crate::redis::resp::Reply;
use crate::redis::{self, Client, Spread};

/// A module, the command by which it is known, and what needs it.
pub(crate) type Module = (&'static str, &'static [u8], &'static str);

const JSON: Module = ("RedisJSON", b"JSON.SET", "`type: json`");
const SEARCH: Module = ("RediSearch", b"FT.CREATE", "`index`");

/// Refuses to start where Redis lacks a module that an output needs.
pub(super) async fn require_modules(
    redis: &mut Client,
    outputs: impl Iterator<Item = &Output>,
) -> Result<(), Error> {
    let needed = needed_modules(outputs);
    for host in redis.masters() {
        match missing_modules(redis, &host, &needed).await {
            Ok(missing) => {
                if let Some(problem) = missing.into_iter().next() {
                    return Err(problem.into());
                }
            }
            // It may not be asked; should the module be missing, the first write will tell.
            Err(redis::Error::Refused { reply, .. }) if reply.starts_with("NOPERM") => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The modules that outputs need.
pub(crate) fn needed_modules<'o>(outputs: impl Iterator<Item = &'o Output>) -> BTreeSet<Module> {
    let mut needed = BTreeSet::new();
    for output in outputs {
        if output.structure.kind() == OutputKind::Json {
            needed.insert(JSON);
        }
        if output.structure.index().is_some() {
            needed.insert(SEARCH);
        }
    }
    needed
}

/// Those of them that a server does not have.
pub(crate) async fn missing_modules(
    redis: &mut Client,
    host: &RedisHost,
    needed: &BTreeSet<Module>,
) -> Result<Vec<Problem>, redis::Error> {
    let mut missing = Vec::new();
    for (module, command, what) in needed {
        let Reply::Array(found) = redis.call_at(host, &[b"COMMAND", b"INFO", command]).await? else {
            continue;
        };
        if *module == SEARCH.0 && redis.spread() == Spread::Cluster && found.iter().any(has_key) {
            missing.push(Problem {
                found: "the module RediSearch of this cluster does not know of clusters: an index is at one master, and \
                        finds only the rows that are there"
                    .to_owned(),
                mend: "use a Redis whose search covers a cluster, or one server; or leave `index` out".to_owned(),
            });
        }
        if found.iter().all(|one| matches!(one, Reply::Nil)) {
            missing.push(Problem {
                found: format!("Redis has no module {module}, which {what} needs"),
                mend: "use Redis 8 or later, Redis Stack, or load it with `loadmodule` in redis.conf"
                    .to_owned(),
            });
        }
    }
    Ok(missing)
}

/// What COMMAND INFO tells of a command: its first argument is a key, so that it has a hash slot.
fn has_key(command: &Reply) -> bool {
    let Reply::Array(parts) = command else { return false };
    matches!(parts.get(3), Some(Reply::Integer(first)) if *first > 0)
}

impl Session<'_> {
    /// Makes the indexes that are missing or were made differently, and drops those that nobody asks
    /// for any more.
    pub(super) async fn make_indexes(&mut self) -> Result<(), Error> {
        let mut wanted = BTreeMap::new();
        for captured in self.captured.values() {
            if captured.outputs.iter().any(|output| output.structure.index().is_some())
                && let Some(index) = captured.plan(&self.pipeline.file)?.index
            {
                wanted.insert(index.name.clone(), index);
            }
        }
        if wanted.is_empty() && self.indexes.is_empty() {
            return Ok(());
        }
        let mut redis = self.open_redis().await?;
        for index in wanted.values() {
            self.make_index(&mut redis, index).await?;
        }
        let unwanted: Vec<String> =
            self.indexes.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in unwanted {
            if exists(&mut redis, &name).await? {
                drop_index(&mut redis, &name).await?;
                tracing::info!(index = name, "search index dropped: nothing asks for it any more");
            }
            self.indexes.remove(&name);
            self.writer.extra().index(&name, "");
        }
        Ok(())
    }

    /// The table's columns have changed while it is streamed.
    pub(super) async fn remake_index(&mut self, captured: &Captured) -> Result<(), Error> {
        if captured.outputs.iter().all(|output| output.structure.index().is_none()) {
            return Ok(());
        }
        if let Some(index) = captured.streaming_plan(&self.pipeline.file)?.index {
            let mut redis = self.open_redis().await?;
            self.make_index(&mut redis, &index).await?;
        }
        Ok(())
    }

    async fn make_index(&mut self, redis: &mut Client, index: &SearchIndex) -> Result<(), Error> {
        let arguments = index.arguments();
        let texts: Vec<_> = arguments.iter().map(|argument| String::from_utf8_lossy(argument)).collect();
        let definition = serde_json::to_string(&texts).unwrap_or_default();
        let there = exists(redis, &index.name).await?;
        if there && self.indexes.get(&index.name) == Some(&definition) {
            return Ok(());
        }
        if there {
            drop_index(redis, &index.name).await?;
        }
        let mut command: Vec<&[u8]> = vec![b"FT.CREATE"];
        command.extend(arguments.iter().map(Vec::as_slice));
        on_every_shard(redis, &command, "exists").await?;
        tracing::info!(index = index.name, "search index {}", if there { "made anew" } else { "made" });
        self.writer.extra().index(&index.name, &definition);
        self.indexes.insert(index.name.clone(), definition);
        Ok(())
    }
}

async fn drop_index(redis: &mut Client, name: &str) -> Result<(), Error> {
    on_every_shard(redis, &[b"FT.DROPINDEX", name.as_bytes()], "nknown").await
}

/// Where modules know the cluster, the first server tells the others, and these then refuse with the word
/// `told`; else each has an index of its own.
async fn on_every_shard(redis: &mut Client, command: &[&[u8]], told: &str) -> Result<(), Error> {
    for (place, host) in redis.masters().iter().enumerate() {
        match redis.call_at(host, command).await {
            Err(redis::Error::Refused { reply, .. }) if place > 0 && reply.contains(told) => {}
            result => {
                result?;
            }
        }
    }
    Ok(())
}

async fn exists(redis: &mut Client, index: &str) -> Result<bool, Error> {
    match redis.call(&[b"FT._LIST"]).await? {
        Reply::Array(names) => Ok(names.iter().any(|name| name.text().as_deref() == Some(index))),
        _ => Ok(false),
    }
}
