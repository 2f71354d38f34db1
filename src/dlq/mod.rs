//! The dead-letter stream: what Redis refused, one entry for each row and key.
//!
//! ```text
//!   pipeline ── a command failed ──> letter ──XADD──> redis-connect-postgres:{name}:dlq
//!                                                      │ list, purge
//!   PostgreSQL ── the row as it is now ──> replay <────┘
//! ```
//!
//! The pipeline writes letters with the batch after the one that they are about, so each is there once
//! (see [`crate::pipeline`]). The commands of `dlq` read them.

pub(crate) mod letter;
pub(crate) mod pages;
mod passed;
pub(crate) mod replay;
mod rewrite;
mod watched;

use crate::redis::resp::Reply;
use crate::redis::{Client, Error};

/// Removes letters; tells how many were there.
pub(crate) async fn remove(redis: &mut Client, stream: &str, ids: &[String]) -> Result<u64, Error> {
    let mut removed = 0;
    for ids in ids.chunks(1000) {
        let mut command = vec![&b"XDEL"[..], stream.as_bytes()];
        command.extend(ids.iter().map(String::as_bytes));
        if let Reply::Integer(count) = redis.call(&command).await? {
            removed += u64::try_from(count).unwrap_or(0);
        }
    }
    Ok(removed)
}

/// How many letters there are.
pub(crate) async fn count(redis: &mut Client, stream: &str) -> Result<u64, Error> {
    match redis.call(&[b"XLEN", stream.as_bytes()]).await? {
        Reply::Integer(count) => Ok(u64::try_from(count).unwrap_or(0)),
        _ => Ok(0),
    }
}

/// The first of these that is an error.
fn first_error(replies: &[Reply]) -> Option<String> {
    replies.iter().find_map(|reply| match reply {
        Reply::Error(error) => Some(error.clone()),
        _ => None,
    })
}

/// The IDs of those that are there now; what comes meanwhile is not among them.
pub(crate) async fn all(redis: &mut Client, stream: &str) -> Result<Vec<String>, Error> {
    let Some(last) = newest(redis, stream).await? else { return Ok(Vec::new()) };
    let mut ids = Vec::new();
    let mut pages = pages::Pages::new(stream);
    while let Some(page) = pages.next(redis).await? {
        let page = page.into_iter().map(|(id, _)| id);
        ids.extend(page.filter(|id| Id::parse(id).is_some_and(|id| id <= last)));
    }
    Ok(ids)
}

/// The newest letters before this one, or of all, the newest first.
pub(crate) async fn newest_before(
    redis: &mut Client,
    stream: &str,
    (before, count): (Option<Id>, usize),
) -> Result<Vec<(String, letter::Letter)>, Error> {
    let end = before.map_or_else(|| "+".to_owned(), |Id(high, low)| format!("({high}-{low}"));
    let count = count.to_string();
    let reply = redis
        .call(&[b"XREVRANGE", stream.as_bytes(), end.as_bytes(), b"-", b"COUNT", count.as_bytes()])
        .await?;
    let Reply::Array(entries) = reply else { return Ok(Vec::new()) };
    Ok(entries.iter().filter_map(letter::Letter::read).collect())
}

/// The ID of the newest letter; `None` where there is none.
pub(crate) async fn newest(redis: &mut Client, stream: &str) -> Result<Option<Id>, Error> {
    let reply = redis.call(&[b"XREVRANGE", stream.as_bytes(), b"+", b"-", b"COUNT", b"1"]).await?;
    let Reply::Array(entries) = reply else { return Ok(None) };
    let Some(Reply::Array(parts)) = entries.first() else { return Ok(None) };
    Ok(parts.first().and_then(Reply::text).and_then(|id| Id::parse(&id)))
}

/// The ID of a stream's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(pub(crate) u64, pub(crate) u64);

impl Id {
    pub(crate) fn parse(text: &str) -> Option<Id> {
        let (high, low) = text.split_once('-')?;
        Some(Id(high.parse().ok()?, low.parse().ok()?))
    }
}
