//! Transactions: what commits together appears together, and what does not commit never does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use redis_connect_postgres::throwaway::{postgres as pg, redis as rd};

use super::Live;
use crate::harness::{Config, Settings, World};

#[test]
fn savepoints_and_rollbacks() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one'), (2, 'two')");
    let live = Live::begin(&world);
    live.sql("BEGIN; INSERT INTO t VALUES (3, 'never'); DELETE FROM t; ROLLBACK");
    live.sql(
        "BEGIN; INSERT INTO t VALUES (4, 'kept'); SAVEPOINT a; INSERT INTO t VALUES (5, 'undone'); DELETE FROM t WHERE id = 1;
         SAVEPOINT b; UPDATE t SET id = 40 WHERE id = 4; ROLLBACK TO a; UPDATE t SET v = 'new' WHERE id = 2;
         SAVEPOINT c; INSERT INTO t VALUES (6, 'kept too'); RELEASE c; COMMIT",
    );
    live.assert_equal(&["t"]);
    assert_eq!(live.keys("t:*").into_iter().collect::<Vec<_>>(), ["t:1", "t:2", "t:4", "t:6"]);
    live.sql(
        "DO $$ BEGIN FOR i IN 10..60 LOOP BEGIN INSERT INTO t VALUES (i, 'x'); IF i % 3 = 0 THEN RAISE division_by_zero; END IF;
         EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$",
    );
    live.assert_equal(&["t"]);
}

/// A reader that sees one of the changes sees the other.
#[test]
fn two_tables_changed_in_one_transaction_appear_together() {
    let world = World::new();
    world.sql(
        "CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY, n int);
         INSERT INTO a VALUES (1, 0); INSERT INTO b VALUES (1, 0)",
    );
    let live = Live::begin(&world);
    let done = AtomicBool::new(false);
    let mut client = world.client();
    let mut seen = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=1000 {
                client
                    .batch_execute(&format!(
                        "BEGIN; UPDATE a SET n = {n}; INSERT INTO a VALUES ({n} + 1, {n}); UPDATE b SET n = {n}; COMMIT"
                    ))
                    .unwrap();
            }
            done.store(true, Relaxed);
        });
        let mut last = String::new();
        while !done.load(Relaxed) {
            let (a, b, inserted) = world.with_redis(|redis| {
                redis::pipe()
                    .atomic()
                    .cmd("HGET")
                    .arg(&["a:1", "n"])
                    .cmd("HGET")
                    .arg(&["b:1", "n"])
                    .cmd("KEYS")
                    .arg("a:*")
                    .query::<(String, String, Vec<String>)>(redis)
                    .unwrap()
            });
            assert_eq!(a, b);
            assert_eq!(inserted.len().to_string(), (a.parse::<usize>().unwrap() + 1).to_string());
            seen += u32::from(a != last);
            last = a;
        }
    });
    assert!(seen > 5, "only {seen} states were seen");
    live.settle();
    live.assert_equal(&["a", "b"]);
}

/// Too large for a batch, so it is split; in the end it is whole, and the position is behind it.
#[test]
fn a_transaction_larger_than_a_batch() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'old' FROM generate_series(1, 2000) i");
    let live = Live::with(&world, &Config { target: "batch: { rows: 500 }", ..Config::default() });
    live.sql(
        "BEGIN; INSERT INTO t SELECT i, 'row ' || i FROM generate_series(2001, 30000) i; UPDATE t SET v = 'new' WHERE id <= 1000;
         DELETE FROM t WHERE id BETWEEN 1500 AND 1600; UPDATE t SET id = -id WHERE id > 29000; COMMIT",
    );
    live.assert_equal(&["t"]);
    let checkpoint = live.checkpoint();
    assert_eq!(checkpoint["ordinal"], "0", "{checkpoint:?}");
}

/// The writer dies in the middle of a split transaction, and another goes on from there.
#[test]
fn a_transaction_larger_than_a_batch_is_resumed_inside() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'old' FROM generate_series(1, 2000) i");
    let live = Live::with(&world, &Config { target: "batch: { rows: 20 }", ..Config::default() });
    world.sql(
        "BEGIN; INSERT INTO t SELECT i, 'row ' || i FROM generate_series(2001, 60000) i; UPDATE t SET id = -id WHERE id <= 2000;
         DELETE FROM t WHERE id % 7 = 0; COMMIT",
    );
    world.eventually("a part of the transaction is in Redis", || {
        world.checkpoint().get("ordinal").is_some_and(|ordinal| ordinal.parse::<u64>().unwrap() > 1000)
    });
    live.connector.kill9();
    let checkpoint = world.checkpoint();
    assert_ne!(checkpoint["ordinal"], "0", "it was not caught inside: {checkpoint:?}");
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

#[test]
fn prepared_transactions() {
    let world = World::with(Settings {
        postgres: Some(pg::Settings::default().set("max_prepared_transactions", "5")),
        redis: rd::Settings::default(),
    });
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one')");
    let live = Live::begin(&world);
    live.sql(
        "BEGIN; INSERT INTO t VALUES (2, 'two'); UPDATE t SET v = 'prepared' WHERE id = 1; PREPARE TRANSACTION 'a';
         BEGIN; INSERT INTO t VALUES (3, 'never'); PREPARE TRANSACTION 'b'",
    );
    assert_eq!(live.keys("t:*").len(), 1);
    assert_eq!(live.hash("t:1")["v"], "one");
    live.sql("COMMIT PREPARED 'a'");
    live.sql("ROLLBACK PREPARED 'b'");
    live.assert_equal(&["t"]);
    assert_eq!(live.hash("t:1")["v"], "prepared");
}

/// Prepared before the first start and committed after it: the snapshot did not see it.
#[test]
fn a_transaction_prepared_before_the_start() {
    let world = World::with(Settings {
        postgres: Some(pg::Settings::default().set("max_prepared_transactions", "5")),
        redis: rd::Settings::default(),
    });
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one')");
    world.once();
    world.sql("BEGIN; INSERT INTO t VALUES (2, 'two'); PREPARE TRANSACTION 'a'");
    world.run_until_caught_up();
    world.sql("COMMIT PREPARED 'a'");
    world.sql("UPDATE t SET v = 'x' WHERE id = 1");
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

/// Many sessions at once commit in another order than they began.
#[test]
fn transactions_of_many_sessions() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v int DEFAULT 0, w text); INSERT INTO t SELECT i FROM generate_series(1, 20) i");
    let live = Live::begin(&world);
    thread::scope(|scope| {
        for writer in 0..6 {
            let mut client = world.client();
            scope.spawn(move || {
                for i in 0..60 {
                    let (a, b) = ((writer * 7 + i) % 20 + 1, (writer * 3 + i * 5) % 20 + 1);
                    let (low, high) = (a.min(b), a.max(b));
                    let own = 100 + writer * 1000 + i;
                    client
                        .batch_execute(&format!(
                            "BEGIN; UPDATE t SET v = v + 1 WHERE id = {low}; INSERT INTO t VALUES ({own}, {i}, 'w{writer}');
                             UPDATE t SET w = CASE WHEN {i} % 3 > 0 THEN 'w{writer} {i}' END WHERE id = {high}; COMMIT"
                        ))
                        .unwrap();
                }
            });
        }
    });
    live.settle();
    live.assert_equal(&["t"]);
    let hash: BTreeMap<_, _> = live.hash("t:1");
    assert_ne!(hash["v"], "0");
}
