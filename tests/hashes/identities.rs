//! Tables without a primary key, and replica identities that change.

use super::Live;
use crate::harness::{Table, World};

#[test]
fn a_table_without_primary_key_has_all_columns_as_key() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (a int, b text, c text); ALTER TABLE t REPLICA IDENTITY FULL;
         INSERT INTO t VALUES (1, 'x:y', '%'), (2, 'b', 'c')",
    );
    let live = Live::tables(&world, "public.t: { type: hash }");
    live.assert_equal(&["t"]);
    live.sql(
        "INSERT INTO t VALUES (3, '', 'c'); UPDATE t SET c = 'new' WHERE a = 1; DELETE FROM t WHERE a = 2",
    );
    assert_eq!(live.hash("t:1:x%3Ay:new")["c"], "new");
    live.assert_equal(&["t"]);
    live.sql("UPDATE t SET a = 10 WHERE a = 1; TRUNCATE t; INSERT INTO t VALUES (5, 'e', 'f')");
    live.assert_equal(&["t"]);
}

/// NULL and the empty text are two values, so they are two keys.
#[test]
fn nulls_in_a_key_of_all_columns() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (a int, b text, v text); ALTER TABLE t REPLICA IDENTITY FULL;
         INSERT INTO t VALUES (1, NULL, 'null'), (1, '', 'empty')",
    );
    let live = Live::begin(&world);
    let values = || {
        let mut values: Vec<String> =
            live.keys("t:*").iter().filter_map(|key| live.hash(key).remove("v")).collect();
        values.sort();
        values
    };
    assert_eq!(values(), ["empty", "null"]);
    live.sql("INSERT INTO t VALUES (2, NULL, 'null 2'), (2, '', 'empty 2'), (NULL, NULL, 'null 3')");
    assert_eq!(values(), ["empty", "empty 2", "null", "null 2", "null 3"]);
    live.sql("UPDATE t SET b = 'x' WHERE b IS NULL; DELETE FROM t WHERE b = ''");
    assert_eq!(values(), ["null", "null 2", "null 3"]);
    live.sql("DELETE FROM t WHERE a IS NULL");
    live.assert_equal(&["t"]);
}

#[test]
fn a_unique_index_as_identity() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (a text NOT NULL, v int, b int NOT NULL, UNIQUE (b, a)); CREATE UNIQUE INDEX i ON t (b, a);
         ALTER TABLE t REPLICA IDENTITY USING INDEX i; INSERT INTO t VALUES ('x:', 1, 2), ('y', 2, 3)",
    );
    let live = Live::begin(&world);
    assert_eq!(live.hash("t:2:x%3A")["v"], "1");
    live.sql("INSERT INTO t VALUES ('z', 3, 4); UPDATE t SET v = 10 WHERE v = 1; UPDATE t SET a = 'moved' WHERE v = 2");
    live.sql("DELETE FROM t WHERE v = 3");
    live.assert_equal(&["t"]);
}

/// The identity names the row where there is a primary key besides: only its columns come with a
/// DELETE.
#[test]
fn a_unique_index_as_identity_beside_a_primary_key() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL UNIQUE, v int);
         ALTER TABLE t REPLICA IDENTITY USING INDEX t_code_key; INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2)",
    );
    let live = Live::begin(&world);
    live.sql(
        "UPDATE t SET v = 10 WHERE id = 1; UPDATE t SET id = 20 WHERE id = 2; INSERT INTO t VALUES (3, 'three', 3);
         UPDATE t SET code = 'uno' WHERE id = 1; DELETE FROM t WHERE id = 3",
    );
    live.assert_table(&Table::new("t").key(&["code"]));
}

#[test]
fn replica_identity_full_begins_and_ends_while_streaming() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'old' FROM generate_series(1, 9) i");
    let live = Live::begin(&world);
    live.sql("UPDATE t SET v = 'default' WHERE id = 1; ALTER TABLE t REPLICA IDENTITY FULL");
    live.sql(
        "UPDATE t SET v = 'full' WHERE id = 2; UPDATE t SET id = 30 WHERE id = 3; DELETE FROM t WHERE id = 4",
    );
    live.assert_equal(&["t"]);
    live.sql("ALTER TABLE t REPLICA IDENTITY DEFAULT");
    live.sql("UPDATE t SET v = 'again' WHERE id = 5; UPDATE t SET id = 60 WHERE id = 6; DELETE FROM t WHERE id = 7");
    live.assert_equal(&["t"]);
}

/// The rows get other keys, and the old keys must not stay.
#[test]
fn a_primary_key_is_added_while_streaming() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (a int NOT NULL, v text); ALTER TABLE t REPLICA IDENTITY FULL;
         INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    );
    let live = Live::begin(&world);
    live.sql("ALTER TABLE t ADD PRIMARY KEY (a); ALTER TABLE t REPLICA IDENTITY DEFAULT; INSERT INTO t VALUES (4, 'four')");
    live.sql("UPDATE t SET v = 'uno' WHERE a = 1; DELETE FROM t WHERE a = 2");
    live.eventually_equal(&["t"]);
}

#[test]
fn the_primary_key_moves_to_another_column_while_streaming() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (a int PRIMARY KEY, b int NOT NULL UNIQUE, v text);
         INSERT INTO t VALUES (1, 10, 'one'), (2, 20, 'two'), (3, 30, 'three')",
    );
    let live = Live::begin(&world);
    live.sql(
        "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (b); INSERT INTO t VALUES (4, 40, 'four')",
    );
    live.sql("UPDATE t SET v = 'uno' WHERE b = 10; DELETE FROM t WHERE b = 20");
    live.eventually_equal(&["t"]);
}

/// Without its identity a table's UPDATEs would be refused if it were published.
#[test]
fn a_table_without_identity_is_not_published_unless_asked_for() {
    let world = World::new();
    world.sql(
        "CREATE TABLE plain (a int); INSERT INTO plain VALUES (1); CREATE TABLE keyed (a int PRIMARY KEY);
         CREATE TABLE nothing (a int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING;
         CREATE TABLE late (a int PRIMARY KEY DEFERRABLE)",
    );
    let live = Live::begin(&world);
    live.sql("UPDATE plain SET a = 2; DELETE FROM plain; INSERT INTO keyed VALUES (1)");
    live.sql("INSERT INTO nothing VALUES (1); UPDATE nothing SET a = 2; INSERT INTO late VALUES (1); DELETE FROM late");
    assert!(live.connector.log_contains("public.plain"), "{}", live.connector.story());
    live.assert_equal(&["keyed"]);
    assert!(live.keys("plain:*").is_empty() && live.keys("nothing:*").is_empty());
}
