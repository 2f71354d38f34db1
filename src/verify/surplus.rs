//! Keys, and members of sets and sorted sets, that no row has.
//!
//! ```text
//!   where rows are: fingerprints, a share of them at a time ──┐
//!   SCAN, SSCAN, ZSCAN by the patterns of the outputs ────────┴─> candidates ──> looked at again
//! ```
//!
//! A candidate can belong to a row that came after the rows were read, or to one that has just gone, or
//! to one that moves from set to set all the time. So it is looked at in rounds:
//!
//! ```text
//!   places without it ── pass, there? ── pass, there? ── … ── places without it ── …
//!                        └── each time the stream has gone on ──┘
//! ```
//!
//! What no row has stays where it is. What a row has, however often it comes and goes, would have to
//! be there whenever Redis is looked at, and to have gone whenever PostgreSQL is. Looks at Redis are cheap,
//! so there are many for each reading of all places.
//!
//! Memory is bounded: by shares of the fingerprints, and by settling candidates before there are many.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::sleep;

use super::compare::is_wrong_type;
use super::report::{Difference, Finding, Kind, shown};
use super::{MOST_DIFFERENCES, Servers, Table};
use crate::error::Error;
use crate::pipeline::checkpoint::is_own;
use crate::pipeline::places::{self, Places, fingerprint};
use crate::plan::key::{Holds, KeyPattern};
use crate::redis;
use crate::redis::resp::{Commands, Reply};
use crate::redis::scan::Scan;

/// Candidates that are remembered, in number and bytes.
const MOST_CANDIDATES: usize = 100_000;
const MOST_BYTES: usize = 16 << 20;
/// Readings of all places that must all find it without a row.
const ROUNDS: u32 = 3;
/// Looks at Redis before each of them, which must all find it.
const LOOKS: u32 = 8;
/// Between two looks, for changes to come and be streamed.
const BETWEEN_LOOKS: Duration = Duration::from_millis(7);
/// Commands of one round trip.
const AT_ONCE: usize = 1000;
/// Keys whose members are scanned at once, and members of each.
const KEYS_AT_ONCE: usize = 50;
const MEMBERS: &[u8] = b"1000";

/// A key or a member that no row seems to have.
#[derive(Debug, Clone)]
pub(super) struct Surplus {
    pub(super) key: Vec<u8>,
    /// `None`: the whole key.
    pub(super) member: Option<Vec<u8>>,
    pub(super) holds: Holds,
}

impl Surplus {
    pub(super) fn fingerprint(&self) -> u64 {
        fingerprint(&self.key, self.member.as_deref().unwrap_or_default())
    }

    pub(super) fn difference(&self, table: &str) -> Difference {
        let finding = match &self.member {
            None => Finding::new(Kind::SurplusKey),
            Some(member) => Finding::new(Kind::SurplusMember).part(member),
        };
        Difference { table: table.to_owned(), key: shown(&self.key), finding, repair: None }
    }

    fn ask(&self, out: &mut Commands) {
        match (&self.member, self.holds) {
            (None, _) => out.command(&[b"EXISTS", &self.key]),
            (Some(member), Holds::SortedSet) => out.command(&[b"ZSCORE", &self.key, member]),
            (Some(member), _) => out.command(&[b"SISMEMBER", &self.key, member]),
        }
    }

    fn len(&self) -> usize {
        self.key.len() + self.member.as_ref().map_or(0, Vec::len) + size_of::<Surplus>()
    }
}

/// Leaves those that no row has now.
pub(super) async fn without_row(
    table: &Table<'_>,
    servers: &mut Servers,
    candidates: &mut HashMap<u64, Surplus>,
) -> Result<(), Error> {
    let visit = |key: &[u8], member: &[u8]| {
        candidates.remove(&fingerprint(key, member));
        if !member.is_empty() {
            // A key of another type is no row's whichever member it should have.
            candidates.remove(&fingerprint(key, b""));
        }
    };
    Ok(places::read(&mut servers.source, table.captured, &table.plan, visit).await?)
}

#[derive(Debug, Default)]
pub(super) struct Candidates {
    waiting: HashMap<u64, Surplus>,
    bytes: usize,
    pub(super) confirmed: Vec<Surplus>,
    known: HashSet<u64>,
}

impl Candidates {
    /// Looks through all keys; `places` are those of the first share.
    pub(super) async fn find(
        &mut self,
        table: &mut Table<'_>,
        servers: &mut Servers,
        mut places: Places,
    ) -> Result<(), Error> {
        loop {
            places.complete();
            for pattern in table.plan.key_patterns() {
                let mut scan = Scan::new(pattern.glob());
                while let Some(mut keys) = scan.page(&mut servers.redis).await? {
                    keys.retain(|key| table.has_key(&pattern, key));
                    if pattern.holds == Holds::Row {
                        for key in keys.into_iter().filter(|key| places.lacks(key, b"")) {
                            self.add(table, Surplus { key, member: None, holds: Holds::Row });
                        }
                    } else {
                        self.find_members(table, servers, &places, (pattern.holds, keys)).await?;
                    }
                    if self.is_full() {
                        self.settle(table, servers).await?;
                    }
                }
            }
            if !places.next() {
                break;
            }
            let visit = |key: &[u8], member: &[u8]| places.add(key, member);
            places::read(&mut servers.source, table.captured, &table.plan, visit).await?;
        }
        self.settle(table, servers).await
    }

