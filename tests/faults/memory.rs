//! Memory stays bounded, whatever waits to be written.

use std::time::Duration;

use super::{TABLES, Workload, stops_cleanly};
use crate::harness::{Config, Connector, World};

const LIMIT: u64 = 64 << 20;

/// To be asked while it runs: nothing tells afterwards.
#[track_caller]
fn assert_bounded(connector: &Connector) {
    let peak = connector.peak_memory();
    println!("peak: {} MB", peak >> 20);
    assert!(peak < LIMIT, "{} MB", peak >> 20);
    #[cfg(target_os = "linux")]
    assert!(peak > 0);
}

#[test]
fn memory_is_bounded_while_redis_is_paused() {
    let world = World::own();
    Workload::prepare(&world, 1_000);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    let workload = Workload::with_pause(&world, Duration::ZERO);
    workload.goes_on(&world, 100);
    world.redis_server().pause();
    std::thread::sleep(Duration::from_secs(12));
    assert!(!world.postgres_log().contains("replication timeout"), "{}", world.postgres_log());
    world.redis_server().resume();
    workload.goes_on(&world, 100);
    workload.stop();
    world.eventually_equal(&TABLES);
    assert_bounded(&connector);
    stops_cleanly(&connector);
    world.assert_equal(&TABLES);
}

/// While the program has more to read than it can, PostgreSQL and signals are heard all the same.
#[test]
fn a_large_transaction_takes_little_memory() {
    let world = World::own();
    Workload::prepare(&world, 10);
    world.configure(&Config { source: "retain: 0s", ..Config::default() });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    world.sql("INSERT INTO bulk SELECT g, g, 'row ' || g FROM generate_series(11, 300000) g");
    world.within(Duration::from_secs(60), "it is in Redis", || !world.keys("bulk:300000").is_empty());
    world.sql("UPDATE bulk SET v = v || v, n = n + 1");
    world.within(Duration::from_secs(60), "the update is in Redis", || {
        world.hash("bulk:300000").get("n").is_some_and(|n| n == "300001")
    });
    world.eventually_equal(&TABLES);
    assert!(!world.postgres_log().contains("replication timeout"), "{}", world.postgres_log());
    assert_bounded(&connector);
    stops_cleanly(&connector);
}
