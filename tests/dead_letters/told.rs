//! What a letter tells, for each output and each way of failing.

use serde_json::json;

use super::{expect_letters, field, letters, row};
use crate::harness::{Config, Table, World};
use crate::hashes::{Live, large};
use crate::structures::entries;

/// A text where a hash, a set, a sorted set and a stream should be.
#[test]
fn keys_of_another_type() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, g text, n int, secret text)");
    let live = Live::tables(
        &world,
        "
        public.t:
          - { type: hash, columns: [id, { n: number }] }
          - { type: set, key: 'in:{id}', member: '{id}' }
          - { type: sorted_set, key: 'by:{id}', score: '{n}' }
          - { type: stream, key: 'events:{id}' }
        ",
    );
    for key in ["t:1", "in:1", "by:1", "events:1"] {
        live.redis::<()>(&["SET", key, "x"]);
    }
    live.world.sql(
        "BEGIN; INSERT INTO t VALUES (2, 'b', 2, 's'); INSERT INTO t VALUES (1, 'a', NULL, 's'); COMMIT",
    );
    // No number, no membership; HSET and HDEL are one letter.
    let found = expect_letters(&live, 4);
    let told: Vec<[&str; 3]> = found
        .iter()
        .map(|letter| ["output", "command", "redis_key"].map(|name| field(letter, name)))
        .collect();
    let expected = [
        ["hash", "HSET t:1", "t:1"],
        ["set", "SADD in:1", "in:1"],
        ["sorted_set", "ZREM by:1", "by:1"],
        ["stream", "XADD events:1", "events:1"],
    ];
    assert_eq!(told, expected);
    for letter in &found {
        assert!(field(letter, "reason").starts_with("WRONGTYPE"), "{letter:?}");
        assert_eq!((field(letter, "table"), field(letter, "key")), ("public.t", "1"));
        assert_eq!((field(letter, "op"), field(letter, "ordinal")), ("c", "2"));
        assert_eq!(row(letter), json!({ "id": "1", "g": "a", "n": null, "secret": "s" }));
        assert!(field(letter, "at").ends_with('Z'));
        for absent in ["old", "unchanged", "cut", "content"] {
            assert_eq!(letter.get(absent), None, "{letter:?}");
        }
    }
    // All of one transaction, whose commit the events tell too.
    let event = &entries(&world, "events:2")[0];
    assert_eq!(field(&found[0], "lsn"), event.1["lsn"]);
    // The other row is everywhere.
    assert_eq!(live.hash("t:2")["number"], "2");
    assert_eq!(live.redis::<i64>(&["EXISTS", "in:2", "by:2"]), 2);
    let log = live.connector.log();
    assert!(log.contains("WRONGTYPE") && log.contains("table=\"public.t\" key=\"1\""), "{log}");
}

#[test]
fn updates_and_deletes() {
    let world = World::new();
    world.sql(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, g text, n int, doc text); ALTER TABLE t ALTER doc SET STORAGE EXTERNAL;
         INSERT INTO t SELECT 1, 'a', 1, {}; CREATE UNIQUE INDEX u ON t (id, g);
         ALTER TABLE t ALTER g SET NOT NULL; ALTER TABLE t REPLICA IDENTITY USING INDEX u",
        large(1, "doc")
    ));
    let live = Live::tables(&world, "public.t: { type: set, key: 'g:{g}', member: '{id}' }");
    for key in ["g:a", "g:b"] {
        live.redis::<()>(&["DEL", key]);
        live.redis::<()>(&["SET", key, "x"]);
    }
    live.sql("UPDATE t SET g = 'b', n = 2");
    let found = expect_letters(&live, 2);
    assert_eq!([&found[0], &found[1]].map(|letter| field(letter, "command")), ["SREM g:a", "SADD g:b"]);
    for letter in &found {
        assert_eq!(field(letter, "op"), "u");
        assert_eq!(row(letter), json!({ "id": "1", "g": "b", "n": "2" }));
        assert_eq!(field(letter, "unchanged"), "[\"doc\"]");
        assert_eq!(field(letter, "old"), "{\"id\":\"1\",\"g\":\"a\"}");
        assert_eq!(field(letter, "key"), "1:b");
    }
    live.sql("DELETE FROM t");
    let found = expect_letters(&live, 3);
    assert_eq!((field(&found[2], "op"), field(&found[2], "command")), ("d", "SREM g:b"));
    assert_eq!(row(&found[2]), json!({ "id": "1", "g": "b" }));
}

