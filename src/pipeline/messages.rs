//! Logical messages: `pg_logical_emit_message` with the prefix `redis-connect` becomes an entry of the
//! stream `redis-connect-postgres:{name}:messages`.
//!
//! One that is transactional is an event of its transaction. One that is not stands at its own position,
//! which is noted like the end of a transaction, so that it is not read twice.

use super::checkpoint::Position;
use super::ledger::{Origin, Source};
use super::session::Session;
use super::stream::Following;
use crate::lsn::Lsn;
use crate::postgres::stream::postgres_now;
use crate::sink::Workspace;

/// A message.
#[derive(Debug)]
pub(super) struct LogicalMessage {
    pub(super) transactional: bool,
    pub(super) lsn: Lsn,
    pub(super) content: Vec<u8>,
}

impl Session<'_> {
    pub(super) fn message(&mut self, following: &mut Following, message: &LogicalMessage) {
        let Following { applier, transaction, .. } = following;
        match transaction {
            Some(transaction) if message.transactional => {
                transaction.ordinal += 1;
                if transaction.ordinal > transaction.skip {
                    applier.workspace.event.ordinal = transaction.ordinal;
                    let origin = transaction.origin(Source::LogicalMessage);
                    self.write_message(&mut applier.workspace, &message.content, origin);
                }
            }
            None if message.lsn >= self.start.lsn && message.lsn >= self.writer.accepted().lsn => {
                applier.workspace.event.begin(message.lsn, None, postgres_now());
                applier.workspace.event.ordinal = 1;
                let behind = Lsn(message.lsn.0 + 1);
                let repeated = self.written.reaches(&Position { lsn: behind, split: None });
                let origin =
                    Origin { source: Source::LogicalMessage, lsn: message.lsn, ordinal: 1, repeated };
                self.write_message(&mut applier.workspace, &message.content, origin);
                let position = self.position(behind);
                self.writer.mark(position);
            }
            _ => {}
        }
    }

    fn write_message(&mut self, workspace: &mut Workspace, content: &[u8], origin: Origin) {
        let begun = self.writer.begin_change(content);
        let Workspace { event, key: id, .. } = workspace;
        event.spell();
        event.write_id(event.ordinal, id);
        let key = self.writer.keys().messages.clone();
        let mut arguments: Vec<&[u8]> = vec![b"XADD", key.as_bytes(), id, b"op", b"m"];
        arguments.extend([b"lsn", event.lsn_text()]);
        if !event.xid_text().is_empty() {
            arguments.extend([b"xid", event.xid_text()]);
        }
        arguments.extend([b"ts", event.time_text(), b"content", content]);
        self.writer.commands().command(&arguments);
        self.writer.end_change(begun, origin);
    }
}
