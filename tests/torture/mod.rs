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
//! The same is tried with a Redis Cluster, where slots move meanwhile ([`cluster`]).
//!
//! A seed makes everything that is tried: what the writers write, which faults there are, when, and
//! for how long. Seeds share nothing. When one fails it is printed, with how to run it again:
//!
//! ```text
//!   TORTURE_FIRST_SEED=17 TORTURE_SEEDS=1 ./test torture::torture
//!   TORTURE_FIRST_SEED=17 TORTURE_CLUSTER_SEEDS=1 ./test torture::in_a_cluster
//! ```

mod cluster;
mod events;
mod faults;
mod history;
mod reader;
mod tables;
mod told;
mod writers;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use redis_connect_postgres::throwaway::{postgres as pg, redis as rd};

use crate::faults::Random;
use crate::harness::{Cluster, Config, Proxy, Settings, World};
use cluster::{Kind, Nodes};
use faults::{Fault, Stage, Target};
use reader::Reader;
use told::Failure;
use writers::Writers;

/// Enough failures: the others would tell the same.
const MOST_FAILURES: usize = 3;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// What Redis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Redis {
    One,
    Cluster,
}

impl Redis {
    /// How many seeds are tried where nobody says otherwise: few, so that everybody runs them with every change.
    fn seeds(self) -> u64 {
        match self {
            Redis::One => number("TORTURE_SEEDS", 20),
            Redis::Cluster => number("TORTURE_CLUSTER_SEEDS", 4),
        }
    }

    fn again(self) -> &'static str {
        match self {
            Redis::One => "TORTURE_SEEDS=1 ./test torture::torture",
            Redis::Cluster => "TORTURE_CLUSTER_SEEDS=1 ./test torture::in_a_cluster",
        }
    }
}

#[test]
fn torture() {
    try_all(Redis::One);
}

#[test]
fn in_a_cluster() {
    try_all(Redis::Cluster);
}

fn try_all(redis: Redis) {
    let first = number("TORTURE_FIRST_SEED", 1);
    let seeds = redis.seeds();
    // A seed waits for most of its time: for servers to start, and for silence to be noticed.
    let processors = thread::available_parallelism().map_or(2, |n| n.get() as u64);
    let workers = number("TORTURE_WORKERS", 2 * processors);
    let began = Instant::now();
    let next = AtomicU64::new(first);
    let failed = Mutex::new(BTreeMap::new());
    let all = Mutex::new(Seen::default());
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
                    let run = thread::Builder::new().name(format!("{redis:?}_{seed}").to_lowercase());
                    let run = run.spawn(move || one(redis, seed));
                    match run.unwrap().join().unwrap() {
                        Ok(seen) => {
                            println!("seed {seed}: {}", seen.story);
                            *all.lock().unwrap_or_else(PoisonError::into_inner) += seen;
                        }
                        Err(failure) => {
                            println!("seed {seed} failed: {}", failure.summary());

                            failed.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, failure);
                        }
                    }
                }
            });
        }
    });
    let (failed, all) = (failed.into_inner().unwrap(), all.into_inner().unwrap());
    let run = next.load(Relaxed).min(first + seeds) - first;
    // What is printed the test runner keeps to itself when all is well.
    let _ = writeln!(
        std::io::stderr(),
        "torture of {redis:?}: {run} seeds from {first} in {:.0?}: {} faults, {} transactions, {} changes; {} times PostgreSQL \
         could not decode its own log",
        began.elapsed(),
        all.faults,
        all.transactions,
        all.changes,
        all.undecodable
    );
    assert!(all.undecodable <= 1 + run / 10, "PostgreSQL rarely fails to decode its log");
    // One alone may have got too little of a busy machine.
    assert!(
        run < 5 || all.transactions >= 20 * (run - failed.len() as u64),
        "only {} transactions",
        all.transactions
    );
    // What they found comes first, each in a line, which `./test` says once more at its end.
    let told = |tell: fn(&Failure) -> String, between: &str| {
        let all: Vec<String> =
            failed.iter().map(|(seed, failure)| format!("seed {seed}: {}", tell(failure))).collect();
        all.join(between)
    };
    assert!(
        failed.is_empty(),
        "{} seeds failed; again: TORTURE_FIRST_SEED=… {}\n{}\n\n{}",
        failed.len(),
        redis.again(),
        told(Failure::summary, "\n"),
        told(Failure::story, "\n\n")
    );
}

