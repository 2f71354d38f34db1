//! What is found in Redis.

use redis_connect_postgres::throwaway::Redis;
use redis_connect_postgres::throwaway::redis as rd;

use super::{check, run_refuses};
use crate::harness::{Config, Settings, World};

fn world(redis: rd::Settings) -> World {
    let world = World::with(Settings { redis, ..Settings::default() });
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one')");
    world.config("public.t: { type: hash }");
    world
}

fn with(arguments: &[(&str, &str)]) -> World {
    let set = |settings: rd::Settings, (name, value): &(&str, &str)| settings.set(name, value);
    world(arguments.iter().fold(rd::Settings::default(), set))
}

#[test]
fn eviction_and_persistence() {
    let world = with(&[("maxmemory-policy", "allkeys-lru")]);
    let report = check(&world);
    report.is_ready();
    report.says("eviction", "warning", &["allkeys-lru", "noeviction"]);
    report.says("persistence", "warning", &["read again", "appendonly yes"]);
    let connector = world.once();
    assert!(connector.log_contains("allkeys-lru"), "{}", connector.log());
    world.redis::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    world.redis::<()>(&["CONFIG", "SET", "save", "3600 1 300 100"]);
    let report = check(&world);
    report.says("eviction", "ok", &["noeviction"]);
    report.says("persistence", "warning", &["3600 s old", "source.retain: 3600s"]);
    world.redis::<()>(&["CONFIG", "SET", "save", "30 1"]);
    check(&world).says("persistence", "ok", &["at least every 30 s"]);
    world.redis::<()>(&["CONFIG", "SET", "appendonly", "yes"]);
    check(&world).says("persistence", "ok", &["append-only file"]);
}

#[test]
fn memory() {
    let world = with(&[("maxmemory", "10mb"), ("maxmemory-policy", "noeviction")]);
    world.sql("ANALYZE t");
    check(&world).says("memory", "ok", &["1 rows", "10 MB"]);
    world.sql("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(2, 100000) i; ANALYZE t");
    let report = check(&world);
    report.is_ready();
    report.says("memory", "warning", &["100000 rows", "CONFIG SET maxmemory"]);
}

#[test]
fn a_replica() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let port = world.redis_port().to_string();
    // Each a word of its own: Redis 6.2 does not take them as one.
    let arguments = ["--replicaof", "127.0.0.1", &port].map(str::to_owned).to_vec();
    let replica = Redis::start(rd::Settings { arguments, ..rd::Settings::default() }).unwrap();
    world.configure(&Config { target_url: Some(world.target_url_at(replica.port())), ..Config::default() });
    let report = check(&world);
    report.is_not_ready();
    report.says("redis_topology", "not_ready", &["replica", &format!("127.0.0.1:{port}")]);
}

#[test]
fn a_node_of_a_cluster() {
    let world = with(&[("cluster-enabled", "yes")]);
    let words = ["server of a cluster", "redis-cluster://"];
    let report = check(&world);
    report.is_not_ready();
    report.says("redis_login", "not_ready", &words);
    run_refuses(&world, &words);
}

#[test]
fn modules() {
    let world = world(rd::Settings::default());
    world.config("public.t: { type: json, index: true }");
    let found: Vec<redis::Value> = world.redis(&["COMMAND", "INFO", "JSON.SET"]);
    if found == [redis::Value::Nil] {
        let report = check(&world);
        report.is_not_ready();
        report.says("redis_modules", "not_ready", &["RedisJSON", "loadmodule"]);
        report.says("redis_modules", "not_ready", &["RediSearch"]);
        run_refuses(&world, &["Redis has no module", "loadmodule"]);
    }
    if let Some(world) = World::with_modules() {
        world.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
        world.config("public.t: { type: json, index: true }");
        let report = check(&world);
        report.is_ready();
        report.says("redis_modules", "ok", &[]);
        world.redis::<()>(&["ACL", "SETUSER", "app", "on", ">p", "~*", "+@all", "-json.del", "-ft.create"]);
        let target = world.target_url().replace("redis://", "redis://app:p@");
        world.configure(&Config {
            target_url: Some(target),
            tables: "public.t: { type: json, index: true }",
            ..Config::default()
        });
        check(&world).says("redis_rights", "not_ready", &["+ft.create +json.del are missing"]);
    }
}

const OUTPUTS: &str = "public.t: [{ type: hash, ttl: 60 }, { type: string, key: 's:{id}' }, { type: set },
    { type: sorted_set, key: z, score: '{id}' }, { type: stream }]";

fn as_user(world: &World, rights: &[&str]) {
    world.redis::<()>(&[&["ACL", "SETUSER", "app", "reset", "on", ">p"], rights].concat());
    let target = world.target_url().replace("redis://", "redis://app:p@");
    world.configure(&Config { target_url: Some(target), tables: OUTPUTS, ..Config::default() });
}

#[test]
fn rights() {
    let world = world(rd::Settings::default());
    as_user(&world, &["~*", "+@all", "-hdel", "-zadd", "-expire", "-xinfo", "-exec"]);
    let words = ["+exec +expire +hdel +xinfo|stream +zadd", "ACL SETUSER app +exec"];
    let report = check(&world);
    report.is_not_ready();
    report.says("redis_rights", "not_ready", &words);
    assert!(world.keys("*").is_empty(), "{:?}", world.keys("*"));
    run_refuses(&world, &words);
    assert!(world.keys("*").is_empty(), "{:?}", world.keys("*"));
    // Keys: the pattern that is missing.
    as_user(&world, &["~redis-connect-postgres:*", "~t:*", "~t", "~s:*", "+@all"]);
    check(&world).says("redis_rights", "not_ready", &["~z are missing"]);
    as_user(&world, &["~t:*", "~t", "~s:*", "~z", "+@all"]);
    let own = format!("~redis-connect-postgres:{}:* are missing", world.name);
    check(&world).says("redis_rights", "not_ready", &[&own]);
    // Nothing can be tried without it, and nothing is.
    as_user(&world, &["~*", "+@all", "-multi"]);
    check(&world).says("redis_rights", "not_ready", &["+multi are missing"]);
    assert!(world.keys("*").is_empty(), "{:?}", world.keys("*"));
    // INFO and CONFIG are not needed.
    as_user(&world, &["~*", "+@all", "-info", "-config", "-command"]);
    let report = check(&world);
    report.is_ready();
    report.says("redis_version", "unseen", &["+info"]);
    report.says("eviction", "unseen", &["+info"]);
    world.once();
}

#[test]
fn keys_of_others() {
    let world = world(rd::Settings::default());
    check(&world).says("foreign_keys", "ok", &["none"]);
    world.redis::<()>(&["SET", "t:x", "not a number"]);
    check(&world).says("foreign_keys", "ok", &["none"]);
    world.redis::<()>(&["SET", "t:77", "somebody's"]);
    let report = check(&world);
    report.is_ready();
    report.says("foreign_keys", "warning", &["t:77", "RENAME"]);
}
