//! `dlq replay`: each row as it is now, beside the connector or without one.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{dlq, expect_letters, letters};
use crate::harness::{Config, World};
use crate::hashes::{Live, Writer, large, wait_until_free};
use crate::structures::entries;

fn free(world: &World, keys: &[&str]) {
    for key in keys {
        world.redis::<()>(&["DEL", key]);
    }
}

#[track_caller]
fn replays(world: &World, expected: i32, words: &[&str]) -> String {
    let (code, told) = dlq(world, &["replay"]);
    assert_eq!(code, expected, "{told}\n{}", world.story());
    for words in words {
        assert!(told.contains(words), "no `{words}` in {told}");
    }
    told
}

#[test]
fn the_row_as_it_is_now() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text, n int); ALTER TABLE t REPLICA IDENTITY FULL;
         INSERT INTO t VALUES (1, 'a', 1), (2, 'a', 2), (3, 'a', 3)",
    );
    let live = Live::tables(
        &world,
        "
        public.t:
          - { type: hash }
          - { type: set, key: 's:{v}', member: '{id}' }
          - { type: sorted_set, key: z, score: '{n}' }
        ",
    );
    for key in ["t:1", "t:2", "t:3", "s:b"] {
        free(&world, &[key]);
        world.redis::<()>(&["SET", key, "x"]);
    }
    live.sql("UPDATE t SET v = 'b'");
    expect_letters(&live, 6);
    // Nothing has changed: all remain, and the reason is told.
    let told = replays(&world, 1, &["0 dead letters replayed, 6 remain", "public.t 2: WRONGTYPE"]);
    assert_eq!(told.lines().count(), 7, "{told}");
    assert_eq!(letters(&world).len(), 6);
    free(&world, &["t:1", "t:2"]);
    replays(&world, 1, &["2 dead letters replayed, 4 remain"]);
    free(&world, &["t:3", "s:b"]);
    live.sql("UPDATE t SET n = 30 WHERE id = 3");
    live.sql("DELETE FROM t WHERE id = 2");
    replays(&world, 0, &["4 dead letters replayed, 0 remain"]);
    assert_eq!(letters(&world).len(), 0);
    assert_eq!(world.hash("t:3")["n"], "30");
    assert_eq!(world.redis::<Vec<String>>(&["SMEMBERS", "s:b"]), ["1", "3"]);
    assert_eq!(world.redis::<i64>(&["EXISTS", "t:2", "s:a"]), 0);
    assert_eq!(world.redis::<Vec<String>>(&["ZRANGE", "z", "0", "-1"]), ["1", "3"]);
    // The rows go on.
    live.sql("UPDATE t SET v = 'c' WHERE id = 1");
    assert_eq!(world.redis::<Vec<String>>(&["SMEMBERS", "s:b"]), ["3"]);
}

/// A membership that could not be removed, of a row that is gone by now.
#[test]
fn a_row_that_is_gone() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t REPLICA IDENTITY FULL;
         INSERT INTO t VALUES (1, 'a'), (2, 'a')",
    );
    let live = Live::tables(&world, "public.t: { type: set, key: 's:{v}', member: '{id}' }");
    world.redis::<()>(&["RENAME", "s:a", "saved"]);
    world.redis::<()>(&["SET", "s:a", "x"]);
    live.sql("DELETE FROM t WHERE id = 1");
    expect_letters(&live, 1);
    world.redis::<()>(&["RENAME", "saved", "s:a"]);
    replays(&world, 0, &["1 dead letter replayed, 0 remain"]);
    assert_eq!(world.redis::<Vec<String>>(&["SMEMBERS", "s:a"]), ["2"]);
}

#[test]
fn json_and_strings() {
    let Some(world) = World::with_modules() else { return };
    world.sql("CREATE TABLE t (id int PRIMARY KEY, j jsonb)");
    let live = Live::tables(
        &world,
        "
        public.t:
          - { type: json }
          - { type: string, key: 'text:{id}' }
        ",
    );
    live.sql("INSERT INTO t SELECT 1, (repeat('[', 3000) || repeat(']', 3000))::jsonb");
    expect_letters(&live, 1);
    replays(&world, 1, &["recursion limit"]);
    live.sql("UPDATE t SET j = '{\"a\": 1}'");
    // It was written by the change already; the letter goes.
    replays(&world, 0, &["1 dead letter replayed"]);
    let document: Value = serde_json::from_str(&world.redis::<String>(&["JSON.GET", "t:1", "$"])).unwrap();
    assert_eq!(document[0]["j"]["a"], 1);
}

/// The stopped connector has not applied what a replayed row has: values that PostgreSQL does not send
/// must survive it.
#[test]
fn without_a_connector() {
    let world = World::new();
    world.sql(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, n int, doc text); ALTER TABLE t ALTER doc SET STORAGE EXTERNAL;
         INSERT INTO t SELECT i, 0, {} FROM generate_series(1, 3) i",
        large(1, "doc")
    ));
    let mut live = Live::begin(&world);
    free(&world, &["t:1", "t:2"]);
    world.redis::<()>(&["SET", "t:1", "x"]);
    world.redis::<()>(&["SET", "t:2", "x"]);
    live.sql("UPDATE t SET n = 1");
    expect_letters(&live, 2);
    live.connector.term();
    assert!(live.connector.wait(Duration::from_secs(30)).success());
    wait_until_free(&world);
    free(&world, &["t:1", "t:2"]);
    // Row 1 moves away, and row 3 comes to its key.
    world.sql("UPDATE t SET id = 11, n = 2 WHERE id = 1; UPDATE t SET id = 1, n = 3 WHERE id = 3");
    world.sql("UPDATE t SET n = 4 WHERE id = 2; DELETE FROM t WHERE id = 2");
    replays(&world, 0, &["2 dead letters replayed, 0 remain"]);
    assert_eq!(world.hash("t:1")["n"], "3");
    live.start_again();
    live.settle();
    live.assert_equal(&["t"]);
}

