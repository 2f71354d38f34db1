//! After a table was read again over what an older mapping left: keys that no row has are removed.
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

use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::capture::Captured;
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
use crate::plan::Plan;
use crate::plan::key::{Holds, KeyPattern};
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
    others: &'a [KeyPattern],
    /// Keys that several rows share now: what has no row there are members.
    shared: &'a [KeyPattern],
    removed: usize,
}

impl Session<'_> {
    /// Removes the keys and members of the table's former and present templates that no row has.
    pub(super) async fn sweep(&mut self, table: &Reading) -> Result<Recovery, Error> {
        let mut patterns = table.state.stale_keys.clone();
        patterns.extend(table.plan.key_patterns());
        patterns.retain(|pattern| pattern.holds != Holds::Events);
        patterns.dedup();
        let others = self.patterns_of_others(&table.name)?;
        let mut shared = table.plan.key_patterns();
        shared.retain(|pattern| pattern.holds != Holds::Row);
        tracing::info!(table = table.name, "looking for keys without a row");
        let mut redis = self.open_redis().await?;
        let mut places = Places::default();
        let mut removed = 0;
        loop {
            self.writer.recorder = Some(Recorder::new(patterns.clone(), places.share()));
            let (config, captured, plan) =
                (&self.pipeline.config, table.captured.clone(), Rc::clone(&table.plan));
            let read = async move { read_places(config, &captured, &plan, places).await };
            let Some((read, until)) = self.beside(read).await? else { return Ok(Recovery::Stopped) };
            places = read;
            self.rows_are_newer(&table.name, until);
            let mut pass = Pass { places: &places, others: &others, shared: &shared, removed: 0 };
            let mut swept = Swept::Done;
            for pattern in &patterns {
                swept = self.sweep_pattern(pattern, &mut pass, &mut redis).await?;
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
        tracing::info!(table = table.name, keys = removed, "keys without a row removed");
        Ok(Recovery::Resumed)
    }

    /// What the keys of all other tables look like, and those of the table's streams.
    pub(super) fn patterns_of_others(&self, table: &str) -> Result<Vec<KeyPattern>, Error> {
        let mut patterns = Vec::new();
        for captured in self.captured.values() {
            let plan = captured.plan(&self.pipeline.file)?;
            let all = plan.sinks.iter().map(crate::sink::Sink::pattern);
            let is_own = captured.name() == table;
            patterns.extend(all.filter(|pattern| !is_own || pattern.holds == Holds::Events));
        }
        Ok(patterns)
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

    async fn sweep_pattern(
        &mut self,
        pattern: &KeyPattern,
        pass: &mut Pass<'_>,
        redis: &mut redis::Client,
    ) -> Result<Swept, Error> {
        // Members of what has got another type meanwhile can't be asked for.
        let mut scan = match pattern.holds {
            Holds::Set => Scan::of_type(pattern.glob(), OutputKind::Set.redis_type()),
            Holds::SortedSet => Scan::of_type(pattern.glob(), OutputKind::SortedSet.redis_type()),
            Holds::Row | Holds::Events => Scan::new(pattern.glob()),
        };
        loop {
            let page = async { Ok(scan.page(redis).await?) };
            let Some(page) = self.beside(page).await? else { return Ok(Swept::Stopped) };
            let Some(mut keys) = page else { return Ok(Swept::Done) };
            keys.retain(|key| {
                pattern.matches(key) && !is_own(key) && !pass.others.iter().any(|other| other.matches(key))
            });
            if pattern.holds == Holds::Row {
                let Some(recorder) = self.recorder() else { return Ok(Swept::Overrun) };
                keys.retain(|key| {
                    pass.places.lacks(key, b"")
                        && !recorder.has_written(key, b"")
                        && !pass.shared.iter().any(|shared| shared.matches(key))
                });
                pass.removed += keys.len();
                remove(&keys, self.writer.commands());
                if self.removed(keys.len()).await? == Recovery::Stopped {
                    return Ok(Swept::Stopped);
                }
                continue;
            }
            for key in keys {
                let swept = self.sweep_members((pattern.holds, &key), pass, redis).await?;
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

/// Reads a share of the places of a table's rows. With it goes the position behind which the snapshot saw nothing.
async fn read_places(
    config: &Config,
    captured: &Captured,
    plan: &Plan,
    mut places: Places,
) -> Result<(Places, Lsn), Error> {
    let mut source = Connection::open(&config.source, Purpose::Sql).await?;
    wait_for_writers(&mut source, captured).await?;
    let snapshot = snapshot::take(&mut source, &[captured.table.sql_rows()]).await.map_err(redefined)?;
    let visit = |key: &[u8], member: &[u8]| places.add(key, member);
    places::read(&mut source, captured, plan, visit).await.map_err(redefined)?;
    source.close().await;
    // It takes a while, and others on this thread don't.
    let sorted = spawn_blocking(move || {
        places.complete();
        places
    });
    let places = sorted.await.map_err(|error| Error::Restart(error.to_string()))?;
    Ok((places, snapshot.until))
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
