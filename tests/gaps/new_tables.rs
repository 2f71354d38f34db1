//! Tables that come while the program runs.

use crate::harness::{Table, World};
use crate::hashes::Live;

#[test]
fn a_table_that_fits_a_pattern() {
    let world = World::new();
    world.sql("CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a VALUES (1, 'x')");
    let live = Live::tables(&world, "public.*: { type: hash }");
    world.sql("CREATE TABLE b (id int PRIMARY KEY, v text); INSERT INTO b SELECT n, 'y' FROM generate_series(1, 100) n");
    world.eventually("its rows are read", || world.keys("b:*").len() == 100);
    live.sql("INSERT INTO b VALUES (101, 'z'); UPDATE b SET v = 'changed' WHERE id = 1; DELETE FROM b WHERE id = 2; UPDATE a SET v = 'w'");
    live.settle();
    for table in ["a", "b"] {
        world.assert_table(&Table::new(table));
    }
    assert!(
        live.connector.log_contains("tables to capture have come: public.b"),
        "{}",
        live.connector.story()
    );
}

/// A table that the role may read from now on.
#[test]
fn a_table_that_is_granted() {
    let world = World::new();
    world.sql(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, v text); INSERT INTO b VALUES (1, 'x')",
    );
    let role = format!("reader_{}", world.name);
    world.sql(&format!(
        "CREATE ROLE {role} LOGIN REPLICATION; GRANT SELECT ON a TO {role}; CREATE PUBLICATION p FOR TABLE a, b"
    ));
    world.configure(&crate::harness::Config {
        source_url: Some(world.source_url().replace("postgres@", &format!("{role}@"))),
        source: "publication: p",
        tables: "public.*: { type: hash }",
        ..Default::default()
    });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming from"));
    assert!(world.keys("b:*").is_empty());
    world.sql(&format!("GRANT SELECT ON b TO {role}"));
    world.eventually("the row is there", || world.hash("b:1").get("v").is_some_and(|v| v == "x"));
    drop(connector);
    world.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// A publication of somebody else: the statement for its owner is told, and when it was run the table
/// is captured.
#[test]
fn a_table_that_is_added_to_the_publication() {
    let world = World::new();
    world.sql("CREATE TABLE a (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE a");
    world.configure(&crate::harness::Config {
        source: "publication: p",
        tables: "public.*: { type: hash }",
        ..Default::default()
    });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming from"));
    world.sql("CREATE TABLE b (id int PRIMARY KEY, v text); INSERT INTO b VALUES (1, 'x')");
    world.eventually("the statement is told", || {
        connector.log_contains(r#"ALTER PUBLICATION "p" ADD TABLE ONLY "public"."b""#)
    });
    world.sql("ALTER PUBLICATION p ADD TABLE b");
    world.eventually("the row is there", || world.hash("b:1").get("v").is_some_and(|v| v == "x"));
    world.sql("INSERT INTO b VALUES (2, 'y')");
    world.eventually("and the next", || !world.hash("b:2").is_empty());
}

/// What happened to a table while it was not captured is told to nobody; its stream gets to know that.
#[test]
fn a_table_that_was_out_of_the_publication_for_a_while() {
    let world = World::new();
    world.sql(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1), (2);
         CREATE PUBLICATION p FOR TABLE a, b",
    );
    world.configure(&crate::harness::Config {
        source: "publication: p",
        tables: "public.*: { type: stream }",
        ..Default::default()
    });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming from"));
    world.sql("ALTER PUBLICATION p DROP TABLE b; DELETE FROM b WHERE id = 1; INSERT INTO b VALUES (3)");
    world.eventually("that is noticed", || connector.log_contains("not captured any more"));
    world.sql("ALTER PUBLICATION p ADD TABLE b");
    world.eventually("its rows are told", || super::ops(&world, "b:events") == "rrgrr");
    world.sql("INSERT INTO b VALUES (4)");
    world.eventually("and what follows", || super::ops(&world, "b:events") == "rrgrrc");
}

/// A table of the same name is another one.
#[test]
fn a_table_that_is_dropped_and_made_anew() {
    let world = World::new();
    world.sql("CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1), (2)");
    world.config("public.b: { type: stream }");
    world.run_until_caught_up();
    world.sql("DROP TABLE b; CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (3)");
    world.run_until_caught_up();
    world.sql("INSERT INTO b VALUES (4)");
    world.run_until_caught_up();
    assert_eq!(super::ops(&world, "b:events"), "rrgrc");
}
