//! Versions of the protocol, databases, sockets: other ways to say the same.

use redis_connect_postgres::throwaway::redis as rd;

use super::fails;
use crate::faults::stops_cleanly;
use crate::harness::{Config, Settings, Table, World};

const TABLES: &str = "
    public.t:
      - { type: hash }
      - { type: string, key: \"s:{id}\", ttl: 1h }
      - { type: set, key: members }
      - { type: sorted_set, key: ranks, score: \"{id}\" }
      - { type: stream, key: events, max_len: 1000 }";

fn world() -> World {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'v' || n % 3 FROM generate_series(1, 50) n");
    world
}

#[test]
fn version_3() {
    let world = world();
    let target_url = Some(format!("{}?protocol=3", world.target_url()));
    let file = world.configure(&Config { target_url, tables: TABLES, ..Config::default() });
    let file = file.to_str().unwrap();
    world.redis::<()>(&["SET", "t:3", "somebody else's"]);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    world.sql("UPDATE t SET v = 'w' WHERE id < 20; UPDATE t SET id = id + 100 WHERE id > 40; DELETE FROM t WHERE id = 9");
    world.eventually("letters", || {
        world.redis::<i64>(&["XLEN", &format!("redis-connect-postgres:{}:dlq", world.name)]) == 2
    });
    let clients: String = world.redis(&["CLIENT", "LIST"]);
    // Since Redis 7 the list tells.
    if clients.contains(" resp=") {
        assert!(clients.contains(" resp=3"), "{clients}");
    }
    world.redis::<()>(&["DEL", "t:3"]);
    for arguments in [
        &["dlq", "-c", file, "list"][..],
        &["dlq", "-c", file, "replay"],
        &["verify", "-c", file],
        &["snapshot", "-c", file, "t"],
    ] {
        let (code, done) = world.finish(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {}\n{}", done.stdout(), done.story());
    }
    world.sql("TRUNCATE t; INSERT INTO t VALUES (1, 'again')");
    world.eventually("it is emptied", || world.redis::<i64>(&["EXISTS", "t:2", "s:2"]) == 0);
    world.eventually("it is filled", || {
        world.redis::<Option<String>>(&["HGET", "t:1", "v"]).as_deref() == Some("again")
    });
    stops_cleanly(&connector);
    world.redis::<()>(&["HSET", "t:1", "v", "wrong"]);
    world.redis::<()>(&["SADD", "members", "surplus"]);
    let (code, found) = world.finish(&["verify", "-c", file, "--repair"]);
    assert_eq!(code, Some(0), "{}\n{}", found.stdout(), found.story());
    let (code, found) = world.finish(&["verify", "-c", file]);
    assert_eq!(code, Some(0), "{}\n{}", found.stdout(), found.story());
}

#[test]
fn a_server_without_version_3() {
    let redis = rd::Settings {
        arguments: ["--rename-command", "HELLO", ""].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let world = World::with(Settings { redis, ..Settings::default() });
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let target_url = Some(format!("{}?protocol=3", world.target_url()));
    world.configure(&Config { target_url, ..Config::default() });
    fails(&world, &["protocol=3"]);
}

#[test]
fn users_log_in_with_hello() {
    let world = world();
    world.redis::<()>(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all"]);
    let with = |user: &str| {
        let target_url = Some(format!("redis://{user}@127.0.0.1:{}/0?protocol=3", world.redis_port()));
        world.configure(&Config { target_url, ..Config::default() });
    };
    with("app:wrong");
    fails(&world, &["WRONGPASS", "target.password"]);
    with("app:secret");
    world.run_until_caught_up();
    world.assert_table(&Table::new("t"));
}

#[test]
fn another_database() {
    let world = world();
    world.configure(&Config {
        target_url: Some(format!("redis://127.0.0.1:{}/5", world.redis_port())),
        ..Config::default()
    });
    world.run_until_caught_up();
    assert!(world.keys("*").is_empty(), "something is in database 0");
    world.redis::<()>(&["SWAPDB", "0", "5"]);
    world.assert_table(&Table::new("t"));
    world.configure(&Config {
        target_url: Some(format!("redis://127.0.0.1:{}/99", world.redis_port())),
        ..Config::default()
    });
    fails(&world, &["SELECT", "out of range"]);
}

#[test]
fn a_unix_socket() {
    let directory = redis_connect_postgres::throwaway::Directory::new("socket").unwrap();
    let socket = directory.path().join("redis.sock");
    let socket = socket.to_str().unwrap();
    let redis = rd::Settings::default().set("unixsocket", socket);
    let world = World::with(Settings { redis, ..Settings::default() });
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')");
    world.configure(&Config { target_url: Some(format!("unix://{socket}")), ..Config::default() });
    world.run_until_caught_up();
    world.assert_table(&Table::new("t"));

    world.redis::<()>(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all"]);
    world.redis::<()>(&["FLUSHALL"]);
    let target_url = Some(format!("redis+unix://{socket}?db=2&user=app&pass=secret&protocol=3"));
    world.configure(&Config { target_url, ..Config::default() });
    world.run_until_caught_up();
    world.redis::<()>(&["SWAPDB", "0", "2"]);
    world.assert_table(&Table::new("t"));
    world.configure(&Config {
        target_url: Some("unix:///nonexistent/redis.sock".to_owned()),
        ..Config::default()
    });
    fails(&world, &["/nonexistent/redis.sock", "No such file"]);
}
