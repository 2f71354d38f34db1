//! Torture: random changes against random faults, many times over.
//!
//! ```text
//!   Writers ──> PostgreSQL ──[proxy]──> program ──[proxy]──> Redis
//!                │  kill -9              kill -9, SIGSTOP,     kill -9, full, failover
//!                │                       a second instance
//!                └── history (test_decoding) ──> events: every change once, in order
//!                └── rows (SQL) ───────────────> keys: every structure equal
//! ```
//!
//! A seed makes everything that is tried: what the writers write, which faults there are, when, and
//! for how long. Seeds share nothing. When one fails it is printed, with how to run it again:
//!
//! ```text
//!   TORTURE_FIRST_SEED=17 TORTURE_SEEDS=1 ./test torture
//! ```

mod events;
mod faults;
mod history;
mod tables;
mod writers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use redis_connect_postgres::throwaway::{postgres as pg, redis as rd};

use crate::faults::Random;
use crate::harness::{Config, Proxy, Settings, World};
use faults::{Fault, Stage};
use writers::Writers;

/// Enough failures: the others would tell the same.
const MOST_FAILURES: usize = 3;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn torture() {
    // Few and quick ones, so that everybody runs them with every change.
    let first = number("TORTURE_FIRST_SEED", 10);
    let seeds = number("TORTURE_SEEDS", 6);
    let workers = number("TORTURE_WORKERS", thread::available_parallelism().map_or(2, |n| n.get() as u64));
    let began = Instant::now();
    let next = AtomicU64::new(first);
    let failed = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    let enough = failed.lock().unwrap_or_else(PoisonError::into_inner).len() >= MOST_FAILURES;
                    if seed >= first + seeds || enough {
                        return;
                    }
                    // The thread's name is the world's.
                    let run = thread::Builder::new().name(format!("torture_{seed}")).spawn(move || one(seed));
                    match run.unwrap().join() {
                        Ok(summary) => println!("seed {seed}: {summary}"),
                        Err(panic) => {
                            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                            println!(
                                "seed {seed} failed: TORTURE_FIRST_SEED={seed} TORTURE_SEEDS=1 ./test torture"
                            );
                            failed.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, text);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!(
        "{} seeds from {first} in {:.0?}",
        next.load(Relaxed).min(first + seeds) - first,
        began.elapsed()
    );
    let list: Vec<String> = failed.iter().map(|(seed, text)| format!("seed {seed}: {text}")).collect();
    assert!(list.is_empty(), "{} seeds failed:\n{}", list.len(), list.join("\n\n"));
}

/// One seed; returns what there was of everything.
fn one(seed: u64) -> String {
    let began = Instant::now();
    let mut random = Random::new(seed);
    let postgres = pg::Settings::default()
        .set("wal_sender_timeout", "3s")
        .set("deadlock_timeout", "50ms")
        .set("logical_decoding_work_mem", if random.chance(30) { "64kB" } else { "64MB" });
    let world = World::with(Settings { postgres: Some(postgres), redis: rd::Settings::durable() });
    let (to_redis, to_postgres) = (Proxy::to(world.redis_port()), Proxy::to(world.postgres_port()));
    let batch = format!("batch: {{ rows: {} }}", [5, 20, 100, 2_000][random.within(0, 3) as usize]);
    // Nothing that is tried here may lose a change, so no gap may be seen either.
    let top = format!(
        "on_gap: fail\nsnapshot: {{ workers: {}, range_rows: {} }}",
        random.within(1, 3),
        [1_000, 10_000][random.within(0, 1) as usize]
    );
    world.configure(&Config {
        source_url: Some(world.source_url_at(to_postgres.port())),
        target_url: Some(world.target_url_at(to_redis.port())),
        target: &batch,
        tables: tables::CONFIGURATION,
        top: &top,
        ..Config::default()
    });
    world.sql(tables::SCHEMA);
    history::begin(&world);
    // Most tables are read in one piece, the first one sometimes in several.
    let more = if random.chance(30) { 2_500 } else { 0 };
    world.sql(&format!("{}; ANALYZE", tables::ROWS.replace("{more}", &more.to_string())));
    // Most snapshots are disturbed in some way: they take so long.
    if random.chance(50) {
        to_redis.throttle(random.within(50, 500) * 1_000);
    }
    let writers = Writers::start(&world, seed);
    let mut stage = Stage::new(&world, (to_redis, to_postgres));
    let mut tried = Vec::new();
    for round in 0..random.within(3, 5) {
        random.pause(20, if round == 0 { 400 } else { 900 });
        let faults = Fault::some(&mut random);
        for fault in &faults {
            stage.begin(*fault);
            random.pause(0, 100);
        }
        random.pause(30, 700);
        for fault in &faults {
            stage.end(*fault);
            random.pause(0, 50);
        }
        stage.recover();
        tried.push(faults);
    }
    random.pause(50, 300);
    let committed = writers.stop();
    let logs = stage.finish();
    let told = check(&world, &logs).unwrap_or_else(|wrong| {
        panic!("{wrong}\nfaults: {tried:?}\n{}", logs.join("--- next instance ---\n"))
    });
    assert!(committed >= 20, "only {committed} transactions");
    format!("{committed} transactions, {told}, {tried:?}, {:.1?}", began.elapsed())
}

/// Everything is in Redis as it must be; says what was compared, or what is wrong.
fn check(world: &World, logs: &[String]) -> Result<String, String> {
    let last = world.run_with(&["--until-caught-up"]);
    let status = last.wait(Duration::from_secs(120));
    if !status.success() {
        let again: Vec<String> = (0..5)
            .map(|_| {
                let c = world.run_with(&["--until-caught-up"]);
                let s = c.wait(Duration::from_secs(120));
                format!("{s}: {}", c.log())
            })
            .collect();
        let peek = world.with_postgres(|c| {
            c.simple_query("SELECT count(*) FROM pg_logical_slot_peek_changes('history', NULL, NULL)")
                .map(|m| format!("{m:?}"))
        });
        panic!("--until-caught-up: {} again: {again:#?} peek {peek:?}", last.story());
    }
    let history = history::read(world);
    let events = events::check(world, &history, was_interrupted(logs, &last.log()));
    let (expected, found) = (tables::expected(world), tables::found(world));
    let mut wrong = tables::differences(&expected, &found);
    wrong.extend(events);
    if wrong.is_empty() {
        let (code, verify) = world.finish(&["verify", "-c", &only_hashes(world)]);
        if code == Some(0) {
            let changes: usize = history.iter().map(|transaction| transaction.changes.len()).sum();
            return Ok(format!("{changes} changes, {} keys", found.len()));
        }
        wrong.push(format!("verify: {}{}", verify.stdout(), verify.story()));
    }
    let count = wrong.len();
    wrong.truncate(6);
    Err(format!("{count} things are wrong:\n- {}\n{}", wrong.join("\n- "), last.story()))
}

/// A configuration for `verify`, which knows hashes.
fn only_hashes(world: &World) -> String {
    let yaml = std::fs::read_to_string(world.config_file()).unwrap();
    let lines = yaml.lines().filter(|line| !line.contains("- { type:") || line.contains("{ type: hash"));
    let path = world.directory().join("hashes.yaml");
    std::fs::write(&path, lines.fold(String::new(), |yaml, line| yaml + line + "\n")).unwrap();
    path.to_string_lossy().into_owned()
}

/// The first snapshot was read in more than one piece, at different times.
fn was_interrupted(logs: &[String], last: &str) -> bool {
    let lines = logs.iter().map(String::as_str).chain([last]).flat_map(str::lines);
    let mut began = 0;
    for line in lines {
        if line.contains("snapshot goes on") {
            return true;
        }
        began += u64::from(line.contains("snapshot begins"));
        if line.contains("streaming") {
            break;
        }
    }
    began != 1
}
