//! Snapshot, stream, types, large values, keys that change, TRUNCATE, restarts, and a slot that is gone.

use redis_connect_postgres::throwaway::Shutdown;

use crate::harness::{Config, Table, World};
use crate::hashes::{Live, large, wait_until_free};

/// A column of each family of types, spelled as the contract has it.
const TYPED: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TABLE typed (id bigint PRIMARY KEY, n numeric(10, 3), d double precision, b boolean, t text, u uuid,
        day date, tz timestamptz, ts timestamp, i interval, raw bytea, j jsonb, a int[], m mood, tt text[]);
    INSERT INTO typed VALUES (1, 1.5, 0.1, true, E'a\\tb\\\\c', 'A0EEBC999C0B4EF8BB6D6BB9BD380A11', '2024-02-29',
        '2018-08-10 01:20:13.5+05:30', 'infinity', '1 year 2 months 3 days 4:05:06.78', '\\xdeadbeef',
        '{\"b\":1.00}', '{1,NULL}', 'ok', '{\"a b\",NULL}')";

const SPELLED: [(&str, &str); 14] = [
    ("n", "1.500"),
    ("d", "0.1"),
    ("b", "true"),
    ("t", "a\tb\\c"),
    ("u", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("day", "2024-02-29"),
    ("tz", "2018-08-09T19:50:13.5Z"),
    ("ts", "infinity"),
    ("i", "P1Y2M3DT4H5M6.78S"),
    ("raw", "3q2+7w=="),
    ("j", "{\"b\": 1.00}"),
    ("a", "[1,null]"),
    ("m", "ok"),
    ("tt", "[\"a b\",null]"),
];

#[track_caller]
fn assert_spelled(world: &World, key: &str) {
    let found = world.hash(key);
    for (column, text) in SPELLED {
        assert_eq!(found.get(column).map(String::as_str), Some(text), "{key}, {column}\n{}", world.story());
    }
}

pub(super) fn rows_of_every_kind(version: u32) {
    let world = World::of(version);
    assert_eq!(world.postgres_version(), version);
    world.sql(TYPED);
    world.sql(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, v text, big text, n int);
         ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
         INSERT INTO t SELECT i, 'v' || i, NULL, i FROM generate_series(1, 500) i;
         UPDATE t SET big = {} WHERE id <= 3;
         CREATE TABLE whole (a int, b text); ALTER TABLE whole REPLICA IDENTITY FULL;
         INSERT INTO whole VALUES (1, 'x'), (2, NULL);
         CREATE TABLE doubled (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED);
         INSERT INTO doubled VALUES (1, 21);
         CREATE TABLE gone (id int PRIMARY KEY); INSERT INTO gone VALUES (1), (2)",
        large(1, "big"),
    ));
    let live = Live::begin(&world);
    assert_spelled(&world, "typed:1");
    live.assert_equal(&["t", "gone"]);
    live.sql("INSERT INTO typed SELECT 2, n, d, b, t, u, day, tz, ts, i, raw, j, a, m, tt FROM typed");
    assert_spelled(&world, "typed:2");
    // A large value that did not change is not sent, also when the key changes.
    live.sql("UPDATE t SET n = -n WHERE id <= 10; UPDATE t SET id = id + 1000 WHERE id = 2; DELETE FROM t WHERE id BETWEEN 491 AND 999");
    live.assert_equal(&["t"]);
    assert!(live.hash("t:1002")["big"].len() > 5000);
    live.sql("UPDATE whole SET b = 'y' WHERE a = 2; DELETE FROM whole WHERE a = 1; TRUNCATE gone");
    live.assert_equal(&["gone"]);
    let whole: Vec<String> = live.keys("whole:*").into_iter().collect();
    assert_eq!(whole, ["whole:2:y"]);
    live.sql("ALTER TABLE t ADD COLUMN later text DEFAULT 'd'; UPDATE t SET v = 'x' WHERE id = 5; DELETE FROM doubled");
    assert_eq!(live.hash("t:5")["later"], "d");
    assert!(live.keys("doubled:*").is_empty());
}

pub(super) fn partitions(version: u32) {
    let world = World::of(version);
    world.sql(
        "CREATE TABLE root (id int, region text, v text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
         CREATE TABLE root_eu PARTITION OF root FOR VALUES IN ('eu');
         CREATE TABLE root_us PARTITION OF root FOR VALUES IN ('us');
         INSERT INTO root VALUES (1, 'eu', 'a'), (2, 'us', 'b')",
    );
    if version == 12 {
        return partitions_of_12(&world);
    }
    let live = Live::begin(&world);
    live.assert_equal(&["root"]);
    live.sql(
        "INSERT INTO root VALUES (3, 'eu', 'c'); UPDATE root SET v = 'x' WHERE id = 2;
         UPDATE root SET region = 'us' WHERE id = 1",
    );
    live.assert_equal(&["root"]);
    live.sql("TRUNCATE root_us");
    live.settle();
}

/// PostgreSQL 12 sends only partitions: a root that is asked for is refused in words, one that is not
/// asked for is left out with a warning.
fn partitions_of_12(world: &World) {
    world.config("public.root: { type: hash }");
    let refused = world.run_with(&["--until-caught-up"]);
    assert_eq!(refused.wait(std::time::Duration::from_secs(30)).code(), Some(1), "{}", refused.story());
    for words in ["public.root", "PostgreSQL 12", "13"] {
        assert!(refused.log_contains(words), "{words}\n{}", refused.story());
    }
    let live = Live::begin(world);
    live.sql("INSERT INTO root VALUES (3, 'eu', 'c')");
    assert!(live.connector.log_contains("PostgreSQL 12"), "{}", live.connector.story());
    assert!(live.keys("root*").is_empty());
}

/// The program and the server are killed; then the slot is dropped, which is told and mended.
pub(super) fn restarts_and_a_lost_slot(version: u32) {
    let world = World::own_of(version, &[]);
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'a' FROM generate_series(1, 100) i");
    world.configure(&Config { source: "retain: 0s", ..Config::default() });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming from"));
    world.sql("UPDATE t SET v = 'b' WHERE id <= 50");
    connector.kill9();
    world.sql("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (101, 'c')");
    let connector = world.run();
    world.eventually_equal(&["t"]);
    world.postgres().restart(Shutdown::Immediate).unwrap();
    world.sql("UPDATE t SET v = 'd' WHERE id > 90");
    world.eventually_equal(&["t"]);
    assert!(!connector.log_contains("resnapshot"), "{}", connector.story());
    connector.term();
    assert!(connector.wait(std::time::Duration::from_secs(30)).success(), "{}", connector.story());
    wait_until_free(&world);
    world.sql(&format!("SELECT pg_drop_replication_slot('{}'); DELETE FROM t WHERE id = 2", world.slot()));
    let healed = world.run_until_caught_up();
    assert!(healed.log_contains("does not exist any more"), "{}", healed.story());
    world.assert_table(&Table::new("t"));
}
