//! What streams have got from a snapshot, and a table that is read again before the stream has come to
//! where that snapshot was: every change is in the rows or an event, and never both.

use super::state;
use crate::harness::{Config, Proxy, World};
use crate::structures::entries;

const STREAMS: &str = "public.t: [{ type: hash }, { type: stream, key: log }, { type: stream, key: debezium, format: debezium }]";

/// Operations and keys of a stream, in its order.
fn events(world: &World) -> Vec<(String, String)> {
    let field = |fields: &std::collections::BTreeMap<String, String>, name: &str| {
        fields.get(name).cloned().unwrap_or_default()
    };
    entries(world, "log").iter().map(|(_, f)| (field(f, "op"), field(f, "key"))).collect()
}

fn ops(world: &World) -> String {
    events(world).into_iter().map(|(op, _)| op).collect()
}

/// A slot that is older than the rows: everything up to the snapshot is in the rows.
fn slot_before_the_rows(world: &World) {
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let slot = world.slot();
    world.sql(&format!("CREATE PUBLICATION {slot} FOR TABLE t"));
    world.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"));
    world.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b'); UPDATE t SET v = 'c' WHERE id = 1");
    world.sql("DELETE FROM t; TRUNCATE t; INSERT INTO t VALUES (3, 'd'), (4, 'e')");
}

#[test]
fn redefined_after_the_snapshot() {
    let world = World::new();
    slot_before_the_rows(&world);
    world.config(STREAMS);
    world.once();
    assert_eq!(ops(&world), "rr");
    world.sql("ALTER TABLE t ADD w int DEFAULT 7; UPDATE t SET v = 'f' WHERE id = 3");
    world.run_until_caught_up();
    assert_eq!(ops(&world), "rru");
    assert_eq!(entries(&world, "debezium").len(), 3);
    world.assert_equal(&["t"]);
    // Behind that snapshot everything is an event again.
    world.sql("TRUNCATE t; INSERT INTO t VALUES (5, 'g')");
    world.run_until_caught_up();
    assert_eq!(ops(&world), "rrutc");
    world.assert_equal(&["t"]);
}

/// A stream that is added has its own rows, of a later snapshot than the other one.
#[test]
fn a_stream_that_is_added_after_the_snapshot() {
    let world = World::new();
    slot_before_the_rows(&world);
    world.config("public.t: [{ type: stream, key: log }]");
    world.once();
    world.sql("UPDATE t SET v = 'f' WHERE id = 3; DELETE FROM t WHERE id = 4");
    world.config("public.t: [{ type: stream, key: log }, { type: stream, key: late, format: flat }]");
    world.run_until_caught_up();
    assert_eq!(ops(&world), "rrud");
    let late: String = entries(&world, "late").iter().map(|(_, fields)| fields["op"].as_str()).collect();
    assert_eq!(late, "r");
}

/// Rows of a snapshot that was interrupted, and then began anew under another definition: what became
/// of them between the two is told.
#[test]
fn redefined_while_it_was_interrupted() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, repeat('v', 200) FROM generate_series(1, 6000) i; ANALYZE t");
    let proxy = Proxy::to(world.redis_port());
    proxy.throttle(1_500_000);
    world.configure(&Config {
        target_url: Some(world.target_url_at(proxy.port())),
        target: "batch: { rows: 100 }",
        tables: "public.t: { type: stream, key: log }",
        top: "snapshot: { workers: 1 }",
        ..Config::default()
    });
    let connector = world.run();
    world.eventually("some rows are there", || entries(&world, "log").len() > 500);
    connector.kill9();
    let first = events(&world);
    assert!(first.len() < 6000 && first.iter().all(|(op, _)| op == "r"), "the snapshot was too quick");
    let key = &first[0].1;
    world.sql(&format!("DELETE FROM t WHERE id = {key}; ALTER TABLE t ADD w int DEFAULT 7"));
    proxy.throttle(0);
    world.run_until_caught_up();
    let all = events(&world);
    let of_key: Vec<&str> = all.iter().filter(|(_, k)| k == key).map(|(op, _)| op.as_str()).collect();
    assert_eq!(of_key, ["r", "d"]);
    assert!(all.iter().all(|(op, k)| op == "r" || k == key), "nothing else was changed");
}

/// Whoever asks for the rows once more does not lose what happened just before.
#[test]
fn asked_for_again_while_changes_wait() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    world.config(STREAMS);
    world.run_until_caught_up();
    world.sql("DELETE FROM t WHERE id = 1; UPDATE t SET v = 'c'");
    let requests = format!("redis-connect-postgres:{}:requests", world.name);
    world.redis::<i64>(&["HSET", &requests, "snapshot:public.t", "1"]);
    world.run_until_caught_up();
    // They come beside the changes, before or behind them.
    let all = events(&world);
    let of = |wanted: &str| -> String {
        all.iter().filter(|(_, key)| key == wanted).map(|(op, _)| op.as_str()).collect()
    };
    assert_eq!(of("1"), "rd");
    assert!(["rru", "rur"].contains(&of("2").as_str()), "{all:?}");
    world.assert_equal(&["t"]);
    let told = &state(&world, "public.t").unwrap()["told"];
    assert_eq!(told.as_object().map(serde_json::Map::len), Some(2), "{told}");
}
