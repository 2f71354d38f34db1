//! Tables that change while they are read.

use std::time::Duration;

use redis_connect_postgres::throwaway::{postgres as pg, redis as rd};

use crate::harness::{Config, Proxy, Settings, World};
use crate::hashes::{Live, Writer, large, wait_until_free};

/// A table with large values, three quarters of them.
pub(super) fn create(rows: u32) -> String {
    format!(
        "CREATE TABLE t (id int PRIMARY KEY, n int, a text, b text); ALTER TABLE t ALTER b SET STORAGE EXTERNAL;
         INSERT INTO t SELECT i, i, 'a' || i, CASE WHEN i % 4 > 0 THEN repeat(md5(i::text), 80) END
             FROM generate_series(1, {rows}) i; ANALYZE t"
    )
}

/// One change of `t`; which, follows from the number.
pub(super) fn change(i: u32, rows: u32) -> String {
    let spread = |factor: u32| i.wrapping_mul(factor) % rows + 1;
    let (x, y) = (spread(7919), spread(104_729));
    match i % 9 {
        0 => format!("UPDATE t SET n = -{i} WHERE id = {x}"),
        1 => format!("DELETE FROM t WHERE id = {x}"),
        2 => format!(
            "INSERT INTO t VALUES ({x}, {i}, NULL, repeat(md5('{i}'), 90)) ON CONFLICT (id) DO UPDATE SET a = NULL, n = {i}"
        ),
        3 => format!("UPDATE t SET id = {} WHERE id = {x}", rows + i),
        4 => format!("UPDATE t SET b = repeat(md5('new {i}'), 70) WHERE id = {x}"),
        5 => format!("UPDATE t SET b = NULL, a = 'b{i}' WHERE id = {x}"),
        6 => format!(
            "BEGIN; DELETE FROM t WHERE id = {y}; UPDATE t SET id = {y}, n = {i} WHERE id = {x}; COMMIT"
        ),
        7 => format!(
            "BEGIN; UPDATE t SET n = 0 WHERE id = {x}; INSERT INTO t VALUES ({}, {i}, 'i', 'x'); ROLLBACK",
            rows * 2 + i
        ),
        _ => format!("UPDATE t SET n = n + 1 WHERE id BETWEEN {x} AND {x} + 3"),
    }
}

#[test]
fn a_writer_during_the_whole_snapshot() {
    const ROWS: u32 = 6000;
    let world = World::new();
    world.sql(&create(ROWS));
    let proxy = Proxy::to(world.redis_port());
    proxy.throttle(8_000_000);
    let writer = Writer::begin(&world, |i| change(i, ROWS));
    let live = Live::start(
        &world,
        &Config {
            target_url: Some(world.target_url_at(proxy.port())),
            top: "snapshot: { range_rows: 1000, workers: 4 }",
            ..Config::default()
        },
    );
    world.eventually("the snapshot is done", || live.connector.log_contains("streaming from"));
    let count = writer.stop();
    assert!(count > 100, "only {count} changes while it was read");
    proxy.throttle(0);
    live.settle();
    live.assert_equal(&["t"]);
    live.sql("UPDATE t SET n = 0 WHERE id % 50 = 0");
    live.assert_equal(&["t"]);
}

/// Several writers whose commits PostgreSQL confirms before they are on disk.
#[test]
fn writers_with_asynchronous_commit() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, w int, v int); CREATE TABLE sums (w int PRIMARY KEY, v int)",
    );
    world.sql("INSERT INTO sums SELECT w, 0 FROM generate_series(0, 3) w");
    let writers: Vec<Writer> = (0..4)
        .map(|w| {
            Writer::begin(&world, move |i| {
                format!(
                    "SET synchronous_commit = off;
                     BEGIN; INSERT INTO t VALUES ({}, {w}, 1); UPDATE sums SET v = v + 1 WHERE w = {w}; COMMIT",
                    w * 1_000_000 + i
                )
            })
        })
        .collect();
    // In the middle of it, snapshots are taken again and again.
    for _ in 0..4 {
        world.once();
        begin_anew(&world);
    }
    world.once();
    for writer in writers {
        assert!(writer.stop() > 20);
    }
    world.run_until_caught_up();
    world.assert_equal(&["t", "sums"]);
}

/// Removes slot and checkpoint, so that the next run reads everything.
fn begin_anew(world: &World) {
    let slot = world.slot();
    wait_until_free(world);
    world.sql(&format!("SELECT pg_drop_replication_slot('{slot}')"));
    world.redis::<()>(&["DEL", &format!("redis-connect-postgres:{}:checkpoint", world.name)]);
}

/// What the snapshot has read must not be undone by a crash of PostgreSQL.
#[test]
fn a_crash_of_postgresql_after_an_asynchronous_commit() {
    let world = World::own();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (0, 0)");
    for round in 1..4 {
        world.sql("SET synchronous_commit = off");
        world.sql(&format!("INSERT INTO t SELECT i, {round} FROM generate_series({round}000, {round}099) i"));
        world.sql(&format!("UPDATE t SET v = {round} WHERE id = 0"));
        world.once();
        world.postgres().kill9();
        world.postgres().start_again().unwrap();
        world.sql(&format!("INSERT INTO t VALUES ({round}, 7)"));
        world.run_until_caught_up();
        world.assert_equal(&["t"]);
        begin_anew(&world);
    }
}

