//! Commands that Redis could not carry out, while the rest of their transaction was: each becomes an
//! entry of the dead-letter stream, with its row.
//!
//! ```text
//!   batch N ── replies ──> failed commands ── ledger ──> letters ── in batch N + 1
//! ```
//!
//! Until batch N + 1 is written, the checkpoint says that N may have to be done again (see
//! [`super::writer`]); and N + 1 says so no more in the same transaction in which it writes the letters.
//! So whenever the process is killed, the letters are written once: by this process or, after it has
//! done N again, by the next.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::checkpoint::{self, Keys};
use super::ledger::{Ledger, Noted, Source};
use crate::config::DeadLetterLimit;
use crate::dlq::letter::Letter;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::progress::{Progress, Totals};
use crate::redis::lane::FailedCommand;
use crate::redis::limits::Limits;
use crate::redis::resp::{Commands, Reply};
use crate::redis::{self, Client};
use crate::row::Change;

#[derive(Debug)]
pub(super) struct DeadLetters {
    stream: String,
    max: u64,
    /// Letters in the stream and on their way to it, as far as is known: others can remove some.
    count: u64,
    waiting: Commands,
    /// Those of rows of the snapshot that is going on.
    of_snapshot: HashSet<u64>,
    /// Where Redis is sharded, those of changes that are done again: a letter and the checkpoint are no
    /// transaction there.
    of_stream: HashSet<Place>,
    limits: Limits,
    /// What happened last, in short.
    last: String,
    progress: Arc<Progress>,
}

/// What is known of a batch whose replies were read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    pub(super) ledger: &'a Ledger,
    /// Commands of changes; letters and the checkpoint follow.
    pub(super) commands: usize,
    /// All of it had been carried out before.
    pub(super) repeated: bool,
}

impl DeadLetters {
    pub(super) async fn open(
        redis: &mut Client,
        keys: &Keys,
        (limit, limits): (DeadLetterLimit, Limits),
        progress: &Arc<Progress>,
    ) -> Result<DeadLetters, Error> {
        let stream = keys.dead_letters.clone();
        let count = length(redis, &stream).await?;
        progress.dead_letters.store(count, Relaxed);
        Ok(DeadLetters {
            stream,
            max: limit.max,
            count,
            waiting: Commands::default(),
            of_snapshot: HashSet::new(),
            of_stream: HashSet::new(),
            limits,
            last: String::new(),
            progress: Arc::clone(progress),
        })
    }

    /// Letters that wait for the next batch.
    pub(super) fn waiting(&mut self) -> &mut Commands {
        &mut self.waiting
    }

