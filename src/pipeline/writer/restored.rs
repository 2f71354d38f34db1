//! Rows that are written by RESTORE, and what follows where it is refused.
//!
//! A row is most likely not in Redis yet where it is read by a first snapshot, and where the stream tells of its
//! INSERT. Then a small hash costs Redis much less as a RESTORE than as an HSET ([`crate::redis::dump`]). Where its key
//! is there all the same, Redis says BUSYKEY and leaves it as it is:
//!
//! ```text
//!   a row of a snapshot   set by HSET in the next batch: no other change of it is in the batch
//!   an INSERT             changes of the same key can follow it in its batch, so the batch is done again from its
//!                         beginning, as after a lost reply, by a session that sets all rows by HSET
//! ```
//!
//! The checkpoint of a batch says that it may have to be done again until its replies were read, so a process that
//! is killed between the two does the same.

use super::Writer;
use crate::error::{Error, one_line};
use crate::pipeline::ledger::Source;
use crate::redis;
use crate::redis::dump::Packing;
use crate::redis::lane::FailedCommand;
use crate::sink::Workspace;

/// The rows that may be restored.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::pipeline) struct Restoring {
    /// Those of a first snapshot.
    rows: Option<Packing>,
    /// Those that the stream inserts.
    inserts: Option<Packing>,
}

/// With fewer fields PostgreSQL and not Redis is the limit of the stream, and gains nothing (`bench/NOTES.md`).
const WIDE: usize = 17;

impl Restoring {
    pub(in crate::pipeline) fn new(packing: Option<Packing>, first_snapshot: bool) -> Restoring {
        Restoring {
            rows: packing.filter(|_| first_snapshot),
            inserts: packing.map(|packing| packing.of_at_least(WIDE)),
        }
    }
}

impl Writer {
    pub(in crate::pipeline) fn set_restoring(&mut self, restoring: Restoring) {
        self.restoring = restoring;
    }

    /// How rows of a first snapshot may be restored.
    #[inline]
    pub(in crate::pipeline) fn packing_of_rows(&self) -> Option<Packing> {
        self.restoring.rows
    }

    /// How rows that the stream inserts may be restored. Not beside a sweep: where a row is inserted again, the key of the
    /// one that is gone can still be there.
    #[inline]
    pub(in crate::pipeline) fn packing_of_inserts(&self) -> Option<Packing> {
        self.restoring.inserts.filter(|_| self.recorder.is_none())
    }

    /// Of the RESTOREs that were refused, one whose row the stream has inserted.
    pub(super) fn refused_insert(&self, refused: &[FailedCommand]) -> Option<Error> {
        let is_insert = |command: &&FailedCommand| {
            let noted = self.sent.of_command(command.index);
            noted.is_some_and(|noted| matches!(noted.origin.source, Source::Change(_)))
        };
        refused.iter().find(is_insert).map(|command| {
            let key = String::from_utf8_lossy(&command.key);
            let found = format!("the key {key} was in Redis before its row was inserted ({})", command.reply);
            Error::NotRestored(one_line(&found))
        })
    }

    /// A right that was there at the beginning can be taken away. Without this one everything works as well.
    pub(super) fn without_restore(&self, error: redis::Error) -> Error {
        match &error {
            redis::Error::Refused { reply, .. }
                if reply.contains("'restore'") && error.is_denied() && self.restoring.inserts.is_some() =>
            {
                Error::NotRestored(one_line(&format!("Redis does not allow RESTORE any more ({reply})")))
            }
            _ => error.into(),
        }
    }

    /// Rows of a snapshot that could not be restored are set field by field in the next batch. Returns how many.
    pub(super) fn write_in_parts(&mut self, refused: &[FailedCommand], of: usize) -> usize {
        if refused.is_empty() {
            return 0;
        }
        // One here and there is cheap. Where most are there already, HSET at once is cheaper.
        if refused.len() * 8 > of {
            self.restoring.rows = None;
        }
        let sent = std::mem::take(&mut self.sent);
        let mut workspace = Workspace::default();
        for noted in refused.iter().filter_map(|command| sent.of_command(command.index)) {
            let begun = self.begin_change(noted.content());
            noted.with_change(|change| {
                let sinks = noted.plan().into_iter().flat_map(|plan| &plan.sinks);
                for sink in sinks.filter(|sink| sink.is_hash()) {
                    sink.write(change, &mut workspace, &mut self.open);
                }
            });
            self.end_change(begun, noted.origin.clone());
            // It was counted when it was written first.
            self.changes -= 1;
        }
        self.sent = sent;
        self.mark_beside_the_stream();
        refused.len()
    }
}
