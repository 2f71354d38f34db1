//! Redis forgets: everything, its last seconds, or only the checkpoint.

use super::{FAIL, ops};
use crate::harness::{Config, Table, World};
use crate::hashes::Live;

/// FLUSHALL while it runs and nothing is committed: noticed all the same, and mended.
#[test]
fn emptied_while_idle() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'x' FROM generate_series(1, 500) n");
    let live = Live::begin(&world);
    world.redis::<String>(&["FLUSHALL"]);
    live.eventually_equal(&["t"]);
    live.sql("UPDATE t SET v = 'y' WHERE id = 1");
    live.settle();
    live.assert_equal(&["t"]);
}

#[test]
fn emptied_and_told_to_stop() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let live = Live::with(&world, &FAIL);
    world.redis::<String>(&["FLUSHALL"]);
    let status = live.connector.wait(std::time::Duration::from_secs(30));
    assert_eq!(status.code(), Some(1), "{}", live.connector.story());
    assert!(live.connector.log_contains("is gone from Redis"), "{}", live.connector.story());
}

/// Only the checkpoint goes: keys whose rows went meanwhile go too, and members, and streams grow on.
#[test]
fn the_checkpoint_is_deleted() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    let live = Live::tables(
        &world,
        "public.t: [{ type: hash }, { type: set, key: s }, { type: stream, key: events }]",
    );
    live.connector.stop();
    world.sql("DELETE FROM t WHERE id = 1");
    let key = |what: &str| format!("redis-connect-postgres:{}:{what}", world.name);
    world.redis::<i64>(&["DEL", &key("checkpoint"), &key("epoch")]);
    live.connector.cont();
    world.eventually("the streams are told", || ops(&world, "events").contains('g'));
    live.settle();
    world.assert_table(&Table::new("t"));
    let members: Vec<String> = world.redis(&["SMEMBERS", "s"]);
    assert_eq!(members, ["2"]);
    live.sql("INSERT INTO t VALUES (3, 'c')");
    live.settle();
    assert!(ops(&world, "events").ends_with('c'), "{}", ops(&world, "events"));
    let dlq: i64 = world.redis(&["XLEN", &key("dlq")]);
    assert_eq!(dlq, 0);
}

/// A restart that loses the last seconds: the position went back with the data, and the slot still has
/// what comes after it.
#[test]
fn an_older_state_is_loaded() {
    for running in [true, false] {
        let world = World::new();
        world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
        let mut live = Live::with(&world, &Config { source: "retain: 60s", ..Config::default() });
        world.redis::<String>(&["SAVE"]);
        live.sql("UPDATE t SET v = 'lost'; INSERT INTO t VALUES (3, 'lost'); DELETE FROM t WHERE id = 2");
        live.settle();
        if !running {
            live.connector.term();
            live.connector.wait(std::time::Duration::from_secs(30));
        }
        world.redis_server().kill9();
        world.redis_server().start_again().unwrap();
        if !running {
            live.start_again();
        }
        live.eventually_equal(&["t"]);
        assert!(!live.connector.log_contains("resnapshot"), "{}", live.connector.story());
    }
}

/// What was written after the position that the slot has confirmed is gone: all is read again.
#[test]
fn older_than_what_is_retained() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    let live = Live::with(&world, &Config { source: "retain: 0", ..Config::default() });
    world.redis::<String>(&["SAVE"]);
    live.sql("UPDATE t SET v = 'lost'; INSERT INTO t VALUES (3, 'lost'); DELETE FROM t WHERE id = 2");
    live.settle();
    let lsn: String = world.value("SELECT pg_current_wal_lsn()");
    world.eventually("the position is confirmed", || {
        world.value::<String>(&format!(
            "SELECT confirmed_flush_lsn >= '{lsn}' FROM pg_replication_slots WHERE slot_name = '{}'",
            world.slot()
        )) == "t"
    });
    world.redis_server().kill9();
    world.redis_server().start_again().unwrap();
    live.eventually_equal(&["t"]);
    assert!(
        live.connector.log_contains("Redis has lost more than source.retain"),
        "{}",
        live.connector.story()
    );
}
