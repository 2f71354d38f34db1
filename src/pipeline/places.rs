//! Where the rows of a table are in Redis: their keys, and their members in keys that rows share.
//!
//! Only the columns that decide it are read. There can be too many to be remembered, so it is their
//! fingerprints that are, and those of a share at a time.

use std::collections::HashSet;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::task::yield_now;

use super::capture::Captured;
use crate::plan::Plan;
use crate::postgres::copy::{CopyEvent, split_row};
use crate::postgres::{Connection, Error, identifier};
use crate::row::Row;
use crate::sink::{Sink, Workspace};

/// Fingerprints that are remembered at once: 32 MB.
const MOST_PLACES: usize = 4_000_000;

/// Rows after which others on this thread have their turn.
const TURN: u32 = 500;

/// Stands for a key, or for a member in it, where there are too many to remember.
pub(crate) fn fingerprint(key: &[u8], member: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, member).hash(&mut hasher);
    hasher.finish()
}

/// Where rows are: the fingerprints of one share of their places.
#[derive(Debug)]
pub(crate) struct Places {
    /// A power of two.
    shares: u64,
    share: u64,
    most: usize,
    fingerprints: Vec<u64>,
}

/// Which fingerprints are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    mask: u64,
    share: u64,
}

impl Share {
    pub(crate) fn has(self, fingerprint: u64) -> bool {
        fingerprint & self.mask == self.share
    }
}

impl Default for Places {
    fn default() -> Places {
        Places { shares: 1, share: 0, most: MOST_PLACES, fingerprints: Vec::new() }
    }
}

impl Places {
    /// The same in twice as many shares, from the first on.
    pub(crate) fn halved(&self) -> Places {
        Places { shares: 2 * self.shares, ..Places::default() }
    }

    /// The last bits of the fingerprints of this share, and how many of them count.
    pub(crate) fn share(&self) -> Share {
        Share { mask: self.shares - 1, share: self.share }
    }

    fn has_share(&self, fingerprint: u64) -> bool {
        self.share().has(fingerprint)
    }

    /// There is a row. Of more than can be remembered, half is left for later, as long as this is the
    /// first share.
    pub(crate) fn add(&mut self, key: &[u8], member: &[u8]) {
        let fingerprint = fingerprint(key, member);
        while self.share == 0 && self.fingerprints.len() >= self.most {
            self.shares *= 2;
            let mask = self.shares - 1;
            self.fingerprints.retain(|fingerprint| fingerprint & mask == 0);
        }
        if self.has_share(fingerprint) {
            self.fingerprints.push(fingerprint);
        }
    }

    /// All places of this share are known.
    pub(crate) fn complete(&mut self) {
        self.fingerprints.sort_unstable();
    }

    /// Goes on to the next share; false when there is none.
    pub(crate) fn next(&mut self) -> bool {
        self.share += 1;
        self.fingerprints.clear();
        self.share < self.shares
    }

    /// It is in this share, and no row is there.
    pub(crate) fn lacks(&self, key: &[u8], member: &[u8]) -> bool {
        let fingerprint = fingerprint(key, member);
        self.has_share(fingerprint) && self.fingerprints.binary_search(&fingerprint).is_err()
    }
}

/// Visits the place of each row in each output that has one: the key, and the member, which is empty
/// where the row has the key alone.
pub(crate) async fn read(
    source: &mut Connection,
    captured: &Captured,
    plan: &Plan,
    mut visit: impl FnMut(&[u8], &[u8]),
) -> Result<(), Error> {
    let needed: HashSet<usize> = plan.sinks.iter().flat_map(Sink::place_columns).collect();
    let columns: Vec<String> = captured
        .shape
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            // Whether a row is a member can depend on more than where it would be.
            let needed = needed.contains(&index) || plan.sinks.iter().any(Sink::has_members);
            if needed { identifier(&column.name) } else { "NULL".to_owned() }
        })
        .collect();
    let sql = format!("COPY (SELECT {} FROM {}) TO STDOUT", columns.join(", "), captured.table.sql_rows());
    source.start_copy(&sql).await?;
    let (mut cells, mut workspace) = (Vec::new(), Workspace::default());
    let mut turn = 0;
    loop {
        match source.copy_event()? {
            CopyEvent::Row(frame) => {
                let line = source.copy_row(&frame);
                split_row(line, &mut cells);
                let row = Row::new(line, &cells);
                for sink in &plan.sinks {
                    if sink.place(&row, &mut workspace) {
                        visit(&workspace.key, &workspace.member);
                    }
                }
                source.copy_consume(&frame);
                turn += 1;
                if turn == TURN {
                    turn = 0;
                    yield_now().await;
                }
            }
            CopyEvent::Incomplete(wanted) => {
                poll_fn(|cx| source.poll_more(cx, wanted)).await?;
            }
            CopyEvent::Done => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_places_cover_all() {
        let keys: Vec<Vec<u8>> = (0..1000).map(|i| format!("t:{i}").into_bytes()).collect();
        let mut places = Places { most: 100, ..Places::default() };
        let (mut lacking, mut shares) = (0, 0);
        loop {
            keys.iter().for_each(|key| places.add(key, b""));
            places.complete();
            assert!(shares > 0 || places.fingerprints.len() <= 100);
            assert!(keys.iter().all(|key| !places.lacks(key, b"")));
            lacking += (0..500).filter(|i| places.lacks(format!("x:{i}").as_bytes(), b"")).count();
            shares += 1;
            if !places.next() {
                break;
            }
        }
        assert!(shares >= 8, "{shares}");
        assert_eq!(lacking, 500);
    }

    #[test]
    fn members_are_told_apart() {
        let mut places = Places::default();
        places.add(b"k", b"m");
        places.complete();
        assert!(!places.lacks(b"k", b"m"));
        assert!(places.lacks(b"k", b"n") && places.lacks(b"km", b"") && places.lacks(b"k", b""));
    }
}
