//! Where the commands of a batch come from, so that one that fails can be told with its row.
//!
//! ```text
//!   bytes     [message of the stream][line of COPY][message] …      as they were received
//!   entries   commands 0–1           2             3–5              and which table, which position
//! ```
//!
//! Kept beside a batch from its first change until its replies have been read. What came is copied as
//! it came, one copy a row and no allocation; only where a reply is an error is it decoded again.

use std::ops::Range;
use std::rc::Rc;

use crate::divided::divide;
use crate::lsn::Lsn;
use crate::plan::Plan;
use crate::postgres::copy::split_row;
use crate::postgres::pgoutput::{Decoder, Message};
use crate::row::{Change, Row};

/// What a change was received as.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A message of the stream.
    Change(Rc<Plan>),
    /// A line of COPY.
    Row(Rc<Plan>),
    Truncate(Rc<Plan>),
    LogicalMessage,
}

/// Where a change comes from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) source: Source,
    /// Of the commit; for rows of a snapshot the position that the stream follows from.
    pub(super) lsn: Lsn,
    /// Of the change in its transaction.
    pub(super) ordinal: u64,
    /// Redis has carried it out before, and nobody has read what it replied.
    pub(super) repeated: bool,
}

#[derive(Debug)]
struct Entry {
    origin: Origin,
    /// Commands of the batch: from `first` to before `end`.
    first: usize,
    end: usize,
    bytes_end: usize,
}

/// A command that was left out because Redis would not even take it.
#[derive(Debug)]
pub(super) struct LeftOut {
    entry: usize,
    pub(super) name: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) reason: String,
}

/// A change as it is noted, and as it was received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noted<'a> {
    /// Which of the ledger's changes it is.
    pub(super) index: usize,
    pub(super) origin: &'a Origin,
    bytes: &'a [u8],
}

/// How long a ledger is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    entries: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    left_out: Vec<LeftOut>,
}

impl Ledger {
    /// Bytes that are kept.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Copies what a change was received as; [`Ledger::note`] follows.
    #[inline]
    pub(super) fn keep(&mut self, received: &[u8]) {
        self.bytes.extend_from_slice(received);
    }

    /// What was kept became these commands of the batch.
    #[inline]
    pub(super) fn note(&mut self, origin: Origin, commands: Range<usize>) {
        let bytes_end = self.bytes.len();
        self.entries.push(Entry { origin, first: commands.start, end: commands.end, bytes_end });
    }

    /// What was kept became nothing.
    pub(super) fn drop_kept(&mut self) {
        self.bytes.truncate(self.entries.last().map_or(0, |entry| entry.bytes_end));
    }

    /// A command of the change that is noted next is left out.
    pub(super) fn leave_out(&mut self, command: &[&[u8]], reason: String) {
        let argument = |index: usize| command.get(index).map_or_else(Vec::new, |bytes| bytes.to_vec());
        self.left_out.push(LeftOut {
            entry: self.entries.len(),
            name: argument(0),
            key: argument(1),
            reason,
        });
    }

    pub(super) fn extent(&self) -> Extent {
        Extent { entries: self.entries.len(), bytes: self.bytes.len() }
    }

    /// Moves everything behind `extent`, whose batch ends after `commands` commands, to the end of
    /// `rest`, which is empty.
    pub(super) fn split_off(&mut self, extent: Extent, commands: usize, rest: &mut Ledger) {
        divide(&mut self.bytes, extent.bytes, &mut rest.bytes);
        let after = extent.entries.min(self.entries.len());
        rest.entries.extend(self.entries.drain(after..).map(|entry| Entry {
            first: entry.first.saturating_sub(commands),
            end: entry.end.saturating_sub(commands),
            bytes_end: entry.bytes_end.saturating_sub(extent.bytes),
            ..entry
        }));
        let after = self.left_out.partition_point(|one| one.entry < extent.entries);
        rest.left_out.extend(
            self.left_out
                .drain(after..)
                .map(|one| LeftOut { entry: one.entry.saturating_sub(extent.entries), ..one }),
        );
    }

    /// Empty again; keeps at most `capacity` of its memory.
    pub(super) fn clear(&mut self, capacity: usize) {
        self.entries.clear();
        self.left_out.clear();
        self.bytes.clear();
        self.bytes.shrink_to(capacity);
    }

    /// The change that a command of the batch belongs to.
    pub(super) fn of_command(&self, index: usize) -> Option<Noted<'_>> {
        let place = self.entries.partition_point(|entry| entry.end <= index);
        self.entries.get(place).filter(|entry| entry.first <= index)?;
        self.noted(place)
    }

    /// The commands that were left out, and the changes that they belong to.
    pub(super) fn left_out(&self) -> impl Iterator<Item = (&LeftOut, Option<Noted<'_>>)> {
        self.left_out.iter().map(|one| (one, self.noted(one.entry)))
    }

    fn noted(&self, index: usize) -> Option<Noted<'_>> {
        let entry = self.entries.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => self.entries.get(before)?.bytes_end,
            None => 0,
        };
        Some(Noted { index, origin: &entry.origin, bytes: self.bytes.get(start..entry.bytes_end)? })
    }
}

