//! Asks PostgreSQL now and then how far its log is and how the slot is, for those who watch.
//!
//! The stream does not tell: its keepalives speak of what was sent. The question goes over a
//! connection of its own, so that the data loop never waits for the answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::config::Source;
use crate::lsn::Lsn;
use crate::postgres::slot::{self, Slot};
use crate::postgres::{Connection, Error, Purpose};
use crate::progress::{Phase, Progress, SlotSeen};

const PERIOD: Duration = Duration::from_secs(2);

/// Never ends; failures are not worth a word here, since the pipeline has the same and says so.
pub(crate) async fn watch(source: Source, progress: Arc<Progress>) {
    let mut connection = None;
    loop {
        sleep(PERIOD).await;
        if !matches!(progress.phase(), Phase::Snapshot | Phase::Streaming | Phase::Paused) {
            continue;
        }
        match timeout(PERIOD, ask(&source, &mut connection)).await {
            Ok(Ok((end, slot))) => {
                progress.heard_of(end);
                if let Some(slot) = slot {
                    progress.set_slot(seen(slot, end));
                }
            }
            // Half an answer may be on its way: not this connection again.
            Ok(Err(_)) | Err(_) => connection = None,
        }
    }
}

async fn ask(source: &Source, connection: &mut Option<Connection>) -> Result<(Lsn, Option<Slot>), Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(Connection::open(source, Purpose::Sql).await?),
    };
    let end = connection.end_of_log().await?;
    Ok((end, slot::find(connection, &source.slot).await?))
}

/// What those who watch are told of a slot, while PostgreSQL's log ends at `end`.
pub(crate) fn seen(slot: Slot, end: Lsn) -> SlotSeen {
    let retained = slot.restart.map_or(0, |restart| end.bytes_since(restart));
    SlotSeen { status: slot.status, retained, safe: slot.safe }
}
