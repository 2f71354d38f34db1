//! Changes as entries of streams: the three formats, entry IDs, order, snapshot rows, messages.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Entry, entries};
use crate::harness::{World, skip};
use crate::hashes::Live;

fn id(text: &str) -> (u64, u64) {
    let (lsn, ordinal) = text.split_once('-').unwrap();
    (lsn.parse().unwrap(), ordinal.parse().unwrap())
}

fn field<'a>(entry: &'a Entry, name: &str) -> &'a str {
    entry.1.get(name).map_or("(absent)", String::as_str)
}

fn parsed(entry: &Entry, name: &str) -> Value {
    serde_json::from_str(field(entry, name)).unwrap_or_else(|e| panic!("{name} of {entry:?}: {e}"))
}

fn ops(entries: &[Entry]) -> String {
    entries.iter().map(|entry| field(entry, "op")).collect()
}

/// The position of an LSN as PostgreSQL writes it.
fn position(lsn: &str) -> u64 {
    let (high, low) = lsn.split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}

#[test]
fn events() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, NULL)");
    let live = Live::tables(&world, "public.t: { type: stream }");
    let xid: u32 = world.with_postgres(|client| {
        let mut tx = client.transaction().unwrap();
        tx.batch_execute("INSERT INTO t VALUES (3, 'c'); UPDATE t SET v = 'b' WHERE id = 2").unwrap();
        tx.batch_execute("UPDATE t SET id = 30 WHERE id = 3; DELETE FROM t WHERE id = 1").unwrap();
        let row = tx.query_one("SELECT (txid_current() % 4294967296)::text", &[]).unwrap();
        tx.commit().unwrap();
        row.get::<_, String>(0).parse().unwrap()
    });
    live.sql("TRUNCATE t");
    live.settle();
    let entries = entries(&world, "t:events");
    assert_eq!(ops(&entries), "rrcuudt");
    for pair in entries.windows(2) {
        assert!(id(&pair[0].0) < id(&pair[1].0), "{pair:?}");
    }
    for entry in &entries {
        assert_eq!(field(entry, "table"), "t");
        assert_eq!(position(field(entry, "lsn")), id(&entry.0).0);
        assert!(field(entry, "ts").starts_with("20") && field(entry, "ts").ends_with('Z'), "{entry:?}");
    }
    let [r1, r2, c, u, moved, d, t] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(parsed(r1, "after"), json!({ "id": 1, "v": "a" }));
    assert_eq!(field(r1, "xid"), "(absent)");
    assert_eq!(parsed(r2, "after"), json!({ "id": 2, "v": null }));
    assert_eq!(field(c, "key"), "3");
    assert_eq!(field(c, "xid"), xid.to_string());
    assert_eq!(field(c, "before"), "(absent)");
    assert_eq!(parsed(u, "after"), json!({ "id": 2, "v": "b" }));
    // The old tuple has the key only: what else it says is no value.
    assert_eq!(parsed(moved, "before"), json!({ "id": 3 }));
    assert_eq!(parsed(moved, "after"), json!({ "id": 30, "v": "c" }));
    assert_eq!(field(moved, "key"), "30");
    assert_eq!(parsed(d, "before"), json!({ "id": 1 }));
    assert_eq!((field(d, "after"), field(d, "key")), ("(absent)", "1"));
    assert_eq!((field(t, "key"), field(t, "before")), ("(absent)", "(absent)"));
    // Four changes of one transaction, numbered as they came.
    let ids: Vec<(u64, u64)> = [c, u, moved, d].map(|entry| id(&entry.0)).to_vec();
    assert_eq!(ids, (1..=4).map(|ordinal| (ids[0].0, ordinal)).collect::<Vec<_>>());
}

/// Under REPLICA IDENTITY FULL the old row is whole.
#[test]
fn the_row_before() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text, secret text); ALTER TABLE t REPLICA IDENTITY FULL;
         INSERT INTO t VALUES (1, 'a', 'x')",
    );
    let live = Live::tables(&world, "public.t: { type: stream, columns: [id, { v: value }] }");
    live.sql("UPDATE t SET v = NULL; DELETE FROM t");
    live.settle();
    let entries = entries(&world, "t:events");
    assert_eq!(ops(&entries), "rud");
    assert_eq!(parsed(&entries[1], "before"), json!({ "id": 1, "value": "a" }));
    assert_eq!(parsed(&entries[1], "after"), json!({ "id": 1, "value": null }));
    assert_eq!(parsed(&entries[2], "before"), json!({ "id": 1, "value": null }));
}

