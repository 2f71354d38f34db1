//! A master that sentinels watch over: found, followed when it fails, and never a former one.

use std::time::Instant;

use redis_connect_postgres::throwaway::{Directory, Redis, free_port, redis as rd};

use super::fails;
use crate::faults::{TABLES, Workload, stops_cleanly};
use crate::harness::{
    Authority, Certificate, Config, Connector, SERVICE, Sentinels, Settings, Table, World, ask,
    sentinel_settings,
};

const RETAIN: &str = "retain: 60s";

fn batch(port: u16, world: &World) -> u64 {
    let key = format!("redis-connect-postgres:{}:checkpoint", world.name);
    ask::<Option<String>>(port, &["HGET", &key, "batch"]).flatten().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The program runs under load; the master fails as `fail` does it. Returns the new master's port.
fn failover(world: &World, sentinels: &Sentinels, fail: impl FnOnce()) -> (u16, Connector) {
    Workload::prepare(world, 1_000);
    let target_url = Some(sentinels.url());
    let file = world.configure(&Config { target_url, source: RETAIN, ..Config::default() });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    let workload = Workload::start(world);
    workload.goes_on(world, 50);
    let before = batch(world.redis_port(), world);
    assert!(before > 0);
    let began = Instant::now();
    fail();
    let master = sentinels.failed_over();
    println!("a new master after {:?}", began.elapsed());
    let found = batch(master, world);
    world.eventually("it writes to the new master", || batch(master, world) > found + 5);
    println!("batches again after {:?}", began.elapsed());
    workload.goes_on(world, 50);
    workload.stop();
    world.redis_moved_to(master);
    world.eventually_equal(&TABLES);
    let (code, verify) = world.finish(&["verify", "-c", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{}\n{}", verify.stdout(), verify.story());
    assert!(connector.is_running(), "{}", connector.story());
    (master, connector)
}

#[test]
fn the_master_is_killed() {
    let world = World::own();
    let sentinels = Sentinels::over(&world);
    let (_, connector) = failover(&world, &sentinels, || world.redis_server().kill9());

    // It comes back, and takes itself for a master until the sentinels see it.
    world.redis_server().start_again().unwrap();
    let former = world.redis_server().port();
    let master = world.redis_port();
    let stats = || ask::<String>(former, &["INFO", "commandstats"]).unwrap_or_default();
    let _: Option<i64> = ask(master, &["CLIENT", "KILL", "TYPE", "normal"]);
    world.sql("UPDATE counter SET n = n + 1");
    world.eventually_equal(&TABLES);
    world.eventually("it is a replica", || {
        ask::<String>(former, &["INFO", "replication"]).is_some_and(|text| text.contains("role:slave"))
    });
    // Replicas are told of no WATCH.
    assert!(!stats().contains("cmdstat_watch"), "{}", stats());
    stops_cleanly(&connector);
    world.assert_equal(&TABLES);
}

#[test]
fn an_administrator_lets_another_be_the_master() {
    let world = World::own();
    let sentinels = Sentinels::over(&world);
    let (_, connector) = failover(&world, &sentinels, || {
        let done = ask::<String>(sentinels.sentinels[0].port(), &["SENTINEL", "FAILOVER", SERVICE]);
        assert_eq!(done.as_deref(), Some("OK"));
    });
    stops_cleanly(&connector);
    world.assert_equal(&TABLES);
}

/// A master that hangs is not waited for, nor is a sentinel.
#[test]
fn a_master_and_a_sentinel_freeze() {
    let world = World::own();
    let sentinels = Sentinels::over(&world);
    let (_, connector) = failover(&world, &sentinels, || {
        sentinels.sentinels[0].pause();
        world.redis_server().pause();
    });
    world.redis_server().resume();
    world.sql("UPDATE counter SET n = n + 1");
    world.eventually_equal(&TABLES);
    stops_cleanly(&connector);
    world.assert_equal(&TABLES);
}

/// One sentinel, one master, one table.
fn one(redis: rd::Settings, sentinel: impl Fn(u16) -> rd::Settings) -> (World, Redis) {
    let world = World::with(Settings { redis, ..Settings::default() });
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    let sentinel = Redis::start(sentinel(world.redis_port())).unwrap();
    (world, sentinel)
}

#[test]
fn a_sentinel_that_lags_is_not_believed() {
    let (world, right) = one(rd::Settings::default(), |master| sentinel_settings(master, 1, ""));
    let replica = Redis::start(rd::Settings::default()).unwrap();
    ask::<()>(replica.port(), &["REPLICAOF", "127.0.0.1", "1"]);
    let wrong = Redis::start(sentinel_settings(replica.port(), 1, "")).unwrap();
    let url = |hosts: &[u16]| {
        let hosts: Vec<String> = hosts.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        Some(format!("redis-sentinel://{}/{SERVICE}", hosts.join(",")))
    };
    world.configure(&Config { target_url: url(&[wrong.port()]), ..Config::default() });
    fails(&world, &["no master of `shop` is found", "says `slave`", &replica.port().to_string()]);
    world.configure(&Config { target_url: url(&[wrong.port(), right.port(), 1]), ..Config::default() });
    world.run_until_caught_up();
    world.assert_table(&Table::new("t"));
    assert!(ask::<i64>(replica.port(), &["DBSIZE"]) == Some(0));

    world.configure(&Config { target_url: url(&[1]), ..Config::default() });
    fails(&world, &["no master of `shop`", "the sentinel 127.0.0.1:1", "refused"]);
    world.configure(&Config { target_url: url(&[world.redis_port()]), ..Config::default() });
    fails(&world, &["it is none", "26379"]);
    let target_url = Some(format!("redis-sentinel://127.0.0.1:{}/shops", right.port()));
    world.configure(&Config { target_url, ..Config::default() });
    fails(&world, &["knows no master `shops`", "SENTINEL MASTERS"]);
}

#[test]
fn sentinels_have_a_password_of_their_own() {
    let redis = rd::Settings::default();
    let (world, sentinel) = one(redis, |master| sentinel_settings(master, 1, "requirepass watch"));
    world.redis::<()>(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all"]);
    let target_url = Some(format!("redis-sentinel://app:secret@127.0.0.1:{}/{SERVICE}/0", sentinel.port()));
    let with = |target: &str| {
        world.configure(&Config { target_url: target_url.clone(), target, ..Config::default() });
    };
    with("");
    fails(&world, &["NOAUTH", "target.sentinel.password"]);
    with("sentinel: { password: wrong }");
    fails(&world, &["WRONGPASS", "target.sentinel.password"]);
    with("sentinel: { password: watch, username: default }");
    world.run_until_caught_up();
    world.assert_table(&Table::new("t"));
}

#[test]
fn sentinels_and_master_speak_tls() {
    let directory = Directory::new("certificates").unwrap();
    let authority = Authority::new(directory.path(), "authority");
    let Certificate { certificate, key } = authority.server("server", &["127.0.0.1"]);
    let tls = |settings: rd::Settings, port: u16| {
        settings
            .set("tls-port", &port.to_string())
            .set("tls-cert-file", certificate.to_str().unwrap())
            .set("tls-key-file", key.to_str().unwrap())
            .set("tls-ca-cert-file", authority.file().to_str().unwrap())
            .set("tls-auth-clients", "no")
            .set("tls-replication", "yes")
    };
    let (master, port) = (free_port().unwrap(), free_port().unwrap());
    let (world, sentinel) =
        one(tls(rd::Settings::default(), master), |_| tls(sentinel_settings(master, 1, ""), port));
    let with = |port: u16, target: &str| {
        let target_url = Some(format!("rediss-sentinel://127.0.0.1:{port}/{SERVICE}?protocol=3"));
        let ca = authority.file();
        let target = target.replace("CA", ca.to_str().unwrap());
        world.configure(&Config { target_url, target: &target, ..Config::default() });
    };
    with(port, "tls: { ca_file: CA }");
    world.run_until_caught_up();
    world.assert_table(&Table::new("t"));
    world.sql("INSERT INTO t VALUES (3, 'c')");
    with(sentinel.port(), "tls: { ca_file: CA }\nsentinel: { tls: false }");
    world.run_until_caught_up();
    world.assert_table(&Table::new("t"));
    with(port, "");
    fails(&world, &["TLS", "target.tls.ca_file"]);
}
