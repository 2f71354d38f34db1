//! Tables whose definition changes while they are streamed.

use super::{Live, large};
use crate::harness::World;

const TABLE: &str = "
    CREATE TABLE t (id int PRIMARY KEY, a text, b int); INSERT INTO t SELECT i, 'a' || i, i FROM generate_series(1, 50) i";

/// Runs the statements on the table above and compares it.
#[track_caller]
fn compared_after(statements: &[&str]) {
    let world = World::new();
    world.sql(TABLE);
    let live = Live::begin(&world);
    for statement in statements {
        live.world.sql(statement);
    }
    live.settle();
    live.eventually_equal(&["t"]);
    // What follows is right too.
    live.sql("INSERT INTO t (id) VALUES (1000), (1001); DELETE FROM t WHERE id IN (7, 1001); UPDATE t SET id = 80 WHERE id = 8");
    live.assert_equal(&["t"]);
}

#[test]
fn a_column_is_added() {
    compared_after(&[
        "ALTER TABLE t ADD COLUMN c text",
        "INSERT INTO t VALUES (100, 'x', 1, 'new'), (101, 'x', 1, NULL)",
        "UPDATE t SET c = 'set' WHERE id < 5",
    ]);
}

#[test]
fn a_column_is_added_with_a_constant_default() {
    compared_after(&[
        "ALTER TABLE t ADD COLUMN c text DEFAULT 'everywhere'",
        "INSERT INTO t VALUES (100, 'x', 1, NULL)",
    ]);
}

#[test]
fn a_column_is_added_with_a_volatile_default() {
    compared_after(&[
        "ALTER TABLE t ADD COLUMN c float8 DEFAULT random()",
        "UPDATE t SET a = 'x' WHERE id = 1",
    ]);
}

#[test]
fn a_column_is_added_with_an_identity() {
    compared_after(&[
        "ALTER TABLE t ADD COLUMN c int GENERATED ALWAYS AS IDENTITY",
        "UPDATE t SET a = 'x' WHERE id = 1",
    ]);
}

/// The default is gone again when the stream tells of the new column, the values are not.
#[test]
fn a_column_is_added_with_a_default_that_is_dropped_at_once() {
    compared_after(&[
        "BEGIN; ALTER TABLE t ADD COLUMN c float8 DEFAULT random(); ALTER TABLE t ALTER c DROP DEFAULT; COMMIT",
        "UPDATE t SET a = 'x' WHERE id = 1",
    ]);
}

/// The values come from an UPDATE in the same transaction, which the stream tells.
#[test]
fn a_column_is_added_and_filled_in_one_transaction() {
    compared_after(&["BEGIN; ALTER TABLE t ADD COLUMN c text; UPDATE t SET c = a || '!'; COMMIT"]);
}

#[test]
fn a_column_is_dropped() {
    compared_after(&[
        "ALTER TABLE t DROP COLUMN a",
        "UPDATE t SET b = 7 WHERE id < 5; INSERT INTO t VALUES (100, 1)",
    ]);
}

#[test]
fn a_column_is_dropped_and_added_again() {
    compared_after(&[
        "ALTER TABLE t DROP COLUMN a",
        "ALTER TABLE t ADD COLUMN a text",
        "UPDATE t SET a = 'new' WHERE id = 1",
    ]);
}

#[test]
fn a_column_is_renamed() {
    compared_after(&[
        "ALTER TABLE t RENAME a TO c",
        "UPDATE t SET c = 'x' WHERE id < 5; INSERT INTO t VALUES (100, NULL, 2)",
    ]);
}

#[test]
fn two_columns_swap_their_names() {
    compared_after(&[
        "BEGIN; ALTER TABLE t RENAME a TO c; ALTER TABLE t RENAME b TO a; ALTER TABLE t RENAME c TO b; COMMIT",
        "UPDATE t SET b = 'x' WHERE id = 1",
    ]);
}

#[test]
fn a_column_is_retyped() {
    compared_after(&["ALTER TABLE t ALTER b TYPE numeric(9, 2)", "INSERT INTO t VALUES (100, 'x', 1.5)"]);
}

#[test]
fn a_column_is_retyped_with_other_values() {
    compared_after(&[
        "ALTER TABLE t ALTER b TYPE boolean USING b % 2 = 0",
        "UPDATE t SET a = 'x' WHERE id = 1",
    ]);
}

#[test]
fn the_key_is_retyped_and_renamed() {
    compared_after(&["ALTER TABLE t ALTER id TYPE bigint", "UPDATE t SET a = 'x' WHERE id = 1"]);
    let world = World::new();
    world.sql(TABLE);
    let live = Live::begin(&world);
    live.sql("ALTER TABLE t RENAME id TO number; UPDATE t SET a = 'x' WHERE number = 1; DELETE FROM t WHERE number = 2");
    live.eventually_equal(&["t"]);
}

