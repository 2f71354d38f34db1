//! Debezium's engine with Redis behind it, on the same data: what the connector succeeds.
//!
//! ```text
//!  compile   bench/peer/Debezium.java against the jars of the engine
//!  stream    both have read an empty table before; the same backlog, each from its own slot
//!  snapshot  the same table, each into an empty Redis
//! ```
//!
//! The engine's start is measured by itself (it reads a table of one row) and is in its time; a backlog should be long
//! against it.

use std::process::{Command, Stdio};

use redis_connect_postgres::throwaway::{Postgres, Redis};
use serde::Serialize;

use crate::check;
use crate::connector::{Connector, ONCE, UNTIL_CAUGHT_UP};
use crate::error::{Doing, Result, failed};
use crate::measure::{Reading, Servers, measure};
use crate::options::Peer;
use crate::report::{DEBEZIUM, Group, OURS};
use crate::structure::{Content, HASH, Origin, STREAM_EVENT, Structure};
use crate::{Bench, backlog, connector, servers, stream};

/// A table of its own with a single row: without any row the engine keeps no position.
const FIRST: &str = "CREATE TABLE first (id int PRIMARY KEY); INSERT INTO first VALUES (1); \
                     CREATE PUBLICATION peer FOR TABLE bench, first";

/// The stream that the engine's entries go into.
const STREAM: &str = "bench.public.bench";

/// What was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Measured {
    pub(crate) groups: Vec<Group>,
    /// From its start to its first row in Redis, and the end of the process.
    pub(crate) starts: Vec<Reading>,
}

pub(crate) fn peer(bench: &Bench, options: &Peer) -> Result<Measured> {
    let debezium = Debezium::compile(bench, options)?;
    let mut measured = Measured::default();
    measured.stream(bench, &debezium, (HASH, "hash"), options)?;
    measured.snapshot(bench, &debezium, options)?;
    measured.stream(bench, &debezium, (STREAM_EVENT, "stream"), options)?;
    Ok(measured)
}

/// The engine's program.
struct Debezium<'a> {
    bench: &'a Bench,
    class_path: String,
    java_options: &'a str,
}

/// What of a database is captured by one engine, and where to.
struct Capture<'a> {
    name: String,
    writes: &'static str,
    postgres: &'a Postgres,
    redis: &'a Redis,
}

