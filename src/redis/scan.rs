//! SCAN over all keys or all members of one, page by page: every one that exists from the beginning to the end is seen at
//! least once, whatever is added or removed meanwhile.

use super::resp::Reply;
use super::{Connection, Error};
use crate::plan::key::Holds;

/// Keys that Redis looks at in one call.
const COUNT: &[u8] = b"1000";

#[derive(Debug)]
pub(crate) struct Scan {
    /// SCAN, or SSCAN or ZSCAN with its key.
    command: Vec<Vec<u8>>,
    glob: Option<Vec<u8>>,
    /// Every second element is a score.
    scores: bool,
    /// `None` at the end.
    cursor: Option<Vec<u8>>,
}

impl Scan {
    pub(crate) fn new(glob: Vec<u8>) -> Scan {
        Scan { command: vec![b"SCAN".to_vec()], glob: Some(glob), scores: false, cursor: Some(b"0".to_vec()) }
    }

    /// Over the members of a set or a sorted set.
    pub(crate) fn of_members(holds: Holds, key: &[u8]) -> Scan {
        let scores = holds == Holds::SortedSet;
        let command: &[u8] = if scores { b"ZSCAN" } else { b"SSCAN" };
        Scan {
            command: vec![command.to_vec(), key.to_vec()],
            glob: None,
            scores,
            cursor: Some(b"0".to_vec()),
        }
    }

    /// The next keys that fit the glob, perhaps none; `None` at the end.
    pub(crate) async fn page(&mut self, redis: &mut Connection) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let mut arguments: Vec<&[u8]> = self.command.iter().map(Vec::as_slice).collect();
        arguments.push(cursor);
        if let Some(glob) = &self.glob {
            arguments.extend([b"MATCH", glob.as_slice()]);
        }
        arguments.extend([b"COUNT", COUNT]);
        let reply = redis.call(&arguments).await?;
        let Reply::Array(parts) = reply else { return Err(redis.nonsense()) };
        let [Reply::Text(next), Reply::Array(keys)] = parts.as_slice() else { return Err(redis.nonsense()) };
        self.cursor = (next != b"0").then(|| next.clone());
        let step = if self.scores { 2 } else { 1 };
        let keys = keys.iter().step_by(step).filter_map(|key| match key {
            Reply::Text(key) => Some(key.clone()),
            _ => None,
        });
        Ok(Some(keys.collect()))
    }
}
