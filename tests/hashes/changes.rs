//! INSERT, UPDATE, DELETE; nulls; values that an UPDATE left alone.

use super::{Live, large};
use crate::harness::World;

#[test]
fn inserts_updates_and_deletes() {
    let world = World::new();
    world.sql(
        "CREATE TABLE emp (id int PRIMARY KEY, name text, boss int);
         INSERT INTO emp SELECT i, 'before ' || i, NULL FROM generate_series(1, 10) i",
    );
    let live = Live::begin(&world);
    live.sql("INSERT INTO emp VALUES (11, 'Ada', 1), (12, 'Bob', NULL), (13, '', 2)");
    live.assert_equal(&["emp"]);
    live.sql("UPDATE emp SET name = 'Rob', boss = 11 WHERE id = 12; UPDATE emp SET boss = 3 WHERE id < 4");
    live.assert_equal(&["emp"]);
    live.sql("DELETE FROM emp WHERE id IN (1, 11)");
    live.assert_equal(&["emp"]);
    assert_eq!(live.hash("emp:13")["name"], "");
    assert!(live.hash("emp:1").is_empty());
}

#[test]
fn a_null_removes_the_field() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, a text, b int); INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)",
    );
    let live = Live::begin(&world);
    live.sql("UPDATE t SET a = NULL WHERE id = 1; UPDATE t SET a = NULL, b = NULL WHERE id = 2");
    assert_eq!(live.hash("t:1").into_keys().collect::<Vec<_>>(), ["b", "id"]);
    live.assert_equal(&["t"]);
    live.sql("UPDATE t SET a = 'again', b = NULL WHERE id = 1");
    live.assert_equal(&["t"]);
}

/// The row that was there before has fields that the new one must not inherit.
#[test]
fn a_row_that_is_deleted_and_inserted_again_begins_anew() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, 'a', 'b'), (2, 'a', 'b')");
    let live = Live::begin(&world);
    live.sql("BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, NULL, 'new'); COMMIT");
    live.sql("DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (2, 'new', NULL)");
    live.sql("INSERT INTO t VALUES (3, 'x', 'y'); DELETE FROM t WHERE id = 3");
    live.sql("BEGIN; INSERT INTO t VALUES (4, 'x', 'y'); DELETE FROM t WHERE id = 4; COMMIT");
    live.assert_equal(&["t"]);
}

#[test]
fn an_update_that_changes_nothing() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, a text, b int); INSERT INTO t VALUES (1, 'a', NULL), (2, 'b', 2)");
    let live = Live::begin(&world);
    live.sql("UPDATE t SET a = a, b = b; UPDATE t SET id = id");
    live.assert_equal(&["t"]);
}

#[test]
fn columns_left_alone_by_an_update_keep_their_large_values() {
    let world = World::new();
    world.sql(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, n int, a text, b jsonb, c bytea, d text[]);
         ALTER TABLE t ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL,
             ALTER c SET STORAGE EXTERNAL, ALTER d SET STORAGE EXTERNAL;
         INSERT INTO t SELECT id, 0, {a}, jsonb_build_object('k', {b}), {c}::bytea, ARRAY[{d}, NULL]
             FROM generate_series(1, 3) id",
        a = large(1, "a"),
        b = large(1, "b"),
        c = large(1, "c"),
        d = large(1, "d"),
    ));
    let live = Live::begin(&world);
    assert_eq!(live.value::<i64>("SELECT count(*) FROM t WHERE pg_column_size(a) > 5000"), 3);
    live.sql("UPDATE t SET n = n + 1");
    live.assert_equal(&["t"]);
    // One of them is changed, one becomes NULL, the others stay.
    live.sql(&format!("UPDATE t SET a = {}, c = NULL WHERE id = 1", large(2, "a")));
    live.sql(&format!("INSERT INTO t (id, a) VALUES (4, {})", large(4, "a")));
    live.sql("UPDATE t SET b = '{}', n = NULL WHERE id IN (2, 4); UPDATE t SET n = 9");
    live.assert_equal(&["t"]);
    live.sql("DELETE FROM t WHERE id = 3");
    live.assert_equal(&["t"]);
}

/// Under REPLICA IDENTITY FULL the old row has the values that the new one leaves out.
#[test]
fn large_values_under_replica_identity_full() {
    let world = World::new();
    world.sql(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, n int, a text, b text); ALTER TABLE t REPLICA IDENTITY FULL;
         ALTER TABLE t ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
         INSERT INTO t SELECT id, 0, {}, {} FROM generate_series(1, 4) id",
        large(1, "a"),
        large(1, "b"),
    ));
    let live = Live::begin(&world);
    live.sql("UPDATE t SET n = 1; UPDATE t SET b = NULL WHERE id = 2; UPDATE t SET id = 30 WHERE id = 3");
    live.sql("DELETE FROM t WHERE id = 4");
    live.assert_equal(&["t"]);
}

#[test]
fn generated_columns_are_left_out() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED, b text,
                         own int GENERATED ALWAYS AS IDENTITY);
         INSERT INTO t (id, a, b) VALUES (1, 1, 'x')",
    );
    let live = Live::begin(&world);
    live.sql("INSERT INTO t (id, a, b) VALUES (2, 2, 'y'); UPDATE t SET a = 10, b = NULL WHERE id = 1");
    // From PostgreSQL 18 on a publication can send them.
    let sent = world.postgres_version() >= 18;
    let fields = |names: &[&'static str]| -> Vec<&str> {
        names.iter().copied().chain(sent.then_some("twice")).collect()
    };
    assert_eq!(live.hash("t:1").into_keys().collect::<Vec<_>>(), fields(&["a", "id", "own"]));
    assert_eq!(live.hash("t:2").into_keys().collect::<Vec<_>>(), fields(&["a", "b", "id", "own"]));
    live.assert_equal(&["t"]);
}

#[test]
fn a_table_with_300_columns() {
    let world = World::new();
    let columns: String = (0..300).map(|i| format!(", c{i} int")).collect();
    let values: String =
        (0..300).map(|i| if i % 3 == 0 { ", NULL".into() } else { format!(", {i}") }).collect();
    world.sql(&format!("CREATE TABLE t (id int PRIMARY KEY{columns}); INSERT INTO t VALUES (1{values})"));
    let live = Live::begin(&world);
    live.sql(&format!("INSERT INTO t VALUES (2{values}), (3{values}); INSERT INTO t (id) VALUES (4)"));
    live.sql(
        "UPDATE t SET c0 = 1, c1 = NULL, c299 = 7 WHERE id IN (1, 2); UPDATE t SET c150 = 0 WHERE id = 4",
    );
    live.assert_equal(&["t"]);
}

#[test]
fn rows_of_20_megabytes() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, n int, a text, b bytea);
         ALTER TABLE t ALTER a SET STORAGE EXTERNAL;
         INSERT INTO t VALUES (1, 1, repeat('0123456789', 2000000), NULL)",
    );
    let live = Live::begin(&world);
    live.sql("INSERT INTO t VALUES (2, 2, repeat(E'abc\\n\\t\\\\é', 2500000), decode(repeat('00ff', 100000), 'hex'))");
    live.sql("UPDATE t SET n = 3; UPDATE t SET a = 'short' WHERE id = 1");
    live.assert_equal(&["t"]);
    assert_eq!(live.redis::<u64>(&["HSTRLEN", "t:2", "a"]), 20_000_000);
}
