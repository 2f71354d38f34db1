//! SCAN over all keys: every key that exists from the beginning to the end is seen at least once.

use super::resp::Reply;
use super::{Connection, Error};

/// Keys that Redis looks at in one call.
const COUNT: &[u8] = b"1000";

/// Calls `found` for each key that fits the glob.
pub(crate) async fn scan(
    redis: &mut Connection,
    glob: &[u8],
    mut found: impl FnMut(&[u8]),
) -> Result<(), Error> {
    let mut cursor = b"0".to_vec();
    loop {
        let reply = redis.call(&[b"SCAN", &cursor, b"MATCH", glob, b"COUNT", COUNT]).await?;
        let Reply::Array(parts) = reply else { return Err(redis.nonsense()) };
        let [Reply::Text(next), Reply::Array(keys)] = parts.as_slice() else { return Err(redis.nonsense()) };
        for key in keys {
            if let Reply::Text(key) = key {
                found(key);
            }
        }
        if next == b"0" {
            return Ok(());
        }
        cursor.clone_from(next);
    }
}
