//! After tables were read again over what an older mapping left: keys that no row has are removed.
//!
//! ```text
//!   recorder on ── writers end ── snapshot ── COPY of the key's columns ──> fingerprints ──┐
//!   Redis ── SCAN, a page at a time ──> keys that the old or the new template makes ───────┴─> no row, and
//!                                                              not recorded: UNLINK, then the next page
//! ```
//!
//! The stream goes on meanwhile, so neither the rows nor the keys stand still. What it writes is recorded
//! ([`super::recorder`]), from before the snapshot is taken; and the snapshot waits for those that were
//! writing to the table when recording began. So all that the stream has written is either seen by
//! the snapshot or recorded, and a key that is neither of a row nor recorded has no row where the stream is.
//! It may have one no more only later in the stream, up to the end of the snapshot: until there,
//! changes are applied as to rows that are newer than the stream.
//!
//! Memory is bounded by working in shares: each pass looks only at the keys whose fingerprint falls into
//! its own. A pass in which more was written than is recorded is begun again with smaller ones.
//!
//! Redis can only be asked to go through all its keys, so small tables are swept many at a time: thousands that are read
//! again, after a `reset` say, would otherwise take as many times as long.

use std::time::Duration;

use tokio::task::spawn_blocking;

use super::checkpoint::is_own;
use super::places::{self, Places};
use super::recorder::Recorder;
use super::session::{Recovery, Session};
use super::snapshot::{redefined, wait_for_writers};
use super::truncate::remove;
use super::unread::Reading;
use crate::config::{Config, OutputKind};
use crate::error::Error;
use crate::lsn::Lsn;
use crate::plan::key::Holds;
use crate::plan::patterns::Patterns;
use crate::postgres::{Connection, Purpose, snapshot};
use crate::redis;
use crate::redis::resp::Commands;
use crate::redis::scan::Scan;

/// What became of a part of a sweep.
#[derive(Debug, PartialEq, Eq)]
enum Swept {
    Done,
    Stopped,
    /// More was written than is recorded.
    Overrun,
}

/// What is removed in one pass, if it has no row.
struct Pass<'a> {
    places: &'a Places,
    /// The keys of other outputs, which are left alone.
    others: &'a Patterns,
    /// Keys that several rows share now: what has no row there are members.
    shared: &'a Patterns,
    removed: usize,
}

/// Rows of tables that are swept together: so many that their places are remembered at once.
const TOGETHER: u64 = 2_000_000;

/// The first tables of these that are swept together. Redis goes through all its keys for each sweep, and
/// PostgreSQL through all rows of its tables for each share of their places.
pub(super) fn together(tables: &[Reading]) -> usize {
    let rows = tables.iter().scan(0, |rows: &mut u64, table| {
        *rows = rows.saturating_add(table.state.rows.max(table.captured.table.estimated_rows));
        Some(*rows)
    });
    rows.take_while(|rows| *rows <= TOGETHER).count().max(1)
}

