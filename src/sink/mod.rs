//! Sinks: one change in, commands out. One file for each structure of Redis.
//!
//! A sink holds no state about rows and knows nothing of transactions; it is given a change and a
//! [`Workspace`] of buffers that are used again, and appends to the batch.

pub(crate) mod hash;

use std::collections::HashSet;

use crate::redis::resp::Commands;
use crate::row::{Change, Row};

#[derive(Debug)]
pub(crate) enum Sink {
    Hash(hash::HashSink),
}

/// Buffers and what the present transaction must remember.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) key: Vec<u8>,
    pub(crate) old_key: Vec<u8>,
    pub(crate) scratch: Vec<u8>,
    /// Keys that rows of this transaction have come to, where the table's key is deferrable: two rows
    /// can then swap theirs, and the second move must not remove what the first has just written.
    /// `None` outside the stream, where rows don't move.
    pub(crate) came_to: Option<HashSet<Vec<u8>>>,
    /// The table's rows are newer than the stream here: a move can't take fields along, since the old
    /// key may hold another row by now.
    pub(crate) converging: bool,
}

/// The change alone does not tell what to write: the row has to be read again by its key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NeedsRow;

impl Sink {
    #[inline]
    pub(crate) fn write(
        &self,
        change: &Change<'_>,
        workspace: &mut Workspace,
        out: &mut Commands,
    ) -> Result<(), NeedsRow> {
        match self {
            Sink::Hash(sink) => sink.write(change, workspace, out),
        }
    }

    /// Writes what a change needed rows for.
    pub(crate) fn write_again(&self, again: &Again<'_>, workspace: &mut Workspace, out: &mut Commands) {
        match self {
            Sink::Hash(sink) => sink.write_again(again, workspace, out),
        }
    }
}

/// A change that did not tell enough, with the rows that have its keys now. Where there is none, a
/// later change in the stream says what became of it.
#[derive(Debug)]
pub(crate) struct Again<'a> {
    pub(crate) old: Option<Row<'a>>,
    /// `None` for a DELETE.
    pub(crate) new: Option<Row<'a>>,
    pub(crate) at_old_key: Option<Row<'a>>,
    pub(crate) at_new_key: Option<Row<'a>>,
}
