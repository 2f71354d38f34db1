//! From COMMIT to visible in Redis, under a steady load of single-row transactions.
//!
//! ```text
//!  writer 1 … 4 ── INSERT at its scheduled time, autocommit ──> PostgreSQL ──> connector ──> Redis
//!     └── time at which COMMIT was answered                                                   │
//!                                       reader ── time at which the row was visible <─────────┘
//! ```
//!
//! The load is an open loop: row `n` is due `n / rate` after the start, whatever became of the rows
//! before it. A latency is the time from the client's knowing of its COMMIT to the reader's knowing
//! of the key; zero if the reader was first.
//!
//! The reader is a subscriber to Redis's keyevent notifications for HSET. They are delivered when
//! EXEC has made the rows visible, in the same turn of Redis's event loop as the reply to EXEC.
//! They cost Redis one PUBLISH to one subscriber a row, about a microsecond, so half a per cent of
//! its core at 5,000 rows a second, and the reader sleeps in between. Polling for keys costs a core
//! for the reader and most of one for Redis, of which a small machine has none to spare; MONITOR
//! costs more and shows commands before they have been carried out.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use redis_connect_postgres::throwaway::{Postgres, Redis};
use serde::Serialize;

use crate::connector::Connector;
use crate::error::{Doing, Result, failed};
use crate::process::Process;
use crate::structure::{Content, HASH, Output};
use crate::{Bench, check, cpu, rows, servers};

const WRITERS: u32 = 4;
/// Left out of the result: plans are made, caches are cold.
const WARM_UP: Duration = Duration::from_secs(1);
/// For how long nothing may become visible.
const PATIENCE: Duration = Duration::from_secs(15);

/// One measurement at one pace; times in µs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Latency {
    /// Transactions a second that were wanted.
    pub(crate) rate: u32,
    pub(crate) run: u32,
    /// And that the writers managed.
    pub(crate) achieved: f64,
    pub(crate) samples: usize,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// From the scheduled time to the answer to COMMIT: how steady the load itself was.
    pub(crate) commit_p99: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
}

/// Times of one row, in ns since the start of the load; zero while it has none.
#[derive(Debug, Default)]
struct Row {
    committed: AtomicU64,
    seen: AtomicU64,
}

pub(crate) fn latency(bench: &Bench, rate: u32, seconds: u32, run: u32) -> Result<Latency> {
    eprintln!("latency at {rate} transactions a second");
    let postgres = servers::postgres()?;
    let redis = servers::redis()?;
    let connector = Connector::new(bench, "latency", (&postgres, &redis), HASH)?;
    bench.finish(&mut connector.run(crate::connector::ONCE))?;
    let mut process = Process::start(&mut connector.run(None), &bench.directory)?;
    let count = rate * (seconds + 1);
    wait_for_stream(&postgres, &redis, &mut process, count + 1)?;

    let times: Vec<Row> = (0..count).map(|_| Row::default()).collect();
    let subscriber = servers::redis_connection(&redis)?;
    let cpu = cpu::own(process.id());
    let start = Instant::now() + Duration::from_millis(200);
    let next = AtomicU32::new(0);
    thread::scope(|scope| {
        let (subscribed, ready) = std::sync::mpsc::channel();
        let reader = scope.spawn(|| {
            let mut subscriber = subscriber;
            watch(&mut subscriber, &times, start, subscribed)
        });
        ready.recv().doing(|| "subscribe to keyevent notifications".to_owned())?;
        let writers: Vec<_> =
            (0..WRITERS).map(|_| scope.spawn(|| write(&postgres, &times, start, rate, &next))).collect();
        let mut ended = writers.into_iter().chain([reader]).map(|thread| thread.join());
        ended.try_for_each(|result| result.unwrap_or_else(|_| Err(failed("a thread failed"))))
    })?;
    let cpu = cpu::own(process.id()).saturating_sub(cpu);
    let usage = process.stop()?;
    check::holds(&redis, Content::hashes(count + 1), Some(&connector))?;
    summarise(&times, (rate, run), cpu, usage.peak)
}

