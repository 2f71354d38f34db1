//! From the start of the process to the first row, and what it uses when nothing happens.
//!
//! The tables have been read, and one row was committed while nobody looked: the clock runs from the start
//! of the process until that row is in Redis.

use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::check::ask;
use crate::connector::{Connector, ONCE};
use crate::error::{Result, failed};
use crate::options::Start;
use crate::process::Process;
use crate::tables::Tables;
use crate::{Bench, cpu, servers};

/// What was read with so many tables.
#[derive(Debug, Serialize)]
pub(crate) struct Started {
    pub(crate) tables: u32,
    /// Of each run.
    pub(crate) seconds: Vec<f64>,
    pub(crate) peak_bytes: u64,
    pub(crate) idle_bytes: u64,
    /// CPU seconds a second of an idle process.
    pub(crate) idle_cpu: f64,
}

/// For how long an idle process is watched.
const IDLE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn start(bench: &Bench, options: &Start) -> Result<Vec<Started>> {
    options.tables.iter().map(|&tables| start_with(bench, tables, options.runs)).collect()
}

fn start_with(bench: &Bench, number: u32, runs: u32) -> Result<Started> {
    eprintln!("the start with {number} tables");
    let postgres = servers::empty_postgres()?;
    let redis = servers::redis()?;
    Tables { number, columns: 10 }.create(&postgres)?;
    let mut client = servers::connect(&postgres)?;
    servers::execute(&mut client, "VACUUM ANALYZE")?;
    servers::execute(&mut client, "CREATE PUBLICATION start FOR ALL TABLES")?;
    let rules = ("start", "\"public.t*\": { type: hash }");
    let connector = Connector::of(bench, "start", (&postgres.url(), &redis.url()), rules)?;
    bench.finish(&mut connector.run(ONCE))?;
    let mut started =
        Started { tables: number, seconds: Vec::new(), peak_bytes: 0, idle_bytes: 0, idle_cpu: 0.0 };
    let mut connection = servers::redis_connection(&redis)?;
    for run in 1..=runs {
        servers::execute(&mut client, &format!("INSERT INTO t1 (id) VALUES ({run})"))?;
        let mut process = Process::start(&mut connector.run(None), &bench.directory)?;
        while !ask::<bool>(&mut connection, redis::cmd("EXISTS").arg(format!("t1:{run}")))? {
            process.check_running()?;
            if process.began().elapsed() > PATIENCE {
                return Err(failed(format!("no row in {PATIENCE:?}")));
            }
            thread::sleep(Duration::from_millis(1));
        }
        started.seconds.push(process.began().elapsed().as_secs_f64());
        if run == runs {
            let (before, since) = (cpu::own(process.id()), Instant::now());
            thread::sleep(IDLE);
            let used = cpu::own(process.id()).saturating_sub(before);
            started.idle_cpu = used.as_secs_f64() / since.elapsed().as_secs_f64();
            started.idle_bytes = cpu::resident(process.id()).unwrap_or(0);
        }
        started.peak_bytes = started.peak_bytes.max(process.stop()?.peak);
    }
    Ok(started)
}
