//! Redis Cluster: rows go to the shard that has their key, and nothing is lost or done twice, whatever
//! the cluster does meanwhile.

mod endpoint;
mod faults;
mod moving;
mod tls;
mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use postgres::{Client, NoTls};

use crate::faults::Workload;
use crate::harness::{Cluster, Config, Connector, World};

/// Every structure that needs no module.
const TABLES: &str = "
    public.entry: { type: stream, key: log }
    public.account:
      - { type: hash }
      - { type: string, key: 's:account:{id}' }
      - { type: set, key: ids }
      - { type: sorted_set, key: by_n, score: '{n}' }
    public.*: { type: hash }
";

/// Writes rows of which a stream tells, one after the other.
struct Entries {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Entries {
    fn start(world: &World) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (url, stopped, count) = (world.source_url(), Arc::clone(&stop), Arc::clone(&written));
        let thread = thread::spawn(move || {
            let mut client = Client::connect(&url, NoTls).unwrap();
            while !stopped.load(Relaxed) {
                client.execute("INSERT INTO entry DEFAULT VALUES", &[]).unwrap();
                count.fetch_add(1, Relaxed);
                thread::sleep(Duration::from_millis(2));
            }
        });
        Self { stop, written, thread: Some(thread) }
    }

    fn goes_on(&self, world: &World, more: u64) {
        let enough = self.written.load(Relaxed) + more;
        world.eventually("rows are written", || self.written.load(Relaxed) >= enough);
    }

    fn stop(mut self) -> u64 {
        self.stop.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.written.load(Relaxed)
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// A world whose Redis is a cluster, with tables and rows.
fn world(cluster: &Cluster, own: bool) -> World {
    let world = if own { World::own() } else { World::new() };
    Workload::prepare(&world, 1_000);
    world.sql("CREATE TABLE entry (id serial PRIMARY KEY)");
    world.configure(&Config {
        target_url: Some(cluster.url()),
        target: "batch: { rows: 500 }",
        tables: TABLES,
        ..Config::default()
    });
    world
}

/// The writers stop, Redis catches up, and both sides are equal: every row, and every entry once.
#[track_caller]
fn settle(world: &World, cluster: &Cluster, writers: (Workload, Entries), connector: &Connector) {
    writers.0.stop();
    let written = writers.1.stop();
    let file = world.config_file();
    let (code, verify) = world.finish(&["verify", "-c", &file.to_string_lossy()]);
    assert_eq!(code, Some(0), "{}\n{}\n{}", verify.stdout(), verify.log(), world.story());
    // For the message of a failed test: the story has the end of the log only.
    let log = connector.log();
    log.lines().filter(|line| !line.contains("truncated")).for_each(|line| println!("{line}"));
    every_entry_once(world, cluster.get(&["XRANGE", "log", "-", "+"]), written);
    crate::faults::stops_cleanly(connector);
}

/// The stream tells of every row, once and in order.
#[track_caller]
fn every_entry_once(world: &World, entries: Vec<(String, Vec<String>)>, written: u64) {
    let key = |fields: &[String]| {
        let pair = fields.chunks(2).find(|pair| pair[0] == "key").unwrap();
        pair[1].parse::<u64>().unwrap()
    };
    let told: Vec<u64> = entries.iter().map(|(_, fields)| key(fields)).collect();
    let missing: Vec<u64> = (1..=written).filter(|id| !told.contains(id)).collect();
    let around: Vec<_> =
        entries.iter().filter(|(_, fields)| missing.iter().any(|id| key(fields).abs_diff(*id) < 4)).collect();
    assert!(missing.is_empty(), "missing: {missing:?} among {around:?}\n{}", world.story());
    for (pair, entries) in told.windows(2).zip(entries.windows(2)) {
        assert!(pair[0] < pair[1], "{entries:?}\n{}", world.story());
    }
}
