//! Rows as strings: templates, documents, keys that change, time to live.

use crate::harness::World;
use crate::hashes::Live;

fn string(world: &World, key: &str) -> Option<String> {
    world.redis(&["GET", key])
}

#[test]
fn the_row_as_a_document() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, big bigint, n numeric, f float8, b bool, j jsonb, a int[], s text, z text);
         INSERT INTO t VALUES (1, 9007199254740993, 1.50, 'NaN', true, '{\"x\": 1.0}', '{1,NULL}', E'q\"\\\\', NULL)",
    );
    let live = Live::tables(&world, "public.t: { type: string }");
    let expected = r#"{"id":1,"big":9007199254740993,"n":"1.50","f":"NaN","b":true,"j":{"x": 1.0},"a":[1,null],"s":"q\"\\","z":null}"#;
    assert_eq!(string(&world, "t:1").as_deref(), Some(expected));
    live.sql(
        "INSERT INTO t SELECT id + 1, big, n, f, b, j, a, s, z FROM t; UPDATE t SET id = 30 WHERE id = 1",
    );
    live.settle();
    let second = expected.replace(r#""id":1"#, r#""id":2"#);
    assert_eq!(string(&world, "t:2"), Some(second));
    assert_eq!(string(&world, "t:1"), None);
    assert_eq!(string(&world, "t:30"), Some(expected.replace(r#""id":1"#, r#""id":30"#)));
    live.sql("DELETE FROM t WHERE id = 2; TRUNCATE t");
    live.settle();
    assert!(world.keys("t:*").is_empty());
}

#[test]
fn options_of_the_document() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, n numeric, at timestamptz, z text, secret text);
         INSERT INTO t VALUES (1, 1.50, '2018-08-09 19:50:13.5+00', NULL, 'x')",
    );
    let _live = Live::tables(
        &world,
        "public.t: { type: string, exclude: [secret], decimals: number, timestamps: epoch_ms, nulls: omit }",
    );
    assert_eq!(string(&world, "t:1").as_deref(), Some(r#"{"id":1,"n":1.50,"at":1533844213500}"#));
}

#[test]
fn a_template() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, a text, b int); INSERT INTO t VALUES (1, 'x', 2), (2, NULL, 3)",
    );
    let live = Live::tables(
        &world,
        r#"
        public.t:
          - { type: string, key: "ab:{id}", value: "{{{a}}}/{b}" }
          - { type: string, key: "a:{id}", value: "{a}", ttl: 1000 }
        "#,
    );
    assert_eq!(string(&world, "ab:1").as_deref(), Some("{x}/2"));
    assert_eq!(string(&world, "ab:2").as_deref(), Some("{}/3"));
    assert_eq!(string(&world, "a:1").as_deref(), Some("x"));
    // The value of a column that has none is no value.
    assert_eq!(string(&world, "a:2"), None);
    assert_eq!(world.redis::<i64>(&["TTL", "ab:1"]), -1);
    world.redis::<i64>(&["EXPIRE", "a:1", "5"]);
    live.sql("UPDATE t SET a = 'now' WHERE id = 2; UPDATE t SET b = 3 WHERE id = 1");
    live.settle();
    assert_eq!(string(&world, "a:2").as_deref(), Some("now"));
    assert!(world.redis::<i64>(&["TTL", "a:1"]) > 900);
    live.sql("UPDATE t SET a = NULL");
    live.settle();
    assert!(world.keys("a:*").is_empty());
}

/// A new column is NULL in every row, and a document says so.
#[test]
fn a_new_column_is_in_every_document() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let live = Live::tables(&world, "public.t: { type: string }");
    live.sql("ALTER TABLE t ADD v text; INSERT INTO t VALUES (2, 'x')");
    world.eventually_eq("the old row has it", &Some(r#"{"id":1,"v":null}"#.to_owned()), || {
        string(&world, "t:1")
    });
    live.settle();
    assert_eq!(string(&world, "t:2").as_deref(), Some(r#"{"id":2,"v":"x"}"#));
}

/// A change from before a new definition overwrites what was read after it: the table is read once more,
/// and that once.
#[test]
fn changed_before_the_definition_and_read_after_it() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v int)");
    world.config("public.t: { type: string }");
    world.run_until_caught_up();
    world.sql("INSERT INTO t VALUES (1, 1); ALTER TABLE t ADD w int DEFAULT 7");
    world.run_until_caught_up();
    assert_eq!(string(&world, "t:1").as_deref(), Some(r#"{"id":1,"v":1,"w":7}"#));
    world.sql("INSERT INTO t VALUES (2, 2); ALTER TABLE t ADD x int DEFAULT 8");
    let connector = world.run();
    world.eventually("the row is whole", || {
        string(&world, "t:2").is_some_and(|text| text == r#"{"id":2,"v":2,"w":7,"x":8}"#)
    });
    world.sql("INSERT INTO t VALUES (3, 3)");
    world.eventually("it streams", || string(&world, "t:3").is_some());
    connector.term();
    connector.wait(std::time::Duration::from_secs(30));
    assert!(connector.log().matches("is read again").count() <= 3, "{}", connector.story());
}
