//! The same rows in other shapes: over more tables, with more columns, in larger transactions, under other
//! names. What a row costs should not change with that.
//!
//! A stream of a backlog, as in [`crate::stream`], beside `pg_recvlogical` on the same log. What the start
//! takes is measured by itself, before there is a backlog, and taken off the time; both are printed.

use redis_connect_postgres::throwaway::Redis;
use serde::Serialize;

use crate::connector::{Connector, ONCE, UNTIL_CAUGHT_UP};
use crate::error::Result;
use crate::link::Link;
use crate::measure::{Reading, Servers, measure};
use crate::options::{ShapeGroup, Shapes};
use crate::report::{OURS, RECVLOGICAL};
use crate::tables::Tables;
use crate::{Bench, backlog, reference, servers};

/// One shape.
#[derive(Debug, Clone, Copy)]
struct Shape {
    group: ShapeGroup,
    name: &'static str,
    tables: Tables,
    rows: u32,
    /// Rows of a transaction.
    size: u32,
    /// The configuration of every table.
    output: &'static str,
    link: Link,
    /// `logical_decoding_work_mem`.
    memory: &'static str,
}

/// What was read of one shape.
#[derive(Debug, Serialize)]
pub(crate) struct Shaped {
    pub(crate) group: ShapeGroup,
    pub(crate) name: &'static str,
    pub(crate) columns: u32,
    /// Seconds that a run with nothing to do takes.
    pub(crate) start_seconds: f64,
    pub(crate) readings: Vec<Reading>,
}

const ONE: Tables = Tables { number: 1, columns: 10 };
const HASH: &str = "{ type: hash }";
const ROWS: u32 = 1_000_000;

/// All of them; rows are given for a million.
fn all(largest: u32) -> Vec<Shape> {
    let shape = |group, name| Shape {
        group,
        name,
        tables: ONE,
        rows: ROWS,
        size: 1_000,
        output: HASH,
        link: Link::Tcp,
        memory: "64MB",
    };
    let tables = [(1, "1 table"), (100, "100 tables"), (10_000, "10,000 tables")]
        .map(|(number, name)| Shape { tables: Tables { number, ..ONE }, ..shape(ShapeGroup::Tables, name) });
    let columns = [(2, "2 columns"), (10, "10 columns"), (50, "50 columns"), (200, "200 columns")];
    let columns = columns.map(|(columns, name)| Shape {
        tables: Tables { columns, ..ONE },
        // About as many values, in as many bytes of transactions.
        rows: ROWS / (columns / 10).max(1),
        size: 1_000 / (columns / 10).max(1),
        ..shape(ShapeGroup::Columns, name)
    });
    let sizes = [(1, "of 1 row"), (10, "of 10 rows"), (1_000, "of 1,000 rows"), (100_000, "of 100,000 rows")];
    let sizes = sizes.map(|(size, name)| Shape { size, ..shape(ShapeGroup::Transactions, name) });
    let one = Shape { size: largest, rows: largest, ..shape(ShapeGroup::Transactions, "a single one") };
    let unspilled = Shape { name: "one, in memory", memory: "16GB", ..one };
    let outputs = [
        ("as it is", HASH),
        ("another key", r#"{ type: hash, key: "row:{id}" }"#),
        (
            "renamed columns",
            "{ type: hash, columns: [id, { c2: d2 }, { c3: d3 }, { c4: d4 }, { c5: d5 }, { c6: d6 }, { c7: d7 }, \
             { c8: d8 }, { c9: d9 }, { c10: d10 }] }",
        ),
        ("one left out", "{ type: hash, exclude: [c10] }"),
    ];
    let outputs = outputs.map(|(name, output)| Shape { output, ..shape(ShapeGroup::Mapping, name) });
    let links = Link::ALL.map(|link| Shape { link, ..shape(ShapeGroup::Links, link.name()) });
    let shapes = tables.into_iter().chain(columns).chain(sizes).chain([one, unspilled]);
    shapes.chain(outputs).chain(links).collect()
}

pub(crate) fn shapes(bench: &Bench, options: &Shapes) -> Result<Vec<Shaped>> {
    let wanted = all(options.largest).into_iter().filter(|shape| options.wants(shape.group));
    wanted.map(|shape| measure_shape(bench, shape, options)).collect()
}

struct Prepared {
    slot: String,
    redis: Redis,
    connector: Connector,
    /// Where PostgreSQL is found.
    source: String,
}

fn measure_shape(bench: &Bench, shape: Shape, options: &Shapes) -> Result<Shaped> {
    eprintln!("{}: {}", shape.group.title(), shape.name);
    let rows =
        u32::try_from(u64::from(shape.rows) * u64::from(options.percent) / 100).unwrap_or(u32::MAX).max(1);
    let postgres = servers::empty_postgres()?;
    shape.tables.create(&postgres)?;
    let mut client = servers::connect(&postgres)?;
    servers::execute(&mut client, "CREATE PUBLICATION shapes FOR ALL TABLES")?;
    let sql = format!("ALTER SYSTEM SET logical_decoding_work_mem = '{}'", shape.memory);
    servers::execute(&mut client, &sql)?;
    servers::execute(&mut client, "SELECT pg_reload_conf()")?;
    let mut prepared = Vec::new();
    for run in 1..=options.runs {
        let slot = format!("alone_{run}");
        reference::create_slot(&postgres, &slot)?;
        let redis = servers::redis()?;
        let tables = format!("\"public.t*\": {}", shape.output);
        let (source, target) = shape.link.addresses(&postgres, &redis)?;
        let connector =
            Connector::of(bench, &format!("ours_{run}"), (&source, &target), ("shapes", &tables))?;
        bench.finish(&mut connector.run(ONCE))?;
        prepared.push(Prepared { slot, redis, connector, source });
    }
    let logs = &bench.directory;
    let mut starts = Vec::new();
    for Prepared { redis, connector, .. } in &prepared {
        let servers = Servers { postgres: Some(&postgres), redis: Some(redis) };
        starts.push(
            measure("the start", (1, 1), servers, &mut [connector.run(UNTIL_CAUGHT_UP)], logs)?.seconds,
        );
    }
    eprintln!("  writing the backlog");
    shape.tables.fill(&postgres, rows, shape.size)?;
    let end = backlog::end(&postgres)?;
    servers::settle(&postgres)?;
    let mut readings = Vec::new();
    for (run, Prepared { slot, redis, connector, source }) in (1..).zip(&prepared) {
        let mut order = [RECVLOGICAL, OURS];
        order.rotate_left(run as usize % 2);
        for name in order {
            let servers = Servers { postgres: Some(&postgres), redis: Some(redis) };
            let command = match name {
                OURS => connector.run(UNTIL_CAUGHT_UP),
                _ => reference::recvlogical_of(&postgres, source, (slot, "shapes"), &end),
            };
            readings.push(measure(name, (run, rows), servers, &mut [command], logs)?);
        }
        Tables::count(redis, rows)?;
        if shape.output == HASH {
            shape.tables.sample(redis, rows)?;
        }
        crate::stream::empty(redis)?;
    }
    let start_seconds = crate::report::median(starts.into_iter());
    Ok(Shaped {
        group: shape.group,
        name: shape.name,
        columns: shape.tables.columns,
        start_seconds,
        readings,
    })
}