/// What there was of everything.
#[derive(Debug, Default)]
struct Seen {
    faults: usize,
    transactions: u64,
    changes: usize,
    /// PostgreSQL could not decode its own log, see [`faults::UNDECODABLE`].
    undecodable: u64,
    /// The same in words.
    story: String,
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Seen) {
        self.faults += other.faults;
        self.transactions += other.transactions;
        self.changes += other.changes;
        self.undecodable += other.undecodable;
    }
}

/// One seed.
fn one(redis: Redis, seed: u64) -> Result<Seen, Failure> {
    let mut random = Random::new(seed);
    let world = told::catch(|| begin(&mut random))?;
    let mut tried = Vec::new();
    let seen = told::catch(|| match redis {
        Redis::One => {
            let to_redis = Proxy::to(world.redis_port());
            let url = world.target_url_at(to_redis.port());
            run(&world, seed, &mut random, (Target::One(to_redis), url, None), &mut tried)
        }
        Redis::Cluster => {
            let kind = Kind::random(&mut random);
            let nodes = Nodes::start(kind);
            let url = nodes.url();
            run(&world, seed, &mut random, (Target::Cluster(Box::new(nodes)), url, Some(kind)), &mut tried)
        }
    });
    seen.map_err(|failure| failure.after(&format!("{tried:?}"), &world))
}

/// The servers, with how PostgreSQL is set.
fn begin(random: &mut Random) -> World {
    let postgres = pg::Settings::default()
        .set("wal_sender_timeout", "3s")
        .set("deadlock_timeout", "50ms")
        // It does not stop before it has heard who the last client was that came, behind a network that is stalled.
        .set("authentication_timeout", "10s")
        .set("logical_decoding_work_mem", if random.chance(30) { "64kB" } else { "64MB" });
    World::with(Settings { postgres: Some(postgres), redis: rd::Settings::durable() })
}

/// Everything else; `tried` is what has been tried so far.
fn run(
    world: &World,
    seed: u64,
    random: &mut Random,
    (redis, target_url, cluster): (Target, String, Option<Kind>),
    tried: &mut Vec<Vec<Fault>>,
) -> Seen {
    let began = Instant::now();
    let to_postgres = Proxy::to(world.postgres_port());
    let batch = format!("batch: {{ rows: {} }}", [5, 20, 100, 2_000][random.within(0, 3) as usize]);
    // Nothing that is tried here may lose a change, so no gap may be seen either; unless replicas that lack the
    // newest data take over.
    let can_lose = cluster.is_some_and(Kind::can_lose);
    let top = format!(
        "on_gap: {}\n{}snapshot: {{ workers: {}, range_rows: {} }}",
        if can_lose { "resnapshot" } else { "fail" },
        if cluster.is_some_and(|kind| kind.waits) { "durability: { wait: 1 }\n" } else { "" },
        random.within(1, 3),
        [1_000, 10_000][random.within(0, 1) as usize]
    );
    world.configure(&Config {
        source_url: Some(world.source_url_at(to_postgres.port())),
        target_url: Some(target_url),
        target: &batch,
        tables: tables::CONFIGURATION,
        top: &top,
        ..Config::default()
    });
    world.sql(tables::SCHEMA);
    history::begin(world);
    // Most tables are read in one piece, the first one sometimes in several.
    let more = if random.chance(30) { 1_200 } else { 0 };
    world.sql(&format!("{}; ANALYZE", tables::ROWS.replace("{more}", &more.to_string())));
    // Many snapshots take so long that they are disturbed in some way.
    if random.chance(50)
        && let Target::One(to_redis) = &redis
    {
        to_redis.throttle(random.within(50, 500) * 1_000);
    }
    let writers = Writers::start(world, seed);
    let mut stage = Stage::new(world, (redis, to_postgres));
    for round in 0..random.within(3, 5) {
        random.pause(20, if round == 0 { 400 } else { 900 });
        let faults = Fault::some(random, cluster);
        tried.push(faults.clone());
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
        // What there was to disturb of the snapshot is over; the rest need not wait for so slow a way.
        stage.open_the_way();
    }
    random.pause(50, 300);
    let transactions = writers.stop();
    let mut logs = stage.finish();
    let checked = check(world, stage.cluster(), &mut logs).unwrap_or_else(|wrong| panic!("{wrong}"));
    let said = |words: &str| logs.iter().map(|log| log.matches(words).count()).sum::<usize>();
    let redefined = said("definition changed") + said("the definition of");
    let Checked { changes, keys, undecodable } = checked;
    let mut more = String::new();
    if undecodable {
        more += ", PostgreSQL could not decode its log";
    }
    let occupied = said("was in Redis before its row was inserted");
    if occupied > 0 {
        more += &format!(", {occupied} times a new row's key was there");
    }
    if has_gap(&logs) {
        more += ", a shard had forgotten rows";
    }
    if let Some(kind) = cluster {
        more += &format!(", {kind:?}");
    }
    Seen {
        faults: tried.iter().map(Vec::len).sum(),
        transactions,
        changes,
        undecodable: undecodable.into(),
        story: format!(
            "{transactions} transactions, {changes} changes, {keys} keys, {redefined} times redefined, {tried:?}, \
             {:.1?}{more}",
            began.elapsed()
        ),
    }
}

