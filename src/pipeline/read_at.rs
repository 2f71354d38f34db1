//! Where the rows of a snapshot stand among the entries of a stream: behind everything that it has got, and before
//! everything that it is still to get. An entry that came too late would be refused by its ID.
//!
//! ```text
//!   one server   … events ─ checkpoint ─┤rows├─ events …          nothing is there but what the checkpoint says
//!   sharded      … events ─ checkpoint ─ events? ─ reach ─┤rows├─ events …
//! ```

use super::session::Session;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::postgres::stream::postgres_now;
use crate::sink::Workspace;

impl Session<'_> {
    /// The position that rows are read at. `begun`: an earlier session has begun with it.
    pub(super) fn snapshot_position(&self, begun: bool) -> Lsn {
        let accepted = self.writer.accepted().lsn;
        if !self.scattered || self.was_read {
            return accepted.max(self.written.lsn);
        }
        // Before the first snapshot is done, the stream has brought nothing. Streams have waited where that session
        // began to read, and there it goes on: what came after its snapshot is an event, also if it lies before the
        // end of the log that this session has found.
        if begun && self.events.0 > 0 {
            return Lsn(self.events.0.saturating_sub(self.id_base).saturating_add(1));
        }
        accepted
    }

    /// What the session has found when it began is ahead of the stream. Tables are then still described as they
    /// were, and what is written of them would be without the columns that rows are read with; and entries can be in
    /// streams of a sharded Redis that this session has not come to yet. So rows have to wait.
    pub(super) async fn is_behind(&mut self) -> Result<bool, Error> {
        let reach = match self.again.reach {
            Some(reach) => reach,
            None => self.end_of_commits().await?,
        };
        self.again.reach = Some(reach);
        Ok(self.writer.accepted().lsn < reach)
    }

    /// For rows that stand directly before that position, and after what was written there.
    pub(super) fn snapshot_workspace(&self, position: Lsn) -> Workspace {
        let mut workspace = Workspace::new(&self.pipeline.config);
        workspace.event.set_id_base(self.id_base);
        workspace.event.begin_snapshot(position, 0, postgres_now());
        if workspace.event.id_lsn() == self.events.0 {
            workspace.event.ordinal = self.events.1;
        }
        workspace
    }
}
