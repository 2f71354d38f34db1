//! New rows of wide tables, which Redis gets by RESTORE, and what is in the way of that.

use super::Live;
use crate::dead_letters::{carried_out_unread, kill_and_start, through_a_proxy};
use crate::harness::{Config, World};

/// Said where a key was there, and where the right went.
const OCCUPIED: &str = "was in Redis before its row was inserted";
const DENIED: &str = "does not allow RESTORE any more";

/// What keeps the connector from restoring anything.
pub(crate) const REFUSALS: [[&str; 4]; 2] =
    [["ACL", "SETUSER", "default", "-restore"], ["CONFIG", "SET", "notify-keyspace-events", "Eh"]];

/// What Redis is asked at the beginning of every session.
const PROBES: u64 = 1;

/// A table of 40 columns: numbers and texts by turns, every seventh NULL.
pub(crate) fn create(world: &World) {
    let columns: Vec<String> =
        (2..=40).map(|i| format!("c{i} {}", if i % 2 == 0 { "int" } else { "text" })).collect();
    let values: Vec<String> = (2..=40)
        .map(|i| match (i % 7, i % 2) {
            (0, _) => "NULL".to_owned(),
            (_, 0) => format!("$1 * {i}"),
            _ => format!("'row ' || $1 || ' column {i}'"),
        })
        .collect();
    world.sql(&format!(
        "CREATE TABLE wide (id int PRIMARY KEY, {});
         CREATE FUNCTION put(int) RETURNS void LANGUAGE sql AS $$ INSERT INTO wide VALUES ($1, {}) $$",
        columns.join(", "),
        values.join(", ")
    ));
}

/// Redis can't tell the hash from one that was set. (Without compression, which DUMP would do its own way.)
#[track_caller]
pub(crate) fn assert_same_as_set(world: &World, key: &str) {
    let fields: Vec<String> = world.redis(&["HGETALL", key]);
    let mut set = vec!["HSET", "other"];
    set.extend(fields.iter().map(String::as_str));
    world.redis::<()>(&set);
    let body = |key: &str| {
        let mut dump = world.redis::<Vec<u8>>(&["DUMP", key]);
        // The version and the sum.
        dump.truncate(dump.len() - 10);
        dump
    };
    assert_eq!(world.redis::<String>(&["OBJECT", "ENCODING", key]), "listpack");
    assert_eq!(body(key), body("other"), "{key}: {fields:?}");
    world.redis::<()>(&["DEL", "other"]);
}

/// A listpack of more than 16 KiB, whose length is written in another way.
#[test]
fn hundreds_of_columns() {
    let Some(world) = World::with_listpacks() else { return };
    let columns: Vec<String> = (2..=400).map(|i| format!("column_number_{i} text")).collect();
    world.sql(&format!("CREATE TABLE huge (id int PRIMARY KEY, {})", columns.join(", ")));
    world.redis::<()>(&["CONFIG", "SET", "rdbcompression", "no"]);
    let live = Live::begin(&world);
    let values: Vec<String> = (2..=400).map(|i| format!("repeat('{}', {})", i % 10, 4 + i % 57)).collect();
    live.sql(&format!("INSERT INTO huge VALUES (1, {})", values.join(", ")));
    assert_eq!(live.calls("restore"), 1 + PROBES);
    assert!(live.redis::<Vec<u8>>(&["DUMP", "huge:1"]).len() > 16_384);
    assert_same_as_set(&world, "huge:1");
    live.assert_equal(&["huge"]);
}

#[test]
fn new_rows_are_restored() {
    let Some(world) = World::with_listpacks() else { return };
    create(&world);
    world.sql("CREATE TABLE narrow (id int PRIMARY KEY, v text)");
    world.redis::<()>(&["CONFIG", "SET", "rdbcompression", "no"]);
    let live = Live::begin(&world);
    live.sql("SELECT put(i) FROM generate_series(1, 100) i; INSERT INTO narrow SELECT i, 'x' FROM generate_series(1, 50) i");
    live.assert_equal(&["wide", "narrow"]);
    assert_eq!(live.calls("restore"), 100 + PROBES);
    assert_same_as_set(&live, "wide:7");
    // Everything that can follow in one batch.
    live.sql(
        "BEGIN; SELECT put(200); UPDATE wide SET c2 = -1, c3 = NULL WHERE id = 200; SELECT put(201); DELETE FROM wide WHERE id = 201;
         SELECT put(202); UPDATE wide SET id = 203, c4 = 4 WHERE id = 202; SELECT put(202); DELETE FROM wide WHERE id = 1;
         SELECT put(1); COMMIT;
         BEGIN; SELECT put(300); TRUNCATE wide; SELECT put(i) FROM generate_series(1, 3) i; COMMIT",
    );
    live.assert_equal(&["wide"]);
    assert_eq!(live.calls("restore"), 100 + 5 + 1 + 3 + PROBES);
    assert!(!live.connector.log_contains("beginning again"), "{}", live.connector.story());
}