/// Its changes are in no snapshot and before the slot's first position it has begun.
#[test]
fn a_transaction_that_is_open_while_the_slot_is_made() {
    let world =
        World::with(Settings { postgres: Some(pg::Settings::default()), redis: rd::Settings::default() });
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one'), (2, 'two')");
    let mut open = world.client();
    open.batch_execute("BEGIN; INSERT INTO t VALUES (3, 'open'); UPDATE t SET v = 'changed' WHERE id = 1")
        .unwrap();
    let connector = world.run();
    // PostgreSQL makes the slot when all who write now have ended.
    world.eventually("the slot is being made", || {
        world.value::<i64>("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'pg_create_logical' AND pid <> pg_backend_pid()") == 1
    });
    world.sql("UPDATE t SET v = 'meanwhile' WHERE id = 2");
    open.batch_execute("UPDATE t SET v = 'again' WHERE id = 3; COMMIT").unwrap();
    world.eventually_equal(&["t"]);
    assert!(connector.is_running());
}

/// It began before the snapshot and commits after it.
#[test]
fn transactions_that_are_open_while_the_snapshot_is_taken() {
    let world =
        World::with(Settings { postgres: Some(pg::Settings::default()), redis: rd::Settings::default() });
    world.sql(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, v text, w text); ALTER TABLE t ALTER w SET STORAGE EXTERNAL;
         INSERT INTO t SELECT i, 'old', {} FROM generate_series(1, 6) i",
        large(1, "w")
    ));
    // Before the slot, since PostgreSQL looks for it in the catalog of the time that it decodes.
    world.sql(&format!("CREATE PUBLICATION redis_connect_{} FOR TABLE t", world.name));
    world.sql(&format!("SELECT pg_create_logical_replication_slot('{}', 'pgoutput')", world.slot()));
    world.sql("UPDATE t SET v = 'between' WHERE id = 1; DELETE FROM t WHERE id = 6");
    let mut commits = world.client();
    let mut rolls_back = world.client();
    let mut subtransaction = world.client();
    commits
        .batch_execute("BEGIN; UPDATE t SET v = 'commits' WHERE id = 2; INSERT INTO t VALUES (10, 'x'); UPDATE t SET id = 30 WHERE id = 3")
        .unwrap();
    rolls_back
        .batch_execute("BEGIN; UPDATE t SET v = 'never' WHERE id = 4; INSERT INTO t VALUES (11, 'x')")
        .unwrap();
    subtransaction
        .batch_execute("BEGIN; SAVEPOINT a; UPDATE t SET v = 'sub' WHERE id = 5; RELEASE a")
        .unwrap();
    world.once();
    assert!(world.hash("t:10").is_empty() && world.hash("t:30").is_empty());
    assert_eq!(world.hash("t:1")["v"], "between");
    commits.batch_execute("INSERT INTO t VALUES (12, 'y'); COMMIT").unwrap();
    rolls_back.batch_execute("ROLLBACK").unwrap();
    subtransaction.batch_execute("COMMIT").unwrap();
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

/// Everything that the first run leaves to the second.
#[test]
fn once_and_then_the_stream() {
    let world = World::new();
    world.sql(&create(500));
    world.once();
    world.assert_equal(&["t"]);
    for i in 0..300 {
        world.sql(&change(i, 500));
    }
    // A second `--once` reads nothing again.
    let connector = world.once();
    assert!(!connector.log_contains("snapshot begins"), "{}", connector.story());
    let connector = world.run();
    world.within(Duration::from_secs(10), "it streams", || connector.log_contains("streaming from"));
    world.eventually_equal(&["t"]);
    connector.term();
    assert!(connector.wait(Duration::from_secs(30)).success());
    world.assert_equal(&["t"]);
}

/// Whoever looks at a table through a snapshot from before it was rewritten sees nothing in it, and one
/// that has lost a column can't be read by its former definition.
#[test]
fn a_table_is_redefined_between_the_look_and_the_reading() {
    for change in ["ALTER TABLE t ALTER v TYPE bigint", "ALTER TABLE t DROP gone", "TRUNCATE t"] {
        let world = World::own();
        world.sql(&format!(
            "CREATE TABLE s (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, v int, gone int);
             INSERT INTO t VALUES (1, 1, 1), (2, 2, 2);
             CREATE PUBLICATION redis_connect_{} FOR TABLE s, t",
            world.name
        ));
        world.config("public.s: { type: stream }");
        world.run_until_caught_up();
        let mut client = world.client();
        client.batch_execute(&format!("BEGIN; {change}")).unwrap();
        world.config("public.s: { type: stream }\npublic.t: [{ type: stream, key: log }, { type: hash }]");
        let connector = world.run();
        world.eventually("it waits for whoever changes it", || {
            connector.log_contains("goes on when the transactions are over")
        });
        client.batch_execute("COMMIT").unwrap();
        world.eventually("it is read", || connector.log_contains("snapshot done"));
        world.sql("INSERT INTO t VALUES (3, 3)");
        world.eventually("the row is in Redis", || world.hash("t:3").contains_key("v"));
        world.assert_equal(&["t"]);
        let ids: Vec<(String, Vec<String>)> = world.redis(&["XRANGE", "log", "-", "+"]);
        let ops: Vec<&str> = ids.iter().map(|(_, fields)| fields[1].as_str()).collect();
        let expected = if change == "TRUNCATE t" { vec!["c"] } else { vec!["r", "r", "c"] };
        assert_eq!(ops, expected, "{change}");
    }
}
