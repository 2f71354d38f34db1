//! Rows that Redis refuses.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Live;
use crate::harness::World;

type Letters = Vec<(String, BTreeMap<String, String>)>;

fn letters(world: &World) -> Letters {
    world.redis(&["XRANGE", &format!("redis-connect-postgres:{}:dlq", world.name), "-", "+"])
}

#[test]
fn a_row_whose_key_has_another_type_becomes_a_dead_letter() {
    let world = World::new();
    world.sql("CREATE TABLE emp (id int PRIMARY KEY, v text); INSERT INTO emp VALUES (1, 'a'), (2, 'b')");
    let live = Live::begin(&world);
    live.redis::<()>(&["DEL", "emp:1"]);
    live.redis::<()>(&["SET", "emp:1", "x"]);
    let before: String = world.value("SELECT pg_current_wal_insert_lsn()");
    live.world.sql("BEGIN; UPDATE emp SET v = 'first' WHERE id = 2; UPDATE emp SET v = 'y' WHERE id = 1; INSERT INTO emp VALUES (3, 'c'); COMMIT");
    world.eventually("there is a dead letter", || !letters(&world).is_empty());
    live.settle();
    // The rest of its transaction and what came later are there.
    assert_eq!(live.hash("emp:2")["v"], "first");
    assert_eq!(live.hash("emp:3")["v"], "c");
    assert_eq!(live.redis::<String>(&["GET", "emp:1"]), "x");
    let found = letters(&world);
    assert_eq!(found.len(), 1, "{found:?}");
    let letter = &found[0].1;
    assert!(letter["reason"].starts_with("WRONGTYPE"), "{letter:?}");
    assert!(letter.values().any(|value| value.contains("emp:1")), "{letter:?}");
    // Its position: a transaction behind the one before, or its commit.
    let position = letter.iter().find(|(name, _)| name.contains("lsn")).map(|(_, lsn)| lsn.clone());
    let position = position.unwrap_or_else(|| panic!("no position in {letter:?}"));
    assert!(world.value::<i64>(&format!("SELECT '{before}'::pg_lsn - '{position}'")).abs() < 1_000_000);
    let log = live.connector.log();
    assert!(log.contains("emp:1") && log.contains("WRONGTYPE"), "{log}");
    // The key is freed, and the next change of the row is written again.
    live.redis::<()>(&["DEL", "emp:1"]);
    live.sql("UPDATE emp SET v = 'z' WHERE id = 1");
    live.assert_equal(&["emp"]);
}

/// The letter that is written after the row's transaction must not take the position back with it.
#[test]
fn a_dead_letter_does_not_move_the_position_back() {
    let world = World::new();
    world.sql("CREATE TABLE emp (id int PRIMARY KEY, v text); INSERT INTO emp VALUES (1, 'a'), (2, 'b')");
    let live = Live::begin(&world);
    live.redis::<()>(&["DEL", "emp:1"]);
    live.redis::<()>(&["SET", "emp:1", "x"]);
    let before: String = world.value("SELECT pg_current_wal_insert_lsn()");
    live.world.sql("UPDATE emp SET v = 'y' WHERE id = 1");
    let checkpoint = format!("redis-connect-postgres:{}:checkpoint", world.name);
    let letters = format!("redis-connect-postgres:{}:dlq", world.name);
    let mut lsn = String::new();
    world.within(Duration::from_secs(10), "there is a dead letter", || {
        let (count, now) = world.with_redis(|redis| {
            redis::pipe()
                .atomic()
                .cmd("XLEN")
                .arg(&letters)
                .cmd("HGET")
                .arg(&[&checkpoint, "lsn"])
                .query::<(u32, String)>(redis)
                .unwrap()
        });
        lsn = now;
        count > 0
    });
    let moved: String = world.value(&format!("SELECT '{lsn}'::pg_lsn > '{before}'"));
    assert_eq!(
        moved, "t",
        "with the letter the checkpoint is at {lsn}, before the row's transaction ({before})"
    );
}

/// A row of the snapshot that can't be written does not keep the others out.
#[test]
fn a_dead_letter_of_the_snapshot() {
    let world = World::new();
    world.sql("CREATE TABLE emp (id int PRIMARY KEY, v text); INSERT INTO emp SELECT i, 'v' FROM generate_series(1, 500) i");
    world.redis::<()>(&["SET", "emp:7", "x"]);
    let connector = world.run_until_caught_up();
    let found = letters(&world);
    assert_eq!(found.len(), 1, "{found:?}\n{}", connector.story());
    world.redis::<()>(&["DEL", "emp:7"]);
    assert_eq!(world.differences(&crate::harness::Table::new("emp")).count, 1);
}

/// A DELETE of a key that somebody replaced leaves no row behind.
#[test]
fn many_rows_with_keys_of_other_types() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let live = Live::begin(&world);
    for i in 1..=50 {
        live.redis::<()>(&["SADD", &format!("t:{i}"), "member"]);
    }
    live.sql("INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i");
    world.eventually("all letters are there", || letters(&world).len() >= 50);
    assert_eq!(letters(&world).len(), 50);
    live.sql("DELETE FROM t WHERE id <= 50");
    live.assert_equal(&["t"]);
    assert_eq!(letters(&world).len(), 50);
}
