//! Rows with a key each: hashes and strings.

use super::{contents, counted, finds, is_equal, is_mended, kinds, report};
use crate::harness::{Config, World};

#[test]
fn every_difference_of_a_hash() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text, w text);
         INSERT INTO t SELECT g, 'v' || g, CASE WHEN g > 1 THEN 'w' END FROM generate_series(1, 20) g",
    );
    world.config("public.t: { type: hash }");
    world.once();
    is_equal(&world);
    for command in ["SET t:x:y:z 1", "SET other 1", "HSET t:none f 1"] {
        world.redis::<()>(&command.split(' ').collect::<Vec<_>>());
    }
    let before = contents(&world);
    is_equal(&world);
    for command in [
        "HSET t:1 w surplus",
        "DEL t:2",
        "HSET t:3 v wrong",
        "HDEL t:4 v",
        "HSET t:5 more 1",
        "HSET t:6 v wrong w wrong more 1",
        "DEL t:7",
        "SET t:7 text",
        "EXPIRE t:8 1000",
        "HSET t:21 id 21",
        "SADD t:-1 m",
        "HSET t:9 v wrong",
        "EXPIRE t:9 1000",
    ] {
        world.redis::<redis::Value>(&command.split(' ').collect::<Vec<_>>());
    }
    finds(
        &world,
        &[
            "t:1: has a field w that the row has not",
            "t:2: the key is missing",
            "t:3: v is `wrong`, the row has `v3`",
            "t:4: v is missing, the row has `v4`",
            "t:5: has a field more that the row has not",
            "t:6: v is `wrong`, the row has `v6` (and 2 more)",
            "t:7: is no hash",
            "t:8: expires, although the output has no ttl",
            "t:21: a key of public.t that no row has",
            "t:-1: a key of public.t that no row has",
            "t:9: v is `wrong`, the row has `v9`",
        ],
    );
    let (code, found) = report(&world, &[]);
    assert_eq!(code, 1);
    let expected = counted([
        ("missing_key", 1),
        ("missing_field", 1),
        ("surplus_field", 2),
        ("surplus_key", 2),
        ("surplus_ttl", 1),
        ("wrong_field", 3),
        ("wrong_type", 1),
    ]);
    assert_eq!(kinds(&found), expected, "{found:#}");
    assert_eq!(
        (&found["equal"], &found["rows"], &found["different"]),
        (&false.into(), &20.into(), &11.into())
    );
    let first = found["first"].as_array().unwrap();
    let wrong = first.iter().find(|one| one["key"] == "t:3").unwrap();
    let named = ["table", "kind", "part", "expected", "found"].map(|name| wrong[name].as_str().unwrap());
    assert_eq!(named, ["public.t", "wrong_field", "v", "v3", "wrong"]);
    is_mended(&world, &before, contents);
}

/// A row of which nothing is written has no key.
#[test]
fn rows_of_nulls() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, NULL), (2, 'x')");
    world.config("public.t: { type: hash, columns: [v] }");
    world.once();
    is_equal(&world);
    let before = contents(&world);
    world.redis::<i64>(&["HSET", "t:1", "v", "x"]);
    finds(&world, &["t:1: a key of public.t that no row has"]);
    is_mended(&world, &before, contents);
}

