//! kill -9 of the program at fifty moments that nothing announces, and restarts at once.

use std::thread;
use std::time::Duration;

use redis_connect_postgres::throwaway::{postgres as pg, redis as rd};
use rustix::process::{Pid, Signal, kill_process};

use super::{Journal, Order, Random, Workload, settle, stops_cleanly};
use crate::harness::{Config, Proxy, Settings, World};

#[test]
fn killed_twenty_times_in_the_stream() {
    let world = World::own();
    Workload::prepare(&world, 1_000);
    world.configure(&Config { target: "batch: { rows: 200 }", ..Config::default() });
    let journal = Journal::begin(&world, Order::Strict);
    let mut connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    let workload = Workload::start(&world);
    let mut random = workload.random();
    for kill in 0..20 {
        // Some while it starts, most at work.
        random.pause(20, if kill % 4 == 0 { 150 } else { 700 });
        connector.kill9();
        connector = world.run();
    }
    workload.goes_on(&world, 20);
    settle(&world, workload, &connector);
    journal.check(&world);
}

#[test]
fn killed_fifteen_times_in_the_snapshot() {
    let world = World::own();
    Workload::prepare(&world, 40_000);
    // Slow, so that there are fifteen moments; what a killed program has sent arrives late.
    let proxy = Proxy::to(world.redis_port());
    proxy.throttle(800_000);
    world.configure(&Config {
        target_url: Some(world.target_url_at(proxy.port())),
        target: "batch: { rows: 200 }",
        top: "snapshot: { workers: 3, range_rows: 1000 }",
        ..Config::default()
    });
    let journal = Journal::begin(&world, Order::Converging);
    let workload = Workload::with_pause(&world, Duration::from_millis(10));
    let mut random = workload.random();
    let mut kills = 0;
    let mut connector = world.run();
    while kills < 15 {
        random.pause(100, 600);
        let during = world.checkpoint().get("snapshot").is_none_or(|state| state == "running");
        connector.kill9();
        assert!(during, "the snapshot was done after {kills} kills already");
        kills += 1;
        connector = world.run();
    }
    proxy.throttle(0);
    world.eventually("the snapshot is done", || world.checkpoint()["snapshot"] == "done");
    settle(&world, workload, &connector);
    journal.check(&world);
}

/// The transaction moves every row to another key, gives the former key to a new row, and so on: a
/// part of it that is done twice takes fields from rows that are not meant.
#[test]
fn killed_fifteen_times_inside_a_large_transaction() {
    let world = World::own();
    world.sql(
        "CREATE TABLE moved (id int PRIMARY KEY, n int, doc text);
         ALTER TABLE moved ALTER doc SET STORAGE EXTERNAL;
         CREATE TABLE counter (id int PRIMARY KEY, n bigint);
         INSERT INTO counter VALUES (1, 0), (2, 0);
         INSERT INTO moved SELECT g, 0, repeat(md5(g::text), 80) FROM generate_series(1, 2000) g",
    );
    // Each batch takes a round trip of 10 ms: long enough to be killed in the middle.
    let proxy = Proxy::to(world.redis_port());
    proxy.delay(5);
    world.configure(&Config {
        target_url: Some(world.target_url_at(proxy.port())),
        target: "batch: { rows: 40 }",
        ..Config::default()
    });
    let journal = Journal::begin(&world, Order::Strict);
    let mut connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    world.sql(
        "BEGIN;
         UPDATE counter SET n = n + 1;
         UPDATE moved SET id = id + 10000;
         UPDATE counter SET n = n + 1;
         INSERT INTO moved SELECT g, 1, repeat(md5('new' || g), 80) FROM generate_series(1, 2000) g;
         UPDATE counter SET n = n + 1;
         UPDATE moved SET id = id + 20000, n = 2 WHERE id > 10000;
         UPDATE counter SET n = n + 1;
         UPDATE moved SET id = id + 10000, n = n + 1 WHERE id <= 2000;
         UPDATE counter SET n = n + 1;
         INSERT INTO moved SELECT g, 3, 'short' FROM generate_series(1, 2000, 2) g;
         COMMIT",
    );
    world.eventually("it is inside the transaction", || journal.split() > 0);
    let seed = Random::seed();
    println!("TEST_SEED={seed}");
    let mut random = Random::new(seed);
    let mut inside = 0;
    for _ in 0..15 {
        random.pause(100, 350);
        connector.kill9();
        inside += u64::from(world.checkpoint()["ordinal"] != "0");
        connector = world.run();
    }
    assert!(inside >= 8, "only {inside} of 15 kills were inside the transaction");
    world.eventually_equal(&["moved", "counter"]);
    stops_cleanly(&connector);
    journal.check(&world);
    world.assert_equal(&["moved", "counter"]);
}

