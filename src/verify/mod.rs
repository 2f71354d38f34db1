//! Compares every row with its key, and every key with its row, while both change; and mends them.
//!
//! ```text
//!   COPY rows ──> the same sinks as in the stream ──> expected ──┐
//!                                 Redis ── pipelined reads ──────┴─> suspects ──┐ looked at again when
//!   COPY places ──> fingerprints ──┐                                            ├ the stream has passed
//!                  Redis ── SCAN ──┴─────────────────────────────> candidates ──┘
//!                                                                   │
//!                                                      differences ─┴─> report, repair
//! ```
//!
//! What is expected is what the sinks would write ([`expected`]), so there is one definition of what is
//! right. What differs at first sight is only suspected ([`suspects`], [`surplus`]): a difference is
//! what still differs when the stream has passed the moment of reading ([`position`]). Nothing is kept
//! for each row, and what is kept of differences is bounded, so memory does not grow with the tables.
//!
//! Streams are not compared: they tell what happened, not what is.

mod compare;
mod document;
mod expected;
mod position;
mod repair;
mod report;
mod rows;
mod surplus;
mod suspects;

use crate::config::Config;
use crate::error::Error;
use crate::pipeline::checkpoint::{self, Keys};
use crate::pipeline::places::Places;
use crate::pipeline::{Captured, Publishing, capture};
use crate::plan::key::KeyPattern;
use crate::plan::{Plan, Strictness};
use crate::postgres::catalog::Types;
use crate::postgres::{Connection, Purpose};
use crate::redis;
use crate::view::Comparing;
use compare::{answers, questions};
use position::Stream;
pub(crate) use report::Report;
use report::TableReport;
use rows::{Chunk, Reader};
use surplus::Candidates;
use suspects::Suspects;

/// The table as it is now counts, whatever the configuration still names.
const LOOK: (Publishing, Strictness) = (Publishing::Forbidden, Strictness::Streaming);

/// Differences of one table that are remembered, for rows and for what has none. Those beyond are
/// counted as they are found.
const MOST_DIFFERENCES: usize = 10_000;

/// The connections, and how far the stream is.
#[derive(Debug)]
struct Servers {
    /// Reads whole tables.
    source: Connection,
    /// Reads single rows meanwhile.
    control: Connection,
    redis: redis::Client,
    stream: Stream,
    /// A table that somebody writes to in a transaction that is still open.
    written: Option<u32>,
}

/// A table that is compared.
#[derive(Debug)]
struct Table<'a> {
    captured: &'a Captured,
    /// Without streams.
    plan: Plan,
    reader: Reader,
    /// What the keys of all outputs look like.
    patterns: &'a [KeyPattern],
    report: TableReport,
}

impl Table<'_> {
    fn has_key(&self, pattern: &KeyPattern, key: &[u8]) -> bool {
        surplus::is_key_of(pattern, self.patterns, key)
    }
}

/// Whether differences are only told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Look,
    Repair,
}

pub(crate) async fn verify(
    (config, file): (&Config, &str),
    mode: Mode,
    view: &mut Comparing,
) -> Result<Report, Error> {
    let redis = redis::Client::open(&config.target).await?;
    let mut servers = Servers {
        source: Connection::open(&config.source, Purpose::Sql).await?,
        control: Connection::open(&config.source, Purpose::Sql).await?,
        stream: Stream::new(config, redis.spread()),
        redis,
        written: None,
    };
    let captured = capture(&mut servers.source, &mut Types::default(), (config, file), LOOK).await?;
    let mut report = Report::new();
    note_unread(&mut servers.redis, config, captured.values(), &mut report).await?;
    let mut plans = Vec::new();
    for captured in captured.values() {
        plans.push((captured, captured.plan(file)?));
    }
    let patterns: Vec<KeyPattern> =
        plans.iter().flat_map(|(_, plan)| &plan.sinks).map(crate::sink::Sink::pattern).collect();
    for (captured, mut plan) in plans {
        plan.sinks.retain(|sink| !sink.is_stream());
        let mut table = Table {
            captured,
            plan,
            reader: Reader::new(captured),
            patterns: &patterns,
            report: TableReport::new(captured.name()),
        };
        view.table(&table.report.table, captured.table.estimated_rows);
        if !table.plan.sinks.is_empty() {
            Box::pin(compare_table(&mut table, &mut servers, mode, view)).await?;
        }
        tracing::debug!("{}", table.report);
        report.add(table.report);
    }
    if let Some(reason) = servers.stream.standing.take() {
        report.note(reason);
    }
    Ok(report)
}