impl<'a> Noted<'a> {
    /// The table, where there is one.
    pub(super) fn plan(&self) -> Option<&Rc<Plan>> {
        match &self.origin.source {
            Source::Change(plan) | Source::Row(plan) | Source::Truncate(plan) => Some(plan),
            Source::LogicalMessage => None,
        }
    }

    /// What was received, where it is no row.
    pub(super) fn content(self) -> &'a [u8] {
        self.bytes
    }

    /// Decodes the change once more.
    pub(super) fn with_change<T>(&self, work: impl FnOnce(&Change<'_>) -> T) -> Option<T> {
        match self.origin.source {
            Source::Change(_) => match Decoder::default().decode(self.bytes) {
                Some(Message::Row(_, change)) => Some(work(&change)),
                _ => None,
            },
            Source::Row(_) => {
                let (mut line, mut cells) = (self.bytes.to_vec(), Vec::new());
                split_row(&mut line, &mut cells);
                Some(work(&Change::Whole { new: Row::new(&line, &cells) }))
            }
            Source::Truncate(_) | Source::LogicalMessage => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::shape::{Form, Shape};

    fn origin(ordinal: u64) -> Origin {
        Origin { source: Source::LogicalMessage, lsn: Lsn(1), ordinal, repeated: false }
    }

    fn note(ledger: &mut Ledger, ordinal: u64, bytes: &[u8], commands: Range<usize>) {
        ledger.keep(bytes);
        ledger.note(origin(ordinal), commands);
    }

    fn found(ledger: &Ledger, command: usize) -> Option<(u64, Vec<u8>)> {
        ledger.of_command(command).map(|noted| (noted.origin.ordinal, noted.content().to_vec()))
    }

    #[test]
    fn commands_are_traced_to_their_changes() {
        let mut ledger = Ledger::default();
        note(&mut ledger, 1, b"one", 0..2);
        ledger.keep(b"became nothing");
        ledger.drop_kept();
        // Command 2 belongs to no change, and the third change has none left.
        note(&mut ledger, 2, b"two", 3..4);
        ledger.leave_out(&[b"SET", b"k", b"v"], "too long".to_owned());
        note(&mut ledger, 3, b"three", 4..4);
        note(&mut ledger, 4, b"", 4..6);
        assert_eq!(ledger.len(), 11);
        let one = Some((1, b"one".to_vec()));
        assert_eq!([0, 1].map(|command| found(&ledger, command)), [one.clone(), one]);
        assert_eq!(found(&ledger, 2), None);
        assert_eq!(found(&ledger, 3), Some((2, b"two".to_vec())));
        assert_eq!([4, 5].map(|command| found(&ledger, command)), [Some((4, vec![])), Some((4, vec![]))]);
        assert_eq!(found(&ledger, 6), None);
        let left_out: Vec<_> = ledger.left_out().collect();
        let [(one, Some(noted))] = left_out.as_slice() else { panic!("{left_out:?}") };
        assert_eq!((one.key.as_slice(), noted.content()), (&b"k"[..], &b"three"[..]));
    }

    #[test]
    fn what_is_behind_a_mark_goes_into_the_next_batch() {
        let (mut ledger, mut rest) = (Ledger::default(), Ledger::default());
        note(&mut ledger, 1, b"one", 0..2);
        let extent = ledger.extent();
        note(&mut ledger, 2, b"two", 2..3);
        ledger.leave_out(&[b"SET", b"k"], "too long".to_owned());
        note(&mut ledger, 3, b"three", 3..3);
        note(&mut ledger, 4, b"four", 3..5);
        ledger.split_off(extent, 2, &mut rest);
        assert_eq!((ledger.len(), rest.len()), (3, 12));
        assert_eq!(found(&ledger, 1), Some((1, b"one".to_vec())));
        assert_eq!(found(&ledger, 2), None);
        assert_eq!(ledger.left_out().count(), 0);
        assert_eq!(found(&rest, 0), Some((2, b"two".to_vec())));
        assert_eq!(found(&rest, 1), Some((4, b"four".to_vec())));
        let contents: Vec<_> = rest.left_out().map(|(_, noted)| noted.unwrap().content()).collect();
        assert_eq!(contents, [b"three"]);
        rest.clear(0);
        assert_eq!((rest.len(), found(&rest, 0)), (0, None));
    }

    #[test]
    fn a_line_of_copy_is_decoded_again() {
        let shape = Shape::new("public", "t", Form::of_columns(std::iter::empty()));
        let plan = Rc::new(Plan { shape, sinks: Vec::new(), index: None });
        let mut ledger = Ledger::default();
        ledger.keep(b"7\ta\\tb\n");
        ledger.note(Origin { source: Source::Row(plan), ..origin(0) }, 0..1);
        let value = ledger.of_command(0).unwrap().with_change(|change| match change {
            Change::Whole { new } => format!("{:?}", new.get(1)),
            _ => String::new(),
        });
        assert_eq!(value, Some(format!("{:?}", crate::row::Value::Text(b"a\tb"))));
    }
}
