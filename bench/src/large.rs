//! Rows that are large: of many columns, and of large values. From the snapshot, then from the stream.

use redis_connect_postgres::throwaway::{Postgres, Redis};

use crate::check::ask;
use crate::connector::{Connector, ONCE, UNTIL_CAUGHT_UP};
use crate::error::{Result, failed};
use crate::measure::{Servers, measure};
use crate::memory::Peak;
use crate::tables::Tables;
use crate::{Bench, servers};

/// As many as PostgreSQL's pages take of these types.
const WIDE: Tables = Tables { number: 1, columns: 1_000 };
const WIDE_ROWS: u32 = 20_000;
const VALUES: u32 = 8;
/// Bytes.
const VALUE: u32 = 100_000_000;

pub(crate) fn columns(bench: &Bench) -> Result<[Peak; 2]> {
    eprintln!("rows of {} columns", WIDE.columns);
    let postgres = servers::empty_postgres()?;
    WIDE.create(&postgres)?;
    WIDE.fill(&postgres, WIDE_ROWS, 1_000)?;
    let (redis, connector) = prepare(bench, &postgres)?;
    let first = run(bench, ("1,000 columns, snapshot", WIDE_ROWS), (&postgres, &redis), connector.run(ONCE))?;
    WIDE.sample(&redis, WIDE_ROWS)?;
    // The same once more, as changes.
    servers::execute(&mut servers::connect(&postgres)?, "DELETE FROM t1")?;
    WIDE.fill(&postgres, WIDE_ROWS, 1_000)?;
    let until = connector.run(UNTIL_CAUGHT_UP);
    let second = run(bench, ("1,000 columns, stream", 2 * WIDE_ROWS), (&postgres, &redis), until)?;
    WIDE.sample(&redis, WIDE_ROWS)?;
    Ok([first, second])
}

pub(crate) fn values(bench: &Bench) -> Result<[Peak; 2]> {
    eprintln!("values of {VALUE} bytes");
    let postgres = servers::empty_postgres()?;
    let mut client = servers::connect(&postgres)?;
    servers::execute(&mut client, "CREATE TABLE t1 (id int PRIMARY KEY, v text)")?;
    let insert = |from: u32, to: u32| {
        format!(
            "INSERT INTO t1 SELECT i, repeat(lpad(i::text, 100, '.'), {}) FROM generate_series({from}, {to}) i",
            VALUE / 100
        )
    };
    servers::execute(&mut client, &insert(1, VALUES))?;
    let (redis, connector) = prepare(bench, &postgres)?;
    let first = run(bench, ("100 MB, snapshot", VALUES), (&postgres, &redis), connector.run(ONCE))?;
    servers::execute(&mut client, &insert(VALUES + 1, 2 * VALUES))?;
    let until = connector.run(UNTIL_CAUGHT_UP);
    let second = run(bench, ("100 MB, stream", VALUES), (&postgres, &redis), until)?;
    let mut connection = servers::redis_connection(&redis)?;
    for id in 1..=2 * VALUES {
        let length: u32 = ask(&mut connection, redis::cmd("HSTRLEN").arg(format!("t1:{id}")).arg("v"))?;
        if length != VALUE {
            return Err(failed(format!("row {id} has a value of {length} bytes in Redis")));
        }
    }
    Ok([first, second])
}

fn prepare(bench: &Bench, postgres: &Postgres) -> Result<(Redis, Connector)> {
    servers::execute(&mut servers::connect(postgres)?, "CREATE PUBLICATION large FOR TABLE t1")?;
    servers::settle(postgres)?;
    let redis = servers::redis()?;
    let rules = ("large", "public.t1: { type: hash }");
    let connector = Connector::of(bench, "large_rows", (&postgres.url(), &redis.url()), rules)?;
    Ok((redis, connector))
}

fn run(
    bench: &Bench,
    (name, rows): (&'static str, u32),
    (postgres, redis): (&Postgres, &Redis),
    command: std::process::Command,
) -> Result<Peak> {
    let servers = Servers { postgres: Some(postgres), redis: Some(redis) };
    Ok(measure(name, (1, rows), servers, &mut [command], &bench.directory)?.into())
}
