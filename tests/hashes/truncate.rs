//! TRUNCATE removes the table's keys, and only those.

use super::Live;
use crate::harness::{Config, Table, World};

#[test]
fn one_table() {
    let world = World::new();
    world.sql(
        "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text);
         INSERT INTO a SELECT i, 'a' FROM generate_series(1, 5000) i; INSERT INTO b VALUES (1, 'b')",
    );
    let live = Live::begin(&world);
    live.sql("INSERT INTO a VALUES (6000, 'later'); TRUNCATE a");
    assert!(live.keys("a:*").is_empty());
    live.assert_equal(&["a", "b"]);
    live.sql("INSERT INTO a VALUES (1, 'again')");
    live.assert_equal(&["a", "b"]);
}

#[test]
fn several_tables_in_one_statement_and_cascade() {
    let world = World::new();
    world.sql(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY);
         CREATE TABLE parent (id int PRIMARY KEY);
         CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
         INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1), (2); INSERT INTO c VALUES (1), (2);
         INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1), (2, NULL)",
    );
    let live = Live::begin(&world);
    live.sql("TRUNCATE a, b");
    live.assert_equal(&["a", "b", "c", "parent", "child"]);
    assert_eq!(live.keys("c:*").len(), 2);
    live.sql("TRUNCATE parent CASCADE");
    live.assert_equal(&["a", "b", "c", "parent", "child"]);
    assert!(live.keys("child:*").is_empty());
}

/// Rows that were written in the same transaction are not in Redis yet when its TRUNCATE arrives.
#[test]
fn inside_a_transaction() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'old' FROM generate_series(1, 50) i");
    let live = Live::begin(&world);
    live.sql("BEGIN; TRUNCATE t; INSERT INTO t VALUES (1, NULL), (100, 'new'); COMMIT");
    live.assert_equal(&["t"]);
    live.sql(
        "BEGIN; INSERT INTO t SELECT i, 'gone' FROM generate_series(200, 300) i; UPDATE t SET id = 5 WHERE id = 1;
         TRUNCATE t; INSERT INTO t VALUES (200, 'stays'), (2, NULL); COMMIT",
    );
    live.assert_equal(&["t"]);
    live.sql("BEGIN; TRUNCATE t; INSERT INTO t VALUES (1, 'x'); TRUNCATE t; COMMIT");
    live.assert_equal(&["t"]);
    live.sql("BEGIN; INSERT INTO t VALUES (7, 'kept'); SAVEPOINT s; TRUNCATE t; ROLLBACK TO s; COMMIT");
    live.assert_equal(&["t"]);
    assert_eq!(live.keys("t:*").len(), 1);
}

/// The transaction is split before, within and behind its TRUNCATEs.
#[test]
fn inside_a_transaction_larger_than_a_batch() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'old' FROM generate_series(1, 9000) i");
    let live = Live::with(&world, &Config { target: "batch: { rows: 10 }", ..Config::default() });
    live.sql(
        "BEGIN; INSERT INTO t SELECT i, 'gone' FROM generate_series(10001, 10095) i; TRUNCATE t;
         INSERT INTO t SELECT i, 'new' FROM generate_series(1, 95) i;
         TRUNCATE t; INSERT INTO t SELECT i, 'last' FROM generate_series(90, 105) i; COMMIT",
    );
    live.assert_equal(&["t"]);
}

