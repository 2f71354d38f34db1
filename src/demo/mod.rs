//! What `demo` shows: a small shop in throwaway servers, and people who buy in it.
//!
//! ```text
//!   throwaway ──> PostgreSQL ── tables, roles, publication ──┐                 (shop)
//!                 Redis ────────────────────── shop.yaml ────┴─> the pipeline of `run`
//!                     ^
//!                     └── a customer's visit, so many times a second           (workload)
//! ```
//!
//! Nobody else on the machine gets in: PostgreSQL and Redis ask for passwords, made anew each time, and
//! PostgreSQL's superuser is let in by the Unix socket only, which belongs to the user that runs the server.

mod guide;
mod shop;
mod workload;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::Source;
use crate::error::Error;
use crate::postgres::{Connection, Purpose};
use crate::progress::Progress;
use crate::view::words;

pub(crate) use shop::Shop;
pub(crate) use workload::Workload;

/// How long Redis may take for what was committed last.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until Redis has everything that is committed now.
pub(crate) async fn catch_up(source: &Source, progress: &Arc<Progress>) -> Result<(), Error> {
    let mut connection = Connection::open(source, Purpose::Sql).await?;
    let end = connection.end_of_commits().await?;
    connection.close().await;
    let began = Instant::now();
    while progress.position() < end {
        if began.elapsed() > PATIENCE {
            return Err(Error::Setting(format!(
                "nothing was compared: after {} s Redis is at {} and not at {end}, where PostgreSQL's log ended ({})",
                PATIENCE.as_secs(),
                progress.position(),
                progress
                    .trouble()
                    .map_or_else(|| words(progress.phase()).to_owned(), |trouble| trouble.error),
            )));
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