/// A table that is still being read into Redis can't be equal.
async fn note_unread(
    redis: &mut redis::Client,
    config: &Config,
    captured: impl Iterator<Item = &Captured>,
    report: &mut Report,
) -> Result<(), Error> {
    let Some(checkpoint) = checkpoint::read(redis, &Keys::new(&config.name, redis.spread())).await? else {
        return Ok(());
    };
    for name in captured.map(Captured::name) {
        if checkpoint.tables.get(&name).is_none_or(|state| !state.complete) {
            report.note(format!("{name} has not been read into Redis as a whole yet"));
        }
    }
    Ok(())
}

async fn compare_table(
    table: &mut Table<'_>,
    servers: &mut Servers,
    mode: Mode,
    view: &mut Comparing,
) -> Result<(), Error> {
    let mut suspects = Suspects::default();
    let mut places = Places::default();
    compare_rows(table, servers, (&mut suspects, &mut places), view).await?;
    suspects.settle(table, servers).await?;
    view.says("looking for keys without rows");
    let mut candidates = Candidates::default();
    Box::pin(candidates.find(table, servers, places)).await?;
    if mode == Mode::Repair {
        view.says("mending");
    }
    for confirmed in suspects.confirmed {
        let mut difference = confirmed.difference(&table.report.table);
        if mode == Mode::Repair {
            difference.repair = Some(repair::row(table, servers, (&confirmed.id, confirmed.sink)).await?);
        }
        table.report.add(difference);
    }
    let mut repaired = match mode {
        Mode::Repair => repair::surplus(table, servers, &candidates.confirmed).await?,
        Mode::Look => Default::default(),
    };
    for surplus in &candidates.confirmed {
        let repair = repaired.remove(&surplus.fingerprint());
        let difference = surplus.difference(&table.report.table);
        table.report.add(report::Difference { repair, ..difference });
    }
    Ok(())
}

/// Compares all rows. While Redis answers for some, the next ones are read.
async fn compare_rows(
    table: &mut Table<'_>,
    servers: &mut Servers,
    (suspects, places): (&mut Suspects, &mut Places),
    view: &mut Comparing,
) -> Result<(), Error> {
    table.reader.all(&mut servers.source).await?;
    let (mut chunk, mut next) = (Chunk::default(), Chunk::default());
    let mut more = table.reader.fill(&mut servers.source, &table.plan, &mut chunk, Some(places)).await?;
    loop {
        let wanted = chunk.wanted();
        let asked = questions(&wanted);
        let (reader, plan, source) = (&table.reader, &table.plan, &mut servers.source);
        let read =
            async { if more { reader.fill(source, plan, &mut next, Some(places)).await } else { Ok(false) } };
        let (replies, read) = tokio::join!(servers.redis.call_all(&asked), read);
        let found = answers(&wanted, &replies?)?;
        table.report.rows += chunk.rows.len() as u64;
        view.rows(table.report.rows);
        suspects.add(table, &chunk.rows, found);
        if suspects.is_full() {
            view.says("looking again at rows that differ");
            suspects.settle(table, servers).await?;
            view.says("");
        }
        let last = !more;
        more = read?;
        if last {
            return Ok(());
        }
        std::mem::swap(&mut chunk, &mut next);
    }
}
