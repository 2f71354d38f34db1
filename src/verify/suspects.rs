//! Rows that are not in Redis as they should be, until it is known whether that is a difference.
//!
//! While rows change, what was read of PostgreSQL and what was read of Redis need not belong to the
//! same moment. So a row that differs is only suspected, and is looked at again:
//!
//! ```text
//!   row, version v ── end of the log ── the stream passes it ── row, Redis: differs ── row
//!        └──────────────────── v ────────────────────────────────┴── still v ──────────┘
//! ```
//!
//! If the row is the same version before the wait and after the second look at Redis, Redis was looked at
//! when it had to have that version: it differs. If it has changed, the wait begins again. One look
//! more is taken, since a transaction can be streamed a moment before others see it.
//!
//! Suspects are bounded: when there are many, they are settled before more rows are read.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::sleep;

use super::compare::{Found, answers, questions};
use super::report::{Difference, Finding};
use super::rows::{Chunk, RowId, Version};
use super::{MOST_DIFFERENCES, Servers, Table};
use crate::error::Error;

/// Rows that wait for a second look.
const MOST: usize = 10_000;
/// Rows that are read again at once.
const AT_ONCE: usize = 200;
/// Looks in a row at the same version that all find it different.
const AGREEING: u32 = 3;
/// A row that has changed at each of so many looks is let go.
const LOOKS: u32 = 20;

#[derive(Debug, Default)]
struct Suspect {
    version: Version,
    agreeing: u32,
    looks: u32,
}

/// A row that differs in one output.
#[derive(Debug)]
pub(super) struct Confirmed {
    pub(super) id: RowId,
    pub(super) sink: usize,
    key: String,
    finding: Finding,
}

impl Confirmed {
    pub(super) fn difference(&self, table: &str) -> Difference {
        let (table, key, finding) = (table.to_owned(), self.key.clone(), self.finding.clone());
        Difference { table, key, finding, repair: None }
    }
}

#[derive(Debug, Default)]
pub(super) struct Suspects {
    waiting: HashMap<RowId, Suspect>,
    pub(super) confirmed: Vec<Confirmed>,
}

impl Suspects {
    /// No more can be added before they are settled.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST
    }

    /// Suspects the rows of a chunk that were found to differ.
    pub(super) fn add(&mut self, table: &mut Table<'_>, rows: &[(RowId, Version)], found: Vec<Found>) {
        for Found { row, key, finding, .. } in found {
            if self.confirmed.len() >= MOST_DIFFERENCES {
                table.report.not_looked_at_again += 1;
                let table_name = table.report.table.clone();
                table.report.add(Difference { table: table_name, key, finding, repair: None });
            } else if let Some((id, version)) = rows.get(row) {
                self.waiting.insert(id.clone(), Suspect { version: *version, agreeing: 0, looks: 0 });
            }
        }
    }

    /// Looks again until each is found right, or different, or to be changing all the time.
    pub(super) async fn settle(&mut self, table: &mut Table<'_>, servers: &mut Servers) -> Result<(), Error> {
        while !self.waiting.is_empty() {
            servers.stream.pass(&mut servers.control, &mut servers.redis).await?;
            let mut round = std::mem::take(&mut self.waiting);
            let ids: Vec<RowId> = round.keys().cloned().collect();
            for ids in ids.chunks(AT_ONCE) {
                self.look_again(table, servers, ids, &mut round).await?;
            }
            // Time for transactions to be seen that were streamed already.
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    async fn look_again(
        &mut self,
        table: &mut Table<'_>,
        servers: &mut Servers,
        ids: &[RowId],
        round: &mut HashMap<RowId, Suspect>,
    ) -> Result<(), Error> {
        table.reader.some(&mut servers.control, ids).await?;
        let mut chunk = Chunk::default();
        let mut more = true;
        while more {
            more = table.reader.fill(&mut servers.control, &table.plan, &mut chunk, None).await?;
            let wanted = chunk.wanted();
            let replies = servers.redis.call_all(&questions(&wanted)).await?;
            let mut differing: HashMap<usize, Vec<Found>> = HashMap::new();
            for found in answers(&wanted, &replies)? {
                differing.entry(found.row).or_default().push(found);
            }
            for (row, found) in differing {
                // What is not suspected any more is right, or there is no such row.
                let Some((id, version)) = chunk.rows.get(row) else { continue };
                let Some(suspect) = round.remove(id) else { continue };
                self.judge(table, id, suspect.seen(*version), found);
            }
        }
        Ok(())
    }

    fn judge(&mut self, table: &mut Table<'_>, id: &RowId, suspect: Suspect, found: Vec<Found>) {
        if suspect.agreeing < AGREEING {
            if suspect.looks < LOOKS {
                self.waiting.insert(id.clone(), suspect);
            } else {
                table.report.unsettled += 1;
            }
            return;
        }
        for Found { sink, key, finding, .. } in found {
            self.confirmed.push(Confirmed { id: id.clone(), sink, key, finding });
        }
    }
}

impl Suspect {
    /// It was found to differ in this version.
    fn seen(self, version: Version) -> Suspect {
        let agreeing = if version == self.version { self.agreeing + 1 } else { 0 };
        Suspect { version, agreeing, looks: self.looks + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_version_agrees() {
        let (one, other) = (Version::default(), Version::of(b"other"));
        let mut suspect = Suspect { version: one, ..Suspect::default() };
        for (version, agreeing) in [(one, 1), (one, 2), (other, 0), (one, 0), (one, 1), (one, 2), (one, 3)] {
            suspect = suspect.seen(version);
            assert_eq!(suspect.agreeing, agreeing);
        }
        assert_eq!(suspect.looks, 7);
    }
}
