//! Large values that an UPDATE does not send: outputs that are written as a whole read the row again.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use redis_connect_postgres::throwaway::postgres;

use super::entries;
use crate::harness::{Settings, World};
use crate::hashes::Live;

/// Too large for a page, and not compressible below one.
const LARGE: &str = "(SELECT string_agg(md5(n::text || $1), '') FROM generate_series(1, 200) n)";

fn table(world: &World, identity: &str) {
    world.sql(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, v int, large text); ALTER TABLE t ALTER large SET STORAGE EXTERNAL;
         ALTER TABLE t REPLICA IDENTITY {identity};"
    ));
    insert(world, 1..=3);
}

fn insert(world: &World, ids: std::ops::RangeInclusive<i32>) {
    for id in ids {
        let large = LARGE.replace("$1", &format!("'{id}'"));
        world.sql(&format!("INSERT INTO t VALUES ({id}, 0, {large})"));
    }
}

fn rows(world: &World) -> BTreeMap<i64, Value> {
    let rows = world.rows("SELECT id, v, large FROM t");
    rows.into_iter()
        .map(|row| {
            let number = |index: usize| row[index].as_ref().unwrap().parse::<i64>().unwrap();
            (number(0), json!({ "id": number(0), "v": number(1), "large": row[2] }))
        })
        .collect()
}

fn documents(world: &World) -> BTreeMap<i64, Value> {
    let mut found = BTreeMap::new();
    for key in world.keys("s:*") {
        let document: Value = serde_json::from_str(&world.redis::<String>(&["GET", &key])).unwrap();
        found.insert(key[2..].parse().unwrap(), document);
    }
    found
}

fn last_events(world: &World) -> Vec<(String, Value)> {
    entries(world, "events")
        .into_iter()
        .map(|(_, fields)| {
            let after = fields.get("after").map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
            (fields["op"].clone(), after)
        })
        .collect()
}

const OUTPUTS: &str = "
    public.t:
      - { type: string, key: 's:{id}' }
      - { type: stream, key: events }
      - { type: hash }
      - { type: sorted_set, key: z, score: '{v}' }
    ";

#[test]
fn whole_rows_under_either_identity() {
    for identity in ["DEFAULT", "FULL"] {
        let world = World::new();
        table(&world, identity);
        let live = Live::tables(&world, OUTPUTS);
        live.sql("UPDATE t SET v = 1; UPDATE t SET id = 10 WHERE id = 1");
        live.settle();
        assert_eq!(documents(&world), rows(&world), "{identity}");
        let events = last_events(&world);
        let ops: String = events.iter().map(|(op, _)| op.as_str()).collect();
        assert_eq!(ops, "rrruuuu");
        for (op, after) in &events {
            let has = |name: &str| after.get(name).is_some_and(|value| !value.is_null());
            // The row had another key when it was read again: the event says so by being without it.
            let gone = identity == "DEFAULT" && op == "u" && after.is_null();
            assert!(gone || (has("id") && has("v") && has("large")), "{identity} {op} {after}");
        }
        assert_eq!(events.last().unwrap().1, rows(&world)[&10]);
        live.assert_table(&crate::harness::Table::new("t"));
    }
}

