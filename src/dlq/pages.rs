//! Walks over the stream, some letters at a time.

use super::letter::Letter;
use crate::redis::resp::Reply;
use crate::redis::{Client, Error};

/// Letters that are read at once; one can have some megabytes.
const COUNT: &[u8] = b"20";

#[derive(Debug)]
pub(crate) struct Pages {
    stream: Vec<u8>,
    /// `None` at the end.
    from: Option<Vec<u8>>,
}

impl Pages {
    pub(crate) fn new(stream: &str) -> Pages {
        Pages { stream: stream.as_bytes().to_vec(), from: Some(b"-".to_vec()) }
    }

    /// The next letters with their IDs; `None` at the end.
    pub(crate) async fn next(&mut self, redis: &mut Client) -> Result<Option<Vec<(String, Letter)>>, Error> {
        let Some(from) = self.from.take() else { return Ok(None) };
        let reply = redis.call(&[b"XRANGE", &self.stream, &from, b"+", b"COUNT", COUNT]).await?;
        let Reply::Array(entries) = reply else { return Ok(None) };
        let page: Vec<(String, Letter)> = entries.iter().filter_map(Letter::read).collect();
        self.from = page.last().and_then(|(id, _)| after(id));
        Ok((!page.is_empty()).then_some(page))
    }
}

/// The lowest ID above this one.
fn after(id: &str) -> Option<Vec<u8>> {
    let (time, number) = id.split_once('-')?;
    let (time, number): (u64, u64) = (time.parse().ok()?, number.parse().ok()?);
    let (time, number) = match number.checked_add(1) {
        Some(number) => (time, number),
        None => (time.checked_add(1)?, 0),
    };
    Some(format!("{time}-{number}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_id() {
        assert_eq!(after("5-7").unwrap(), b"5-8");
        assert_eq!(after("5-18446744073709551615").unwrap(), b"6-0");
        assert_eq!(after("18446744073709551615-18446744073709551615"), None);
    }
}
