//! A Redis whose failover keeps connections open: nobody is told that it is another server now.

use redis_connect_postgres::throwaway::{Redis, redis as rd};

use crate::faults::stops_cleanly;
use crate::harness::{Config, Handover, Table, World, ask};

/// The replica had everything: the pipeline goes on as if nothing had happened.
#[test]
fn a_failover_that_loses_nothing() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'x' FROM generate_series(1, 500) n");
    let arguments = ["--replicaof", "127.0.0.1", &world.redis_port().to_string()].map(str::to_owned).to_vec();
    let replica = Redis::start(rd::Settings { arguments, ..rd::Settings::default() }).unwrap();
    let handover = Handover::to(world.redis_port());
    let target_url = Some(world.target_url_at(handover.port()));
    world.configure(&Config { target_url, ..Config::default() });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    world.sql("UPDATE t SET v = 'y' WHERE id < 100; INSERT INTO t VALUES (501, 'z')");
    world.eventually_equal(&["t"]);
    let position = || world.checkpoint().get("batch").cloned();
    let key = format!("redis-connect-postgres:{}:checkpoint", world.name);
    world.eventually("the replica has it too", || {
        ask::<Option<String>>(replica.port(), &["HGET", &key, "batch"]).flatten() == position()
    });
    let _: Option<String> = ask(replica.port(), &["REPLICAOF", "NO", "ONE"]);
    let connections = handover.connections();
    world.redis::<()>(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]);
    handover.move_to(replica.port());
    world.sql("UPDATE t SET v = 'after' WHERE id BETWEEN 50 AND 150; DELETE FROM t WHERE id = 7");
    world.redis_moved_to(replica.port());
    world.eventually_equal(&["t"]);
    assert!(handover.moved() > 0, "the proxy has not changed servers");
    assert_eq!(handover.connections(), connections, "the connector was disconnected\n{}", world.story());
    stops_cleanly(&connector);
    world.assert_table(&Table::new("t"));
}

/// The replica lacked the newest batches, and nothing in the connection tells: the next batch does.
#[test]
fn a_failover_that_loses_batches() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'x' FROM generate_series(1, 500) n;
         CREATE TABLE s (id int PRIMARY KEY, v text); INSERT INTO s VALUES (1, 'first')",
    );
    let arguments = ["--replicaof", "127.0.0.1", &world.redis_port().to_string()].map(str::to_owned).to_vec();
    let replica = Redis::start(rd::Settings { arguments, ..rd::Settings::default() }).unwrap();
    let handover = Handover::to(world.redis_port());
    let target_url = Some(world.target_url_at(handover.port()));
    let tables = "
        public.t: { type: hash }
        public.s: [{ type: hash }, { type: stream, key: told }]
    ";
    world.configure(&Config { target_url, tables, ..Config::default() });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    world.sql("UPDATE t SET v = 'y' WHERE id < 100");
    world.eventually_equal(&["t"]);
    let number = |text: Option<String>| text.map_or(0, |text| text.parse::<u64>().unwrap());
    let count = || number(world.checkpoint().get("count").cloned());
    let key = format!("redis-connect-postgres:{}:checkpoint", world.name);
    let replicas = || number(ask::<Option<String>>(replica.port(), &["HGET", &key, "count"]).flatten());
    world.eventually("the replica has it too", || replicas() == count());
    // From here on it gets nothing.
    let _: Option<String> = ask(replica.port(), &["REPLICAOF", "NO", "ONE"]);
    world.sql("UPDATE t SET v = 'lost' WHERE id = 200; INSERT INTO s VALUES (2, 'lost')");
    world.eventually_equal(&["t", "s"]);
    assert!(count() > replicas(), "{:?} {:?}", count(), replicas());
    handover.move_to(replica.port());
    world.redis_moved_to(replica.port());
    world.sql("UPDATE t SET v = 'after' WHERE id = 300");
    world.eventually("it is noticed", || connector.log_contains("forgotten batches behind our back"));
    world.eventually_equal(&["t", "s"]);
    // Whoever reads the stream is told that something is missing.
    let events: redis::Value = world.redis(&["XRANGE", "told", "-", "+"]);
    let events = format!("{events:?}");
    assert!(events.contains("behind our back"), "{events}");
    stops_cleanly(&connector);
    world.assert_table(&Table::new("t"));
}