impl<'a> Debezium<'a> {
    fn compile(bench: &'a Bench, options: &'a Peer) -> Result<Self> {
        let source = connector::repository().join("bench/peer/Debezium.java");
        let classes = bench.directory.path();
        let jars = options.jars.join("*");
        let mut command = Command::new("javac");
        command.arg("-cp").arg(&jars).arg("-d").arg(classes).arg(&source);
        let output = command.output().doing(|| "run javac, of a JDK 17 or later".to_owned())?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(failed(format!("{} can't be compiled: {text}", source.display())));
        }
        let class_path = format!("{}:{}", classes.display(), jars.display());
        Ok(Self { bench, class_path, java_options: &options.java_options })
    }

    /// Ends when so many rows are in Redis, having closed the engine or not.
    fn run(&self, capture: &Capture<'_>, table: &str, (rows, end): (u32, &str)) -> Command {
        let Capture { name, writes, postgres, redis } = capture;
        let offsets = self.bench.directory.path().join(format!("{name}.offsets"));
        let mut command = Command::new("java");
        command.args(self.java_options.split_whitespace()).arg("-cp").arg(&self.class_path).arg("Debezium");
        command.args([
            format!("rows={rows}"),
            format!("end={end}"),
            format!("as={writes}"),
            format!("redis={}", redis.port()),
            "database.hostname=127.0.0.1".to_owned(),
            format!("database.port={}", postgres.port()),
            "database.user=postgres".to_owned(),
            "database.dbname=postgres".to_owned(),
            format!("offset.storage.file.filename={}", offsets.display()),
            format!("slot.name={name}"),
            "publication.name=peer".to_owned(),
            format!("table.include.list=public.{table}"),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

const CLOSE: &str = "close";
const AT_ONCE: &str = "at-once";

impl Measured {
    fn stream(
        &mut self,
        bench: &Bench,
        debezium: &Debezium<'_>,
        (structure, writes): (&'static Structure, &'static str),
        options: &Peer,
    ) -> Result<()> {
        let (rows, runs) = (options.rows, options.runs);
        let title = format!("stream of a backlog, {rows} rows in transactions of 1,000, {}", structure.name);
        eprintln!("{title}");
        let postgres = servers::postgres()?;
        servers::execute(&mut servers::connect(&postgres)?, FIRST)?;
        let mut prepared = Vec::new();
        for run in 1..=runs {
            let (redis, own_redis) = (servers::redis()?, servers::redis()?);
            let capture =
                Capture { name: format!("{writes}_{run}"), writes, postgres: &postgres, redis: &redis };
            let servers = Servers { postgres: Some(&postgres), redis: Some(&redis) };
            let start = debezium.run(&capture, "(bench|first)", (1, CLOSE));
            self.starts.push(measure("Debezium, start", (run, 1), servers, &mut [start], &bench.directory)?);
            stream::empty(&redis)?;
            let connector =
                Connector::new(bench, &format!("ours_{run}"), (&postgres, &own_redis), structure)?;
            bench.finish(&mut connector.run(ONCE))?;
            prepared.push((redis, own_redis, connector));
        }
        eprintln!("  writing the backlog");
        backlog::write(&postgres, rows, 1_000)?;
        // Behind the end: nothing that a reader would have to wait for.
        backlog::end(&postgres)?;
        servers::settle(&postgres)?;
        let content = Content { structure, origin: Origin::Stream, rows };
        let mut readings = Vec::new();
        for (run, (redis, own_redis, connector)) in (1..).zip(&prepared) {
            for name in order(run) {
                let redis = if name == OURS { own_redis } else { redis };
                let servers = Servers { postgres: Some(&postgres), redis: Some(redis) };
                let capture = Capture { name: format!("{writes}_{run}"), writes, postgres: &postgres, redis };
                let command = match name {
                    OURS => connector.run(UNTIL_CAUGHT_UP),
                    _ => debezium.run(&capture, "(bench|first)", (rows, AT_ONCE)),
                };
                readings.push(measure(name, (run, rows), servers, &mut [command], &bench.directory)?);
                match name {
                    OURS => check::holds(redis, content, Some(connector))?,
                    _ => check::has_as_many(redis, (structure != HASH).then_some(STREAM), rows)?,
                }
                stream::empty(redis)?;
            }
        }
        self.groups.push(Group { title, structure: structure.name, references: vec![DEBEZIUM], readings });
        Ok(())
    }

    fn snapshot(&mut self, bench: &Bench, debezium: &Debezium<'_>, options: &Peer) -> Result<()> {
        let rows = options.rows;
        let title = format!("snapshot of a table of {rows} rows, hash");
        eprintln!("{title}");
        let postgres = servers::postgres()?;
        servers::execute(&mut servers::connect(&postgres)?, FIRST)?;
        eprintln!("  filling the table");
        backlog::write(&postgres, rows, 10_000)?;
        servers::execute(&mut servers::connect(&postgres)?, "VACUUM ANALYZE bench")?;
        servers::settle(&postgres)?;
        let content = Content { structure: HASH, origin: Origin::Snapshot, rows };
        let mut readings = Vec::new();
        for run in 1..=options.runs {
            for name in order(run) {
                let redis = servers::redis()?;
                let servers = Servers { postgres: Some(&postgres), redis: Some(&redis) };
                let own = format!("first_{run}");
                let connector = Connector::new(bench, &own, (&postgres, &redis), HASH)?;
                let capture = Capture { name: own, writes: "hash", postgres: &postgres, redis: &redis };
                let command = match name {
                    OURS => connector.run(ONCE),
                    _ => debezium.run(&capture, "bench", (rows, AT_ONCE)),
                };
                readings.push(measure(name, (run, rows), servers, &mut [command], &bench.directory)?);
                match name {
                    OURS => check::holds(&redis, content, Some(&connector))?,
                    _ => check::has_as_many(&redis, None, rows)?,
                }
            }
        }
        self.groups.push(Group { title, structure: HASH.name, references: vec![DEBEZIUM], readings });
        Ok(())
    }
}

/// By turns.
fn order(run: u32) -> [&'static str; 2] {
    if run.is_multiple_of(2) { [OURS, DEBEZIUM] } else { [DEBEZIUM, OURS] }
}
