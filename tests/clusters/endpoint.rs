//! Redis Enterprise's single endpoint of a sharded database.

use std::time::Duration;

use super::{Entries, TABLES, every_entry_once};
use crate::faults::Workload;
use crate::harness::{Config, Endpoint, World};

/// Slots are heeded although nobody told of a cluster, and the program can be killed at any time.
#[test]
fn one_address_many_shards() {
    let world = World::new();
    let endpoint = Endpoint::to(world.redis_port());
    Workload::prepare(&world, 1_000);
    world.sql("CREATE TABLE entry (id serial PRIMARY KEY)");
    world.configure(&Config {
        target_url: Some(endpoint.url()),
        tables: TABLES,
        target: "batch: { rows: 500 }",
        ..Config::default()
    });
    let workload = Workload::with_pause(&world, Duration::from_millis(10));
    let entries = Entries::start(&world);
    let mut random = workload.random();
    let mut connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    for _ in 0..5 {
        random.pause(100, 600);
        connector.kill9();
        connector = world.run();
    }
    world.eventually("it streams", || connector.log_contains("streaming"));
    entries.goes_on(&world, 50);
    workload.stop();
    let written = entries.stop();
    let file = world.config_file();
    let (code, verify) = world.finish(&["verify", "-c", &file.to_string_lossy()]);
    assert_eq!(code, Some(0), "{}\n{}\n{}", verify.stdout(), verify.log(), world.story());
    every_entry_once(&world, world.redis(&["XRANGE", "log", "-", "+"]), written);
    crate::faults::stops_cleanly(&connector);
}
