//! Rows as JSON documents, on a Redis with RedisJSON.

use serde_json::{Value, json};

use crate::harness::World;
use crate::hashes::Live;

fn document(world: &World, key: &str) -> Option<Value> {
    let text: Option<String> = world.redis(&["JSON.GET", key]);
    text.map(|text| serde_json::from_str(&text).unwrap())
}

#[test]
fn every_kind_of_change() {
    let Some(world) = World::with_modules() else { return };
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, big bigint, n numeric, f float8, b bool, j jsonb, a text[], z text);
         INSERT INTO t VALUES (1, 9007199254740993, 1.50, 'Infinity', true, '{\"x\": {\"y\": [1, null]}}', '{a,NULL}', NULL)",
    );
    let live = Live::tables(&world, "public.t: { type: json }");
    let first = json!({
        "id": 1, "big": 9_007_199_254_740_993_i64, "n": "1.50", "f": "Infinity", "b": true,
        "j": { "x": { "y": [1, null] } }, "a": ["a", null], "z": null
    });
    assert_eq!(document(&world, "t:1"), Some(first.clone()));
    live.sql("UPDATE t SET z = 'now', j = '{\"other\": 1}', id = 2; INSERT INTO t (id) VALUES (3), (4); DELETE FROM t WHERE id = 4");
    live.settle();
    let mut second = first;
    second["id"] = json!(2);
    second["z"] = json!("now");
    second["j"] = json!({ "other": 1 });
    assert_eq!(document(&world, "t:1"), None);
    assert_eq!(document(&world, "t:2"), Some(second));
    assert_eq!(document(&world, "t:3").unwrap()["n"], Value::Null);
    assert_eq!(document(&world, "t:4"), None);
    live.sql("TRUNCATE t");
    live.settle();
    assert!(world.keys("t:*").is_empty());
}

/// A large value that an UPDATE does not send stays, also when the key changes; what was sent is set at
/// its path, whatever its name looks like.
#[test]
fn unchanged_values_and_odd_names() {
    let Some(world) = World::with_modules() else { return };
    let names = [
        "a.b",
        "with space",
        "quote\"quote",
        "it's",
        "br[0]ack",
        "$",
        "$.id",
        "größe",
        "*",
        "..",
        "new\nline",
        "@",
        "?(1)",
    ];
    let columns: String = names.map(|name| format!(", \"{}\" int", name.replace('"', "\"\""))).concat();
    world.sql(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, large jsonb{columns}); ALTER TABLE t ALTER large SET STORAGE EXTERNAL;
         INSERT INTO t (id, large) SELECT 1, jsonb_build_object('x', string_agg(md5(n::text), '')) FROM generate_series(1, 200) n"
    ));
    let live = Live::tables(&world, "public.t: { type: json }");
    let large = document(&world, "t:1").unwrap()["large"].clone();
    assert!(large["x"].as_str().unwrap().len() > 5000);
    for (number, name) in names.iter().enumerate() {
        live.sql(&format!("UPDATE t SET \"{}\" = {number}", name.replace('"', "\"\"")));
    }
    live.sql("UPDATE t SET id = 7");
    live.settle();
    let found = document(&world, "t:7").unwrap();
    for (number, name) in names.iter().enumerate() {
        assert_eq!(found[name], json!(number), "{name}");
    }
    assert_eq!(found["large"], large);
    assert_eq!(found.as_object().unwrap().len(), names.len() + 2);
    assert_eq!(document(&world, "t:1"), None);
    let dlq = format!("redis-connect-postgres:{}:dlq", world.name);
    assert_eq!(world.redis::<i64>(&["XLEN", &dlq]), 0);
}

/// A document too deep for the module is a dead letter; everything else goes on.
#[test]
fn too_deep() {
    let Some(world) = World::with_modules() else { return };
    world.sql("CREATE TABLE t (id int PRIMARY KEY, j json)");
    let live = Live::tables(&world, "public.t: { type: json }");
    live.sql("INSERT INTO t SELECT 1, (repeat('[', 3000) || repeat(']', 3000))::json; INSERT INTO t VALUES (2, '{\"a\": 1}')");
    live.settle();
    assert_eq!(document(&world, "t:2"), Some(json!({ "id": 2, "j": { "a": 1 } })));
    let dlq = format!("redis-connect-postgres:{}:dlq", world.name);
    world.eventually("a dead letter", || world.redis::<i64>(&["XLEN", &dlq]) == 1);
    let letters = super::entries(&world, &dlq);
    assert!(letters[0].1["reason"].contains("recursion limit"), "{letters:?}");
    assert!(letters[0].1["command"].contains("t:1"), "{letters:?}");
}

/// Names that RedisJSON has no path for: such documents are always whole.
#[test]
fn names_without_a_path() {
    let Some(world) = World::with_modules() else { return };
    world.sql(
        r#"CREATE TABLE t (id int PRIMARY KEY, large text, "b\s" int, "both""'" int); ALTER TABLE t ALTER large SET STORAGE EXTERNAL;
           INSERT INTO t SELECT 1, string_agg(md5(n::text), ''), 1, 1 FROM generate_series(1, 200) n"#,
    );
    let live = Live::tables(&world, "public.t: { type: json, index: true }");
    live.sql(r#"UPDATE t SET "b\s" = 2, "both""'" = 3; UPDATE t SET id = 5"#);
    live.settle();
    let found = document(&world, "t:5").unwrap();
    assert_eq!((&found["b\\s"], &found["both\"'"]), (&json!(2), &json!(3)));
    assert_eq!(found["large"].as_str().unwrap().len(), 6400);
    assert_eq!(found.as_object().unwrap().len(), 4);
}

#[test]
fn options() {
    let Some(world) = World::with_modules() else { return };
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, n numeric, at timestamptz, bin bytea, z text, secret text);
         INSERT INTO t VALUES (1, 1.25, '2018-08-09 19:50:13+00', '\\xdead', NULL, 's')",
    );
    let live = Live::tables(
        &world,
        "
        public.t:
          - { type: json, columns: [{ id: key }, n, at, bin, z], decimals: number, timestamps: epoch_us, binary: hex, ttl: 1000 }
          - { type: json, key: 'o:{id}', exclude: [secret, at, bin], nulls: omit }
        ",
    );
    let expected = json!({ "key": 1, "n": 1.25, "at": 1_533_844_213_000_000_i64, "bin": "dead", "z": null });
    assert_eq!(document(&world, "t:1"), Some(expected));
    assert!(world.redis::<i64>(&["TTL", "t:1"]) > 900);
    assert_eq!(document(&world, "o:1"), Some(json!({ "id": 1, "n": "1.25" })));
    live.sql("UPDATE t SET z = 'x', n = NULL");
    live.settle();
    assert_eq!(document(&world, "o:1"), Some(json!({ "id": 1, "z": "x" })));
}
