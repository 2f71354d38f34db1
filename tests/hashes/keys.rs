//! Keys: composite ones, and rows whose key changes.

use super::{Live, large};
use crate::harness::{Table, World};

#[test]
fn composite_keys_in_the_order_of_the_primary_key() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (a text, v int, b text, PRIMARY KEY (b, a));
         INSERT INTO t VALUES ('a:b', 1, 'c'), ('b', 2, 'c:a'), ('', 3, ''), ('%3A', 4, ':')",
    );
    let live = Live::begin(&world);
    assert_eq!(live.hash("t:c:a%3Ab")["v"], "1");
    assert_eq!(live.hash("t:c%3Aa:b")["v"], "2");
    assert_eq!(live.hash("t:%3A:%253A")["v"], "4");
    live.sql(
        "INSERT INTO t VALUES ('x:y', 5, 'z%'), ('x', 6, 'y:z%'); UPDATE t SET v = v + 10;
         UPDATE t SET b = 'moved:' WHERE v = 11; DELETE FROM t WHERE v = 13",
    );
    assert_eq!(live.hash("t:z%25:x%3Ay")["v"], "15");
    live.assert_equal(&["t"]);
}

/// A key of one column is taken as it is.
#[test]
fn a_single_key_is_not_escaped() {
    let world = World::new();
    world.sql("CREATE TABLE t (a text PRIMARY KEY, v int); INSERT INTO t VALUES ('a:b%', 1)");
    let live = Live::begin(&world);
    live.sql(
        "INSERT INTO t VALUES ('%3A', 2), ('', 3), (E'new\\nline', 4), ('größe', 5); UPDATE t SET v = v + 1",
    );
    assert_eq!(live.hash("t:a:b%")["v"], "2");
    assert_eq!(live.hash("t:")["v"], "4");
    live.assert_equal(&["t"]);
}

#[test]
fn keys_of_many_types() {
    let world = World::new();
    let types = [
        ("bigint", "'-5'", "'9223372036854775807'"),
        ("numeric", "'1.50'", "'-0.000'"),
        ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"),
        ("timestamptz", "'2018-08-09 19:50:13.5+02'", "'infinity'"),
        ("date", "'2024-02-29'", "'0044-03-15 BC'"),
        ("boolean", "true", "false"),
        ("bytea", r"'\x00ff'", r"'\x3a'"),
        ("double precision", "'1.1'", "'-Infinity'"),
        ("inet", "'10.0.0.1'", "'::1/64'"),
        ("int[]", "'{1,2}'", "'{}'"),
        ("char(5)", "'ab'", "'abcde'"),
        ("interval", "'1 day 2 hours'", "'-1 mon'"),
        ("jsonb", r#"'{"a": [1]}'"#, "'null'"),
    ];
    for (i, (name, first, _)) in types.iter().enumerate() {
        world.sql(&format!(
            "CREATE TABLE s{i} (k {name} PRIMARY KEY, v int); INSERT INTO s{i} VALUES ({first}, 1);
             CREATE TABLE c{i} (n int, k {name}, v int, PRIMARY KEY (k, n)); INSERT INTO c{i} VALUES (1, {first}, 1)"
        ));
    }
    let live = Live::begin(&world);
    for (i, (_, first, second)) in types.iter().enumerate() {
        live.world.sql(&format!(
            "INSERT INTO s{i} VALUES ({second}, 2); UPDATE s{i} SET v = 3 WHERE k = {first};
             INSERT INTO c{i} VALUES (1, {second}, 2), (2, {second}, 3); DELETE FROM c{i} WHERE k = {first};
             UPDATE c{i} SET k = {first} WHERE n = 2"
        ));
    }
    live.settle();
    for i in 0..types.len() {
        live.assert_equal(&[&format!("s{i}"), &format!("c{i}")]);
    }
}

#[test]
fn a_changed_key_moves_the_row() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, 'a', NULL), (2, 'b', 'c')");
    let live = Live::begin(&world);
    live.sql("UPDATE t SET id = 10 WHERE id = 1; UPDATE t SET id = 20, a = 'new', b = NULL WHERE id = 2");
    live.assert_equal(&["t"]);
    assert_eq!(live.keys("t:*").len(), 2);
}

