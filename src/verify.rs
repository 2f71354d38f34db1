//! Compares every row with its key, and every key with its row.
//!
//! ```text
//!   COPY rows ──> the same sinks as in the stream ──> expected HSETs ──┐
//!                                        Redis ──HGETALL──> found ─────┴─> differences
//!                                        Redis ──SCAN──> keys that no row has
//! ```
//!
//! What is expected is what the sinks would write, so there is one definition of what is right. Rows
//! that change while they are compared are reported as different: run it when the stream is caught up.

use std::collections::{BTreeMap, HashSet};
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::config::Config;
use crate::error::Error;
use crate::pipeline::{Captured, Publishing, capture};
use crate::plan::Strictness;
use crate::postgres::catalog::Types;
use crate::postgres::copy::{CopyEvent, split_row};
use crate::postgres::{Connection, Purpose};
use crate::redis;
use crate::redis::resp::{Commands, Reply};
use crate::redis::scan::Scan;
use crate::row::{Change, Row};
use crate::sink::Workspace;

/// Rows that are compared in one round trip.
const CHUNK: usize = 500;

/// The table as it is now counts, whatever the configuration still names.
const LOOK: (Publishing, Strictness) = (Publishing::Forbidden, Strictness::Streaming);

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) tables: usize,
    pub(crate) rows: u64,
    pub(crate) different: u64,
    /// The first differences, in words.
    pub(crate) examples: Vec<String>,
}

/// How many differences are told in words.
const EXAMPLES: usize = 20;

impl Report {
    fn differs(&mut self, words: impl FnOnce() -> String) {
        self.different += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(words());
        }
    }
}

type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) async fn verify(config: &Config, file: &str) -> Result<Report, Error> {
    let mut redis = redis::Connection::open(&config.target).await?;
    let mut source = Connection::open(&config.source, Purpose::Sql).await?;
    let captured = capture(&mut source, &mut Types::default(), (config, file), LOOK).await?;
    let mut report = Report { tables: captured.len(), ..Report::default() };
    for table in captured.values() {
        verify_table(&mut source, &mut redis, table, file, &mut report).await?;
    }
    Ok(report)
}

async fn verify_table(
    source: &mut Connection,
    redis: &mut redis::Connection,
    captured: &Captured,
    file: &str,
    report: &mut Report,
) -> Result<(), Error> {
    let plan = captured.plan(file)?;
    source
        .start_copy(&format!(
            "COPY (SELECT {} FROM {}) TO STDOUT",
            captured.shape.sql_columns(),
            captured.table.sql_rows()
        ))
        .await?;
    let mut expected = Commands::default();
    let mut workspace = Workspace::default();
    let mut cells = Vec::new();
    let mut seen = HashSet::new();
    loop {
        match source.copy_event()? {
            CopyEvent::Row(frame) => {
                let line = source.copy_row(&frame);
                split_row(line, &mut cells);
                let change = Change::Whole { new: Row::new(line, &cells) };
                for sink in &plan.sinks {
                    sink.write(&change, &mut workspace, &mut expected);
                }
                source.copy_consume(&frame);
                report.rows += 1;
                if expected.count() >= CHUNK {
                    compare(redis, &mut expected, &mut seen, report).await?;
                }
            }
            CopyEvent::Incomplete(wanted) => {
                poll_fn(|cx| source.poll_more(cx, wanted)).await?;
            }
            CopyEvent::Done => break,
        }
    }
    compare(redis, &mut expected, &mut seen, report).await?;
    for template in plan.key_patterns() {
        let name = captured.name();
        let mut scan = Scan::new(template.glob());
        while let Some(keys) = scan.page(redis).await? {
            for key in keys {
                if template.matches(&key) && seen.insert(fingerprint(&key)) {
                    report.differs(|| format!("{}: a key of {name} that no row has", text(&key)));
                }
            }
        }
    }
    Ok(())
}

fn fingerprint(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

fn text(bytes: &[u8]) -> String {
    let shown = bytes.get(..100).unwrap_or(bytes);
    let more = if shown.len() < bytes.len() { "…" } else { "" };
    format!("{}{more}", String::from_utf8_lossy(shown))
}

/// Compares what the sinks would write with what is there; `expected` is empty afterwards.
async fn compare(
    redis: &mut redis::Connection,
    expected: &mut Commands,
    seen: &mut HashSet<u64>,
    report: &mut Report,
) -> Result<(), Error> {
    let mut wanted: BTreeMap<Vec<u8>, Fields> = BTreeMap::new();
    for command in expected.walk() {
        let [name, key, arguments @ ..] = command.as_slice() else { continue };
        seen.insert(fingerprint(key));
        let fields = wanted.entry(key.to_vec()).or_default();
        if *name == b"HSET" {
            fields.extend(arguments.chunks_exact(2).map(|pair| (pair[0].to_vec(), pair[1].to_vec())));
        }
    }
    expected.clear();
    let mut asked = Commands::default();
    for key in wanted.keys() {
        asked.command(&[b"HGETALL", key]);
    }
    let replies = redis.call_all(&asked).await?;
    for ((key, wanted), reply) in wanted.iter().zip(replies) {
        match reply {
            Reply::Array(elements) => compare_fields(key, wanted, &fields_of(&elements), report),
            Reply::Error(error) => report.differs(|| format!("{}: {error}", text(key))),
            _ => report.differs(|| format!("{}: no hash", text(key))),
        }
    }
    Ok(())
}

fn fields_of(elements: &[Reply]) -> Fields {
    let pairs = elements.chunks_exact(2);
    pairs
        .filter_map(|pair| match pair {
            [Reply::Text(name), Reply::Text(value)] => Some((name.clone(), value.clone())),
            _ => None,
        })
        .collect()
}

fn compare_fields(key: &[u8], wanted: &Fields, found: &Fields, report: &mut Report) {
    if wanted == found {
        return;
    }
    report.differs(|| {
        let key = text(key);
        if found.is_empty() {
            return format!("{key}: the key is missing");
        }
        let differing = wanted.iter().find(|(name, value)| found.get(*name) != Some(value));
        match differing {
            Some((name, value)) => match found.get(name) {
                Some(other) => {
                    format!("{key}: {} is `{}`, the row has `{}`", text(name), text(other), text(value))
                }
                None => format!("{key}: {} is missing, the row has `{}`", text(name), text(value)),
            },
            None => {
                let surplus = found.keys().find(|name| !wanted.contains_key(*name));
                format!(
                    "{key}: has a field {} that the row has not",
                    surplus.map(|n| text(n)).unwrap_or_default()
                )
            }
        }
    });
}
