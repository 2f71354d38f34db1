//! Writes rows of dead letters in transactions that are carried out only if nobody wrote meanwhile.
//!
//! ```text
//!   WATCH keys ── rows, read again ── as they were when the stream had passed them? ── MULTI rows EXEC
//! ```
//!
//! What is written must not be older than what the connector has brought. What it had brought to a key before
//! the WATCH can be seen in the row that is read after it; what it brings after the WATCH makes the EXEC nil. Rows
//! that were disturbed are looked at in smaller and smaller parts, so that one that is written often does
//! not keep the others.

use std::collections::BTreeSet;

use super::replay::{Failed, Replay, Todo};
use super::{first_error, remove, rewrite};
use crate::error::Error;
use crate::pipeline::checkpoint::TableState;
use crate::pipeline::reread::{Key, Rows};
use crate::postgres::snapshot::{before_page_header, until_visible};
use crate::redis::resp::{Commands, Reply};

/// What came of one letter in a transaction that was carried out.
enum Outcome {
    Written,
    /// The row is not as it was, or may not be.
    Changed,
    Failed(String),
}

impl Replay<'_> {
    /// Writes these rows of a table, which were read as `rows`, and removes their letters; returns the letters that
    /// must be looked at once more. `stopped`: no connector runs, and the checkpoint is to know how new the
    /// rows are.
    pub(super) async fn write_watched(
        &mut self,
        (table, rows): (&str, &Rows),
        todo: Vec<Todo>,
        stopped: bool,
        failed: &mut Failed,
    ) -> Result<Vec<Todo>, Error> {
        let (mut again, mut written) = (Vec::new(), Vec::new());
        let mut parts = if todo.is_empty() { Vec::new() } else { vec![todo] };
        while let Some(mut part) = parts.pop() {
            match self.transaction((table, rows), &part, stopped).await? {
                None if part.len() > 1 => {
                    let other = part.split_off(part.len() / 2);
                    parts.extend([other, part]);
                }
                None => again.append(&mut part),
                Some(outcomes) => {
                    for (one, outcome) in part.into_iter().zip(outcomes) {
                        match outcome {
                            Outcome::Written => written.push(one.id),
                            Outcome::Changed => again.push(one),
                            Outcome::Failed(reason) => failed.push((one.id, one.letter, reason)),
                        }
                    }
                }
            }
        }
        // Should it not come so far, what was written is written once more.
        remove(&mut self.redis, &self.keys.dead_letters, &written).await?;
        Ok(again)
    }

    /// What came of each letter; `None` when the transaction was disturbed, or refused as a whole.
    async fn transaction(
        &mut self,
        (table, rows): (&str, &Rows),
        part: &[Todo],
        stopped: bool,
    ) -> Result<Option<Vec<Outcome>>, Error> {
        let Some((plan, known)) = self.plans.get(table) else { return Ok(None) };
        let oid = known.oid;
        let mut all: Vec<Commands> = Vec::new();
        for one in part {
            let mut commands = Commands::default();
            let row = (rows.found.get(&one.key), None);
            rewrite::keys_and_members(plan, &one.letter, row, &mut self.workspace, &mut commands);
            all.push(commands);
        }
        let checkpoint = if stopped { self.watch().await? } else { None };
        self.watch_keys(&all).await?;
        let is_seen = until_visible(&mut self.source, oid).await?;
        let now = self.read(table, part).await?;
        let mut transaction = Commands::default();
        transaction.command(&[b"MULTI"]);
        let mut places = Vec::new();
        for (one, commands) in part.iter().zip(&mut all) {
            let is_as_it_was = is_seen && is_as_it_was(&one.key, rows, &now);
            places.push(self.place(is_as_it_was, commands, &mut transaction));
        }
        if places.iter().all(Result::is_err) {
            self.redis.call(&[b"UNWATCH"]).await?;
            return Ok(Some(places.into_iter().filter_map(Result::err).collect()));
        }
        if let Some(state) = checkpoint.and_then(|mut found| found.tables.remove(table)) {
            self.note_rows(table, *state, &mut transaction).await?;
        }
        transaction.command(&[b"EXEC"]);
        let replies = self.redis.call_all(&transaction).await?;
        Ok(outcomes(&replies, places))
    }

    /// From now on EXEC is nil when one of the keys of these commands is written.
    async fn watch_keys(&mut self, all: &[Commands]) -> Result<(), Error> {
        let keys: BTreeSet<Vec<u8>> = all
            .iter()
            .flat_map(Commands::walk)
            .filter_map(|command| Some(command.get(1)?.to_vec()))
            .collect();
        if !keys.is_empty() {
            let mut watch: Vec<&[u8]> = vec![b"WATCH"];
            watch.extend(keys.iter().map(Vec::as_slice));
            self.redis.call(&watch).await?;
        }
        Ok(())
    }

    /// Adds the commands of one letter, unless its row has changed or they are more than Redis takes.
    fn place(&self, is_as_it_was: bool, commands: &mut Commands, transaction: &mut Commands) -> Place {
        if !is_as_it_was {
            return Err(Outcome::Changed);
        }
        let bytes = commands.len();
        if let Some(reason) = commands.walk().find_map(|command| self.limits.refuse(&command, bytes)) {
            return Err(Outcome::Failed(reason));
        }
        let count = commands.count();
        transaction.append(commands);
        Ok(count)
    }

    /// Lets the checkpoint say how new the rows of the table are.
    async fn note_rows(
        &mut self,
        table: &str,
        mut state: TableState,
        transaction: &mut Commands,
    ) -> Result<(), Error> {
        let until = before_page_header(self.source.end_of_log().await?);
        state.until = state.until.max(until.0);
        let (field, value) = state.field(table);
        let key = self.keys.checkpoint.as_bytes();
        transaction.command(&[b"HSET", key, field.as_bytes(), value.as_bytes()]);
        Ok(())
    }
}

/// How many commands of a letter are in the transaction, or why none is.
type Place = Result<usize, Outcome>;

/// The row was neither written nor possibly written between the two readings.
fn is_as_it_was(key: &Key, before: &Rows, now: &Rows) -> bool {
    let found = now.found.get(key);
    found == before.found.get(key) && !(found.is_none() && now.left_out)
}

/// What EXEC replied to each letter; `None` when it was nil, or refused and there is more than one letter.
fn outcomes(replies: &[Reply], places: Vec<Place>) -> Option<Vec<Outcome>> {
    let mut carried_out = match replies.last() {
        Some(Reply::Array(carried_out)) => carried_out.as_slice(),
        Some(Reply::Nil) => return None,
        _ if places.len() > 1 => return None,
        _ => return Some(vec![Outcome::Failed(first_error(replies).unwrap_or_default())]),
    };
    let outcome = |place| match place {
        Err(outcome) => outcome,
        Ok(count) => {
            let (own, rest) = carried_out.split_at_checked(count).unwrap_or((carried_out, &[]));
            carried_out = rest;
            first_error(own).map_or(Outcome::Written, Outcome::Failed)
        }
    };
    Some(places.into_iter().map(outcome).collect())
}
