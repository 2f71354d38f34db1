//! Partitioned tables are their roots; children of ordinary inheritance are tables of their own.

use super::Live;
use crate::harness::World;

const ROOT: &str = "
    CREATE TABLE root (id int, region text, v text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
    CREATE TABLE root_eu PARTITION OF root FOR VALUES IN ('eu');
    CREATE TABLE root_us PARTITION OF root FOR VALUES IN ('us') PARTITION BY RANGE (id);
    CREATE TABLE root_us_low PARTITION OF root_us FOR VALUES FROM (0) TO (100);
    CREATE TABLE root_us_high PARTITION OF root_us FOR VALUES FROM (100) TO (200);
    INSERT INTO root VALUES (1, 'eu', 'a'), (2, 'us', 'b'), (150, 'us', 'c')";

#[test]
fn rows_belong_to_the_root_and_may_move_between_partitions() {
    let world = World::new();
    if world.postgres_version() < 13 {
        crate::harness::skip!("PostgreSQL 12 can't publish a partitioned table");
    }
    world.sql(ROOT);
    let live = Live::begin(&world);
    live.assert_equal(&["root"]);
    live.sql(
        "INSERT INTO root VALUES (3, 'eu', 'd'), (4, 'us', 'e'), (5, 'us', 'f'); UPDATE root SET v = 'x' WHERE id = 2;
         UPDATE root SET region = 'eu' WHERE id = 4; UPDATE root SET id = 160 WHERE id = 5;
         UPDATE root SET region = 'us' WHERE id = 1; DELETE FROM root WHERE id = 150",
    );
    live.assert_equal(&["root"]);
    live.sql(
        "INSERT INTO root_us_low VALUES (50, 'us', 'directly'); UPDATE root_us_low SET v = 'y' WHERE id = 50",
    );
    live.assert_equal(&["root"]);
    let keys = live.keys("root*");
    assert!(keys.iter().all(|key| key.starts_with("root:")), "{keys:?}");
}

/// Partitions can have their columns in another order than the root.
#[test]
fn partitions_attached_and_detached_later() {
    let world = World::new();
    if world.postgres_version() < 14 {
        crate::harness::skip!(
            "PostgreSQL 13 fails to send rows of partitions that have their columns in another order than the root"
        );
    }
    world.sql(ROOT);
    let live = Live::begin(&world);
    live.sql(
        "CREATE TABLE root_as (v text, gone int, id int NOT NULL, region text NOT NULL);
         ALTER TABLE root_as DROP COLUMN gone; ALTER TABLE root ATTACH PARTITION root_as FOR VALUES IN ('as');
         INSERT INTO root VALUES (7, 'as', 'new'), (8, 'as', NULL)",
    );
    live.assert_equal(&["root"]);
    live.sql("UPDATE root SET v = 'x' WHERE id = 7; UPDATE root SET region = 'eu' WHERE id = 8; INSERT INTO root VALUES (9, 'us', 'z')");
    live.assert_equal(&["root"]);
    live.sql("CREATE TABLE root_rest PARTITION OF root DEFAULT; INSERT INTO root VALUES (1, 'xx', 'rest')");
    live.assert_equal(&["root"]);
}

#[test]
fn large_values_in_partitions() {
    let world = World::new();
    if world.postgres_version() < 13 {
        crate::harness::skip!("PostgreSQL 12 can't publish a partitioned table");
    }
    world.sql(&format!(
        "{ROOT}; ALTER TABLE root_eu ALTER v SET STORAGE EXTERNAL; ALTER TABLE root ADD COLUMN n int;
         INSERT INTO root VALUES (10, 'eu', {}, 1)",
        super::large(1, "v"),
    ));
    let live = Live::begin(&world);
    live.sql("UPDATE root SET n = 2; UPDATE root SET id = 11 WHERE id = 10; UPDATE root SET n = 3");
    live.assert_equal(&["root"]);
    live.sql("UPDATE root SET region = 'us' WHERE id = 11; UPDATE root SET n = 4");
    live.assert_equal(&["root"]);
}

#[test]
fn rows_of_children_belong_to_the_children() {
    let world = World::new();
    world.sql(
        "CREATE TABLE parent (id int PRIMARY KEY, v text);
         CREATE TABLE child (w text, PRIMARY KEY (id)) INHERITS (parent);
         INSERT INTO parent VALUES (1, 'p'); INSERT INTO child VALUES (2, 'c', 'w')",
    );
    let live = Live::begin(&world);
    assert_eq!(live.keys("parent:*").into_iter().collect::<Vec<_>>(), ["parent:1"]);
    live.sql(
        "INSERT INTO child VALUES (1, 'same id', NULL); INSERT INTO parent VALUES (3, 'q');
         UPDATE parent SET v = v || '!'; DELETE FROM parent WHERE id = 3",
    );
    assert_eq!(live.keys("parent:*").into_iter().collect::<Vec<_>>(), ["parent:1"]);
    assert_eq!(live.hash("parent:1")["v"], "p!");
    live.assert_equal(&["child"]);
}

/// A child without a key of its own is no table that can be captured, and keeps the parent working.
#[test]
fn children_without_a_key() {
    let world = World::new();
    world.sql(
        "CREATE TABLE parent (id int PRIMARY KEY, v text); CREATE TABLE child () INHERITS (parent);
         INSERT INTO parent VALUES (1, 'p'); INSERT INTO child VALUES (2, 'c')",
    );
    let live = Live::begin(&world);
    live.sql("UPDATE parent SET v = 'x'; DELETE FROM child; INSERT INTO child VALUES (3, 'y')");
    assert_eq!(live.keys("parent:*").into_iter().collect::<Vec<_>>(), ["parent:1"]);
    assert_eq!(live.hash("parent:1")["v"], "x");
    assert!(live.keys("child:*").is_empty());
}
