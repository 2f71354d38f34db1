//! Writes the rows of dead letters once more, as they are now, beside a running connector.
//!
//! ```text
//!   letter ─> row now ─> the stream has passed it ─> written, if it is still so ─> XDEL
//!              ^                                      │ no
//!              └──────────────────────────────────────┘
//! ```
//!
//! A row that was read can be older than what the connector has brought since, so it is written only where
//! nobody has ([`super::watched`]). In a cluster no transaction can look after that. There the row is read again
//! afterwards, and written again until it is the same; only then the letter goes. Whenever this is
//! interrupted, the letter is still there.
//!
//! Where no connector runs, the stream has not passed. Then the checkpoint notes that the table's rows
//! are newer than the stream up to here, guarded by WATCH, and the next session knows.

use std::collections::BTreeMap;

use super::letter::Letter;
use super::pages::Pages;
use super::passed::{self, Passed};
use super::{Id, first_error, newest, remove, rewrite};
use crate::config::Config;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::pipeline::checkpoint::{self, Checkpoint, Keys};
use crate::pipeline::reread::{self, OwnedRow};
use crate::pipeline::{Publishing, capture};
use crate::plan::{Plan, Strictness};
use crate::postgres::catalog::{Table, Types};
use crate::postgres::snapshot::until_visible;
use crate::postgres::stream::postgres_now;
use crate::postgres::{self, Purpose};
use crate::redis::limits::Limits;
use crate::redis::resp::{Commands, Reply};
use crate::redis::{self, Spread};
use crate::sink::Workspace;

/// A row that changes so often is left for the next time.
const ATTEMPTS: usize = 20;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) replayed: u64,
    pub(crate) remaining: u64,
}

/// A letter that could not be replayed.
#[derive(Debug)]
pub(crate) struct Remaining<'a> {
    pub(crate) id: &'a str,
    pub(crate) letter: &'a Letter,
    pub(crate) reason: &'a str,
}

pub(super) struct Replay<'a> {
    config: &'a Config,
    pub(super) keys: Keys,
    pub(super) plans: BTreeMap<String, (Plan, Table)>,
    pub(super) source: postgres::Connection,
    pub(super) redis: redis::Client,
    pub(super) limits: Limits,
    pub(super) workspace: Workspace,
}

/// A letter whose row is being written.
pub(super) struct Todo {
    pub(super) id: String,
    pub(super) letter: Letter,
    pub(super) key: reread::Key,
    /// What was written, if that was not the end of it.
    written: Option<OwnedRow>,
}

/// What came of one letter.
enum Outcome {
    Done,
    /// The row is to be looked at again.
    Written,
    /// Somebody was quicker.
    Disturbed,
    Failed(String),
}

