//! What changed between two runs: the configuration, the tables.

use crate::harness::{Table, World};
use crate::hashes::{Live, Writer};

const TABLES: &str = "
    CREATE TABLE t (id int PRIMARY KEY, a text, b text); CREATE TABLE u (id int PRIMARY KEY, v text);
    INSERT INTO t SELECT i, 'a' || i, 'b' || i FROM generate_series(1, 300) i;
    INSERT INTO u SELECT i, 'u' || i FROM generate_series(1, 20000) i";

#[test]
fn a_table_is_added_while_the_others_go_on() {
    let world = World::new();
    world.sql(TABLES);
    world.config("public.t: { type: hash }");
    world.run_until_caught_up();
    assert!(world.keys("u:*").is_empty());
    let writer = Writer::begin(&world, |i| {
        let id = i % 300 + 1;
        format!(
            "BEGIN; UPDATE t SET a = 'new {i}' WHERE id = {id}; UPDATE u SET v = '{i}' WHERE id = {id};
             DELETE FROM u WHERE id = {i} + 1000; COMMIT"
        )
    });
    let live = Live::tables(&world, "public.t: { type: hash }\npublic.u: { type: hash }");
    writer.stop();
    live.settle();
    live.assert_equal(&["t", "u"]);
}

#[test]
fn a_column_is_excluded_between_two_runs() {
    let world = World::new();
    world.sql(TABLES);
    world.config("public.t: { type: hash }");
    world.run_until_caught_up();
    world.sql("UPDATE t SET a = 'x', b = 'y' WHERE id < 10; DELETE FROM t WHERE id = 20; UPDATE t SET id = 400 WHERE id = 30");
    world.config("public.t: { type: hash, exclude: [b] }");
    world.run_until_caught_up();
    world.assert_table(&Table::new("t").exclude(&["b"]));
    // And back.
    world.config("public.t: { type: hash }");
    world.sql("UPDATE t SET b = 'z' WHERE id < 5; DELETE FROM t WHERE id = 40");
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

#[test]
fn nothing_is_read_again_when_nothing_changed() {
    let world = World::new();
    world.sql(TABLES);
    world.config("public.t: { type: hash, columns: [a, { b: c }] }");
    world.run_until_caught_up();
    // The same, written differently.
    world.config("\"public\".\"t\":\n  - type: hash\n    columns:\n      - a\n      - b: c\n");
    let yaml = std::fs::read_to_string(world.config_file()).unwrap();
    std::fs::write(world.config_file(), yaml.replace("\"public\".\"t\"", "'\"public\".\"t\"'")).unwrap();
    let connector = world.run_until_caught_up();
    assert!(
        !connector.log_contains("read again") && !connector.log_contains("snapshot begins"),
        "{}",
        connector.story()
    );
}

#[test]
fn a_table_is_left_out_and_comes_back() {
    let world = World::new();
    world.sql(TABLES);
    world.config("public.t: { type: hash }\npublic.u: { type: hash }");
    world.run_until_caught_up();
    world.config("public.t: { type: hash }");
    world.run_until_caught_up();
    world.sql("UPDATE t SET a = 'x' WHERE id = 1; UPDATE u SET v = 'changed' WHERE id < 100; INSERT INTO u VALUES (30000, 'x')");
    world.run_until_caught_up();
    world.config("public.t: { type: hash }\npublic.u: { type: hash }");
    world.run_until_caught_up();
    world.assert_equal(&["t", "u"]);
}

/// Rows that were deleted while nobody looked must not stay when it comes back.
#[test]
fn rows_deleted_while_a_table_was_left_out_are_gone() {
    let world = World::new();
    world.sql(TABLES);
    world.config("public.t: { type: hash }\npublic.u: { type: hash }");
    world.run_until_caught_up();
    world.config("public.t: { type: hash }");
    world.run_until_caught_up();
    world.sql("DELETE FROM u WHERE id < 100");
    world.run_until_caught_up();
    world.config("public.t: { type: hash }\npublic.u: { type: hash }");
    world.run_until_caught_up();
    world.assert_equal(&["t", "u"]);
}

#[test]
fn a_table_is_truncated_between_two_runs() {
    let world = World::new();
    world.sql(TABLES);
    world.run_until_caught_up();
    world.sql("TRUNCATE t; INSERT INTO t VALUES (1, NULL, 'new'), (1000, 'new', NULL)");
    world.run_until_caught_up();
    world.assert_equal(&["t", "u"]);
}

/// A table of the same name and columns is another table: it is not in the publication, and its rows
/// were never read.
#[test]
fn a_table_is_dropped_and_made_again_between_two_runs() {
    let world = World::new();
    world.sql(TABLES);
    world.run_until_caught_up();
    world.sql(
        "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, a text, b text);
         INSERT INTO t SELECT i, 'new' || i, NULL FROM generate_series(1, 400) i",
    );
    world.run_until_caught_up();
    world.assert_equal(&["t", "u"]);
    world.sql("UPDATE t SET b = 'x' WHERE id = 1; INSERT INTO t VALUES (1000, 'y', 'z')");
    world.run_until_caught_up();
    world.assert_equal(&["t", "u"]);
}

/// The same with fewer rows: what only the old table had is gone.
#[test]
fn rows_that_only_a_dropped_table_had_are_gone() {
    let world = World::new();
    world.sql(TABLES);
    world.run_until_caught_up();
    world.sql("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, 'new', NULL)");
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

/// While it is streamed, a table that replaces another of its name is captured without a restart, or
/// not at all; a restart must see it.
#[test]
fn a_table_is_dropped_and_made_again_while_streaming() {
    let world = World::new();
    world.sql(TABLES);
    let live = Live::begin(&world);
    live.sql("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t SELECT i, 'new', NULL FROM generate_series(1, 300) i");
    live.sql("UPDATE u SET v = 'x' WHERE id = 1");
    live.assert_equal(&["u"]);
    live.connector.term();
    live.connector.wait(std::time::Duration::from_secs(30));
    world.run_until_caught_up();
    world.assert_equal(&["t", "u"]);
}

#[test]
fn columns_change_between_two_runs() {
    for statements in [
        "ALTER TABLE t DROP a; UPDATE t SET b = 'x' WHERE id = 1",
        "ALTER TABLE t RENAME a TO c",
        "ALTER TABLE t ADD c int; UPDATE t SET c = 1 WHERE id = 1",
        "ALTER TABLE t ADD c int DEFAULT 7",
        "ALTER TABLE t ADD c float8 DEFAULT random()",
        "ALTER TABLE t ALTER a TYPE bytea USING a::bytea; DELETE FROM t WHERE id = 5",
        "UPDATE t SET a = 'early' WHERE id = 2; ALTER TABLE t DROP a; UPDATE t SET b = NULL WHERE id = 3; ALTER TABLE t ADD a int DEFAULT 3",
        "UPDATE t SET id = 900 WHERE id = 9; ALTER TABLE t RENAME b TO a2; DELETE FROM t WHERE id = 900",
    ] {
        let world = World::new();
        world.sql("CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t SELECT i, 'a', 'b' FROM generate_series(1, 50) i");
        world.run_until_caught_up();
        world.sql(statements);
        world.run_until_caught_up();
        let differences = world.differences(&Table::new("t"));
        assert_eq!(differences.count, 0, "{statements}: {differences:?}\n{}", world.story());
        world.sql("UPDATE t SET id = id + 1000 WHERE id % 10 = 0");
        world.run_until_caught_up();
        world.assert_equal(&["t"]);
    }
}

/// The primary key is another one, so the keys are.
#[test]
fn the_primary_key_changes_between_two_runs() {
    let world = World::new();
    world.sql("CREATE TABLE t (a int PRIMARY KEY, b int NOT NULL); INSERT INTO t SELECT i, i * 10 FROM generate_series(1, 50) i");
    world.run_until_caught_up();
    world.sql("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (b)");
    world.run_until_caught_up();
    for id in [10, 500] {
        assert!(!world.hash(&format!("t:{id}")).is_empty(), "{}", world.story());
    }
    world.sql("UPDATE t SET a = 7 WHERE b = 20; DELETE FROM t WHERE b = 30");
    world.run_until_caught_up();
    assert_eq!(world.hash("t:20")["a"], "7");
    assert!(world.hash("t:30").is_empty());
}