#[test]
fn a_score_that_is_no_number() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, f float8); INSERT INTO t VALUES (1, 1)");
    let live = Live::tables(&world, "public.t: { type: sorted_set, key: z, score: '{f}' }");
    live.sql("UPDATE t SET f = 'NaN'");
    let found = expect_letters(&live, 1);
    assert_eq!(row(&found[0]), json!({ "id": "1", "f": "NaN" }));
    assert!(field(&found[0], "reason").contains("float"), "{found:?}");
    assert_eq!(live.redis::<i64>(&["EXISTS", "z"]), 0);
}

#[test]
fn json_that_is_too_deep() {
    let Some(world) = World::with_modules() else { return };
    world.sql("CREATE TABLE t (id int PRIMARY KEY, j json)");
    let live = Live::tables(&world, "public.t: { type: json }");
    live.sql("INSERT INTO t SELECT 1, (repeat('[', 3000) || repeat(']', 3000))::json");
    let found = expect_letters(&live, 1);
    assert_eq!((field(&found[0], "output"), field(&found[0], "command")), ("json", "JSON.SET t:1"));
    assert_eq!(row(&found[0])["j"].as_str().unwrap().len(), 6000);
}

/// Redis closes the connection for what is longer than it takes: that must not be sent.
#[test]
fn values_that_are_too_long() {
    let world = World::new();
    world.redis::<()>(&["CONFIG", "SET", "proto-max-bulk-len", "1mb"]);
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text, w text); INSERT INTO t SELECT 1, repeat('é', 600000), 'w'",
    );
    let live = Live::tables(
        &world,
        "
        public.t:
          - { type: hash }
          - { type: hash, key: 'short:{id}', columns: [id, w] }
        ",
    );
    live.sql("INSERT INTO t SELECT 2, repeat('x', 2000000), 'w'; INSERT INTO t VALUES (3, 'v', 'w')");
    let found = expect_letters(&live, 2);
    assert_eq!([&found[0], &found[1]].map(|letter| field(letter, "op")), ["r", "c"]);
    for (letter, length) in found.iter().zip([1_200_000, 2_000_000]) {
        assert!(field(letter, "reason").contains("proto-max-bulk-len"), "{letter:?}");
        assert_eq!(field(letter, "cut"), format!("{{\"v\":{length}}}"));
        let row = row(letter);
        let shown = row["v"].as_str().unwrap();
        assert!(shown.len() > 10_000 && shown.len() < 1_000_000, "{}", shown.len());
        assert_eq!(row["w"], "w");
    }
    assert_eq!(live.redis::<i64>(&["EXISTS", "t:1", "t:2", "t:3"]), 1);
    assert_eq!(live.redis::<i64>(&["EXISTS", "short:1", "short:2", "short:3"]), 3);
}

/// A row of the snapshot has no ordinal.
#[test]
fn rows_of_the_snapshot() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, E'a\\tb\\\\c'), (2, 'v')",
    );
    world.redis::<()>(&["SET", "t:1", "x"]);
    let live = Live::begin(&world);
    let found = expect_letters(&live, 1);
    assert_eq!(field(&found[0], "op"), "r");
    assert_eq!(found[0].get("ordinal"), None);
    assert_eq!(row(&found[0]), json!({ "id": "1", "v": "a\tb\\c" }));
    live.redis::<()>(&["DEL", "t:1"]);
    assert_eq!(world.differences(&Table::new("t")).count, 1);
}

/// Events that are no rows.
#[test]
fn truncate_and_messages() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let live = Live::tables(&world, "public.t: { type: stream, key: events }");
    let messages = format!("redis-connect-postgres:{}:messages", world.name);
    live.redis::<()>(&["SET", "events", "x"]);
    live.redis::<()>(&["SET", &messages, "x"]);
    live.sql("TRUNCATE t");
    live.sql("SELECT pg_logical_emit_message(true, 'redis-connect', 'hello')");
    let mut expected = vec!["t"];
    if world.postgres_version() >= 14 {
        expected.push("m");
        world.eventually("a letter about the message", || letters(&world).len() == 2);
        assert_eq!(field(&letters(&world)[1], "content"), "hello");
    }
    let found = expect_letters(&live, expected.len());
    let ops: Vec<&str> = found.iter().map(|letter| field(letter, "op")).collect();
    assert_eq!(ops, expected);
    assert_eq!(field(&found[0], "table"), "public.t");
}

/// An event that is refused because somebody else wrote a higher ID is no event that is there already.
#[test]
fn a_stream_that_somebody_else_writes_to() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let live = Live::with(
        &world,
        &Config { tables: "public.t: { type: stream, key: events }", ..Config::default() },
    );
    live.redis::<String>(&["XADD", "events", "*", "a", "b"]);
    live.sql("INSERT INTO t VALUES (1)");
    let found = expect_letters(&live, 1);
    assert!(field(&found[0], "reason").contains("something else has written to this stream"), "{found:?}");
}
