//! Positions that do not fit together are never passed over; `reset` begins anew.

use super::fails;
use crate::harness::{Config, World};
use crate::hashes::wait_until_free;

fn begun() -> World {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i");
    world.configure(&Config { top: "on_gap: fail", ..Config::default() });
    world.run_until_caught_up();
    wait_until_free(&world);
    world
}

#[test]
fn the_slot_was_dropped() {
    let world = begun();
    let before = world.checkpoint();
    world.sql(&format!("SELECT pg_drop_replication_slot('{}')", world.slot()));
    world.sql("UPDATE t SET v = 'lost' WHERE id = 1");
    fails(&world, 1, &[&world.slot(), "reset"]);
    // Nothing is touched, so whoever looks for the reason finds it.
    assert_eq!(world.checkpoint(), before);
    assert_eq!(
        world.value::<i64>("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"),
        0
    );
}

#[test]
fn the_slot_was_made_again() {
    let world = begun();
    world.sql(&format!("SELECT pg_drop_replication_slot('{}')", world.slot()));
    world.sql("UPDATE t SET v = 'lost' WHERE id = 1");
    world.sql(&format!("SELECT pg_create_logical_replication_slot('{}', 'pgoutput')", world.slot()));
    fails(&world, 1, &[&world.slot(), "reset"]);
    assert_eq!(world.hash("t:1")["v"], "v");
}

#[test]
fn somebody_else_moved_the_slot() {
    let world = begun();
    world.sql("UPDATE t SET v = 'skipped' WHERE id = 1");
    world.sql(&format!("SELECT pg_replication_slot_advance('{}', pg_current_wal_lsn())", world.slot()));
    world.sql("UPDATE t SET v = 'later' WHERE id = 2");
    fails(&world, 1, &[&world.slot(), "reset"]);
    assert_eq!(world.hash("t:2")["v"], "v", "it went on behind the gap");
}

#[test]
fn another_postgresql() {
    let world = begun();
    let other = World::own();
    other.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'other')");
    let yaml = std::fs::read_to_string(world.config_file()).unwrap();
    std::fs::write(world.config_file(), yaml.replace(&world.source_url(), &other.source_url())).unwrap();
    fails(&world, 1, &["reset"]);
    assert_eq!(world.hash("t:1")["v"], "v");
}

#[test]
fn another_slot() {
    let world = begun();
    let slot = format!("{}_other", world.name);
    world.configure(&Config { source: &format!("slot: {slot}"), top: "on_gap: fail", ..Config::default() });
    fails(&world, 1, &["reset"]);
    assert!(!world.checkpoint().is_empty());
}

#[test]
fn a_checkpoint_that_is_unreadable() {
    let world = begun();
    let key = format!("redis-connect-postgres:{}:checkpoint", world.name);
    world.redis::<()>(&["HSET", &key, "lsn", "nonsense"]);
    fails(&world, 1, &[&key, "reset"]);
    world.redis::<()>(&["DEL", &key]);
    world.redis::<()>(&["SET", &key, "text"]);
    fails(&world, 1, &["WRONGTYPE"]);
}

#[test]
fn reset_and_run() {
    let world = begun();
    world.sql(&format!("SELECT pg_drop_replication_slot('{}')", world.slot()));
    world.sql("UPDATE t SET v = 'new', id = id WHERE id < 5; INSERT INTO t VALUES (500, NULL)");
    let file = world.config_file().to_string_lossy().into_owned();
    for _ in 0..2 {
        let (code, connector) = world.finish(&["reset", "-c", &file, "--yes"]);
        assert_eq!(code, Some(0), "{}", connector.story());
        assert!(world.checkpoint().is_empty());
    }
    assert_eq!(world.hash("t:50")["v"], "v", "reset keeps the data");
    assert_eq!(world.value::<i64>("SELECT count(*) FROM pg_publication"), 0);
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
    world.sql("UPDATE t SET v = NULL WHERE id = 7");
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

/// Rows that went while nobody looked must not stay for ever.
#[test]
fn rows_deleted_before_a_reset_are_gone_after_the_next_run() {
    let world = begun();
    world.sql(&format!("SELECT pg_drop_replication_slot('{}')", world.slot()));
    world.sql("DELETE FROM t WHERE id = 9; UPDATE t SET v = NULL WHERE id = 10");
    let file = world.config_file().to_string_lossy().into_owned();
    assert_eq!(world.finish(&["reset", "-c", &file, "--yes"]).0, Some(0));
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

#[test]
fn reset_refuses_while_somebody_runs_and_keeps_what_is_not_ours() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    world.sql(&format!("CREATE PUBLICATION redis_connect_{} FOR TABLE t", world.name));
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming from"));
    let file = world.config_file().to_string_lossy().into_owned();
    let (code, line) = super::failure(&world, &["reset", "-c", &file, "--yes"]);
    assert_eq!(code, 1, "{line}");
    assert!(line.contains("stop") && !world.checkpoint().is_empty(), "{line}");
    drop(connector);
    wait_until_free(&world);
    let (code, connector) = world.finish(&["reset", "-c", &file, "--yes"]);
    assert_eq!(code, Some(0), "{}", connector.story());
    assert_eq!(world.value::<i64>("SELECT count(*) FROM pg_publication"), 1);
}

#[test]
fn until_caught_up_and_once_may_be_repeated() {
    let world = begun();
    let keys = world.keys("*");
    for _ in 0..2 {
        world.run_until_caught_up();
        world.once();
    }
    assert_eq!(world.keys("*"), keys);
    world.sql("INSERT INTO t VALUES (200, 'new')");
    // Everything is read, so `--once` has nothing to do, and leaves the rest to the stream.
    world.once();
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}
