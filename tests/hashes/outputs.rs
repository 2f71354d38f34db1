//! What a configuration chooses: columns, names, keys, time to live, nulls.

use super::Live;
use crate::harness::{Table, World};

#[test]
fn columns_chosen_renamed_and_excluded() {
    let world = World::new();
    world.sql(
        r#"CREATE TABLE a (id int PRIMARY KEY, name text, ssn text, "Größe" int);
           CREATE TABLE b (id int PRIMARY KEY, name text, ssn text, "Größe" int);
           INSERT INTO a VALUES (1, 'Ada', '123', 1); INSERT INTO b SELECT * FROM a"#,
    );
    let live = Live::tables(
        &world,
        "
        public.a: { type: hash, columns: [name, { Größe: size }, { id: employee }] }
        public.b: { type: hash, exclude: [ssn, Größe] }
        ",
    );
    let a = Table::new("a").columns(&[("name", "name"), ("Größe", "size"), ("id", "employee")]);
    let b = Table::new("b").exclude(&["ssn", "Größe"]);
    for table in ["a", "b"] {
        live.sql(&format!(
            "INSERT INTO {table} VALUES (2, 'Bob', '456', NULL), (3, 'Cy', '7', 3), (4, 'Di', '8', 4);
             UPDATE {table} SET name = NULL, ssn = '1' WHERE id = 2; UPDATE {table} SET ssn = 'x' WHERE id = 1;
             UPDATE {table} SET id = 30 WHERE id = 3; DELETE FROM {table} WHERE id = 4"
        ));
    }
    live.assert_table(&a);
    live.assert_table(&b);
}

/// The key's columns need not be among those that are written.
#[test]
fn the_key_without_its_columns() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text, w text); INSERT INTO t VALUES (1, 'a', 'b'), (2, NULL, 'c')");
    let live = Live::tables(&world, "public.t: { type: hash, columns: [v] }");
    let t = Table::new("t").columns(&[("v", "v")]);
    live.assert_table(&t);
    // A row without any value is no hash, and one that gets some becomes one.
    live.sql(
        "UPDATE t SET v = NULL WHERE id = 1; UPDATE t SET v = 'now' WHERE id = 2; INSERT INTO t VALUES (3)",
    );
    live.assert_table(&t);
    live.sql("UPDATE t SET id = id + 10; UPDATE t SET v = 'late' WHERE id = 13; DELETE FROM t WHERE id = 11");
    live.assert_table(&t);
}

/// One column can have two names.
#[test]
fn one_column_twice() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')");
    let live = Live::tables(&world, "public.t: { type: hash, columns: [v, { v: copy }] }");
    live.sql("INSERT INTO t VALUES (2, 'b'); UPDATE t SET v = 'c' WHERE id = 1");
    live.assert_table(&Table::new("t").columns(&[("v", "v"), ("v", "copy")]));
    live.sql("UPDATE t SET v = NULL WHERE id = 2");
    live.assert_table(&Table::new("t").columns(&[("v", "v"), ("v", "copy")]));
}

#[test]
fn templates() {
    let world = World::new();
    world.sql(
        "CREATE TABLE dept (deptno int PRIMARY KEY, name text); INSERT INTO dept VALUES (10, 'x');
         CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a VALUES (1, 'x');
         CREATE TABLE b (x text, y text, v text, PRIMARY KEY (x, y)); INSERT INTO b VALUES ('p:q', 'r%', 'v');
         CREATE SCHEMA sales; CREATE TABLE sales.c (id int PRIMARY KEY); INSERT INTO sales.c VALUES (1)",
    );
    let live = Live::tables(
        &world,
        r#"
        public.dept: { type: hash, key: "department:{deptno}" }
        public.a: { type: hash, key: "{{{id}}}:{table}" }
        public.b: { type: hash, key: "{y}/{x}" }
        sales.c: { type: hash, key: "c {table} {pk}" }
        "#,
    );
    live.sql(
        "INSERT INTO dept VALUES (20, 'y'), (30, 'z'); UPDATE dept SET deptno = 40 WHERE deptno = 30;
         DELETE FROM dept WHERE deptno = 10; INSERT INTO a VALUES (2, 'y'); UPDATE a SET v = 'z' WHERE id = 1;
         INSERT INTO b VALUES ('1', '2', 'w'); UPDATE b SET x = 'new' WHERE v = 'v'; INSERT INTO sales.c VALUES (2)",
    );
    live.assert_table(&Table::new("dept").prefix("department:"));
    assert_eq!(live.hash("{1}:a")["v"], "z");
    assert_eq!(live.hash("{2}:a")["v"], "y");
    // Only `{pk}` of several columns is escaped.
    assert_eq!(live.hash("r%/new")["v"], "v");
    assert_eq!(live.hash("2/1")["v"], "w");
    live.assert_table(&Table::new("sales.c").prefix("c sales.c "));
    let others = live.keys("*/*").len() + live.keys("{*").len();
    assert_eq!(others, 4);
}

