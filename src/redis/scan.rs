//! SCAN over all keys or all members of one, page by page: every one that exists from the beginning to the end is seen at
//! least once, whatever is added or removed meanwhile.
//!
//! In a cluster each server is asked for its keys. Those that move from one that was not asked yet to one that
//! was would be missed; so when the layout is not the same at the end, or slots are moving, all are asked again.

use std::time::Duration;

use tokio::time::sleep;

use super::resp::Reply;
use super::{Client, Error};
use crate::config::RedisHost;
use crate::plan::key::Holds;

/// Keys that Redis looks at in one call.
const COUNT: &[u8] = b"1000";

/// How long is waited while slots are moving.
const MOVING: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Scan {
    /// SCAN, or SSCAN or ZSCAN with its key.
    command: Vec<Vec<u8>>,
    glob: Option<Vec<u8>>,
    /// Only keys of this type, as TYPE names it.
    typed: Option<String>,
    /// Every second element is a score.
    scores: bool,
    /// `None` at the end.
    cursor: Option<Vec<u8>>,
    servers: Servers,
}

/// Whom a SCAN asks.
#[derive(Debug)]
enum Servers {
    /// The one that has the key.
    OfKey,
    NotKnown,
    All {
        layout: Option<Vec<String>>,
        /// The last one is the present one.
        left: Vec<RedisHost>,
    },
}

impl Scan {
    pub(crate) fn new(glob: Vec<u8>) -> Scan {
        Scan {
            command: vec![b"SCAN".to_vec()],
            glob: Some(glob),
            typed: None,
            scores: false,
            cursor: Some(b"0".to_vec()),
            servers: Servers::NotKnown,
        }
    }

    /// Over the keys of one type.
    pub(crate) fn of_type(glob: Vec<u8>, typed: &str) -> Scan {
        Scan { typed: Some(typed.to_owned()), ..Scan::new(glob) }
    }

    /// Over the members of a set or a sorted set.
    pub(crate) fn of_members(holds: Holds, key: &[u8]) -> Scan {
        let scores = holds == Holds::SortedSet;
        let command: &[u8] = if scores { b"ZSCAN" } else { b"SSCAN" };
        Scan {
            command: vec![command.to_vec(), key.to_vec()],
            glob: None,
            typed: None,
            scores,
            cursor: Some(b"0".to_vec()),
            servers: Servers::OfKey,
        }
    }

    /// The next keys that fit the glob, perhaps none; `None` at the end.
    pub(crate) async fn page(&mut self, redis: &mut Client) -> Result<Option<Vec<Vec<u8>>>, Error> {
        if matches!(self.servers, Servers::NotKnown) {
            let layout = redis.layout().await?;
            self.servers = Servers::All { layout, left: redis.masters() };
        }
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let mut arguments: Vec<&[u8]> = self.command.iter().map(Vec::as_slice).collect();
        arguments.push(cursor);
        if let Some(glob) = &self.glob {
            arguments.extend([b"MATCH", glob.as_slice()]);
        }
        arguments.extend([b"COUNT", COUNT]);
        if let Some(typed) = &self.typed {
            arguments.extend([b"TYPE", typed.as_bytes()]);
        }
        let host = if let Servers::All { left, .. } = &self.servers { left.last() } else { None };
        let reply = match host {
            Some(host) => redis.call_at(host, &arguments).await?,
            None => redis.call(&arguments).await?,
        };
        let Reply::Array(parts) = reply else { return Err(redis.nonsense()) };
        let [Reply::Text(next), Reply::Array(keys)] = parts.as_slice() else { return Err(redis.nonsense()) };
        self.cursor = (next != b"0").then(|| next.clone());
        let step = if self.scores { 2 } else { 1 };
        let keys = keys.iter().step_by(step).filter_map(|key| match key {
            Reply::Text(key) => Some(key.clone()),
            _ => None,
        });
        let keys = keys.collect();
        if self.cursor.is_none() {
            self.next_server(redis).await?;
        }
        Ok(Some(keys))
    }

    async fn next_server(&mut self, redis: &mut Client) -> Result<(), Error> {
        let Servers::All { layout, left } = &mut self.servers else { return Ok(()) };
        left.pop();
        if left.is_empty() {
            let now = redis.layout().await?;
            if now.is_some() && now == *layout {
                return Ok(());
            }
            tracing::info!(
                "keys were moving between the servers of the cluster: they are looked for once more"
            );
            sleep(MOVING).await;
            (*layout, *left) = (redis.layout().await?, redis.masters());
        }
        self.cursor = Some(b"0".to_vec());
        Ok(())
    }
}