#[test]
fn a_changed_key_takes_unchanged_large_values_along() {
    let world = World::new();
    world.sql(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, n int, a text, b text);
         ALTER TABLE t ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
         INSERT INTO t SELECT i, i, {}, {} FROM generate_series(1, 6) i",
        large(1, "a"),
        large(1, "b"),
    ));
    let live = Live::begin(&world);
    live.sql("UPDATE t SET id = 10 WHERE id = 1; UPDATE t SET id = 20, n = NULL, a = NULL WHERE id = 2");
    live.sql(&format!("UPDATE t SET id = 30, b = {} WHERE id = 3", large(2, "b")));
    live.assert_equal(&["t"]);
    // Inserted and moved in one transaction, moved twice, moved and deleted.
    live.sql(&format!(
        "BEGIN; INSERT INTO t VALUES (100, 1, {}, 'x'); UPDATE t SET id = 101 WHERE id = 100; COMMIT;
         BEGIN; UPDATE t SET id = 40 WHERE id = 4; UPDATE t SET id = 41, n = 1 WHERE id = 40; COMMIT;
         BEGIN; UPDATE t SET id = 50 WHERE id = 5; DELETE FROM t WHERE id = 50; COMMIT;
         BEGIN; UPDATE t SET id = 60 WHERE id = 6; INSERT INTO t VALUES (6, 7, NULL, 'y'); COMMIT",
        large(3, "a"),
    ));
    live.assert_equal(&["t"]);
}

#[test]
fn a_key_that_changes_several_times_in_one_transaction() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'a'), (5, 'b')");
    let live = Live::begin(&world);
    live.sql("BEGIN; UPDATE t SET id = 2 WHERE id = 1; UPDATE t SET id = 3 WHERE id = 2; COMMIT");
    live.assert_equal(&["t"]);
    live.sql("BEGIN; UPDATE t SET id = 6 WHERE id = 5; UPDATE t SET id = 5 WHERE id = 6; COMMIT");
    live.assert_equal(&["t"]);
    live.sql(
        "BEGIN; UPDATE t SET id = 7 WHERE id = 5; UPDATE t SET id = 8 WHERE id = 7; UPDATE t SET id = 9 WHERE id = 8;
         INSERT INTO t VALUES (7, 'c'); COMMIT",
    );
    live.assert_equal(&["t"]);
}

#[test]
fn a_key_changes_to_one_that_was_deleted_in_the_same_transaction() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, a text, b text);
         INSERT INTO t VALUES (1, 'a', NULL), (2, 'b', 'gone'), (3, 'c', 'd'), (4, NULL, 'e')",
    );
    let live = Live::begin(&world);
    live.sql("BEGIN; DELETE FROM t WHERE id = 2; UPDATE t SET id = 2 WHERE id = 1; COMMIT");
    live.assert_equal(&["t"]);
    // Two rows change places by way of a third key.
    live.sql(
        "BEGIN; UPDATE t SET id = 0 WHERE id = 3; UPDATE t SET id = 3 WHERE id = 4; UPDATE t SET id = 4 WHERE id = 0;
         COMMIT",
    );
    live.assert_equal(&["t"]);
    live.sql("BEGIN; UPDATE t SET id = 9 WHERE id = 4; INSERT INTO t VALUES (4, 'new', NULL); COMMIT");
    live.assert_equal(&["t"]);
    live.sql("BEGIN; DELETE FROM t WHERE id = 9; UPDATE t SET id = 9 WHERE id = 4; DELETE FROM t WHERE id = 9; COMMIT");
    live.assert_equal(&["t"]);
}

/// A deferrable key is unique only at the end of a transaction.
#[test]
fn rows_swap_their_deferrable_keys() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a text, b text);
         ALTER TABLE t REPLICA IDENTITY FULL;
         INSERT INTO t VALUES (1, 'one', NULL), (2, 'two', 'b'), (3, 'three', 'c'), (4, 'four', 'd')",
    );
    let live = Live::begin(&world);
    live.sql("UPDATE t SET id = 3 - id WHERE id < 3");
    live.assert_equal(&["t"]);
    live.sql("BEGIN; UPDATE t SET id = 4 WHERE a = 'three'; UPDATE t SET id = 3 WHERE a = 'four'; COMMIT");
    live.assert_equal(&["t"]);
    live.sql("UPDATE t SET id = id + 1");
    live.assert_equal(&["t"]);
    live.sql("UPDATE t SET id = CASE id WHEN 2 THEN 5 ELSE id - 1 END");
    live.assert_equal(&["t"]);
}

