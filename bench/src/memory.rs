//! The connector's peak memory where it is most in danger.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use redis_connect_postgres::throwaway::{Directory, Postgres, Redis};
use serde::Serialize;

use crate::connector::{Connector, ONCE, UNTIL_CAUGHT_UP};
use crate::error::{Doing, Result, failed};
use crate::measure::{Reading, Servers, measure};
use crate::options::{Danger, Memory};
use crate::process::Process;
use crate::structure::{Content, HASH, Output};
use crate::{Bench, backlog, check, large, rows, servers};

/// What was read of one danger.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Peak {
    pub(crate) name: String,
    pub(crate) rows: u32,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
    /// From Redis's return, or from the end of the load if that was later, until Redis has every row.
    pub(crate) catch_up_seconds: Option<f64>,
}

impl From<Reading> for Peak {
    fn from(reading: Reading) -> Self {
        Self {
            name: reading.name.to_owned(),
            rows: reading.rows,
            seconds: reading.seconds,
            cpu_seconds: reading.cpu_seconds,
            peak_bytes: reading.peak_bytes,
            catch_up_seconds: None,
        }
    }
}

pub(crate) fn memory(bench: &Bench, options: &Memory) -> Result<Vec<Peak>> {
    let mut peaks = Vec::new();
    if options.wants(Danger::Transaction) {
        peaks.push(transaction(bench, options.rows)?);
    }
    if options.wants(Danger::Table) {
        peaks.push(table(bench, options.rows)?);
    }
    if options.wants(Danger::Columns) {
        peaks.extend(large::columns(bench)?);
    }
    if options.wants(Danger::Values) {
        peaks.extend(large::values(bench)?);
    }
    for danger in [Danger::Frozen, Danger::Down] {
        if options.wants(danger) {
            peaks.push(outage(bench, danger, options)?);
        }
    }
    Ok(peaks)
}

fn transaction(bench: &Bench, count: u32) -> Result<Peak> {
    eprintln!("one transaction of {count} rows");
    let (postgres, redis) = (servers::postgres()?, servers::redis()?);
    let connector = Connector::new(bench, "transaction", (&postgres, &redis), HASH)?;
    bench.finish(&mut connector.run(ONCE))?;
    backlog::write(&postgres, count, count)?;
    servers::settle(&postgres)?;
    let command = connector.run(UNTIL_CAUGHT_UP);
    one("one transaction", count, (&postgres, &redis, &connector), command, &bench.directory)
}

fn table(bench: &Bench, count: u32) -> Result<Peak> {
    eprintln!("a table of {count} rows");
    let (postgres, redis) = (servers::postgres()?, servers::redis()?);
    let connector = Connector::new(bench, "large", (&postgres, &redis), HASH)?;
    backlog::write(&postgres, count, 10_000)?;
    servers::execute(&mut servers::connect(&postgres)?, "VACUUM ANALYZE bench")?;
    servers::settle(&postgres)?;
    one("table", count, (&postgres, &redis, &connector), connector.run(ONCE), &bench.directory)
}

fn one(
    name: &'static str,
    count: u32,
    (postgres, redis, connector): (&Postgres, &Redis, &Connector),
    command: std::process::Command,
    logs: &Directory,
) -> Result<Peak> {
    let servers = Servers { postgres: Some(postgres), redis: Some(redis) };
    let reading = measure(name, (1, count), servers, &mut [command], logs)?;
    check::holds(redis, Content::hashes(count), Some(connector))?;
    Ok(reading.into())
}

/// Rows are written at a steady pace before, during and after Redis is away.
fn outage(bench: &Bench, danger: Danger, options: &Memory) -> Result<Peak> {
    let name = match danger {
        Danger::Frozen => "Redis frozen",
        _ => "Redis down",
    };
    eprintln!("{name} for {} s under load", options.outage_seconds);
    let postgres = servers::postgres()?;
    // One that was down comes back with its data; losing them is another story than memory.
    let mut redis = if danger == Danger::Down { servers::durable_redis()? } else { servers::redis()? };
    let connector = Connector::new(bench, "outage", (&postgres, &redis), HASH)?;
    bench.finish(&mut connector.run(ONCE))?;
    let mut process = Process::start(&mut connector.run(None), &bench.directory)?;
    let over = AtomicBool::new(false);
    let count = thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&postgres, options.outage_rate, &over));
        let away = go_away_and_come_back(&mut redis, danger, options.outage());
        over.store(true, Relaxed);
        let count = writer.join().unwrap_or_else(|_| Err(failed("the writer failed")));
        away.and(count)
    })?;
    let returned = Instant::now();
    until_caught_up(&redis, &mut process, count, options)?;
    let catch_up = returned.elapsed();
    let seconds = process.began().elapsed().as_secs_f64();
    let peak = process.peak();
    let usage = process.stop()?;
    check::holds(&redis, Content::hashes(count), Some(&connector))?;
    Ok(Peak {
        name: name.to_owned(),
        rows: count,
        seconds,
        cpu_seconds: usage.cpu.as_secs_f64(),
        peak_bytes: usage.peak.max(peak),
        catch_up_seconds: Some(catch_up.as_secs_f64()),
    })
}

fn go_away_and_come_back(redis: &mut Redis, danger: Danger, outage: Duration) -> Result<()> {
    let around = Duration::from_secs(3);
    thread::sleep(around);
    match danger {
        Danger::Frozen => {
            redis.pause();
            thread::sleep(outage);
            redis.resume();
        }
        _ => {
            redis.shutdown()?;
            thread::sleep(outage);
            redis.start_again()?;
        }
    }
    thread::sleep(around);
    Ok(())
}

/// Inserts rows from 1 on until it is told that it is over; returns the number of the last one.
fn write_until(postgres: &Postgres, rate: u32, over: &AtomicBool) -> Result<u32> {
    const SIZE: u32 = 100;
    let mut client = servers::connect(postgres)?;
    let sql =
        format!("INSERT INTO bench SELECT {} FROM generate_series($1::int, $2) AS i", rows::select_list("i"));
    let insert = client.prepare(&sql).doing(|| "prepare the INSERT".to_owned())?;
    let start = Instant::now();
    let mut last = 0;
    while !over.load(Relaxed) {
        let due = start + Duration::from_secs_f64(f64::from(last) / f64::from(rate));
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            thread::sleep(wait);
        }
        let number = |id: u32| i32::try_from(id).doing(|| "number a row".to_owned());
        client
            .execute(&insert, &[&number(last + 1)?, &number(last + SIZE)?])
            .doing(|| "insert rows".to_owned())?;
        last += SIZE;
    }
    Ok(last)
}

fn until_caught_up(redis: &Redis, process: &mut Process, count: u32, options: &Memory) -> Result<()> {
    let limit = Duration::from_secs(120) + options.outage() * 2;
    let began = Instant::now();
    let mut connection = servers::redis_connection(redis)?;
    loop {
        process.check_running()?;
        let mut command = redis::cmd("EXISTS");
        let exists: bool = command
            .arg(Output::Hash.key(count))
            .query(&mut connection)
            .doing(|| "look for the last row".to_owned())?;
        if exists {
            return Ok(());
        }
        if began.elapsed() > limit {
            return Err(failed(format!("the last row was not in Redis {limit:?} after its return")));
        }
        thread::sleep(Duration::from_millis(50));
    }
}
