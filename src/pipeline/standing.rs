//! How a pipeline stands when no process is asked: from the checkpoint in Redis and the slot in PostgreSQL.

use super::checkpoint::{self, Keys};
use super::lag::seen;
use super::requests::{PAUSED, pending};
use crate::config::Config;
use crate::dlq;
use crate::error::Error;
use crate::http::status::{Lag, SnapshotShown, Status, TableShown};
use crate::lsn::Lsn;
use crate::postgres::{Connection, Purpose, slot};
use crate::redis::Client;

/// An instance at work writes its checkpoint at least every five seconds, unless Redis is away.
const FRESH_MS: u64 = 20_000;

/// Reads how it stands.
pub(crate) async fn read(config: &Config) -> Result<Status, Error> {
    let mut redis = Client::open(&config.target).await?;
    let keys = Keys::new(&config.name, redis.spread());
    let found = checkpoint::read(&mut redis, &keys).await?.ok_or_else(|| {
        Error::Setting(format!(
            "there is no checkpoint {} in Redis, so nothing was captured yet: redis-connect-postgres run",
            keys.checkpoint
        ))
    })?;
    let paused = pending(&mut redis, &keys.requests).await?.iter().any(|request| request == PAUSED);
    let letters = dlq::count(&mut redis, &keys.dead_letters).await?;
    let mut source = Connection::open(&config.source, Purpose::Sql).await?;
    let end = source.end_of_log().await?;
    let slot = slot::find(&mut source, &config.source.slot).await?;
    let is_read = slot.as_ref().is_some_and(|slot| slot.active_pid.is_some());
    let age = checkpoint::now().saturating_sub(found.updated);
    let position = found.position.lsn;
    let complete = found.tables.values().all(|table| table.complete);
    let (state, not_ready) = match (is_read, paused) {
        (false, _) => ("stopped", Some("no instance reads the slot".to_owned())),
        (true, true) => ("paused", Some("paused".to_owned())),
        (true, false) if age > FRESH_MS => {
            let words = format!("an instance reads the slot, and has written nothing for {} s", age / 1000);
            ("retrying", Some(words))
        }
        (true, false) if !complete => ("snapshot", Some("a snapshot is going on".to_owned())),
        (true, false) => ("streaming", None),
    };
    let tables = found.tables.iter().filter(|(_, table)| !table.columns.is_empty());
    Ok(Status {
        state: state.to_owned(),
        ready: not_ready.is_none(),
        not_ready,
        position: position.to_string(),
        server_position: end.to_string(),
        lag: Lag { bytes: end.bytes_since(position), seconds: None },
        slot_state: slot.map(|slot| seen(slot, end).into()),
        dead_letters: letters,
        tables: tables
            .map(|(name, table)| TableShown {
                name: name.clone(),
                outputs: Vec::new(),
                rows: None,
                rows_per_second: None,
                last_change: None,
                snapshot: SnapshotShown { rows: table.rows, expected: None, done: table.complete },
                converging: position < Lsn(table.until),
                dead_letters: None,
                last_error: None,
            })
            .collect(),
        ..Status::named(config)
    })
}