#[test]
fn rows_with_large_values_swap_their_deferrable_keys() {
    let world = World::new();
    world.sql(&format!(
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a text, b text);
         ALTER TABLE t REPLICA IDENTITY FULL; ALTER TABLE t ALTER a SET STORAGE EXTERNAL;
         INSERT INTO t VALUES (1, {}, 'one'), (2, {}, 'two')",
        large(1, "a"),
        large(2, "a"),
    ));
    let live = Live::begin(&world);
    live.sql("UPDATE t SET id = 3 - id");
    live.assert_equal(&["t"]);
}

#[test]
fn a_deferrable_key_changes_twice_in_one_transaction() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a text);
         ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 'one'), (5, 'five')",
    );
    let live = Live::begin(&world);
    live.sql("BEGIN; UPDATE t SET id = 2 WHERE id = 1; UPDATE t SET id = 3 WHERE id = 2; COMMIT");
    live.assert_equal(&["t"]);
}

/// For a moment two rows have one key; the one that stays must not be removed with the other.
#[test]
fn a_row_takes_a_deferrable_key_before_its_owner_is_deleted() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a text);
         ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    );
    let live = Live::begin(&world);
    live.sql("BEGIN; UPDATE t SET id = 2 WHERE a = 'one'; DELETE FROM t WHERE a = 'two'; COMMIT");
    live.assert_equal(&["t"]);
    live.sql("BEGIN; INSERT INTO t VALUES (3, 'new'); DELETE FROM t WHERE a = 'three'; COMMIT");
    live.assert_equal(&["t"]);
    live.sql("BEGIN; INSERT INTO t VALUES (3, 'newer'); UPDATE t SET id = 4 WHERE a = 'new'; COMMIT");
    live.assert_equal(&["t"]);
}

/// The key of such a row is itself stored outside the row, and an UPDATE does not send it.
#[test]
fn primary_keys_that_are_stored_outside_their_rows() {
    let world = World::new();
    let key =
        |seed: i32| format!("(SELECT string_agg(md5('{seed} ' || i), '') FROM generate_series(1, 75) i)");
    world.sql(&format!(
        "CREATE TABLE t (k text PRIMARY KEY, n int, v text); ALTER TABLE t ALTER k SET STORAGE EXTERNAL;
         ALTER TABLE t ALTER v SET STORAGE EXTERNAL;
         CREATE TABLE c (n int, k text, v int, PRIMARY KEY (k, n)); ALTER TABLE c ALTER k SET STORAGE EXTERNAL;
         INSERT INTO t VALUES ({}, 1, {}), ({}, 2, NULL); INSERT INTO c VALUES (1, {}, 1)",
        key(1),
        large(1, "v"),
        key(2),
        key(1),
    ));
    let live = Live::begin(&world);
    live.sql(&format!("INSERT INTO t VALUES ({}, 3, {}); UPDATE t SET n = n + 10", key(3), large(3, "v")));
    live.assert_equal(&["t"]);
    live.sql("UPDATE c SET v = 5; UPDATE c SET n = 2; UPDATE c SET v = 6");
    live.assert_equal(&["c"]);
    live.sql(&format!("UPDATE t SET k = {} WHERE n = 11; UPDATE t SET k = 'short' WHERE n = 13", key(4)));
    live.assert_equal(&["t"]);
    live.sql("UPDATE t SET n = 0; DELETE FROM t WHERE k <> 'short'; DELETE FROM c");
    live.assert_equal(&["t", "c"]);
}

/// A template can use columns beyond the key under REPLICA IDENTITY FULL.
#[test]
fn a_template_of_other_columns_under_replica_identity_full() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, region text, v text); ALTER TABLE t REPLICA IDENTITY FULL;
         INSERT INTO t VALUES (1, 'eu', 'a'), (2, 'us', 'b'), (3, 'eu', 'c')",
    );
    let live = Live::tables(&world, r#"public.t: { type: hash, key: "t:{region}:{id}" }"#);
    live.sql("UPDATE t SET region = 'us' WHERE id = 1; UPDATE t SET v = 'x' WHERE id = 2; DELETE FROM t WHERE id = 3");
    live.assert_table(&Table::new("t").key(&["region", "id"]));
}