/// What was compared.
struct Checked {
    changes: usize,
    keys: usize,
    undecodable: bool,
}

/// Everything is in Redis as it must be; says what was compared, or what is wrong.
fn check(world: &World, cluster: Option<&Cluster>, logs: &mut Vec<String>) -> Result<Checked, String> {
    let mut last = world.run_with(&["--until-caught-up"]);
    let mut status = last.wait(Duration::from_secs(120));
    if !status.success() && faults::is_undecodable(&last.log()) {
        faults::allow_gaps(world);
        logs.push(last.log());
        last = world.run_with(&["--until-caught-up"]);
        status = last.wait(Duration::from_secs(120));
    }
    assert!(status.success(), "--until-caught-up: {}", last.story());
    logs.push(last.log());
    let redis = Reader::new(world, cluster);
    let (expected, found) = (tables::expected(world), tables::found(&redis));
    let mut wrong = tables::differences(&expected, &found);
    let history = history::read(world);
    let undecodable = logs.iter().any(|log| faults::is_undecodable(log));
    match &history {
        _ if undecodable || has_gap(logs) => wrong.extend(events::check_gap(&redis)),
        Some(history) => wrong.extend(events::check(&redis, history, was_interrupted(logs))),
        None => {}
    }
    if wrong.is_empty() {
        let (code, verify) = world.finish(&["verify", "-c", &world.config_file().to_string_lossy()]);
        if code == Some(0) {
            let changes = history.iter().flatten().map(|transaction| transaction.changes.len()).sum();
            return Ok(Checked { changes, keys: found.len(), undecodable: undecodable || history.is_none() });
        }
        wrong.push(format!("verify: {}{}", verify.stdout(), verify.story()));
    }
    let count = wrong.len();
    wrong.truncate(6);
    Err(format!("{count} things are wrong:\n- {}", wrong.join("\n- ")))
}

/// Rows were lost with a master whose replica had not got them.
fn has_gap(logs: &[String]) -> bool {
    logs.iter().any(|log| log.contains("All tables are read again"))
}

/// The first snapshot was read in more than one piece, at different times, or later than it had been announced by an
/// instance that came no further.
fn was_interrupted(logs: &[String]) -> bool {
    let lines = logs.iter().flat_map(|log| log.lines());
    let mut began = 0;
    for line in lines {
        if line.contains("snapshot goes on") || line.contains("it is read again") {
            return true;
        }
        began += u64::from(line.contains("snapshot begins"));
        if line.contains("streaming") {
            break;
        }
    }
    began != 1
}
