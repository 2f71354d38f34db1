//! Each letter once: the connector is killed, or loses Redis, when EXEC has been carried out and nobody
//! has read its replies.

use std::time::Duration;

use serde_json::{Value, json};

use super::{carried_out_unread, expect_letters, field, kill_and_start, letters, row, through_a_proxy};
use crate::faults::{Journal, Order};
use crate::harness::{Config, Proxy, World};
use crate::hashes::large;
use crate::structures::entries;

const TABLES: &str = "
    public.t:
      - { type: hash }
      - { type: stream, key: events }
      - { type: stream, key: debezium, format: debezium }
      - { type: set, key: '{g}', member: '{id}' }
    public.counter: { type: hash }
    ";

fn prepare(world: &World) {
    world.sql(
        "CREATE TABLE t (id int, g text NOT NULL, v text, PRIMARY KEY (id, g));
         INSERT INTO t VALUES (1, 'a', 'one'), (2, 'a', 'two'), (3, 'b', 'three');
         CREATE TABLE counter (id int PRIMARY KEY, n bigint); INSERT INTO counter VALUES (1, 0), (2, 0)",
    );
}

/// A transaction in which two rows are refused, for their hash only and for their set only.
const STATEMENTS: &str = "
    UPDATE counter SET n = n + 1;
    UPDATE t SET v = 'changed' WHERE id = 1;
    UPDATE t SET g = 'c' WHERE id = 2;
    DELETE FROM t WHERE id = 3;
    INSERT INTO t VALUES (4, 'a', 'four')";

fn poison(world: &World) {
    for key in ["t:1:a", "c"] {
        world.redis::<()>(&["DEL", key]);
        world.redis::<()>(&["SET", key, "x"]);
    }
}

fn config() -> Config<'static> {
    Config { tables: TABLES, ..Config::default() }
}

#[track_caller]
fn check(world: &World, found: &[super::Letter]) {
    assert_eq!((field(&found[0], "redis_key"), field(&found[1], "redis_key")), ("t:1:a", "c"));
    assert_eq!(row(&found[0]), json!({ "id": "1", "g": "a", "v": "changed" }));
    assert_eq!(field(&found[1], "old"), "{\"id\":\"2\",\"g\":\"a\"}");
    for key in ["events", "debezium"] {
        let ops: String = entries(world, key)
            .iter()
            .map(|(_, entry)| match entry.get("op") {
                Some(op) => op.clone(),
                None => {
                    let value: Value = serde_json::from_str(&entry["value"]).unwrap();
                    value["op"].as_str().unwrap().to_owned()
                }
            })
            .collect();
        // The change of the key is two events for consumers of Debezium.
        let expected = if key == "events" { "rrruudcc" } else { "rrrudcdcc" };
        assert_eq!(ops, expected, "{key}");
    }
    assert_eq!(world.hash("t:2:c")["v"], "two");
    assert_eq!(world.redis::<Vec<String>>(&["SMEMBERS", "a"]).len(), 2);
    assert_eq!(world.redis::<i64>(&["EXISTS", "t:3:b", "t:2:a", "b"]), 0);
}

#[test]
fn killed_between_exec_and_its_replies() {
    let world = World::new();
    prepare(&world);
    let journal = Journal::begin(&world, Order::Strict);
    let (mut live, proxy) = through_a_proxy(&world, &config());
    poison(&world);
    carried_out_unread(&live, &proxy, STATEMENTS);
    assert_eq!(letters(&world).len(), 0);
    kill_and_start(&mut live, &proxy);
    live.settle();
    assert!(live.connector.log_contains("it is done again"), "{}", live.connector.story());
    live.sql("INSERT INTO t VALUES (5, 'd', 'five')");
    let found = expect_letters(&live, 2);
    check(&world, &found);
    journal.check(&world);
}

/// Killed again each time when it has done the batch again.
#[test]
fn killed_again_and_again() {
    let world = World::new();
    prepare(&world);
    let journal = Journal::begin(&world, Order::Strict);
    let (mut live, proxy) = through_a_proxy(&world, &config());
    poison(&world);
    carried_out_unread(&live, &proxy, STATEMENTS);
    for _ in 0..3 {
        let before = world.checkpoint();
        live.connector.kill9();
        proxy.cut();
        // A batch that is done again is not read either: its checkpoint has this field.
        proxy.hold_replies_from(b"\r\nbatch\r\n");
        proxy.hold_replies(false);
        live.connector = world.run();
        world.eventually("the batch is done again", || world.checkpoint()["batch"] != before["batch"]);
        let checkpoint = world.checkpoint();
        assert_eq!(checkpoint["before"], before["before"], "{}", live.connector.story());
        assert_ne!(checkpoint["before"], checkpoint["lsn"], "{}", live.connector.story());
    }
    kill_and_start(&mut live, &proxy);
    live.sql("INSERT INTO t VALUES (5, 'd', 'five')");
    let found = expect_letters(&live, 2);
    check(&world, &found);
    journal.check(&world);
}

#[test]
fn the_connection_breaks_between_exec_and_its_replies() {
    let world = World::new();
    prepare(&world);
    let journal = Journal::begin(&world, Order::Strict);
    let (live, proxy) = through_a_proxy(&world, &config());
    poison(&world);
    carried_out_unread(&live, &proxy, STATEMENTS);
    proxy.cut();
    proxy.hold_replies(false);
    live.sql("INSERT INTO t VALUES (5, 'd', 'five')");
    let found = expect_letters(&live, 2);
    check(&world, &found);
    journal.check(&world);
}