/// Rows change on both sides of many definitions, all in one transaction, and in several.
#[test]
fn definitions_and_rows_change_in_turns() {
    compared_after(&[
        "BEGIN; INSERT INTO t VALUES (100, 'x', 1); ALTER TABLE t ADD c int DEFAULT 5; INSERT INTO t VALUES (101, 'y', 2, 3);
         ALTER TABLE t DROP a; UPDATE t SET b = 0 WHERE id = 100; ALTER TABLE t RENAME b TO d;
         UPDATE t SET d = 1, id = 102 WHERE id = 101; DELETE FROM t WHERE id = 3; COMMIT",
        "ALTER TABLE t ADD e text DEFAULT 'e'",
        "INSERT INTO t VALUES (103, 1, 2, 'f')",
        "ALTER TABLE t DROP c",
        "UPDATE t SET e = NULL WHERE id = 103",
    ]);
}

/// The rows that are read again have large values, and some are changed while that happens.
#[test]
fn large_values_and_a_changed_definition() {
    let world = World::new();
    world.sql(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, n int, v text, gone int); ALTER TABLE t ALTER v SET STORAGE EXTERNAL;
         INSERT INTO t SELECT i, i, {}, 1 FROM generate_series(1, 60) i",
        large(1, "v"),
    ));
    let live = Live::begin(&world);
    live.world.sql("ALTER TABLE t DROP gone; UPDATE t SET n = 0 WHERE id = 1");
    for i in 2..20 {
        live.world.sql(&format!(
            "UPDATE t SET n = -1 WHERE id = {i}; UPDATE t SET id = {} WHERE id = {i}; DELETE FROM t WHERE id = {}",
            i + 100,
            i + 30,
        ));
    }
    live.settle();
    live.eventually_equal(&["t"]);
}

/// A table that is captured by a pattern is captured under its new name too.
#[test]
fn a_table_is_renamed() {
    let world = World::new();
    world.sql(TABLE);
    let live = Live::begin(&world);
    live.sql(
        "ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (100, 'x', 1); UPDATE u SET a = 'y' WHERE id = 1",
    );
    live.eventually_equal(&["u"]);
    // Nobody will change the keys of the old name any more, and the log says that they are there.
    let log = live.connector.log();
    assert!(log.lines().any(|line| line.contains("public.t") && line.contains("stay in Redis")), "{log}");
    live.sql("DELETE FROM u WHERE id = 2; UPDATE u SET a = 'z' WHERE id = 3");
    live.assert_equal(&["u"]);
}

#[test]
fn a_table_moves_to_another_schema() {
    let world = World::new();
    world.sql(TABLE);
    let live = Live::begin(&world);
    live.sql("CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s; INSERT INTO s.t VALUES (100, 'x', 1)");
    live.eventually_equal(&["s.t"]);
}

/// The others go on.
#[test]
fn a_table_is_dropped() {
    let world = World::new();
    world.sql(&format!("{TABLE}; CREATE TABLE other (id int PRIMARY KEY)"));
    let live = Live::begin(&world);
    live.sql("UPDATE t SET a = 'x'; DROP TABLE t; INSERT INTO other VALUES (1)");
    live.assert_equal(&["other"]);
    live.connector.term();
    assert!(live.connector.wait(std::time::Duration::from_secs(30)).success());
    world.sql("INSERT INTO other VALUES (2)");
    world.run_until_caught_up();
    world.assert_equal(&["other"]);
}

/// A column that is written under another name, and one that is excluded, are dropped and renamed.
#[test]
fn configured_columns_vanish() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, a text, b int, c int, d int); INSERT INTO t VALUES (1, 'a', 1, 2, 3)",
    );
    let live = Live::tables(&world, "public.t: { type: hash, exclude: [c] }");
    live.sql("ALTER TABLE t DROP c; UPDATE t SET a = 'x'; INSERT INTO t VALUES (2, 'y', 1, 2)");
    live.eventually_equal(&["t"]);
    live.sql("UPDATE t SET d = 9");
    live.assert_equal(&["t"]);
}

/// Read with a new column, and then deleted and inserted again by changes from before it had one.
#[test]
fn rows_are_made_anew_before_the_definition_that_they_are_read_by() {
    let world = World::new();
    world.sql(TABLE);
    world.config("");
    world.run_until_caught_up();
    world.sql("DELETE FROM t WHERE id < 5; INSERT INTO t VALUES (1, 'again', 1), (2, 'again', 2)");
    world.sql("UPDATE t SET id = 100 WHERE id = 6; UPDATE t SET id = 6 WHERE id = 7");
    world.sql("ALTER TABLE t ADD COLUMN c int DEFAULT 7");
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}