#[test]
fn flat() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text, b bool); INSERT INTO t VALUES (1, 'a', true)");
    let live = Live::tables(&world, "public.t: { type: stream, format: flat, key: flat }");
    live.sql("UPDATE t SET v = NULL, b = false; DELETE FROM t; TRUNCATE t");
    live.settle();
    let entries: Vec<_> = entries(&world, "flat").into_iter().map(|(_, fields)| fields).collect();
    let fields = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    };
    let expected = [
        fields(&[("op", "r"), ("id", "1"), ("v", "a"), ("b", "true")]),
        fields(&[("op", "u"), ("id", "1"), ("b", "false")]),
        fields(&[("op", "d"), ("id", "1")]),
        fields(&[("op", "t")]),
    ];
    assert_eq!(entries, expected);
}

#[test]
fn debezium() {
    let world = World::new();
    world.sql(
        "CREATE SCHEMA shop; CREATE TABLE shop.t (a int, b text, v text, PRIMARY KEY (a, b)); INSERT INTO shop.t VALUES (1, 'x', 'v')",
    );
    let live = Live::tables(&world, "shop.t: { type: stream, format: debezium, columns: [v] }");
    live.sql("INSERT INTO shop.t VALUES (2, 'y', 'w'); UPDATE shop.t SET v = 'z' WHERE a = 2; UPDATE shop.t SET b = 'q' WHERE a = 2; DELETE FROM shop.t WHERE a = 1; TRUNCATE shop.t");
    live.settle();
    let entries = entries(&world, "shop.t:events");
    let values: Vec<Value> = entries.iter().map(|entry| parsed(entry, "value")).collect();
    let ops: String = values.iter().map(|value| value["op"].as_str().unwrap()).collect();
    // A changed key is a delete and a create, as consumers of Debezium expect.
    assert_eq!(ops, "rcudcdt");
    let key = |index: usize| parsed(&entries[index], "key");
    assert_eq!(key(0), json!({ "a": 1, "b": "x" }));
    assert_eq!((key(3), key(4)), (json!({ "a": 2, "b": "y" }), json!({ "a": 2, "b": "q" })));
    assert_eq!(key(5), json!({ "a": 1, "b": "x" }));
    assert_eq!(field(&entries[6], "key"), "(absent)");
    assert_eq!(values[2]["before"], Value::Null);
    assert_eq!(values[2]["after"], json!({ "v": "z" }));
    assert_eq!(values[5]["after"], Value::Null);
    for (entry, value) in entries.iter().zip(&values) {
        let source = &value["source"];
        assert_eq!(source["connector"], "postgresql");
        assert_eq!(source["name"], world.name.as_str());
        assert_eq!(source["db"], world.name.as_str());
        assert_eq!((source["schema"].as_str(), source["table"].as_str()), (Some("shop"), Some("t")));
        assert_eq!(source["lsn"].as_u64(), Some(id(&entry.0).0));
        assert_eq!(source["snapshot"].as_str(), Some(if value["op"] == "r" { "true" } else { "false" }));
        assert_eq!(source["txId"].is_u64(), value["op"] != "r");
        assert!(source["ts_ms"].is_i64() && value["ts_ms"].is_i64() && source["version"].is_string());
        let names: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(names.len(), 5, "{names:?}");
    }
}

/// Events of several tables in one stream stay in the order of their commits.
#[test]
fn one_stream_for_several_tables() {
    let world = World::new();
    world.sql("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (0); INSERT INTO b VALUES (0)");
    let live =
        Live::tables(&world, "public.a: { type: stream, key: all }\npublic.b: { type: stream, key: all }");
    live.sql("BEGIN; INSERT INTO b VALUES (1); INSERT INTO a VALUES (1); INSERT INTO b VALUES (2); COMMIT");
    live.sql("INSERT INTO a VALUES (2)");
    live.sql("TRUNCATE a, b");
    live.settle();
    let entries = entries(&world, "all");
    let names: Vec<String> = entries
        .iter()
        .map(|e| format!("{}{}{}", field(e, "op"), field(e, "table"), field(e, "key")))
        .collect();
    let (snapshot, stream) = names.split_at(2);
    let mut snapshot = snapshot.to_vec();
    snapshot.sort();
    assert_eq!(snapshot, ["ra0", "rb0"]);
    assert_eq!(stream[..4], ["cb1", "ca1", "cb2", "ca2"]);
    let mut truncated = stream[4..].to_vec();
    truncated.sort();
    assert_eq!(truncated, ["ta(absent)", "tb(absent)"]);
}

#[test]
fn a_stream_for_each_value() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, region text); ALTER TABLE t REPLICA IDENTITY FULL;
         INSERT INTO t VALUES (1, 'eu'), (2, 'us')",
    );
    let live = Live::tables(&world, "public.t: { type: stream, key: 'ev:{region}' }");
    live.sql("DELETE FROM t WHERE id = 1; BEGIN; INSERT INTO t VALUES (3, 'asia'); TRUNCATE t; COMMIT");
    live.settle();
    assert_eq!(ops(&entries(&world, "ev:eu")), "rdt");
    assert_eq!(ops(&entries(&world, "ev:us")), "rt");
    assert_eq!(ops(&entries(&world, "ev:asia")), "ct");
}