    async fn find_members(
        &mut self,
        table: &mut Table<'_>,
        servers: &mut Servers,
        places: &Places,
        (holds, keys): (Holds, Vec<Vec<u8>>),
    ) -> Result<(), Error> {
        let (command, step): (&[u8], _) =
            if holds == Holds::SortedSet { (b"ZSCAN", 2) } else { (b"SSCAN", 1) };
        let mut open: Vec<(Vec<u8>, Vec<u8>)> = keys.into_iter().map(|key| (key, b"0".to_vec())).collect();
        while !open.is_empty() {
            let scanned = open.split_off(open.len().saturating_sub(KEYS_AT_ONCE));
            let mut asked = Commands::default();
            for (key, cursor) in &scanned {
                asked.command(&[command, key, cursor, b"COUNT", MEMBERS]);
            }
            let replies = servers.redis.call_all(&asked).await?;
            for ((key, _), reply) in scanned.into_iter().zip(replies) {
                match reply {
                    Reply::Array(parts) => {
                        let [Reply::Text(next), Reply::Array(members)] = parts.as_slice() else { continue };
                        for member in members.iter().step_by(step) {
                            if let Reply::Text(member) = member
                                && places.lacks(&key, member)
                            {
                                let (key, member) = (key.clone(), Some(member.clone()));
                                self.add(table, Surplus { key, member, holds });
                            }
                        }
                        if next != b"0" {
                            open.push((key, next.clone()));
                        }
                    }
                    Reply::Error(reply) if !is_wrong_type(&reply) => {
                        let doing = format!("looking through {}", shown(&key));
                        return Err(redis::Error::Refused { doing, reply }.into());
                    }
                    // If a row should be in it, that was found when the rows were compared.
                    Reply::Error(_) if places.lacks(&key, b"") => {
                        self.add(table, Surplus { key, member: None, holds });
                    }
                    _ => {}
                }
            }
            if self.is_full() {
                self.settle(table, servers).await?;
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_CANDIDATES || self.bytes >= MOST_BYTES
    }

    fn add(&mut self, table: &mut Table<'_>, surplus: Surplus) {
        let fingerprint = surplus.fingerprint();
        // SCAN can return what it has returned before.
        if self.known.contains(&fingerprint) {
            return;
        }
        if self.confirmed.len() >= MOST_DIFFERENCES {
            table.report.not_looked_at_again += 1;
            let difference = surplus.difference(&table.report.table);
            table.report.add(difference);
            return;
        }
        self.bytes += surplus.len();
        self.waiting.insert(fingerprint, surplus);
    }

    /// Looks again until each is known to have a row, or to have none.
    async fn settle(&mut self, table: &mut Table<'_>, servers: &mut Servers) -> Result<(), Error> {
        for _ in 0..ROUNDS {
            self.leave_lasting(servers).await?;
            if self.waiting.is_empty() {
                break;
            }
            without_row(table, servers, &mut self.waiting).await?;
        }
        self.bytes = 0;
        for (fingerprint, surplus) in self.waiting.drain() {
            self.known.insert(fingerprint);
            self.confirmed.push(surplus);
        }
        Ok(())
    }

    /// Leaves those that are in Redis whenever it is looked at.
    async fn leave_lasting(&mut self, servers: &mut Servers) -> Result<(), Error> {
        for _ in 0..LOOKS {
            if self.waiting.is_empty() {
                break;
            }
            servers.stream.pass(&mut servers.source, &mut servers.redis).await?;
            self.leave_present(&mut servers.redis).await?;
            if servers.stream.standing.is_some() {
                break;
            }
            sleep(BETWEEN_LOOKS).await;
        }
        Ok(())
    }

    /// Leaves those that are still in Redis.
    async fn leave_present(&mut self, redis: &mut redis::Client) -> Result<(), Error> {
        let all: Vec<(u64, Surplus)> = self.waiting.drain().collect();
        for part in all.chunks(AT_ONCE) {
            let mut asked = Commands::default();
            for (_, surplus) in part {
                surplus.ask(&mut asked);
            }
            let replies = redis.call_all(&asked).await?;
            for ((fingerprint, surplus), reply) in part.iter().zip(replies) {
                match reply {
                    Reply::Nil | Reply::Integer(0) => {}
                    // The key has got another type since.
                    Reply::Error(error) if is_wrong_type(&error) => {}
                    Reply::Error(reply) => {
                        let doing = format!("looking at {}", shown(&surplus.key));
                        return Err(redis::Error::Refused { doing, reply }.into());
                    }
                    _ => drop(self.waiting.insert(*fingerprint, surplus.clone())),
                }
            }
        }
        Ok(())
    }
}

/// A key is the output's whose template makes it and no other that says more about it: a text in a key
/// can look like anything, such as `user:events` for `user:{name}`.
pub(super) fn is_key_of(pattern: &KeyPattern, others: &[KeyPattern], key: &[u8]) -> bool {
    let is_closer = |other: &KeyPattern| {
        other != pattern && other.fixed_bytes() >= pattern.fixed_bytes() && other.matches(key)
    };
    pattern.matches(key) && !is_own(key) && !others.iter().any(is_closer)
}