/// Waits until the connector streams: until one row has arrived.
fn wait_for_stream(postgres: &Postgres, redis: &Redis, process: &mut Process, id: u32) -> Result<()> {
    let mut client = servers::connect(postgres)?;
    servers::execute(
        &mut client,
        &format!("INSERT INTO bench SELECT {}", rows::select_list(&id.to_string())),
    )?;
    let mut connection = servers::redis_connection(redis)?;
    let began = Instant::now();
    loop {
        process.check_running()?;
        let mut command = redis::cmd("EXISTS");
        let exists: bool = command
            .arg(Output::Hash.key(id))
            .query(&mut connection)
            .doing(|| "look for the first row".to_owned())?;
        if exists {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(failed(format!("no row became visible in {PATIENCE:?}")));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// One of the writers; each takes the next row that is due.
fn write(postgres: &Postgres, times: &[Row], start: Instant, rate: u32, next: &AtomicU32) -> Result<()> {
    let mut client = servers::connect(postgres)?;
    let sql = format!("INSERT INTO bench SELECT {}", rows::select_list("$1::int"));
    let insert = client.prepare(&sql).doing(|| "prepare the INSERT".to_owned())?;
    loop {
        let index = next.fetch_add(1, Relaxed);
        let Some(row) = times.get(index as usize) else { return Ok(()) };
        if let Some(wait) = (start + due(index, rate)).checked_duration_since(Instant::now()) {
            thread::sleep(wait);
        }
        let id = i32::try_from(index + 1).doing(|| "number a row".to_owned())?;
        client.execute(&insert, &[&id]).doing(|| format!("insert row {id}"))?;
        row.committed.store(since(start), Relaxed);
    }
}

/// The reader. Ends when it has seen every row.
fn watch(
    connection: &mut redis::Connection,
    times: &[Row],
    start: Instant,
    subscribed: std::sync::mpsc::Sender<()>,
) -> Result<()> {
    let doing = || "read keyevent notifications".to_owned();
    let mut configure = redis::cmd("CONFIG");
    configure.arg(&["SET", "notify-keyspace-events", "Eh"]).exec(connection).doing(doing)?;
    let mut events = connection.as_pubsub();
    events.subscribe("__keyevent@0__:hset").doing(doing)?;
    events.set_read_timeout(Some(PATIENCE)).doing(doing)?;
    subscribed.send(()).doing(doing)?;
    let mut missing = times.len();
    while missing > 0 {
        let message = events
            .get_message()
            .doing(|| format!("see {missing} of {} rows: nothing for {PATIENCE:?}", times.len()))?;
        let id =
            message.get_payload_bytes().strip_prefix(b"bench:").and_then(|id| std::str::from_utf8(id).ok());
        let index = id.and_then(|id| id.parse::<usize>().ok()).and_then(|id| id.checked_sub(1));
        if let Some(row) = index.and_then(|index| times.get(index))
            && row.seen.swap(since(start), Relaxed) == 0
        {
            missing -= 1;
        }
    }
    Ok(())
}

fn summarise(times: &[Row], (rate, run): (u32, u32), cpu: Duration, peak: u64) -> Result<Latency> {
    let counted = WARM_UP.as_secs() as usize * rate as usize;
    let mut visible = Vec::new();
    let mut commit = Vec::new();
    let mut last = 1;
    for (index, row) in (0..).zip(times).skip(counted) {
        let (committed, seen) = (row.committed.load(Relaxed), row.seen.load(Relaxed));
        visible.push(seen.saturating_sub(committed));
        commit.push(committed.saturating_sub(due(index, rate).as_nanos() as u64));
        last = committed.max(last);
    }
    visible.sort_unstable();
    commit.sort_unstable();
    if visible.is_empty() {
        return Err(failed("the load is over before it was warm"));
    }
    let at = |sorted: &[u64], part: f64| {
        let index = (sorted.len() as f64 * part).ceil() as usize;
        sorted.get(index.saturating_sub(1).min(sorted.len() - 1)).copied().unwrap_or(0) as f64 / 1e3
    };
    Ok(Latency {
        rate,
        run,
        achieved: times.len() as f64 / (last as f64 / 1e9),
        samples: visible.len(),
        p50: at(&visible, 0.5),
        p99: at(&visible, 0.99),
        p999: at(&visible, 0.999),
        max: at(&visible, 1.0),
        commit_p99: at(&commit, 0.99),
        cpu_seconds: cpu.as_secs_f64(),
        peak_bytes: peak,
    })
}

fn due(index: u32, rate: u32) -> Duration {
    Duration::from_secs_f64(f64::from(index) / f64::from(rate))
}

/// ns; never zero, which means that there is no time yet.
fn since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
}
