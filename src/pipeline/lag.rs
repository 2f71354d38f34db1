//! Asks PostgreSQL now and then how far its log is, for those who watch the lag.
//!
//! The stream does not tell: its keepalives speak of what was sent. The question goes over a
//! connection of its own, so that the data loop never waits for the answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::progress::{Phase, Progress};
use crate::config::Source;
use crate::lsn::Lsn;
use crate::postgres::{Connection, Error, Purpose};

const PERIOD: Duration = Duration::from_secs(2);

/// Never ends; failures are not worth a word here, since the pipeline has the same and says so.
pub(crate) async fn watch(source: Source, progress: Arc<Progress>) {
    let mut connection = None;
    loop {
        sleep(PERIOD).await;
        if matches!(progress.phase(), Phase::Snapshot | Phase::Streaming) {
            let asked = timeout(PERIOD, ask(&source, &mut connection)).await;
            match asked {
                Ok(Ok(end)) => progress.heard_of(end),
                // Half an answer may be on its way: not this connection again.
                Ok(Err(_)) | Err(_) => connection = None,
            }
        }
    }
}

async fn ask(source: &Source, connection: &mut Option<Connection>) -> Result<Lsn, Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(Connection::open(source, Purpose::Sql).await?),
    };
    connection.end_of_log().await
}