#[test]
fn trimmed() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let live = Live::tables(&world, "public.t: { type: stream, max_len: 100 }");
    live.sql("INSERT INTO t SELECT generate_series(1, 5000)");
    live.settle();
    let length: i64 = world.redis(&["XLEN", "t:events"]);
    // Redis trims whole nodes of the stream, of about a hundred entries.
    assert!((100..400).contains(&length), "{length}");
    let last = entries(&world, "t:events").pop().unwrap();
    assert_eq!(field(&last, "key"), "5000");
}

/// Whatever is killed and started again: every change once, in the order of the commits.
#[test]
fn killed_and_started_again() {
    let world = World::own();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT n, 0 FROM generate_series(1, 100) n");
    let mut live = Live::with(
        &world,
        &crate::harness::Config {
            tables: "public.t: { type: stream }",
            target: "batch: { rows: 50 }",
            ..Default::default()
        },
    );
    for round in 1..=8 {
        live.sql(&format!("UPDATE t SET v = {round} WHERE id <= 100 AND id % 3 > 0"));
        live.sql(&format!("INSERT INTO t VALUES ({}, 0)", 1000 + round));
        live.connector.kill9();
        live.start_again();
    }
    live.settle();
    let entries = entries(&world, "t:events");
    let streamed: Vec<&Entry> = entries.iter().filter(|entry| field(entry, "op") != "r").collect();
    assert_eq!(entries.len() - streamed.len(), 100);
    let updated: i64 = world.value("SELECT count(*) FROM t WHERE id <= 100 AND id % 3 > 0");
    assert_eq!(streamed.len() as i64, 8 * (updated + 1));
    let keys: BTreeSet<(String, String)> = streamed
        .iter()
        .map(|entry| (field(entry, "key").to_owned(), parsed(entry, "after")["v"].to_string()))
        .collect();
    assert_eq!(keys.len(), streamed.len());
}

/// Reading a table again because its definition changed is no event.
#[test]
fn a_new_definition_is_no_event() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)");
    let live = Live::tables(&world, "public.t: [{ type: stream }, { type: hash }]");
    live.sql("ALTER TABLE t ADD w int DEFAULT 7; INSERT INTO t VALUES (2, 2)");
    live.settle();
    world.eventually("the hash has the new column", || world.hash("t:1").get("w").is_some_and(|w| w == "7"));
    let entries = entries(&world, "t:events");
    assert_eq!(ops(&entries), "rc");
    assert_eq!(parsed(&entries[1], "after"), json!({ "id": 2, "v": 2, "w": 7 }));
}

/// A table that is added gets its rows as events, behind what is there.
#[test]
fn a_stream_that_is_added() {
    let world = World::new();
    world.sql("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)");
    world.config("public.a: { type: stream, key: all }");
    world.run_until_caught_up();
    world.sql("INSERT INTO a VALUES (2)");
    world.run_until_caught_up();
    world.config(
        "public.a: [{ type: stream, key: all }, { type: hash }]\npublic.b: { type: stream, key: all }",
    );
    world.run_until_caught_up();
    let names: Vec<String> = entries(&world, "all")
        .iter()
        .map(|e| format!("{}{}{}", field(e, "op"), field(e, "table"), field(e, "key")))
        .collect();
    assert_eq!(names, ["ra1", "ca2", "rb1"]);
    assert_eq!(world.hash("a:2")["id"], "2");
}

#[test]
fn logical_messages() {
    let world = World::new();
    if world.postgres_version() < 14 {
        skip!("logical messages came with PostgreSQL 14");
    }
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let live = Live::tables(&world, "public.t: { type: stream }");
    live.sql(
        "SELECT pg_logical_emit_message(false, 'redis-connect', 'alone');
         SELECT pg_logical_emit_message(true, 'somebody-else', 'not ours')",
    );
    live.sql(
        "BEGIN; INSERT INTO t VALUES (1); SELECT pg_logical_emit_message(true, 'redis-connect', 'within'); COMMIT",
    );
    live.sql("BEGIN; SELECT pg_logical_emit_message(true, 'redis-connect', 'rolled back'); ROLLBACK");
    live.settle();
    let stream = format!("redis-connect-postgres:{}:messages", world.name);
    let found = entries(&world, &stream);
    let contents: Vec<&str> = found.iter().map(|entry| field(entry, "content")).collect();
    assert_eq!(contents, ["alone", "within"]);
    assert_eq!(ops(&found), "mm");
    let row = entries(&world, "t:events").pop().unwrap();
    assert_eq!(id(&row.0).0, id(&found[1].0).0);
    assert_eq!(field(&row, "xid"), field(&found[1], "xid"));
    // Not a second time after a restart.
    live.connector.kill9();
    world.run_until_caught_up();
    assert_eq!(entries(&world, &stream).len(), 2);
}
