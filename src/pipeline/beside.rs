//! Work that takes a while, done while the stream goes on.

use std::pin::pin;

use super::session::{End, Session};
use super::stream::Goal;
use super::supervise::Until;
use super::unread::note_whose;
use crate::error::Error;

use std::rc::Rc;
use std::sync::Arc;

use super::apply::{Overlap, Relation, Tracked};
use super::capture::Captured;
use super::stream::Following;
use crate::plan::shape::Shape;
use crate::plan::stream_names;
use crate::postgres::catalog;

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

    /// Takes note of the definition of a table that is going to be read. What is written until then is written
    /// again when it is; there only must not be fields or keys that nobody would know of.
    pub(super) async fn describe_unread(
        &mut self,
        following: &mut Following,
        (captured, shape): (Arc<Captured>, Shape),
    ) -> Result<(), Error> {
        let (name, oid) = (captured.name(), captured.table.oid);
        let (record, told) = (captured.shape.record(), shape.record());
        if told != record || shape.key_names() != captured.shape.key_names() {
            // The stream is behind the definition that the table is read by, or this one has just changed.
            let transaction = following.transaction.map(|transaction| transaction.xid);
            self.wait_until_visible(transaction.as_slice()).await?;
        }
        let now = catalog::table(&mut self.control, oid).await?;
        if now.is_none_or(|now| !now.is_defined_as(&captured.table)) {
            self.leave().await?;
            return Err(Error::Restart(format!("the definition of {name} changed before it was read")));
        }
        let mut streaming = Captured::clone(&captured);
        streaming.shape = shape;
        let mut plan = streaming.streaming_plan(&self.pipeline.file)?;
        if told != record {
            plan.restrict(|index| told.get(index).is_some_and(|column| record.contains(column)));
        }
        let state = self.states.entry(name.clone()).or_default();
        if state.write_as(&plan) {
            note_whose(state, &captured);
            self.writer.extra().table(&name, state);
        }
        let overlap = Overlap::before_it_is_read(state, stream_names(&captured.outputs));
        let progress = self.progress.table(&name);
        let table = Tracked { name, plan: Rc::new(plan), overlap, progress };
        following.applier.set(oid, Relation { table: Some(Rc::new(table)) });
        Ok(())
    }
}
