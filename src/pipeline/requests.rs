//! What other processes ask the running one to do, by way of Redis: `snapshot` asks for tables to be read
//! again.
//!
//! ```text
//!   snapshot TABLE ─> HSET …:requests snapshot:TABLE ─> running instance: marks the table as unread and
//!                                                        removes the request, in one transaction
//! ```
//!
//! The request is removed in the transaction that writes it into the checkpoint, so it is neither lost nor
//! carried out twice.

use std::time::Duration;

use tokio::time::timeout;

use super::session::{Recovery, Session};
use crate::error::Error;
use crate::redis::resp::Reply;
use crate::redis::{self, Client};

/// How long an answer is waited for: nobody else is served meanwhile.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a request for a table's snapshot is called.
pub(crate) const SNAPSHOT: &str = "snapshot:";

impl Session<'_> {
    /// Carries out what is asked for; a new session begins if that needs one.
    pub(super) async fn look_for_requests(&mut self) -> Result<(), Error> {
        // A Redis that does not answer is noticed where rows are written.
        if !self.writer.is_idle() {
            return Ok(());
        }
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        let key = self.writer.keys().requests.clone();
        let mut redis = match self.asking.take() {
            Some(redis) => redis,
            None => self.open_redis().await?,
        };
        let ask = async { Ok(timeout(PATIENCE, pending(&mut redis, &key)).await) };
        let pending = match Session::meanwhile(&mut self.stream, positions, ask).await? {
            Ok(Ok(pending)) => pending,
            // Without the right to ask there is nobody to be asked by.
            Ok(Err(redis::Error::Refused { .. })) => Vec::new(),
            Ok(Err(_)) | Err(_) => return Ok(()),
        };
        self.asking = Some(redis);
        let tables: Vec<&str> = pending.iter().filter_map(|request| request.strip_prefix(SNAPSHOT)).collect();
        if tables.is_empty() {
            return Ok(());
        }
        for table in &tables {
            match self.states.get_mut(*table) {
                Some(state) if self.captured.values().any(|captured| captured.name() == **table) => {
                    state.read_again(true);
                    // Streams get the rows once more; what has happened to them since is still an event.
                    state.announced.clear();
                    self.writer.extra().table(table, state);
                }
                _ => tracing::warn!(table, "not captured, so it is not read again"),
            }
            let field = format!("{SNAPSHOT}{table}");
            self.writer.commands().command(&[b"HDEL", key.as_bytes(), field.as_bytes()]);
        }
        self.writer.mark_beside_the_stream();
        if self.drain().await? == Recovery::Stopped {
            return Ok(());
        }
        Err(Error::Restart(format!("asked to read again: {}", tables.join(", "))))
    }
}

/// The names of the requests that nobody has carried out yet.
pub(crate) async fn pending(redis: &mut Client, key: &str) -> Result<Vec<String>, redis::Error> {
    match redis.call(&[b"HKEYS", key.as_bytes()]).await? {
        Reply::Array(names) => Ok(names.iter().filter_map(Reply::text).collect()),
        _ => Ok(Vec::new()),
    }
}
