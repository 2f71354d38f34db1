//! Work that takes a while, done while the stream goes on.

use std::pin::pin;

use super::session::{End, Session};
use super::stream::Goal;
use super::supervise::Until;
use crate::error::Error;

impl Session<'_> {
    /// The stream does not wait for tables that are read, and changes nothing of that.
    pub(super) fn streams_meanwhile(&self) -> bool {
        self.was_read && self.pipeline.until != Until::SnapshotDone
    }

    /// Does this, and follows the stream meanwhile; where the stream has to wait, it is only kept alive.
    /// Afterwards no transaction is open. `None` on a signal.
    ///
    /// The work must not keep the thread for long: it has its turn whenever the stream's loop turns.
    pub(super) async fn beside<T>(
        &mut self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        if !self.streams_meanwhile() {
            let mut shutdown = self.shutdown.clone();
            let positions = (self.writer.accepted().lsn, self.retention.confirmable());
            return tokio::select! {
                result = Session::meanwhile(&mut self.stream, positions, work) => result.map(Some),
                _ = shutdown.wait_for(|stop| *stop) => Ok(None),
            };
        }
        let mut result = None;
        let end = {
            let mut work = pin!(async { result = Some(work.await) });
            Box::pin(self.follow(Goal::Done(work.as_mut()))).await?
        };
        match (end, result) {
            (End::Stopped, _) | (_, None) => Ok(None),
            (_, Some(result)) => result.map(Some),
        }
    }
}