impl Session<'_> {
    /// Removes the keys and members of the tables' former and present templates that no row has.
    pub(super) async fn sweep(&mut self, tables: &[Reading]) -> Result<Recovery, Error> {
        let present = || tables.iter().flat_map(|table| table.plan.key_patterns());
        let former = tables.iter().flat_map(|table| table.state.stale_keys.clone());
        let patterns: Patterns =
            former.chain(present()).filter(|pattern| pattern.holds != Holds::Events).collect();
        let others = self.patterns_of_others(|name| tables.iter().any(|table| table.name == name))?;
        let shared: Patterns = present().filter(|pattern| pattern.holds != Holds::Row).collect();
        let name = said(tables);
        tracing::info!(table = name, "looking for keys without a row");
        let mut redis = self.open_redis().await?;
        let mut places = Places::default();
        let mut removed = 0;
        loop {
            self.writer.recorder = Some(Recorder::new(patterns.clone(), places.share()));
            let read = read_places(&self.pipeline.config, tables, places);
            let Some((read, until)) = self.beside(read).await? else { return Ok(Recovery::Stopped) };
            places = read;
            for table in tables {
                self.rows_are_newer(&table.name, until);
            }
            let mut pass = Pass { places: &places, others: &others, shared: &shared, removed: 0 };
            let mut swept = Swept::Done;
            for holds in [Holds::Row, Holds::Set, Holds::SortedSet] {
                swept = self.sweep_patterns((&patterns.holding(holds), holds), &mut pass, &mut redis).await?;
                if swept != Swept::Done {
                    break;
                }
            }
            removed += pass.removed;
            match swept {
                Swept::Stopped => return Ok(Recovery::Stopped),
                Swept::Overrun => places = places.halved(),
                Swept::Done if !places.next() => break,
                Swept::Done => {}
            }
        }
        self.writer.recorder = None;
        tracing::info!(table = name, keys = removed, "keys without a row removed");
        Ok(Recovery::Resumed)
    }

    /// What the keys of all other tables look like, and those of the streams of these.
    pub(super) fn patterns_of_others(&self, is_own: impl Fn(&str) -> bool) -> Result<Patterns, Error> {
        let mut patterns = Vec::new();
        for captured in self.captured.values() {
            let plan = captured.plan(&self.pipeline.file)?;
            let is_own = is_own(&captured.name());
            let all = plan.sinks.iter().map(crate::sink::Sink::pattern);
            patterns.extend(all.filter(|pattern| !is_own || pattern.holds == Holds::Events));
        }
        Ok(patterns.into_iter().collect())
    }

    /// What is removed from here on can have a row up to there.
    fn rows_are_newer(&mut self, name: &str, until: Lsn) {
        if let Some(state) = self.states.get_mut(name) {
            state.until = state.until.max(until.0);
            self.progress.table(name).set_overlap(Lsn(state.until));
            self.writer.extra().table(name, state);
        }
        if let Some(following) = &mut self.following {
            following.applier.extend_overlap(name, until);
        }
    }

    async fn sweep_patterns(
        &mut self,
        (patterns, holds): (&Patterns, Holds),
        pass: &mut Pass<'_>,
        redis: &mut redis::Client,
    ) -> Result<Swept, Error> {
        for glob in patterns.globs() {
            // Members of what has got another type meanwhile can't be asked for.
            let scan = match holds {
                Holds::Set => Scan::of_type(glob, OutputKind::Set.redis_type()),
                Holds::SortedSet => Scan::of_type(glob, OutputKind::SortedSet.redis_type()),
                Holds::Row | Holds::Events => Scan::new(glob),
            };
            let swept = self.sweep_keys(scan, (patterns, holds), pass, redis).await?;
            if swept != Swept::Done {
                return Ok(swept);
            }
        }
        Ok(Swept::Done)
    }

    async fn sweep_keys(
        &mut self,
        mut scan: Scan,
        (patterns, holds): (&Patterns, Holds),
        pass: &mut Pass<'_>,
        redis: &mut redis::Client,
    ) -> Result<Swept, Error> {
        loop {
            let page = async { Ok(scan.page(redis).await?) };
            let Some(page) = self.beside(page).await? else { return Ok(Swept::Stopped) };
            let Some(mut keys) = page else { return Ok(Swept::Done) };
            keys.retain(|key| patterns.matches(key) && !is_own(key) && !pass.others.matches(key));
            if holds == Holds::Row {
                let Some(recorder) = self.recorder() else { return Ok(Swept::Overrun) };
                keys.retain(|key| {
                    pass.places.lacks(key, b"")
                        && !recorder.has_written(key, b"")
                        && !pass.shared.matches(key)
                });
                pass.removed += keys.len();
                remove(&keys, self.writer.commands());
                if self.removed(keys.len()).await? == Recovery::Stopped {
                    return Ok(Swept::Stopped);
                }
                continue;
            }
            for key in keys {
                let swept = self.sweep_members((holds, &key), pass, redis).await?;
                if swept != Swept::Done {
                    return Ok(swept);
                }
            }
        }
    }

    async fn sweep_members(
        &mut self,
        (holds, key): (Holds, &[u8]),
        pass: &mut Pass<'_>,
        redis: &mut redis::Client,
    ) -> Result<Swept, Error> {
        let mut scan = Scan::of_members(holds, key);
        loop {
            let page = async { Ok(scan.page(redis).await?) };
            let Some(page) = self.beside(page).await? else { return Ok(Swept::Stopped) };
            let Some(mut members) = page else { return Ok(Swept::Done) };
            let Some(recorder) = self.recorder() else { return Ok(Swept::Overrun) };
            members.retain(|member| pass.places.lacks(key, member) && !recorder.has_written(key, member));
            pass.removed += members.len();
            remove_members(holds, key, &members, self.writer.commands());
            if self.removed(members.len()).await? == Recovery::Stopped {
                return Ok(Swept::Stopped);
            }
        }
    }

    /// `None` when it has not recorded everything.
    fn recorder(&self) -> Option<&Recorder> {
        self.writer.recorder.as_ref().filter(|recorder| !recorder.overflowed)
    }

    /// The removal of so many was appended; it may be written.
    async fn removed(&mut self, count: usize) -> Result<Recovery, Error> {
        if count == 0 {
            return Ok(Recovery::Resumed);
        }
        self.writer.count_changes(count);
        self.writer.mark_beside_the_stream();
        self.writer.flush(Duration::ZERO);
        if self.writer.is_full() { self.drain().await } else { Ok(Recovery::Resumed) }
    }
}

/// For the log: a table, or how many.
fn said(tables: &[Reading]) -> String {
    match tables {
        [table] => table.name.clone(),
        tables => format!("{} tables", tables.len()),
    }
}

/// Reads a share of the places of the tables' rows. With it goes the position behind which the snapshots saw nothing.
async fn read_places(
    config: &Config,
    tables: &[Reading],
    mut places: Places,
) -> Result<(Places, Lsn), Error> {
    let mut source = Connection::open(&config.source, Purpose::Sql).await?;
    let mut until = Lsn::ZERO;
    for table in tables {
        let captured = &table.captured;
        wait_for_writers(&mut source, captured).await?;
        let snapshot = snapshot::take(&mut source, &[captured.table.sql_rows()]).await.map_err(redefined)?;
        until = until.max(snapshot.until);
        let visit = |key: &[u8], member: &[u8]| places.add(key, member);
        places::read(&mut source, captured, &table.plan, visit).await.map_err(redefined)?;
        source.query("COMMIT").await?;
    }
    source.close().await;
    // It takes a while, and others on this thread don't.
    let sorted = spawn_blocking(move || {
        places.complete();
        places
    });
    let places = sorted.await.map_err(|error| Error::Restart(error.to_string()))?;
    Ok((places, until))
}

fn remove_members(holds: Holds, key: &[u8], members: &[Vec<u8>], out: &mut Commands) {
    if !members.is_empty() {
        out.begin(2 + members.len());
        out.argument(if holds == Holds::Set { b"SREM" } else { b"ZREM" });
        out.argument(key);
        for member in members {
            out.argument(member);
        }
    }
}
