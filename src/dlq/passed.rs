//! Waiting until the stream has passed what was read.
//!
//! ```text
//!   row ── read ── L = end of the log ──> checkpoint ≥ L: all that led to this row has been applied
//! ```
//!
//! Then writing the row takes nothing from changes that are still to come: a row that moves to another
//! key, for instance, takes the fields along that PostgreSQL did not send.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::pipeline::checkpoint::Keys;
use crate::postgres::{self, slot};
use crate::redis;

const POLL: Duration = Duration::from_millis(20);
/// A connector that does not move for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the stream is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    Yes,
    /// Nobody reads the slot, so nothing is applied now.
    Stopped,
    /// The connector is here, and does not get there.
    No(Lsn),
}

pub(super) async fn wait(
    config: &Config,
    (source, redis): (&mut postgres::Connection, &mut redis::Client),
    end: Lsn,
) -> Result<Passed, Error> {
    let checkpoint = Keys::new(&config.name, redis.spread()).checkpoint;
    let (mut last, mut moved) = (Lsn::ZERO, Instant::now());
    loop {
        let reached = redis.call(&[b"HGET", checkpoint.as_bytes(), b"lsn"]).await?.text();
        let reached: Lsn = reached.and_then(|lsn| lsn.parse().ok()).unwrap_or_default();
        let found = slot::find(source, &config.source.slot).await?;
        if found.is_none_or(|slot| slot.active_pid.is_none()) {
            return Ok(Passed::Stopped);
        }
        if reached >= end {
            return Ok(Passed::Yes);
        }
        if reached > last {
            (last, moved) = (reached, Instant::now());
        }
        if moved.elapsed() > PATIENCE {
            return Ok(Passed::No(reached));
        }
        sleep(POLL).await;
    }
}
