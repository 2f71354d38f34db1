//! SCAN over all keys, page by page: every key that exists from the beginning to the end is seen at
//! least once, whatever is added or removed meanwhile.

use super::resp::Reply;
use super::{Connection, Error};

/// Keys that Redis looks at in one call.
const COUNT: &[u8] = b"1000";

#[derive(Debug)]
pub(crate) struct Scan {
    glob: Vec<u8>,
    /// `None` at the end.
    cursor: Option<Vec<u8>>,
}

impl Scan {
    pub(crate) fn new(glob: Vec<u8>) -> Scan {
        Scan { glob, cursor: Some(b"0".to_vec()) }
    }

    /// The next keys that fit the glob, perhaps none; `None` at the end.
    pub(crate) async fn page(&mut self, redis: &mut Connection) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let reply = redis.call(&[b"SCAN", cursor, b"MATCH", &self.glob, b"COUNT", COUNT]).await?;
        let Reply::Array(parts) = reply else { return Err(redis.nonsense()) };
        let [Reply::Text(next), Reply::Array(keys)] = parts.as_slice() else { return Err(redis.nonsense()) };
        self.cursor = (next != b"0").then(|| next.clone());
        let keys = keys.iter().filter_map(|key| match key {
            Reply::Text(key) => Some(key.clone()),
            _ => None,
        });
        Ok(Some(keys.collect()))
    }
}