#[test]
fn every_difference_of_a_string() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text);
         INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 9) g; INSERT INTO t VALUES (10, NULL)",
    );
    world.config(
        r#"
        public.t:
          - { type: string, key: "doc:{id}" }
          - { type: string, key: "text:{id}", value: "{v}" }
        "#,
    );
    world.once();
    is_equal(&world);
    let before = contents(&world);
    for command in [
        &["SET", "doc:1", "{\"id\":1, \"v\":\"v1\"}"][..],
        &["DEL", "doc:2"],
        &["SET", "text:3", "other"],
        &["DEL", "text:4"],
        &["RPUSH", "text:4", "x"],
        &["EXPIRE", "text:5", "1000"],
        &["SET", "text:10", "no value"],
        &["SET", "text:11", "no row"],
    ] {
        world.redis::<redis::Value>(command);
    }
    finds(
        &world,
        &[
            r#"doc:1: is `{"id":1, "v":"v1"}`, the row has `{"id":1,"v":"v1"}`"#,
            "doc:2: the key is missing",
            "text:3: is `other`, the row has `v3`",
            "text:4: is no string",
            "text:5: expires, although the output has no ttl",
            "text:10: a key of public.t that no row has",
            "text:11: a key of public.t that no row has",
        ],
    );
    is_mended(&world, &before, contents);
}

#[test]
fn times_to_live() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text, at timestamptz); ALTER TABLE t REPLICA IDENTITY FULL;
         INSERT INTO t SELECT g, 'v', now() FROM generate_series(1, 4) g",
    );
    world.config(
        r#"
        public.t:
          - { type: hash, ttl: 1h }
          - { type: string, key: "s:{id}", ttl: 1h }
          - { type: set, key: "all", ttl: 1h }
          - { type: sorted_set, key: "scored:{id}", member: "{v}", score: "{at}", ttl: 1h }
        "#,
    );
    world.once();
    is_equal(&world);
    let before = contents(&world);
    for key in ["t:1", "s:2", "scored:4"] {
        assert_eq!(world.redis::<i64>(&["PERSIST", key]), 1);
    }
    world.redis::<()>(&["SET", "s:1", &world.redis::<String>(&["GET", "s:1"])]);
    finds(
        &world,
        &[
            "t:1: does not expire, although the output has a ttl",
            "s:1: does not expire, although the output has a ttl",
            "s:2: does not expire, although the output has a ttl",
            "scored:4: does not expire, although the output has a ttl",
        ],
    );
    is_mended(&world, &before, contents);
}

/// Keys of several columns, of texts that need quotes, of enums; tables with capitals; partitions.
#[test]
fn rows_are_found_again_by_any_key() {
    let world = World::new();
    if world.postgres_version() < 13 {
        crate::harness::skip!("PostgreSQL 12 can't publish a partitioned table");
    }
    world.sql(
        r#"CREATE TYPE mood AS ENUM ('so, so', 'it''s ok');
           CREATE TABLE "Odd Name" (a mood, "B b" text, c numeric, v text, PRIMARY KEY ("B b", a, c));
           INSERT INTO "Odd Name" VALUES ('so, so', E'x''y\\z:%\t', 1.50, 'v'), ('it''s ok', '', 2, 'v');
           CREATE TABLE part (id int, day date, v text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
           CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
           CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
           INSERT INTO part VALUES (1, '2024-01-05', 'v'), (1, '2024-02-05', 'v');
           CREATE TABLE nokey (a int, b json, c float8, v text);
           ALTER TABLE nokey REPLICA IDENTITY FULL;
           INSERT INTO nokey VALUES (1, '{}', 'NaN', 'v'), (2, NULL, NULL, NULL), (2, NULL, NULL, NULL);
           CREATE TABLE rooted (id int, other int NOT NULL, v text);
           CREATE UNIQUE INDEX rooted_other ON rooted (other);
           ALTER TABLE rooted REPLICA IDENTITY USING INDEX rooted_other;
           INSERT INTO rooted VALUES (1, 7, 'v');"#,
    );
    world.configure(&Config::default());
    world.once();
    is_equal(&world);
    let before = contents(&world);
    assert_eq!(before.len(), 7, "{before:?}");
    for key in before.keys() {
        world.redis::<i64>(&["HSET", key, "v", "wrong"]);
    }
    let (code, found) = report(&world, &[]);
    assert_eq!((code, kinds(&found)["wrong_field"]), (1, 6), "{found:#}");
    is_mended(&world, &before, contents);
}
