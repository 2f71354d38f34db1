//! While rows change: no false alarm, and every real difference.

use std::time::Duration;

use super::{contents, counted, is_equal, kinds, report, verify};
use crate::faults::{TABLES, Workload};
use crate::harness::World;
use crate::hashes::Writer;

const ROUNDS: usize = 6;

/// Inserts, updates, deletes, moved keys, TRUNCATE and large values, all the time.
#[test]
fn no_false_alarm_in_hashes() {
    let world = World::new();
    Workload::prepare(&world, 3_000);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming from"));
    let workload = Workload::start(&world);
    for _ in 0..ROUNDS {
        workload.goes_on(&world, 20);
        let (code, found) = report(&world, &[]);
        assert_eq!(code, 0, "{found:#}\n{}", world.story());
    }
    workload.stop();
    world.eventually_equal(&TABLES);
    is_equal(&world);
}

const TABLE: &str = "CREATE TABLE p (id int PRIMARY KEY, category text, score int, v text);
    ALTER TABLE p REPLICA IDENTITY FULL;
    INSERT INTO p SELECT g, 'c' || g % 7, g, 'v' FROM generate_series(1, 2000) g";

const OUTPUTS: &str = r#"
    public.p:
      - { type: hash }
      - { type: string, key: "s:{id}" }
      - { type: set, key: "in:{category}", member: "{id}" }
      - { type: sorted_set, key: "top:{category}", member: "{id}", score: "{score}" }
"#;

/// Rows come and go and move between the sets.
fn moving(world: &World) -> Writer {
    Writer::begin(world, |count| {
        let (a, b) = (count * 7919 % 2000 + 1, count * 104_729 % 2000 + 1);
        format!(
            "UPDATE p SET category = 'c' || {count} % 7, score = {count}, v = 'v{count}' WHERE id BETWEEN {a} AND {a} + 9; \
             DELETE FROM p WHERE id BETWEEN {b} AND {b} + 2; \
             INSERT INTO p SELECT g, 'c' || g % 7, g, 'new' FROM generate_series({b}, {b} + 2) g ON CONFLICT DO NOTHING; \
             DELETE FROM p WHERE id = -1; INSERT INTO p VALUES (-1, 'c' || {count} % 3, {count}, 'flickers'); \
             UPDATE p SET score = NULL, category = CASE {count} % 5 WHEN 0 THEN NULL ELSE 'c1' END WHERE id = {a} + 50"
        )
    })
}

#[test]
fn no_false_alarm_in_shared_keys() {
    let world = World::new();
    world.sql(TABLE);
    world.config(OUTPUTS);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming from"));
    let writer = moving(&world);
    for _ in 0..ROUNDS {
        let (code, found) = report(&world, &[]);
        assert_eq!(code, 0, "{found:#}\n{}", world.story());
    }
    assert!(writer.stop() > 10);
    world.run_until_end_of(&connector);
    is_equal(&world);
}

/// Many rows come, go and move with each transaction: at any moment a good part of them is in Redis
/// where it no longer is in PostgreSQL, and the other way round.
#[test]
fn no_false_alarm_for_rows_that_flicker() {
    let world = World::new();
    world.sql(TABLE);
    world.config(OUTPUTS);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming from"));
    // No faster than it can be streamed: `verify` waits for the stream.
    let writer = Writer::begin(&world, |count| {
        format!(
            "BEGIN; DELETE FROM p WHERE id < 0; \
             INSERT INTO p SELECT -g, 'c' || (random() * 2)::int, {count}, 'flickers' \
             FROM generate_series(1, 200) g WHERE random() < 0.7; COMMIT; SELECT pg_sleep(0.01)"
        )
    });
    for _ in 0..2 * ROUNDS {
        let (code, found) = report(&world, &[]);
        assert_eq!(code, 0, "{found:#}\n{}", world.story());
    }
    assert!(writer.stop() > 10);
    world.run_until_end_of(&connector);
    is_equal(&world);
}

/// What really differs is found beside what only seems to, and mended without harm to the rest.
#[test]
fn differences_are_found_and_mended_beside_a_writer() {
    let world = World::new();
    world.sql(TABLE);
    world.sql("INSERT INTO p SELECT g, 'quiet', g, 'v' FROM generate_series(5001, 5020) g");
    world.config(OUTPUTS);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming from"));
    let writer = moving(&world);
    for command in [
        "HSET p:5001 v wrong",
        "DEL p:5002",
        "SET s:5003 wrong",
        "SREM in:quiet 5004",
        "SADD in:quiet 1",
        "ZADD top:quiet 1 5005",
        "HSET p:9001 id 9001",
        "HSET p:9002 id 9002",
        "SET s:9003 x",
    ] {
        world.redis::<redis::Value>(&command.split(' ').collect::<Vec<_>>());
    }
    let expected = counted([
        ("wrong_field", 1),
        ("missing_key", 1),
        ("wrong_value", 1),
        ("missing_member", 1),
        ("surplus_member", 1),
        ("wrong_score", 1),
        ("surplus_key", 3),
    ]);
    for flags in [&[][..], &["--repair"]] {
        let (code, found) = report(&world, flags);
        assert_eq!(kinds(&found), expected, "{found:#}\n{}", world.story());
        assert_eq!(code, i32::from(flags.is_empty()), "{found:#}");
    }
    let (code, output) = verify(&world, &[]);
    assert_eq!(code, 0, "{output}");
    writer.stop();
    world.run_until_end_of(&connector);
    is_equal(&world);
    // Nothing else has been touched.
    let now = contents(&world);
    assert!(!now.contains_key("p:9001") && now.contains_key("p:5002"));
    assert_eq!(connector.kill9().code(), None);
}

impl World {
    /// Waits until the running connector has brought everything, by a row of its own.
    #[track_caller]
    fn run_until_end_of(&self, connector: &crate::harness::Connector) {
        assert!(connector.is_running(), "{}", connector.story());
        self.sql("INSERT INTO p VALUES (100000, 'end', 1, 'end')");
        self.within(Duration::from_secs(60), "the last row is in Redis", || {
            self.redis(&["EXISTS", "p:100000"])
        });
    }
}
