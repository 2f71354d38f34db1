//! What a user of Redis may do: exactly what docs/redis.md says is enough, and less is told.

use std::fs;
use std::time::Duration;

use crate::documentation::rights::needed;
use crate::faults::stops_cleanly;
use crate::harness::{Config, Connector, Table, World};

const TABLES: &str = "
    public.t:
      - { type: hash }
      - { type: hash, key: \"short:{id}\", ttl: 1h }
      - { type: string, key: \"s:{id}\" }
      - { type: set, key: members }
      - { type: sorted_set, key: ranks, score: \"{id}\" }
      - { type: stream, key: events }";

/// What a pipeline does without, and why nobody has to be told.
const UNTOLD: [&str; 2] = [
    // Who may not ask whether anybody is there has been answered.
    "+ping", // Only after a snapshot that was interrupted while Redis refused rows of it.
    "+xrange",
];

fn world() -> World {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text, doc text); ALTER TABLE t ALTER doc SET STORAGE EXTERNAL; \
         INSERT INTO t SELECT n, 'v', CASE n WHEN 2 THEN repeat('x', 9000) END FROM generate_series(1, 20) n");
    let target_url = Some(format!("redis://app:secret@127.0.0.1:{}", world.redis_port()));
    world.configure(&Config { target_url, tables: TABLES, ..Config::default() });
    world
}

fn grant(world: &World, rights: &[String]) {
    let mut user = vec!["ACL", "SETUSER", "app", "reset", "on", ">secret", "~*"];
    user.extend(rights.iter().map(String::as_str));
    world.redis::<()>(&user);
}

/// Does everything that a pipeline does, and stops as soon as somebody complains. False when nobody did.
fn complains(world: &World, right: &str) -> bool {
    let file = world.config_file().to_str().unwrap().to_owned();
    // What a reply says, and what is found at the start.
    let words = [format!("ACL SETUSER name {right} "), format!("ACL SETUSER app {right} ")];
    let says = |program: &Connector| words.iter().any(|words| program.log_contains(words));
    let dlq = format!("redis-connect-postgres:{}:dlq", world.name);
    for round in 0..2 {
        let connector = world.run();
        let told = || {
            if !connector.is_running() {
                // Then its log is complete.
                connector.wait(Duration::from_secs(30));
            }
            says(&connector)
        };
        let seen = |key: &str, value: &str| {
            world.redis::<Option<String>>(&["HGET", key, "v"]).as_deref() == Some(value)
        };
        let until = |what: &str, done: &dyn Fn() -> bool| {
            world.eventually(what, || told() || !connector.is_running() || done());
            told() || !connector.is_running()
        };
        let mark = format!("mark {round}");
        if until("it streams", &|| connector.log_contains("streaming")) {
            return told();
        }
        world.redis::<()>(&["DEL", "t:10"]);
        world.redis::<()>(&["SET", "t:10", "somebody else's"]);
        world.sql(&format!(
            "UPDATE t SET v = NULL WHERE id = 1; UPDATE t SET id = 30 WHERE id = 2; DELETE FROM t WHERE id = 3; \
             UPDATE t SET v = 'refused' WHERE id = 10; UPDATE t SET v = '{mark}' WHERE id = 4"
        ));
        if until("changes", &|| seen("t:4", &mark) && world.redis::<i64>(&["EXISTS", &dlq]) == 1) {
            return told();
        }
        world.redis::<()>(&["DEL", "t:10"]);
        let asked = world.start(&["snapshot", "-c", &file, "t"]);
        if until("a snapshot", &|| !asked.is_running()) || says(&asked) {
            return told() || says(&asked);
        }
        let _: i64 = world.redis(&["CLIENT", "KILL", "TYPE", "normal", "USER", "app"]);
        world.sql(&format!(
            "TRUNCATE t; INSERT INTO t SELECT n, 'after {round}', CASE n WHEN 2 THEN repeat('x', 9000) END FROM generate_series(1, 20) n"
        ));
        if until("a new connection", &|| seen("t:20", &format!("after {round}"))) {
            return told();
        }
        stops_cleanly(&connector);
        let (code, reset) = world.finish(&["reset", "-c", &file, "--yes"]);
        if says(&reset) {
            assert_eq!(code, Some(1));
            return true;
        }
        world.redis::<()>(&["DEL", &dlq]);
        // The next round has keys to look for that no row has.
        world.sql("DELETE FROM t WHERE id = 5");
    }
    false
}

#[test]
fn exactly_those_that_are_documented_are_enough() {
    let world = world();
    grant(&world, &needed(TABLES));
    assert!(!complains(&world, "+"), "{}", world.story());
    let story = world.story();
    assert!(!story.contains("NOPERM"), "{story}");
}

#[test]
fn each_right_is_missed() {
    let all = needed(TABLES);
    let mut missed = Vec::new();
    for right in &all {
        if UNTOLD.contains(&right.as_str()) {
            continue;
        }
        let world = world();
        let rest: Vec<String> = all.iter().filter(|one| *one != right).cloned().collect();
        grant(&world, &rest);
        if !complains(&world, right) {
            missed.push(format!("{right}\n{}", world.story()));
        }
    }
    assert!(missed.is_empty(), "nobody missed {}", missed.join("\n"));
}

/// The password is changed in Redis first, which ends all connections, and in the file a moment later.
#[test]
fn a_password_is_rotated() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')");
    let file = world.directory().join("password");
    fs::write(&file, "first\n").unwrap();
    world.redis::<()>(&["ACL", "SETUSER", "app", "on", ">first", "~*", "+@all"]);
    let target_url = Some(format!("redis://app@127.0.0.1:{}", world.redis_port()));
    let target = format!("password_file: {}", file.display());
    world.configure(&Config { target_url, target: &target, ..Config::default() });
    let connector = world.run();
    world.eventually_equal(&["t"]);
    world.redis::<()>(&["ACL", "SETUSER", "app", "resetpass", ">second"]);
    let _: i64 = world.redis(&["CLIENT", "KILL", "TYPE", "normal", "USER", "app"]);
    world.sql("INSERT INTO t VALUES (2, 'b')");
    world.eventually("it is said", || connector.log_contains("WRONGPASS"));
    // Somebody writes the file in two steps.
    fs::write(&file, "").unwrap();
    world.sql("INSERT INTO t VALUES (3, 'c')");
    fs::write(&file, "second\n").unwrap();
    world.eventually_equal(&["t"]);
    world.eventually("it is over", || connector.log_contains("works again"));
    assert!(!connector.log_contains("first") && !connector.log_contains("second"), "{}", connector.story());
    stops_cleanly(&connector);
    world.assert_table(&Table::new("t"));
}