/// A row that moves with values that PostgreSQL did not send, and another that comes to its former key:
/// done twice as it is, the second would lose its values to the first.
#[test]
fn rows_that_move() {
    for killed in [true, false] {
        let world = World::new();
        world.sql(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, n int, doc text); ALTER TABLE t ALTER doc SET STORAGE EXTERNAL;
             INSERT INTO t SELECT i, i, {} FROM generate_series(1, 5) i",
            large(1, "doc")
        ));
        let (mut live, proxy) = through_a_proxy(&world, &Config::default());
        world.redis::<()>(&["DEL", "t:5"]);
        world.redis::<()>(&["SET", "t:5", "x"]);
        let statements = format!(
            "UPDATE t SET id = 11 WHERE id = 1; INSERT INTO t SELECT 1, 100, {}; UPDATE t SET id = 12 WHERE id = 2;
             UPDATE t SET id = 2 WHERE id = 3; UPDATE t SET n = 50 WHERE id = 5",
            large(2, "doc")
        );
        carried_out_unread(&live, &proxy, &statements);
        if killed {
            kill_and_start(&mut live, &proxy);
        } else {
            proxy.cut();
            proxy.hold_replies(false);
            world.eventually("it begins again", || {
                live.connector.log_contains("beginning again with that batch")
            });
        }
        live.settle();
        live.sql("UPDATE t SET id = 21 WHERE id = 11; UPDATE t SET id = 22, n = 0 WHERE id = 12");
        let found = expect_letters(&live, 1);
        assert_eq!(field(&found[0], "key"), "5");
        world.redis::<()>(&["DEL", "t:5"]);
        live.sql("UPDATE t SET n = 51, doc = 'short' WHERE id = 5");
        live.assert_equal(&["t"]);
    }
}

/// Inside a transaction that is larger than a batch.
#[test]
fn a_part_of_a_transaction() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let journal = Journal::begin(&world, Order::Strict);
    let config = Config {
        target: "batch: { rows: 10 }",
        tables: "
            public.t:
              - { type: hash }
              - { type: stream, key: events }
            ",
        ..Config::default()
    };
    let (mut live, proxy) = through_a_proxy(&world, &config);
    for id in [3, 17, 28] {
        world.redis::<()>(&["SET", &format!("t:{id}"), "x"]);
    }
    proxy.delay(20);
    world.sql("INSERT INTO t SELECT i, 'v' FROM generate_series(1, 40) i");
    for _ in 0..6 {
        let batch = world.checkpoint()["batch"].clone();
        world.eventually("a batch", || world.checkpoint()["batch"] != batch || letters(&world).len() == 3);
        kill_and_start(&mut live, &proxy);
    }
    proxy.delay(0);
    live.settle();
    let found = expect_letters(&live, 3);
    let keys: Vec<&str> = found.iter().map(|letter| field(letter, "key")).collect();
    assert_eq!(keys, ["3", "17", "28"]);
    let events = entries(&world, "events");
    let keys: Vec<&str> = events.iter().map(|(_, event)| event["key"].as_str()).collect();
    let expected: Vec<String> = (1..=40).map(|id| id.to_string()).collect();
    assert_eq!(keys, expected);
    assert_eq!(world.keys("t:*").len(), 40);
    journal.check(&world);
}

/// A table is read in ranges, which are read again where it is not known what Redis replied.
#[test]
fn killed_in_the_snapshot() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 6000) i;
         ANALYZE t; CREATE TABLE marker (n int PRIMARY KEY)",
    );
    let poisoned: Vec<String> = (0..12).map(|i| format!("t:{}", 100 + 500 * i)).collect();
    for key in &poisoned {
        world.redis::<()>(&["SET", key, "x"]);
    }
    let proxy = Proxy::to(world.redis_port());
    proxy.delay(3);
    world.configure(&Config {
        target_url: Some(world.target_url_at(proxy.port())),
        target: "batch: { rows: 100 }",
        top: "snapshot: { workers: 2, range_rows: 1000 }",
        ..Config::default()
    });
    let mut connector = world.run();
    let mut kills = 0;
    loop {
        let rows = world.keys("t:*").len();
        world.eventually("more rows", || {
            world.keys("t:*").len() > rows + 300 || connector.log_contains("streaming")
        });
        if connector.log_contains("streaming") {
            break;
        }
        if kills < 5 {
            proxy.hold_replies(true);
            std::thread::sleep(Duration::from_millis(20));
            connector.kill9();
            proxy.cut();
            proxy.hold_replies(false);
            kills += 1;
            connector = world.run();
        }
    }
    assert!(kills >= 3, "{kills}");
    world.eventually("all letters", || letters(&world).len() >= 12);
    world.sql("INSERT INTO marker VALUES (1)");
    world.eventually("the marker", || world.redis(&["EXISTS", "marker:1"]));
    let mut keys: Vec<String> =
        letters(&world).iter().map(|letter| field(letter, "redis_key").to_owned()).collect();
    let mut expected = poisoned;
    keys.sort();
    expected.sort();
    assert_eq!(keys, expected);
    assert_eq!(world.keys("t:*").len(), 6000);
}

/// After an orderly stop nothing is done again.
#[test]
fn a_clean_stop() {
    let world = World::new();
    prepare(&world);
    let (mut live, _proxy) = through_a_proxy(&world, &config());
    poison(&world);
    world.sql(STATEMENTS);
    live.connector.term();
    assert!(live.connector.wait(Duration::from_secs(30)).success());
    let checkpoint = world.checkpoint();
    assert_eq!(checkpoint["before"], checkpoint["lsn"]);
    live.start_again();
    live.settle();
    assert!(!live.connector.log_contains("it is done again"), "{}", live.connector.story());
    expect_letters(&live, 2);
}