#[test]
fn keys_that_only_look_like_the_tables_survive() {
    let world = World::new();
    world.sql("CREATE TABLE emp (id int PRIMARY KEY, name text); INSERT INTO emp VALUES (7, 'x'), (8, 'y'), (-9, 'z')");
    let live = Live::begin(&world);
    live.redis::<()>(&["HSET", "emp:7:address", "street", "Main"]);
    live.redis::<()>(&["HSET", "employee:1", "name", "Eve"]);
    live.redis::<()>(&["SADD", "emps:by_boss", "7"]);
    live.redis::<()>(&["SET", "emp:seven", "text"]);
    live.redis::<()>(&["SET", "old-emp:7", "text"]);
    live.redis::<()>(&["SET", "emp:", "text"]);
    live.redis::<()>(&["SET", "emp", "text"]);
    live.sql("TRUNCATE emp");
    let left = live.keys("*emp*");
    let expected = ["emp", "emp:", "emp:7:address", "emp:seven", "employee:1", "emps:by_boss", "old-emp:7"];
    assert_eq!(left.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn glob_characters_in_names_and_templates() {
    let world = World::new();
    world.sql(
        r#"CREATE TABLE "a*b" (id int PRIMARY KEY); INSERT INTO "a*b" VALUES (1);
           CREATE TABLE "aXb" (id int PRIMARY KEY); INSERT INTO "aXb" VALUES (1);
           CREATE TABLE "[a]?\" (id int PRIMARY KEY); INSERT INTO "[a]?\" VALUES (1);
           CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)"#,
    );
    let live = Live::tables(
        &world,
        r#"
        '"a*b"': { type: hash }
        public.aXb: { type: hash }
        '"[a]?\"': { type: hash }
        public.a: { type: hash, key: "[a-z]*:{id}" }
        "#,
    );
    for key in ["aZb:1", "a?b:1", "b:1", "[a]x\\:1", "[a]?:1", "q*:1", "[a-z]x:1"] {
        live.redis::<()>(&["SET", key, "somebody else's"]);
    }
    live.sql(r#"TRUNCATE "a*b", "[a]?\", a"#);
    let found: Vec<String> = live.keys("*").into_iter().filter(|key| key.ends_with(":1")).collect();
    let mut expected =
        ["aZb:1", "a?b:1", "b:1", "[a]x\\:1", "[a]?:1", "q*:1", "[a-z]x:1", "aXb:1", "marker:1"];
    expected.sort_unstable();
    assert_eq!(found, expected);
    live.sql(r#"INSERT INTO "a*b" VALUES (3); INSERT INTO "[a]?\" VALUES (3); INSERT INTO a VALUES (3)"#);
    live.assert_equal(&["a*b", "[a]?\\"]);
    live.assert_table(&Table::new("a").prefix("[a-z]*:"));
}

#[test]
fn composite_keys_and_other_schemas() {
    let world = World::new();
    world.sql(
        "CREATE SCHEMA sales; CREATE TABLE sales.t (a text, b int, PRIMARY KEY (a, b));
         CREATE TABLE t (a text, b int, PRIMARY KEY (a, b));
         INSERT INTO t VALUES ('x:y', 1), ('', 2), ('%', 3); INSERT INTO sales.t VALUES ('x:y', 1), ('z', 2)",
    );
    let live = Live::begin(&world);
    live.redis::<()>(&["SET", "t:x:y:1", "a part has no colon"]);
    live.redis::<()>(&["SET", "t:x", "one part too few"]);
    live.sql("TRUNCATE t");
    assert_eq!(live.keys("t:*").into_iter().collect::<Vec<_>>(), ["t:x", "t:x:y:1"]);
    assert_eq!(live.keys("sales.t:*").len(), 2);
    live.sql("TRUNCATE sales.t; INSERT INTO sales.t VALUES ('new', 1)");
    live.assert_equal(&["sales.t"]);
}

#[test]
fn only_of_a_parent_and_of_all_partitions() {
    let world = World::new();
    if world.postgres_version() < 13 {
        crate::harness::skip!("PostgreSQL 12 can't publish a partitioned table");
    }
    world.sql(
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
         INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2);
         CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF root FOR VALUES FROM (0) TO (10);
         CREATE TABLE high PARTITION OF root FOR VALUES FROM (10) TO (20);
         INSERT INTO root VALUES (1), (2), (11), (12)",
    );
    let live = Live::begin(&world);
    live.sql("TRUNCATE ONLY parent");
    assert_eq!(live.keys("child:*").len(), 1);
    assert!(live.keys("parent:*").is_empty());
    live.sql("TRUNCATE root; INSERT INTO root VALUES (3), (13)");
    live.assert_equal(&["root"]);
    live.sql("INSERT INTO parent VALUES (3); TRUNCATE parent");
    live.assert_equal(&["child"]);
    assert!(live.keys("parent:*").is_empty());
}

/// A publication that sends partitions as their root does not send a TRUNCATE of one partition (see
/// CREATE PUBLICATION), so its rows can't be known to be gone. The documentation says so; should a
/// later PostgreSQL do better, this test tells.
#[test]
fn of_one_partition_is_not_told_by_postgresql() {
    let world = World::new();
    if world.postgres_version() < 13 {
        crate::harness::skip!("PostgreSQL 12 can't publish a partitioned table");
    }
    world.sql(
        "CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF root FOR VALUES FROM (0) TO (10);
         CREATE TABLE high PARTITION OF root FOR VALUES FROM (10) TO (20);
         INSERT INTO root VALUES (1), (2), (11), (12)",
    );
    let live = Live::begin(&world);
    live.sql("TRUNCATE low");
    assert_eq!(live.keys("root:*").len(), 4);
}