#[test]
fn keys_expire_and_live_longer_with_every_write() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    let live = Live::tables(&world, "public.t: { type: hash, ttl: 1h }");
    let ttl = |key: &str| live.redis::<i64>(&["TTL", key]);
    assert!((3590..=3600).contains(&ttl("t:1")), "{}", ttl("t:1"));
    live.redis::<()>(&["EXPIRE", "t:1", "100"]);
    live.sql(
        "UPDATE t SET v = 'c' WHERE id = 1; INSERT INTO t VALUES (3, 'd'); UPDATE t SET id = 20 WHERE id = 2",
    );
    for key in ["t:1", "t:3", "t:20"] {
        assert!((3590..=3600).contains(&ttl(key)), "{key}: {}", ttl(key));
    }
    live.assert_equal(&["t"]);
}

/// A write that only removes fields is a write.
#[test]
fn a_write_of_nulls_makes_a_key_live_longer_too() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text, w text); INSERT INTO t VALUES (1, 'a', 'b')");
    let live = Live::tables(&world, "public.t: { type: hash, ttl: 1h, columns: [v, w] }");
    live.redis::<()>(&["EXPIRE", "t:1", "100"]);
    live.sql("UPDATE t SET v = NULL");
    assert!(live.redis::<i64>(&["TTL", "t:1"]) > 3000);
    assert_eq!(live.hash("t:1").into_keys().collect::<Vec<_>>(), ["w"]);
}

#[test]
fn nulls_as_empty_texts() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text, n int); INSERT INTO t VALUES (1, 'a', NULL)");
    let live = Live::tables(&world, "public.t: { type: hash, nulls: empty }");
    live.sql("INSERT INTO t VALUES (2, NULL, 2); UPDATE t SET v = NULL WHERE id = 1");
    for (key, fields) in
        [("t:1", [("id", "1"), ("n", ""), ("v", "")]), ("t:2", [("id", "2"), ("n", "2"), ("v", "")])]
    {
        let hash = live.hash(key);
        assert_eq!(hash.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), fields, "{key}");
    }
}

/// The first rule that fits counts, and what no rule fits is left alone.
#[test]
fn the_first_rule_counts() {
    let world = World::new();
    world.sql(
        "CREATE SCHEMA sales; CREATE TABLE sales.a (id int PRIMARY KEY, ssn text, v text);
         CREATE TABLE sales.b (id int PRIMARY KEY, ssn text, v text); CREATE TABLE other (id int PRIMARY KEY)",
    );
    let live = Live::tables(
        &world,
        "
        sales.a: { type: hash }
        sales.*: { type: hash, exclude: [ssn] }
        ",
    );
    live.sql(
        "INSERT INTO sales.a VALUES (1, 'x', 'y'); INSERT INTO sales.b VALUES (1, 'x', 'y'); INSERT INTO other VALUES (1)",
    );
    live.assert_equal(&["sales.a"]);
    live.assert_table(&Table::new("sales.b").exclude(&["ssn"]));
    assert!(live.keys("other:*").is_empty());
}