/// Many such changes cost few queries.
#[test]
fn many_at_once_are_read_together() {
    let postgres = postgres::Settings::default().set("log_statement", "all");
    let world = World::with(Settings { postgres: Some(postgres), ..Settings::default() });
    table(&world, "DEFAULT");
    insert(&world, 4..=300);
    let live = Live::tables(&world, OUTPUTS);
    live.sql("UPDATE t SET v = id");
    live.settle();
    let queries = world.postgres_log().lines().filter(|line| line.contains(r#"WHERE ("id") IN ("#)).count();
    assert!((1..100).contains(&queries), "{queries} queries for 300 rows");
    assert_eq!(documents(&world), rows(&world));
    assert_eq!(last_events(&world).len(), 600);
}

/// A value that was written earlier in the same transaction is not mistaken for the one before it.
#[test]
fn changed_and_left_alone_in_one_transaction() {
    let world = World::new();
    table(&world, "DEFAULT");
    let live = Live::tables(&world, OUTPUTS);
    for round in 1..=20 {
        let large = LARGE.replace("$1", &format!("'new{round}'"));
        live.sql(&format!("BEGIN; UPDATE t SET large = {large}; UPDATE t SET v = {round}; COMMIT"));
        live.settle();
        assert_eq!(documents(&world), rows(&world));
    }
}

/// The row is gone when it is read again: never half an event, never half a string.
#[test]
fn rows_that_are_gone() {
    let world = World::new();
    table(&world, "DEFAULT");
    let live = Live::tables(&world, OUTPUTS);
    live.sql("BEGIN; UPDATE t SET v = 1 WHERE id = 1; DELETE FROM t WHERE id = 1; COMMIT");
    live.settle();
    assert_eq!(documents(&world), rows(&world));
    let events = last_events(&world);
    assert_eq!(events[3], ("u".to_owned(), Value::Null));
    assert_eq!(events[4].0, "d");
}

/// A key that expires may have lost what was not sent, so the row is written as a whole.
#[test]
fn with_a_time_to_live() {
    let world = World::new();
    table(&world, "DEFAULT");
    let live = Live::tables(&world, "public.t: { type: hash, ttl: 1000 }");
    world.redis::<i64>(&["DEL", "t:1"]);
    live.sql("UPDATE t SET v = 5 WHERE id = 1");
    live.settle();
    live.assert_table(&crate::harness::Table::new("t"));
}

/// Between the change and its reading the table was redefined: what it still has is read, and what it
/// has no more is missing only where it is needed.
#[test]
fn redefined_before_it_is_read_again() {
    let world = World::new();
    table(&world, "DEFAULT");
    world.sql("ALTER TABLE t ADD gone int DEFAULT 5, ADD retyped int DEFAULT 6");
    world.config(OUTPUTS);
    world.run_until_caught_up();
    world.sql("UPDATE t SET v = 1; ALTER TABLE t DROP gone, ALTER retyped TYPE text");
    world.sql("UPDATE t SET v = 2; ALTER TABLE t DROP retyped");
    world.run_until_caught_up();
    assert_eq!(documents(&world), rows(&world));
    let events = last_events(&world);
    let now = rows(&world);
    for (index, id) in [1, 2, 3].into_iter().enumerate() {
        let (mut first, mut second) = (now[&id].clone(), now[&id].clone());
        first["v"] = json!(1);
        first["gone"] = json!(5);
        first["retyped"] = json!(6);
        second["retyped"] = json!("6");
        let found = [events[3 + index].clone(), events[6 + index].clone()];
        assert_eq!(found, [("u".to_owned(), first), ("u".to_owned(), second)]);
    }
    world.sql("UPDATE t SET v = 3; ALTER TABLE t RENAME large TO big");
    world.run_until_caught_up();
    let events = last_events(&world);
    assert_eq!(events[9..], vec![("u".to_owned(), Value::Null); 3]);
    let big = world.rows("SELECT big FROM t WHERE id = 2")[0][0].clone();
    assert_eq!(documents(&world)[&2], json!({ "id": 2, "v": 3, "big": big }));
}

/// The row is waited for while somebody rewrites the table: whoever looks at it by a snapshot from before
/// would find nothing.
#[test]
fn rewritten_while_it_is_read_again() {
    let world = World::new();
    table(&world, "DEFAULT");
    world.config(OUTPUTS);
    world.run_until_caught_up();
    world.sql("UPDATE t SET v = 1");
    let mut client = world.client();
    client.batch_execute("BEGIN; ALTER TABLE t ALTER v TYPE bigint").unwrap();
    let connector = world.run();
    world.eventually("it waits for the lock", || {
        world.value::<i64>("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") > 0
    });
    client.batch_execute("COMMIT").unwrap();
    world.eventually("the events are there", || last_events(&world).len() == 6);
    connector.term();
    connector.wait(std::time::Duration::from_secs(30));
    for (op, after) in &last_events(&world)[3..] {
        assert!(op == "u" && after["v"] == json!(1) && after["large"].is_string(), "{op} {after}");
    }
    world.run_until_caught_up();
    assert_eq!(documents(&world), rows(&world));
}
