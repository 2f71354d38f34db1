//! Waiting until the stream has passed what was read.
//!
//! ```text
//!   rows are read ── L = end of the log ──> … checkpoint in Redis ≥ L: what they say is in Redis
//! ```
//!
//! Only a running connector moves the checkpoint. When none does, that is noted once, and nothing is
//! waited for any more.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::pipeline::checkpoint::Keys;
use crate::postgres::{self, slot};
use crate::redis::{self, Spread};

/// A checkpoint that stays where it is for so long is not waited for.
const STANDING: Duration = Duration::from_secs(15);
/// The same where nobody reads the slot. A connector that only restarts is back by then.
const UNREAD: Duration = Duration::from_secs(2);
/// Nobody waits longer, however far behind Redis is.
const LONGEST: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Stream {
    checkpoint: Vec<u8>,
    slot: String,
    /// Why it is not waited for any more.
    pub(super) standing: Option<String>,
}

impl Stream {
    pub(super) fn new(config: &Config, spread: Spread) -> Stream {
        let checkpoint = Keys::new(&config.name, spread).checkpoint.into_bytes();
        Stream { checkpoint, slot: config.source.slot.clone(), standing: None }
    }

    /// Waits until everything that can be seen in PostgreSQL now is in Redis.
    pub(super) async fn pass(
        &mut self,
        source: &mut postgres::Connection,
        redis: &mut redis::Client,
    ) -> Result<(), Error> {
        if self.standing.is_some() {
            return Ok(());
        }
        let end = source.end_of_commits().await?;
        let began = Instant::now();
        let (mut last, mut moved) = (None, began);
        while self.standing.is_none() {
            let reached = self.reached(redis).await?;
            if reached.is_some_and(|lsn| lsn >= end) {
                return Ok(());
            }
            if reached != last {
                (last, moved) = (reached, Instant::now());
            }
            self.standing = self.given_up(source, (last, end), moved.elapsed(), began.elapsed()).await?;
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn reached(&self, redis: &mut redis::Client) -> Result<Option<Lsn>, Error> {
        let reply = redis.call(&[b"HGET", &self.checkpoint, b"lsn"]).await?;
        Ok(reply.text().and_then(|text| text.parse().ok()))
    }

    /// Why to wait no longer, if so.
    async fn given_up(
        &self,
        source: &mut postgres::Connection,
        (reached, end): (Option<Lsn>, Lsn),
        stood: Duration,
        waited: Duration,
    ) -> Result<Option<String>, Error> {
        let slot = &self.slot;
        let Some(reached) = reached else {
            return Ok((stood > UNREAD).then(|| {
                format!(
                    "there is no checkpoint {} in Redis: nothing was written with this configuration; run it first",
                    String::from_utf8_lossy(&self.checkpoint)
                )
            }));
        };
        let behind =
            format!("Redis is at {reached}, PostgreSQL at {end}, and what changed between can differ");
        if stood > UNREAD {
            let found = slot::find(source, slot).await?;
            if found.is_none_or(|slot| slot.active_pid.is_none()) {
                return Ok(Some(format!("no connector reads the slot {slot}: {behind}")));
            }
        }
        Ok((stood > STANDING || waited > LONGEST)
            .then(|| format!("the connector does not get there: {behind}")))
    }
}
