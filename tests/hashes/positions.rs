//! What PostgreSQL is told of the position, and when.

use std::time::Duration;

use super::Live;
use crate::harness::{Config, World};

/// Bytes by which the slot's confirmed position is behind the end of the log.
fn behind(world: &World) -> i64 {
    world.value(&format!(
        "SELECT pg_current_wal_lsn() - confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{}'",
        world.slot()
    ))
}

/// True when the slot has confirmed everything up to this position.
fn confirmed(world: &World, lsn: &str) -> bool {
    world.value::<String>(&format!(
        "SELECT confirmed_flush_lsn >= '{lsn}' FROM pg_replication_slots WHERE slot_name = '{}'",
        world.slot()
    )) == "t"
}

fn end_of_log(world: &World) -> String {
    world.value("SELECT pg_current_wal_insert_lsn()")
}

#[test]
fn an_idle_table_beside_a_busy_one_does_not_pin_the_log() {
    let world = World::new();
    world.sql("CREATE TABLE idle (id int PRIMARY KEY); CREATE TABLE busy (id int PRIMARY KEY, v text)");
    let live = Live::with(
        &world,
        &Config { source: "retain: 0", tables: "public.idle: { type: hash }", ..Config::default() },
    );
    for i in 0..3 {
        world.sql(&format!(
            "INSERT INTO busy SELECT i, repeat('x', 500) FROM generate_series({i}000, {i}999) i"
        ));
        let lsn = end_of_log(&world);
        world.within(Duration::from_secs(5), "the busy table's log is confirmed", || confirmed(&world, &lsn));
    }
    assert!(live.keys("busy:*").is_empty());
}

#[test]
fn a_position_is_kept_back_for_the_time_of_retain() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let live = Live::begin(&world);
    live.sql("INSERT INTO t SELECT generate_series(1, 1000)");
    let lsn = end_of_log(&world);
    // Feedback goes out every second; by default none of it may tell of what is younger than 60 s.
    let until = std::time::Instant::now() + Duration::from_millis(3000);
    while std::time::Instant::now() < until {
        assert!(!confirmed(&world, &lsn), "confirmed although it may still be forgotten");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(behind(&world) > 0);
    drop(live);
}

#[test]
fn a_short_retain_is_kept() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let live = Live::with(&world, &Config { source: "retain: 2s", ..Config::default() });
    live.sql("INSERT INTO t SELECT generate_series(1, 1000)");
    let lsn = end_of_log(&world);
    let began = std::time::Instant::now();
    world.within(Duration::from_secs(8), "the position is confirmed", || confirmed(&world, &lsn));
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}

/// While Redis does not answer, nothing that it has not confirmed may be told as durable.
#[test]
fn nothing_is_confirmed_that_redis_does_not_have() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let live = Live::with(&world, &Config { source: "retain: 0", ..Config::default() });
    live.sql("INSERT INTO t VALUES (1)");
    world.redis_server().pause();
    let before = end_of_log(&world);
    world.sql("INSERT INTO t SELECT generate_series(2, 1000)");
    let after = end_of_log(&world);
    let until = std::time::Instant::now() + Duration::from_millis(2500);
    while std::time::Instant::now() < until {
        assert!(!confirmed(&world, &after), "{before} … {after} was confirmed before Redis had it");
        std::thread::sleep(Duration::from_millis(50));
    }
    world.redis_server().resume();
    live.settle();
    live.assert_equal(&["t"]);
    world.within(Duration::from_secs(5), "the position is confirmed", || confirmed(&world, &after));
}

/// What was stopped in good order has told its last position, so a new start has little to read.
#[test]
fn a_stop_confirms_the_last_position() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let live = Live::with(&world, &Config { source: "retain: 0", ..Config::default() });
    live.sql("INSERT INTO t VALUES (1)");
    let lsn: String = world.value("SELECT pg_current_wal_lsn()");
    world.sql("INSERT INTO t VALUES (2)");
    world.eventually("it is in Redis", || world.redis(&["EXISTS", "t:2"]));
    live.connector.term();
    assert!(live.connector.wait(Duration::from_secs(30)).success());
    // It was told before the end; PostgreSQL may take its time to hear it.
    world.eventually("the position is confirmed", || confirmed(&world, &lsn));
}