/// While PostgreSQL decodes for long, its keepalives tell of positions before the transaction that
/// Redis has a part of: they must not make it forget that part.
#[test]
fn a_part_of_a_transaction_is_remembered_until_the_rest_comes() {
    let postgres = pg::Settings::default().set("logical_decoding_work_mem", "64kB");
    let world = World::with(Settings { postgres: Some(postgres), redis: rd::Settings::durable() });
    world.sql(
        "CREATE TABLE moved (id int PRIMARY KEY, doc text);
         CREATE TABLE other (v text);
         INSERT INTO moved SELECT g, g FROM generate_series(1, 3000) g",
    );
    let proxy = Proxy::to(world.redis_port());
    world.configure(&Config {
        target_url: Some(world.target_url_at(proxy.port())),
        target: "batch: { rows: 50 }",
        tables: "public.moved: { type: hash }",
        ..Config::default()
    });
    let journal = Journal::begin(&world, Order::Strict);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    proxy.delay(5);
    world.sql(
        "BEGIN;
         UPDATE moved SET id = id + 10000;
         INSERT INTO moved SELECT g, 'new' FROM generate_series(1, 3000) g;
         INSERT INTO other SELECT repeat('x', 100) FROM generate_series(1, 500000);
         COMMIT",
    );
    world.eventually("it is inside the transaction", || journal.split() > 5);
    connector.kill9();
    let checkpoint = world.checkpoint();
    let connector = world.run();
    // Stopped where it has decoded a part of what it has to, so that it is asked there how far it is.
    let query = format!(
        "SELECT pid FROM pg_stat_replication JOIN pg_replication_slots ON pid = active_pid \
         WHERE sent_lsn > '{}' AND sent_lsn < '{}'",
        checkpoint["lsn"], checkpoint["split"]
    );
    let mut found = Vec::new();
    world.eventually("PostgreSQL decodes", || {
        found = world.rows(&query);
        !found.is_empty()
    });
    let walsender = found[0][0].as_ref().and_then(|pid| Pid::from_raw(pid.parse().unwrap())).unwrap();
    kill_process(walsender, Signal::STOP).unwrap();
    thread::sleep(Duration::from_millis(1_500));
    kill_process(walsender, Signal::CONT).unwrap();
    world.eventually_equal(&["moved"]);
    journal.check(&world);
    stops_cleanly(&connector);
    world.assert_equal(&["moved"]);
}

/// A row moves away while an interrupted snapshot goes on, and moves again when it is done: what the
/// UPDATEs do not send must come from somewhere.
#[test]
fn a_row_that_moves_between_the_halves_of_a_snapshot_keeps_its_fields() {
    let world = World::own();
    world.sql(
        "CREATE TABLE doc (id int PRIMARY KEY, n int, doc text);
         ALTER TABLE doc ALTER doc SET STORAGE EXTERNAL;
         INSERT INTO doc SELECT g, 0, repeat(md5(g::text), 70) FROM generate_series(1, 4000) g;
         ANALYZE doc",
    );
    let proxy = Proxy::to(world.redis_port());
    proxy.throttle(3_000_000);
    world.configure(&Config {
        target_url: Some(world.target_url_at(proxy.port())),
        target: "batch: { rows: 100 }",
        top: "snapshot: { workers: 1, range_rows: 1000 }",
        ..Config::default()
    });
    let connector = world.run();
    world.eventually("the first range is read", || {
        world.checkpoint().get("table:public.doc").is_some_and(|state| state.contains("\"done\":[0"))
    });
    connector.kill9();
    assert_eq!(world.checkpoint()["snapshot"], "running");
    // From a range that is still to be read into the one that is done.
    world.sql("UPDATE doc SET id = -id WHERE id > 3900");

    let connector = world.run();
    world.eventually("the second half begins", || connector.log_contains("snapshot goes on"));
    world.sql("UPDATE doc SET id = id - 10000, n = 1 WHERE id < 0");
    proxy.throttle(0);
    world.eventually("it streams", || connector.log_contains("streaming"));
    world.eventually_equal(&["doc"]);
    stops_cleanly(&connector);
}
