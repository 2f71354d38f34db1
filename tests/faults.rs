//! Faults under load. Every test ends by comparing every row with every key.
//!
//! ```text
//!   Workload ──> PostgreSQL ──[proxy]──> program ──[proxy]──> Redis ──MONITOR──> Journal
//!                   restart                kill -9              restart, full, read-only
//! ```
//!
//! Equal tables prove that nothing was lost. That nothing was applied twice, or out of order, is
//! not to be seen in the end: whoever writes a row twice ends with the same row. So the [`Journal`]
//! reads what Redis carried out, command by command, and checks it against what exactly-once means.

mod conditions;
mod confirmation;
mod journal;
mod kills;
mod memory;
mod network;
mod random;
mod restarts;
mod workload;

pub(crate) use journal::{Journal, Order};
pub(crate) use random::Random;
pub(crate) use workload::{TABLES, Workload};

use std::time::Duration;

use crate::harness::{Connector, World};

/// Stops the writer and then the program, and compares.
#[track_caller]
pub(crate) fn settle(world: &World, workload: Workload, connector: &Connector) {
    workload.stop();
    world.eventually_equal(&TABLES);
    stops_cleanly(connector);
    world.assert_equal(&TABLES);
}

/// SIGTERM ends it with exit code 0 within the 5 s that are promised.
#[track_caller]
pub(crate) fn stops_cleanly(connector: &Connector) {
    connector.term();
    let status = connector.wait(Duration::from_secs(30));
    assert_eq!(status.code(), Some(0), "{}", connector.story());
}