/// Rows that change all the time while they are replayed.
#[test]
fn under_load() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT i, 0 FROM generate_series(1, 60) i",
    );
    let live = Live::begin(&world);
    for id in 1..=60 {
        free(&world, &[&format!("t:{id}")]);
        world.redis::<()>(&["SET", &format!("t:{id}"), "x"]);
    }
    live.sql("UPDATE t SET n = 1");
    expect_letters(&live, 60);
    for id in 1..=60 {
        free(&world, &[&format!("t:{id}")]);
    }
    let writer = Writer::begin(&world, |count| {
        let id = count % 60 + 1;
        match count % 7 {
            0 => format!("DELETE FROM t WHERE id = {id}"),
            1 => format!("INSERT INTO t VALUES ({id}, {count}) ON CONFLICT DO NOTHING"),
            _ => format!("UPDATE t SET n = {count} WHERE id = {id}"),
        }
    });
    let mut left = 1;
    for _ in 0..5 {
        left = dlq(&world, &["replay"]).0;
        if left == 0 {
            break;
        }
    }
    writer.stop();
    assert_eq!(left, 0, "{}", world.story());
    live.settle();
    live.assert_equal(&["t"]);
    assert_eq!(letters(&world).len(), 0);
}

/// A commit can be on disk, and its change in Redis, before anybody can see it. The row that is seen is then
/// older than what Redis has.
#[test]
fn a_commit_that_nobody_sees_yet() {
    let world = World::own();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)");
    let live = Live::begin(&world);
    free(&world, &["t:1"]);
    world.redis::<()>(&["SET", "t:1", "x"]);
    live.sql("UPDATE t SET n = 1");
    expect_letters(&live, 1);
    free(&world, &["t:1"]);
    // Nobody confirms it, so it is seen by nobody.
    world.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    world.sql("SELECT pg_reload_conf()");
    world.eventually("it is set", || world.value::<String>("SHOW synchronous_standby_names") == "nobody");
    let mut client = world.client();
    let writer = thread::spawn(move || client.batch_execute("UPDATE t SET n = 2"));
    world.eventually("it is in Redis", || world.hash("t:1").get("n").is_some_and(|n| n == "2"));
    assert_eq!(world.value::<i64>("SELECT n FROM t"), 1);
    replays(&world, 1, &["0 dead letters replayed, 1 remain", "by a transaction that is still open"]);
    assert_eq!(world.hash("t:1")["n"], "2");
    world.sql("ALTER SYSTEM RESET synchronous_standby_names");
    world.sql("SELECT pg_reload_conf()");
    writer.join().unwrap().unwrap();
    replays(&world, 0, &["1 dead letter replayed, 0 remain"]);
    assert_eq!(world.hash("t:1")["n"], "2");
    live.assert_equal(&["t"]);
}

/// An event that was refused: the row as it is, behind the events that are there and before those to come.
#[test]
fn events() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let live = Live::with(
        &world,
        &Config {
            tables: "
            public.t:
              - { type: hash }
              - { type: stream, key: events }
              - { type: stream, key: debezium, format: debezium }
            ",
            ..Config::default()
        },
    );
    world.redis::<()>(&["SET", "events", "x"]);
    world.redis::<()>(&["SET", "debezium", "x"]);
    live.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')");
    expect_letters(&live, 6);
    free(&world, &["events", "debezium"]);
    live.sql("UPDATE t SET v = 'later' WHERE id = 1; DELETE FROM t WHERE id = 2");
    replays(&world, 0, &["6 dead letters replayed, 0 remain"]);
    live.sql("UPDATE t SET v = 'last' WHERE id = 3");
    let told: Vec<[String; 2]> = entries(&world, "events")
        .iter()
        .map(|(_, event)| ["op", "key"].map(|name| event[name].clone()))
        .collect();
    let expected = [["u", "1"], ["d", "2"], ["r", "1"], ["r", "3"], ["u", "3"]];
    assert_eq!(told, expected.map(|event| event.map(str::to_owned)));
    let after: Value = serde_json::from_str(&entries(&world, "events")[2].1["after"]).unwrap();
    assert_eq!(after["v"], "later");
    assert_eq!(entries(&world, "debezium").len(), 5);
    expect_letters(&live, 0);
}

#[test]
fn what_cannot_be_replayed() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE gone (id int PRIMARY KEY)");
    let live = Live::tables(&world, "public.t: { type: stream, key: events }\npublic.gone: { type: hash }");
    world.redis::<()>(&["SET", "events", "x"]);
    world.redis::<()>(&["SET", "gone:1", "x"]);
    live.sql("TRUNCATE t; INSERT INTO gone VALUES (1)");
    expect_letters(&live, 2);
    free(&world, &["events", "gone:1"]);
    world.config("public.t: { type: stream, key: events }\npublic.marker: { type: hash }");
    replays(&world, 1, &["it is about no row", "the table public.gone is not captured", "2 remain"]);
}
