//! Generated columns: PostgreSQL 18 sends the stored ones, those before none.

use super::needs;
use crate::harness::{Table, World};
use crate::hashes::Live;

const TABLE: &str = "
    CREATE TABLE t (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED, v text);
    INSERT INTO t VALUES (1, 21, DEFAULT, 'a'), (2, NULL, DEFAULT, 'b')";

#[test]
fn stored_ones_are_sent_by_18() {
    needs!(18);
    let world = World::of(18);
    world.sql(TABLE);
    world.sql(
        "CREATE TABLE whole (n int, twice int GENERATED ALWAYS AS (n * 2) STORED);
         ALTER TABLE whole REPLICA IDENTITY FULL;
         CREATE TABLE virtual (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) VIRTUAL);
         INSERT INTO virtual VALUES (1, 1)",
    );
    let live = Live::begin(&world);
    live.assert_equal(&["t"]);
    assert_eq!(live.hash("t:1")["twice"], "42");
    live.sql(
        "UPDATE t SET n = 5 WHERE id = 2; UPDATE t SET n = NULL WHERE id = 1; INSERT INTO t VALUES (3, 7)",
    );
    live.assert_equal(&["t"]);
    assert_eq!(live.hash("t:2")["twice"], "10");
    assert!(!live.hash("t:1").contains_key("twice"));
    live.sql("INSERT INTO whole VALUES (1), (2); UPDATE whole SET n = 3 WHERE n = 1; DELETE FROM whole WHERE n = 2");
    assert_eq!(live.keys("whole:*").into_iter().collect::<Vec<_>>(), ["whole:3:6"]);
    // What is computed when it is read is in no log.
    assert!(!live.hash("virtual:1").contains_key("twice"));
    // A column that is added is in rows that no change tells of.
    live.sql(
        "ALTER TABLE t ADD thrice int GENERATED ALWAYS AS (n * 3) STORED; UPDATE t SET n = 1 WHERE id = 1",
    );
    world.eventually_equal(&["t"]);
    assert_eq!(live.hash("t:3")["thrice"], "21");
}

/// A publication that its owner made does not send them unless it says so.
#[test]
fn a_given_publication_decides() {
    needs!(18);
    let world = World::of(18);
    world.sql(TABLE);
    world.sql(&format!("CREATE PUBLICATION {} FOR TABLE t", world.slot()));
    world.config("public.t: { type: hash }");
    world.run_until_caught_up();
    world.sql("UPDATE t SET n = 5 WHERE id = 2; INSERT INTO t VALUES (3, 7)");
    world.run_until_caught_up();
    world.assert_table(&Table::new("t").exclude(&["twice"]));
}

/// With REPLICA IDENTITY FULL and such a column PostgreSQL would reject the application's own UPDATE.
#[test]
fn virtual_ones_make_a_full_identity_unusable() {
    needs!(18);
    let world = World::of(18);
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY);
         CREATE TABLE whole (n int, twice int GENERATED ALWAYS AS (n * 2) VIRTUAL);
         ALTER TABLE whole REPLICA IDENTITY FULL",
    );
    let live = Live::begin(&world);
    assert!(live.connector.log_contains("virtual generated column"), "{}", live.connector.story());
    live.sql("INSERT INTO whole VALUES (1); UPDATE whole SET n = 2");
    live.connector.term();
    live.connector.wait(std::time::Duration::from_secs(30));
    world.config("public.whole: { type: hash }");
    let refused = world.run_with(&["--until-caught-up"]);
    assert_eq!(refused.wait(std::time::Duration::from_secs(30)).code(), Some(1));
    assert!(refused.log_contains("virtual generated column"), "{}", refused.story());
}