/// Replays every letter that is there now; `told` hears of those that stay.
pub(crate) async fn replay(
    config: &Config,
    file: &str,
    mut told: impl FnMut(Remaining<'_>),
) -> Result<Summary, Error> {
    let mut redis = redis::Client::open(&config.target).await?;
    let mut source = postgres::Connection::open(&config.source, Purpose::Sql).await?;
    let look = (Publishing::Forbidden, Strictness::Streaming);
    let captured = capture(&mut source, &mut Types::default(), (config, file), look).await?;
    let mut plans = BTreeMap::new();
    for one in captured.values() {
        plans.insert(one.name(), (one.plan(file)?, one.table.clone()));
    }
    let keys = Keys::new(&config.name, redis.spread());
    let limits = Limits::read(&mut redis).await?;
    let workspace = Workspace::new(config);
    let mut summary = Summary::default();
    let Some(last) = newest(&mut redis, &keys.dead_letters).await? else { return Ok(summary) };
    let mut replay = Replay { config, keys, plans, source, redis, limits, workspace };
    let mut pages = Pages::new(&replay.keys.dead_letters);
    while let Some(mut page) = pages.next(&mut replay.redis).await? {
        page.retain(|(id, _)| Id::parse(id).is_some_and(|id| id <= last));
        if page.is_empty() {
            break;
        }
        let count = page.len() as u64;
        let failed = replay.page(page).await?;
        summary.remaining += failed.len() as u64;
        summary.replayed += count - failed.len() as u64;
        for (id, letter, reason) in &failed {
            told(Remaining { id, letter, reason });
        }
    }
    Ok(summary)
}

/// Letters that stay, and why.
pub(super) type Failed = Vec<(String, Letter, String)>;

impl Replay<'_> {
    async fn page(&mut self, letters: Vec<(String, Letter)>) -> Result<Failed, Error> {
        let mut failed = Vec::new();
        let mut tables: BTreeMap<String, Vec<Todo>> = BTreeMap::new();
        for (id, letter) in letters {
            match self.key_of(&letter) {
                Ok((table, key)) => {
                    tables.entry(table).or_default().push(Todo { id, letter, key, written: None })
                }
                Err(reason) => failed.push((id, letter, reason)),
            }
        }
        for (table, mut todo) in tables {
            for _ in 0..ATTEMPTS {
                todo = self.attempt(&table, todo, &mut failed).await?;
                if todo.is_empty() {
                    break;
                }
            }
            let reason = "its row is written all the time, or its table by a transaction that is still open; replay it when less is \
                 written";
            failed.extend(todo.into_iter().map(|one| (one.id, one.letter, reason.to_owned())));
        }
        Ok(failed)
    }

    /// The table and the key by which the row is found.
    fn key_of(&self, letter: &Letter) -> Result<(String, reread::Key), String> {
        let Some(table) = letter.get("table").filter(|_| letter.get("row").is_some()) else {
            return Err(
                "it is about no row; when it was seen to, dlq purge with its ID removes it".to_owned()
            );
        };
        let Some((plan, _)) = self.plans.get(table) else {
            return Err(format!("the table {table} is not captured any more"));
        };
        match rewrite::key(&plan.shape, letter) {
            Some(key) => Ok((table.to_owned(), key)),
            None => Err("the letter does not tell the whole key, so the row can't be found".to_owned()),
        }
    }

    /// Writes rows; returns the letters that must be looked at once more.
    async fn attempt(
        &mut self,
        table: &str,
        todo: Vec<Todo>,
        failed: &mut Failed,
    ) -> Result<Vec<Todo>, Error> {
        let mut again = Vec::new();
        let fail = |one: Todo, reason: String| (one.id, one.letter, reason);
        let rows = match self.read(table, &todo).await {
            Ok(rows) => rows,
            Err(Error::Postgres(error)) if !error.is_transient() => {
                failed.extend(todo.into_iter().map(|one| fail(one, error.to_string())));
                return Ok(again);
            }
            Err(error) => return Err(error),
        };
        let end = self.source.end_of_commits().await?;
        let passed = passed::wait(self.config, (&mut self.source, &mut self.redis), end).await?;
        if let Passed::No(reached) = passed {
            let reason =
                format!("the connector is at {reached} and does not get to {end}, where the row was read");
            failed.extend(todo.into_iter().map(|one| fail(one, reason.clone())));
            return Ok(again);
        }
        let is_whole = self.redis.spread() == Spread::Whole;
        let stopped = passed == Passed::Stopped;
        let (mut watched, mut written) = (Vec::new(), Vec::new());
        for mut one in todo {
            let row = rows.found.get(&one.key);
            if row.is_none() && rows.left_out {
                again.push(one);
                continue;
            }
            let is_event = one.letter.get("output") == Some("stream");
            if is_whole && !is_event {
                watched.push(one);
                continue;
            }
            let outcome = if is_event {
                self.event(table, &one, row).await?
            } else {
                self.write(table, &one, row, stopped.then_some(end)).await?
            };
            match outcome {
                Outcome::Done => {}
                Outcome::Written => {
                    one.written = row.cloned();
                    written.push(one);
                }
                Outcome::Disturbed => again.push(one),
                Outcome::Failed(reason) => failed.push((one.id, one.letter, reason)),
            }
        }
        again.append(&mut self.write_watched((table, &rows), watched, stopped, failed).await?);
        if written.is_empty() {
            return Ok(again);
        }
        let oid = self.plans.get(table).map_or(0, |(_, known)| known.oid);
        let is_seen = until_visible(&mut self.source, oid).await?;
        let now = self.read(table, &written).await?;
        let (same, changed): (Vec<Todo>, Vec<Todo>) = written.into_iter().partition(|one| {
            let found = now.found.get(&one.key);
            is_seen && found == one.written.as_ref() && (found.is_some() || !now.left_out)
        });
        again.extend(changed);
        let ids: Vec<String> = same.into_iter().map(|one| one.id).collect();
        remove(&mut self.redis, &self.keys.dead_letters, &ids).await?;
        Ok(again)
    }

    pub(super) async fn read(&mut self, table: &str, todo: &[Todo]) -> Result<reread::Rows, Error> {
        let Some((plan, known)) = self.plans.get(table) else { return Ok(reread::Rows::default()) };
        let mut keys: Vec<reread::Key> = Vec::new();
        for one in todo {
            if !keys.contains(&one.key) {
                keys.push(one.key.clone());
            }
        }
        Ok(reread::read(&mut self.source, (&plan.shape, known), &keys).await?)
    }

    /// Writes keys and members in a cluster. `until`: no connector runs, and rows are as late as this.
    async fn write(
        &mut self,
        table: &str,
        one: &Todo,
        row: Option<&OwnedRow>,
        until: Option<Lsn>,
    ) -> Result<Outcome, Error> {
        let Some((plan, _)) = self.plans.get(table) else { return Ok(Outcome::Disturbed) };
        let mut commands = Commands::default();
        let rows = (row, one.written.as_ref());
        rewrite::keys_and_members(plan, &one.letter, rows, &mut self.workspace, &mut commands);
        let Some(until) = until else {
            return Ok(match self.execute(&mut commands).await? {
                Outcome::Done => Outcome::Written,
                other => other,
            });
        };
        let checkpoint = self.watch().await?;
        if let Some(mut state) = checkpoint.and_then(|mut found| found.tables.remove(table))
            && state.until < until.0
        {
            state.until = until.0;
            let (field, value) = state.field(table);
            let key = self.keys.checkpoint.as_bytes();
            commands.command(&[b"HSET", key, field.as_bytes(), value.as_bytes()]);
        }
        let outcome = self.execute(&mut commands).await?;
        if matches!(outcome, Outcome::Done) {
            remove(&mut self.redis, &self.keys.dead_letters, std::slice::from_ref(&one.id)).await?;
        }
        Ok(outcome)
    }

    /// Writes an event with the row as it is, behind those that are there and before those to come.
    async fn event(&mut self, table: &str, one: &Todo, row: Option<&OwnedRow>) -> Result<Outcome, Error> {
        let Some(checkpoint) = self.watch().await? else {
            return Ok(Outcome::Failed(
                "there is no checkpoint, so the event has no place: run first".to_owned(),
            ));
        };
        if self.read(table, std::slice::from_ref(one)).await?.found.get(&one.key) != row {
            // An event with it would stand behind those that tell what the row is now.
            if self.redis.spread() == Spread::Whole {
                self.redis.call(&[b"UNWATCH"]).await?;
            }
            return Ok(Outcome::Disturbed);
        }
        let stream = one.letter.get("redis_key").unwrap_or_default().to_owned();
        let top = match newest(&mut self.redis, &stream).await {
            Ok(top) => top.unwrap_or(Id(0, 0)),
            Err(redis::Error::Refused { reply, .. }) => return Ok(Outcome::Failed(reply)),
            Err(error) => return Err(error.into()),
        };
        let place = place_of_event(&checkpoint, top);
        self.workspace.event.begin_snapshot(Lsn(place.0 + 1), place.1, postgres_now());
        let Some((plan, _)) = self.plans.get(table) else { return Ok(Outcome::Disturbed) };
        let mut commands = Commands::default();
        rewrite::event(plan, &one.letter, row, &mut self.workspace, &mut commands);
        if place > Id(checkpoint.events.0, checkpoint.events.1) {
            let id = format!("{}-{}", place.0, place.1);
            commands.command(&[b"HSET", self.keys.checkpoint.as_bytes(), b"events", id.as_bytes()]);
        }
        commands.command(&[b"XDEL", self.keys.dead_letters.as_bytes(), one.id.as_bytes()]);
        self.execute(&mut commands).await
    }

    /// Watches who writes, and reads the checkpoint.
    pub(super) async fn watch(&mut self) -> Result<Option<Checkpoint>, Error> {
        let (epoch, checkpoint) = (self.keys.epoch.as_bytes(), self.keys.checkpoint.as_bytes());
        if self.redis.spread() == Spread::Whole {
            self.redis.call(&[b"WATCH", epoch, checkpoint]).await?;
        }
        Ok(checkpoint::read(&mut self.redis, &self.keys).await?)
    }

    async fn execute(&mut self, commands: &mut Commands) -> Result<Outcome, Error> {
        let all = commands.len();
        let refused = commands.walk().find_map(|command| self.limits.refuse(&command, all));
        let is_whole = self.redis.spread() == Spread::Whole;
        if let Some(reason) = refused {
            if is_whole {
                self.redis.call(&[b"UNWATCH"]).await?;
            }
            return Ok(Outcome::Failed(reason));
        }
        if !is_whole {
            return self.execute_one_by_one(commands).await;
        }
        let mut transaction = Commands::default();
        transaction.command(&[b"MULTI"]);
        transaction.append(commands);
        transaction.command(&[b"EXEC"]);
        let replies = self.redis.call_all(&transaction).await?;
        Ok(match replies.last() {
            Some(Reply::Nil) => Outcome::Disturbed,
            Some(Reply::Array(carried_out)) => {
                first_error(carried_out).map_or(Outcome::Done, Outcome::Failed)
            }
            _ => Outcome::Failed(first_error(&replies).unwrap_or_default()),
        })
    }

    /// In a cluster, where they are no transaction: the letter goes last. Written twice they say the same.
    async fn execute_one_by_one(&mut self, commands: &Commands) -> Result<Outcome, Error> {
        for command in commands.walk() {
            match self.redis.call(&command).await {
                Ok(_) => {}
                Err(redis::Error::Refused { reply, .. }) => return Ok(Outcome::Failed(reply)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Outcome::Done)
    }
}

/// Directly before the position that the stream goes on from, or, where changes may be done again that
/// this stream has not got, before those: an entry refuses all that have lower IDs.
fn place_of_event(checkpoint: &Checkpoint, top: Id) -> Id {
    let before = checkpoint.before.lsn.0.saturating_sub(1);
    let lsn = if top.0 > before { checkpoint.position.lsn.0.saturating_sub(1) } else { before };
    Id(lsn, if top.0 == lsn { top.1 + 1 } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::checkpoint::Position;

    #[test]
    fn where_events_go() {
        let at = |lsn: u64| Position { lsn: Lsn(lsn), split: None };
        let checkpoint = Checkpoint { position: at(20), before: at(10), ..Checkpoint::default() };
        assert_eq!(place_of_event(&checkpoint, Id(0, 0)), Id(9, 1));
        assert_eq!(place_of_event(&checkpoint, Id(9, 4)), Id(9, 5));
        // It has got what may be done again.
        assert_eq!(place_of_event(&checkpoint, Id(12, 1)), Id(19, 1));
    }
}
