//! SIGTERM and SIGINT: exit code 0 within five seconds, whatever is going on.

use std::thread;
use std::time::{Duration, Instant};

use redis_connect_postgres::throwaway::{postgres as pg, redis as rd};
use rustix::process::Signal;

use crate::harness::{Config, Connector, Proxy, Settings, World};
use crate::hashes::Writer;

#[track_caller]
fn stops(connector: &Connector, signal: Signal) {
    let began = Instant::now();
    connector.signal(signal);
    let status = connector.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0), "{status}\n{}", connector.story());
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}\n{}", began.elapsed(), connector.story());
}

fn world() -> World {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 1000) i");
    world
}

fn streaming(world: &World) -> Connector {
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming from"));
    connector
}

#[test]
fn while_idle() {
    let world = world();
    for signal in [Signal::TERM, Signal::INT] {
        let connector = streaming(&world);
        world.sql("UPDATE t SET v = v || '!' WHERE id = 1");
        stops(&connector, signal);
    }
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

#[test]
fn under_load() {
    let world = world();
    let writer = Writer::begin(&world, |i| {
        let from = 1000 + i * 500;
        format!(
            "BEGIN; INSERT INTO t SELECT n, 'load' FROM generate_series({from} + 1, {from} + 500) n;
             UPDATE t SET v = 'x' WHERE id BETWEEN {from} - 300 AND {from}; COMMIT"
        )
    });
    for _ in 0..4 {
        let connector = streaming(&world);
        let before = world.checkpoint()["lsn"].clone();
        world.eventually("it writes", || world.checkpoint()["lsn"] != before);
        stops(&connector, Signal::TERM);
    }
    writer.stop();
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

#[test]
fn in_the_middle_of_a_transaction_larger_than_a_batch() {
    let world = world();
    world.configure(&Config { target: "batch: { rows: 10 }", ..Config::default() });
    let connector = streaming(&world);
    world.sql("INSERT INTO t SELECT i, 'large' FROM generate_series(2000, 60000) i");
    world.eventually("a part is written", || world.checkpoint()["ordinal"] != "0");
    stops(&connector, Signal::TERM);
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

#[test]
fn during_the_snapshot() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, 20000) i; ANALYZE t");
    let proxy = Proxy::to(world.redis_port());
    proxy.throttle(3_000_000);
    world.configure(&Config {
        target_url: Some(world.target_url_at(proxy.port())),
        top: "snapshot: { range_rows: 1000 }",
        ..Config::default()
    });
    let connector = world.run();
    world.eventually("rows are being read", || !world.keys("t:1*").is_empty());
    stops(&connector, Signal::TERM);
    assert!(world.keys("t:*").len() < 20_000, "the snapshot was too quick");
    proxy.throttle(0);
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

#[test]
fn while_redis_is_frozen() {
    let world = world();
    let connector = streaming(&world);
    world.redis_server().pause();
    world.sql("UPDATE t SET v = 'late' WHERE id < 100");
    // So that a batch is on its way.
    thread::sleep(Duration::from_millis(300));
    stops(&connector, Signal::TERM);
    world.redis_server().resume();
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

#[test]
fn while_redis_is_away() {
    let world = world();
    let connector = streaming(&world);
    world.redis_server().kill9();
    world.sql("UPDATE t SET v = 'late' WHERE id < 100");
    world.eventually("it notices", || connector.log_contains("trying again"));
    stops(&connector, Signal::INT);
}

#[test]
fn while_postgresql_is_away() {
    let world = World::own();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let connector = streaming(&world);
    world.postgres().kill9();
    world.eventually("it notices", || connector.log_contains("trying again"));
    stops(&connector, Signal::TERM);
}

#[test]
fn while_redis_is_frozen_from_the_start() {
    let world = world();
    world.config("");
    world.redis_server().pause();
    let connector = world.run();
    thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    connector.term();
    let status = connector.wait(Duration::from_secs(30));
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}: {status}", began.elapsed());
    world.redis_server().resume();
}

#[test]
fn while_postgresql_does_not_answer_from_the_start() {
    let world = world();
    let proxy = Proxy::to(world.postgres_port());
    proxy.stall(true);
    world.configure(&Config { source_url: Some(world.source_url_at(proxy.port())), ..Config::default() });
    let connector = world.run();
    world.eventually("it connects", || proxy.connections() > 0);
    let began = Instant::now();
    connector.term();
    let status = connector.wait(Duration::from_secs(60));
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}: {status}", began.elapsed());
}

/// PostgreSQL makes a slot only when all who write have ended, and that may take hours.
#[test]
fn while_the_slot_is_being_made() {
    let world =
        World::with(Settings { postgres: Some(pg::Settings::default()), redis: rd::Settings::default() });
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let mut open = world.client();
    open.batch_execute("BEGIN; INSERT INTO t VALUES (1)").unwrap();
    let connector = world.run();
    world.eventually("the slot is being made", || {
        world.value::<i64>("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'pg_create_logical' AND pid <> pg_backend_pid()") == 1
    });
    stops(&connector, Signal::TERM);
    open.batch_execute("COMMIT").unwrap();
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

#[track_caller]
fn stops_while_locked_out(world: &World, connector: &Connector) {
    world.eventually("it waits for the lock", || {
        world.value::<i64>("SELECT count(*) FROM pg_locks WHERE NOT granted") == 1
    });
    stops(connector, Signal::TERM);
}

/// Somebody has locked a table that is to be read, and that may take hours too.
#[test]
fn while_a_table_is_locked() {
    let world = World::own();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
    world.once();
    world.sql("CREATE TABLE new (id int PRIMARY KEY); INSERT INTO new VALUES (1)");
    let mut open = world.client();
    open.batch_execute("BEGIN; LOCK TABLE new IN ACCESS EXCLUSIVE MODE").unwrap();
    let connector = world.run();
    stops_while_locked_out(&world, &connector);
    open.batch_execute("COMMIT").unwrap();
    world.run_until_caught_up();
    world.assert_equal(&["new"]);
}

/// PostgreSQL falls silent when it is asked for something in the middle of the stream.
#[test]
fn while_postgresql_does_not_answer_a_question() {
    let world = World::own();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, n int, doc text); ALTER TABLE t ALTER doc SET STORAGE EXTERNAL;
         INSERT INTO t VALUES (1, 1, repeat('x', 5000))",
    );
    world.config("public.t: { type: string }");
    let connector = streaming(&world);
    let mut open = world.client();
    // The value that is not sent is asked for, which waits for the lock.
    open.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; UPDATE t SET n = 2").unwrap();
    connector.stop();
    open.batch_execute("COMMIT; BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").unwrap();
    connector.cont();
    stops_while_locked_out(&world, &connector);
    open.batch_execute("COMMIT").unwrap();
    world.run_until_caught_up();
    let value = world.redis::<String>(&["GET", "t:1"]);
    assert!(value.contains("\"n\":2"), "{value}");
}

#[test]
fn while_another_instance_is_at_work() {
    let world = world();
    let first = streaming(&world);
    let second = world.run();
    world.eventually("it waits", || second.log_contains("waiting to take over"));
    stops(&second, Signal::TERM);
    world.sql("UPDATE t SET v = 'x' WHERE id = 1");
    world.eventually_equal(&["t"]);
    stops(&first, Signal::INT);
}

/// A second signal while the first one is being obeyed changes nothing.
#[test]
fn twice() {
    let world = world();
    let connector = streaming(&world);
    world.redis_server().pause();
    world.sql("UPDATE t SET v = 'late' WHERE id < 100");
    connector.term();
    stops(&connector, Signal::TERM);
    world.redis_server().resume();
}