    pub(super) fn are_waiting(&self) -> bool {
        self.waiting.count() > 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Reads which rows of the snapshot, which the stream follows from `lsn`, have letters: they were
    /// written before the snapshot was interrupted.
    pub(super) async fn recall(&mut self, redis: &mut Client, lsn: Lsn) -> Result<(), Error> {
        let lsn = lsn.to_string();
        let mut pages = crate::dlq::pages::Pages::new(&self.stream);
        while let Some(page) = pages.next(redis).await? {
            let of_this = page.iter().filter(|(_, letter)| letter.get("lsn") == Some(&lsn));
            self.of_snapshot.extend(of_this.filter_map(|(_, letter)| letter.of_snapshot()));
        }
        Ok(())
    }

    /// Reads which changes behind `lsn` have letters.
    pub(super) async fn recall_stream(&mut self, redis: &mut Client, lsn: Lsn) -> Result<(), Error> {
        let mut pages = crate::dlq::pages::Pages::new(&self.stream);
        while let Some(page) = pages.next(redis).await? {
            let places = page.iter().filter_map(|(_, letter)| place(letter));
            self.of_stream.extend(places.filter(|(at, ..)| *at >= lsn));
        }
        Ok(())
    }

    /// Counts the letters again. False when there are too many.
    pub(super) async fn recount(&mut self, redis: &mut Client) -> Result<bool, Error> {
        self.count = length(redis, &self.stream).await? + self.waiting.count() as u64;
        self.progress.dead_letters.store(self.count, Relaxed);
        Ok(self.count <= self.max)
    }

    /// Makes letters of what failed.
    pub(super) fn bury(&mut self, batch: Batch<'_>, failed: &[FailedCommand]) -> Result<(), Error> {
        // Rights are looked at once more when EXEC begins. What was not allowed then is no fault of a row.
        if let Some(denied) = failed.iter().find(|command| command.reply.starts_with("NOPERM")) {
            return Err(Error::Restart(format!(
                "Redis has not carried out all of the last batch ({}: {}): beginning again with that batch",
                denied.description(),
                denied.reply
            )));
        }
        let mut seen = HashSet::new();
        for command in failed {
            if command.index >= batch.commands {
                return Err(self.unwritten(command));
            }
            let noted = batch.ledger.of_command(command.index);
            let repeated = batch.repeated || noted.is_some_and(|noted| noted.origin.repeated);
            // An entry that was there is there.
            if repeated && is_refused_entry(command) {
                continue;
            }
            if command.name == b"RENAME" && command.reply.starts_with("ERR no such key") {
                tracing::warn!(
                    command = command.description(),
                    "a row's key changed, but its old key was gone from Redis; fields that PostgreSQL did not send \
                     are missing until the row is written again"
                );
                continue;
            }
            // A row can take several commands for one key.
            let place = (noted.map_or(usize::MAX - command.index, |noted| noted.index), command.key.clone());
            if seen.insert(place) {
                self.add((&command.name, &command.key), &reason(command), noted);
            }
        }
        for (command, noted) in batch.ledger.left_out() {
            let place = (noted.map_or(usize::MAX, |noted| noted.index), command.key.clone());
            if seen.insert(place) {
                self.add((&command.name, &command.key), &command.reason, noted);
            }
        }
        if self.count > self.max && self.are_waiting() {
            return Err(Error::DeadLetters {
                stream: self.stream.clone(),
                count: self.count - self.waiting.count() as u64,
                new: self.waiting.count(),
                max: self.max,
                last: self.last.clone(),
            });
        }
        Ok(())
    }

    fn add(&mut self, (name, key): (&[u8], &[u8]), reason: &str, noted: Option<Noted<'_>>) {
        let mut letter = Letter::new((name, key), reason);
        if let Some(noted) = noted {
            self.tell(&mut letter, noted);
        }
        if let Some(row) = letter.of_snapshot()
            && !self.of_snapshot.insert(row)
        {
            return;
        }
        if !self.of_stream.is_empty() && place(&letter).is_some_and(|place| self.of_stream.contains(&place)) {
            return;
        }
        if let Ok(at) = jiff::Timestamp::from_millisecond(checkpoint::now().cast_signed()) {
            letter.set("at", at.to_string().as_bytes());
        }
        let command = redis::resp::describe(&[name, key]);
        let error = redis::Error::Row { command, reply: reason.to_owned() };
        let field = |name| letter.get(name).unwrap_or("-");
        if let Some(table) = letter.get("table") {
            let words = (String::from_utf8_lossy(name), String::from_utf8_lossy(key));
            self.progress.table(table).refused((&words.0, &words.1), error.to_string());
        }
        tracing::error!(
            event = "dead_letter",
            table = field("table"),
            key = field("key"),
            lsn = field("lsn"),
            "{error}; kept in {}",
            self.stream
        );
        self.last = format!("{error} (table {}, key {}, LSN {})", field("table"), field("key"), field("lsn"));
        letter.write(&self.stream, &mut self.waiting);
        self.count += 1;
        self.progress.dead_letters.store(self.count, Relaxed);
        Totals::add(&self.progress.totals.dead_letters, 1);
    }

    /// Where the command comes from, and the row.
    fn tell(&self, letter: &mut Letter, noted: Noted<'_>) {
        let origin = noted.origin;
        let op = noted.with_change(|change| match change {
            Change::Whole { .. } => "c",
            Change::Update { .. } => "u",
            Change::Delete { .. } => "d",
        });
        let op = match origin.source {
            Source::Change(_) => op.unwrap_or("?"),
            Source::Row(_) => "r",
            Source::Truncate(_) => "t",
            Source::LogicalMessage => "m",
        };
        let ordinal = (op != "r").then_some(origin.ordinal);
        letter.set_origin(op, origin.lsn, ordinal);
        match noted.plan() {
            Some(plan) => {
                letter.set_table(&plan.shape);
                noted.with_change(|change| letter.set_row(&plan.shape, change, self.limits));
            }
            None => letter.set_content(noted.content(), self.limits),
        }
    }

    /// A letter, or the checkpoint, could not be written. What it said is in the log already.
    fn unwritten(&self, command: &FailedCommand) -> Error {
        let (what, reply) = (command.description(), &command.reply);
        Error::Setting(format!(
            "Redis could not carry out {what}: {reply}; dead letters that are lost by this are in the log above. \
             {} must be a stream and the checkpoint a hash: rename what is there (RENAME), then start again",
            self.stream
        ))
    }
}

/// Commit position, ordinal and key: what a letter of the stream is about.
type Place = (Lsn, String, String);

fn place(letter: &Letter) -> Option<Place> {
    let text = |name| letter.get(name).map(str::to_owned);
    Some((letter.get("lsn")?.parse().ok()?, text("ordinal")?, text("redis_key").unwrap_or_default()))
}

async fn length(redis: &mut Client, stream: &str) -> Result<u64, Error> {
    match redis.call(&[b"XLEN", stream.as_bytes()]).await {
        Ok(Reply::Integer(length)) => Ok(length.try_into().unwrap_or(0)),
        Ok(_) => Ok(0),
        Err(redis::Error::Refused { reply, .. }) if reply.starts_with("WRONGTYPE") => {
            Err(Error::Setting(format!(
                "{stream} in Redis is no stream, so dead letters have no place; something else wrote it: RENAME it"
            )))
        }
        Err(error) => Err(error.into()),
    }
}

/// An entry's ID is not above those that are there.
fn is_refused_entry(command: &FailedCommand) -> bool {
    command.name == b"XADD" && command.reply.starts_with("ERR The ID specified in XADD is equal or smaller")
}

fn reason(command: &FailedCommand) -> String {
    if is_refused_entry(command) {
        return format!(
            "{}: something else has written to this stream, with a higher ID than the event's",
            command.reply
        );
    }
    command.reply.clone()
}