/// The batch is done again, and what others have written stays.
#[test]
fn where_a_key_is_there_already() {
    let Some(world) = World::with_listpacks() else { return };
    create(&world);
    let live = Live::tables(
        &world,
        "public.wide: [{ type: hash }, { type: stream, key: events }, { type: sorted_set, key: rank, score: '{c2}' }]",
    );
    live.redis::<()>(&["HSET", "wide:5", "c2", "old", "c7", "old", "more", "1"]);
    live.redis::<()>(&["SET", "wide:6", "somebody else's"]);
    live.sql(
        "BEGIN; SELECT put(4); SELECT put(5); UPDATE wide SET c3 = 'new' WHERE id = 5; SELECT put(6); SELECT put(7);
         DELETE FROM wide WHERE id = 4; COMMIT",
    );
    let mut five = live.hash("wide:5");
    assert_eq!(five.remove("more").as_deref(), Some("1"));
    assert_eq!((five["c3"].as_str(), five["c2"].as_str(), five.get("c7")), ("new", "10", None));
    assert_eq!(live.redis::<String>(&["GET", "wide:6"]), "somebody else's");
    assert_eq!((live.hash("wide:7").len(), live.hash("wide:4").len()), (35, 0));
    // Each change once, in its order.
    let entries: Vec<(String, Vec<(String, String)>)> = live.redis(&["XRANGE", "events", "-", "+"]);
    let ops: String = entries
        .iter()
        .flat_map(|(_, entry)| entry.iter().filter(|(name, _)| name == "op").map(|(_, op)| op.as_str()))
        .collect();
    assert_eq!(ops, "ccuccd");
    assert_eq!(live.redis::<u64>(&["ZCARD", "rank"]), 3);
    let letters = format!("redis-connect-postgres:{}:dlq", world.name);
    world.eventually_eq("letters", &1, || world.redis::<u64>(&["XLEN", &letters]));
    let log = live.connector.log();
    assert_eq!(log.matches(OCCUPIED).count(), 1, "{log}");
    assert!(log.contains("the key wide:5 was in Redis"), "{log}");
    // It is not tried again.
    let restored = live.calls("restore");
    live.sql("SELECT put(i) FROM generate_series(10, 20) i");
    assert_eq!(live.hash("wide:15").len(), 35);
    assert_eq!(live.calls("restore"), restored);
}

/// What is done again is there already, and that is known.
#[test]
fn replies_that_nobody_has_read() {
    for killed in [true, false] {
        let Some(world) = World::with_listpacks() else { return };
        create(&world);
        let (mut live, proxy) = through_a_proxy(&world, &Config::default());
        live.sql("SELECT put(1)");
        carried_out_unread(
            &live,
            &proxy,
            "SELECT put(i) FROM generate_series(2, 9) i; DELETE FROM wide WHERE id = 2; SELECT put(2);
             UPDATE wide SET c3 = 'new' WHERE id = 3; DELETE FROM wide WHERE id = 1",
        );
        if killed {
            kill_and_start(&mut live, &proxy);
        } else {
            proxy.cut();
            proxy.hold_replies(false);
        }
        live.sql("SELECT put(10)");
        live.assert_equal(&["wide"]);
        assert!(!live.connector.log_contains(OCCUPIED), "{}", live.connector.story());
        assert!(live.calls("restore") >= 1 + 9 + 1 + 2 * PROBES);
    }
}

#[test]
fn the_right_is_taken_away() {
    let Some(world) = World::with_listpacks() else { return };
    create(&world);
    let live = Live::begin(&world);
    live.sql("SELECT put(1)");
    assert_eq!(live.calls("restore"), 1 + PROBES);
    live.redis::<()>(&["ACL", "SETUSER", "default", "-restore"]);
    live.sql("SELECT put(2); UPDATE wide SET c2 = 0 WHERE id = 1; SELECT put(3)");
    live.assert_equal(&["wide"]);
    assert_eq!(live.connector.log().matches(DENIED).count(), 1, "{}", live.connector.story());
    assert_eq!(live.calls("restore"), 1 + PROBES);
}

#[test]
fn where_it_may_not() {
    for refuse in REFUSALS {
        let world = World::own();
        create(&world);
        world.redis::<()>(&refuse);
        let live = Live::begin(&world);
        live.sql("SELECT put(i) FROM generate_series(1, 20) i");
        live.assert_equal(&["wide"]);
        assert_eq!(live.calls("restore"), 0);
    }
}
