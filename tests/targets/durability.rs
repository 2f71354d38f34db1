//! `durability`: what Redis alone has is not confirmed yet.

use std::time::Duration;

use redis_connect_postgres::throwaway::{Redis, redis as rd};

use crate::harness::{Cluster, Config, World, ask};
use crate::hashes::Live;

/// The slot's position has reached it.
fn confirmed(world: &World, lsn: &str) -> bool {
    let found: String = world.value(&format!(
        "SELECT confirmed_flush_lsn >= '{lsn}' FROM pg_replication_slots WHERE slot_name = '{}'",
        world.slot()
    ));
    found == "t"
}

fn replica(master: u16) -> Redis {
    let arguments = ["--replicaof", "127.0.0.1", &master.to_string()].map(str::to_owned).to_vec();
    Redis::start(rd::Settings { arguments, ..rd::Settings::default() }).unwrap()
}

#[test]
fn replicas_are_waited_for() {
    let world = World::new();
    let replica = replica(world.redis_port());
    world.eventually("the replica follows", || {
        ask::<String>(replica.port(), &["INFO", "replication"]).is_some_and(|i| i.contains("link_status:up"))
    });
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let live = Live::with(
        &world,
        &Config { source: "retain: 0", top: "durability: { wait: 1 }", ..Config::default() },
    );
    live.sql("INSERT INTO t VALUES (1)");
    replica.pause();
    world.sql("INSERT INTO t VALUES (2)");
    let lsn: String = world.value("SELECT pg_current_wal_lsn()");
    world.eventually("it is said", || {
        live.connector.log_contains("NOREPLICAS 0 of 1 replicas have the batch")
    });
    assert!(!confirmed(&world, &lsn));
    replica.resume();
    world.eventually("it is over", || live.connector.log_contains("works again"));
    live.sql("INSERT INTO t VALUES (3)");
    world.within(Duration::from_secs(10), "the position is confirmed", || confirmed(&world, &lsn));
    live.assert_equal(&["t"]);
}

/// Every shard's replica is waited for.
#[test]
fn replicas_of_shards_are_waited_for() {
    let cluster = Cluster::start(3, 1);
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    world.configure(&Config {
        target_url: Some(cluster.url()),
        source: "retain: 0",
        top: "durability: { wait: 1 }",
        ..Config::default()
    });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    world.sql("INSERT INTO t SELECT generate_series(1, 100)");
    let lsn: String = world.value("SELECT pg_current_wal_lsn()");
    world.eventually("the position is confirmed", || confirmed(&world, &lsn));
    cluster.server(4).pause();
    world.sql("INSERT INTO t SELECT generate_series(101, 200)");
    let lsn: String = world.value("SELECT pg_current_wal_lsn()");
    world.eventually("it is said", || connector.log_contains("NOREPLICAS 0 of 1 replicas have the batch"));
    assert!(!confirmed(&world, &lsn));
    cluster.server(4).resume();
    world.eventually("the position is confirmed", || confirmed(&world, &lsn));
}

/// Redis 7.2 and later can tell what is on disk.
#[test]
fn the_disk_is_waited_for() {
    let Some(world) = World::with_modules() else { return };
    world.redis::<()>(&["CONFIG", "SET", "appendonly", "yes"]);
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let live = Live::with(
        &world,
        &Config { source: "retain: 0", top: "durability: { waitaof: 0 }", ..Config::default() },
    );
    live.sql("INSERT INTO t SELECT generate_series(1, 100)");
    let lsn: String = world.value("SELECT pg_current_wal_lsn()");
    live.sql("INSERT INTO t VALUES (101)");
    world.eventually("the position is confirmed", || confirmed(&world, &lsn));
    assert!(!live.connector.log_contains("NOREPLICAS"), "{}", live.connector.story());
}

#[test]
fn the_disk_of_a_redis_that_cannot_tell() {
    let world = World::new();
    let info: String = world.redis(&["INFO", "server"]);
    if !info.contains("redis_version:7.0") {
        crate::harness::skip!("this Redis knows WAITAOF");
    }
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    world.configure(&Config { top: "durability: { waitaof: 0 }", ..Config::default() });
    super::fails(&world, &["unknown command 'WAITAOF'"]);
}
