//! New hashes of a first snapshot: Redis gets them as it would dump them, and can't tell the difference.

use crate::harness::{Config, World};
use crate::hashes::wide::{REFUSALS, assert_same_as_set};

/// Values at every limit of a listpack's encodings, and texts around the longest one.
const ROWS: &str = "
    CREATE TABLE t (id bigint PRIMARY KEY, n bigint, s text, at timestamptz, b boolean, x numeric);
    INSERT INTO t SELECT i, v, v::text, timestamptz '2024-01-01' + i * interval '1 second', i % 2 = 0, v::numeric / 100
        FROM (SELECT row_number() OVER () AS i, (sign * (2::numeric ^ p) + d)::bigint AS v
                FROM generate_series(0, 62) p, generate_series(-1, 1) d, (VALUES (1), (-1)) s (sign)) n;
    INSERT INTO t (id, s) SELECT 1000 + i, repeat('x', i) FROM generate_series(0, 70) i;
    INSERT INTO t (id, s) VALUES (2000, '-0'), (2001, '007'), (2002, '9223372036854775808'), (2003, ' 1'), (2004, '1e5'),
        (2005, '-9223372036854775808'), (2006, E'\\u00e4\\n'), (2007, NULL), (2008, '12345678901234567890123')";

#[test]
fn what_is_restored_is_what_would_be_set() {
    let Some(world) = World::with_listpacks() else { return };
    world.sql(ROWS);
    world.redis::<()>(&["CONFIG", "SET", "rdbcompression", "no"]);
    world.config("public.t: { type: hash }");
    world.once();
    let keys = world.keys("t:*");
    let rows: u64 = world.value("SELECT count(*) FROM t");
    assert_eq!(keys.len() as u64, rows);
    // 65 to 70 bytes are no listpack.
    assert_eq!((world.calls("restore"), world.calls("hset") >= 6), (rows - 6 + 1, true));
    for key in keys {
        let id: Vec<Option<String>> = world
            .rows(&format!(
                "SELECT concat_ws(',', s, n, b) FROM t WHERE id = {}",
                key.strip_prefix("t:").unwrap()
            ))
            .remove(0);
        let found = world.hash(&key);
        let spelled = ["s", "n", "b"].iter().filter_map(|name| found.get(*name).cloned()).collect::<Vec<_>>();
        assert_eq!(
            id[0].as_deref().unwrap().replace(",t", ",true").replace(",f", ",false"),
            spelled.join(","),
            "{key}"
        );
        // A hash table has no order.
        if world.redis::<String>(&["OBJECT", "ENCODING", &key]) != "listpack" {
            continue;
        }
        assert_same_as_set(&world, &key);
    }
    let (status, verify) = world.finish(&["verify", "-c", world.config_file().to_str().unwrap()]);
    assert_eq!(status, Some(0), "{}", verify.story());
}

#[test]
fn with_a_ttl_and_empty_nulls() {
    let Some(world) = World::with_listpacks() else { return };
    world.sql("CREATE TABLE t (id int PRIMARY KEY, s text); INSERT INTO t VALUES (1, NULL), (2, 'x')");
    world.config("public.t: { type: hash, ttl: 600, nulls: empty }");
    world.once();
    assert_eq!(world.calls("restore"), 3);
    assert_eq!(world.hash("t:1").get("s").map(String::as_str), Some(""));
    let ttl: i64 = world.redis(&["PTTL", "t:2"]);
    assert!((500_000..=600_000).contains(&ttl), "{ttl} ms");
}

/// A key that is there is written as ever: a hash is completed, what is no hash becomes a dead letter, once.
#[test]
fn where_something_is_there_already() {
    let Some(world) = World::with_listpacks() else { return };
    world.sql("CREATE TABLE t (id int PRIMARY KEY, s text); INSERT INTO t SELECT i, 's' || i FROM generate_series(1, 3000) i");
    world.redis::<()>(&["HSET", "t:5", "s", "old", "more", "1"]);
    world.redis::<()>(&["SET", "t:2999", "somebody else's"]);
    world.configure(&Config {
        tables: "public.t: { type: hash }",
        target: "batch: { rows: 100 }",
        ..Config::default()
    });
    world.once();
    let five = world.hash("t:5");
    assert_eq!((five["s"].as_str(), five["more"].as_str(), five["id"].as_str()), ("s5", "1", "5"));
    assert_eq!(world.redis::<String>(&["GET", "t:2999"]), "somebody else's");
    let letters: Vec<redis::Value> =
        world.redis(&["XRANGE", &format!("redis-connect-postgres:{}:dlq", world.name), "-", "+"]);
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(format!("{letters:?}").contains("HSET t:2999"), "{letters:?}");
    // The others were not slowed down by that.
    assert_eq!(world.calls("restore"), 3001);
    assert_eq!(world.keys("t:*").len(), 3000);
}

/// All keys are there: it is noticed with the first batches.
#[test]
fn where_everything_is_there_already() {
    let world = World::own();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, s text); INSERT INTO t SELECT i, 's' || i FROM generate_series(1, 3000) i");
    world.redis::<()>(&["EVAL", "for i = 1, 3000 do redis.call('HSET', 't:' .. i, 's', 'old') end", "0"]);
    world.configure(&Config {
        tables: "public.t: { type: hash }",
        target: "batch: { rows: 100 }",
        ..Config::default()
    });
    world.once();
    let restored = world.calls("restore");
    assert!(restored < 1000, "{restored} times");
    let (status, verify) = world.finish(&["verify", "-c", world.config_file().to_str().unwrap()]);
    assert_eq!(status, Some(0), "{}", verify.story());
}

/// Without the right to do so, or where somebody listens for HSET, nothing is restored.
#[test]
fn where_it_may_not() {
    for refuse in REFUSALS {
        let world = World::own();
        world.sql("CREATE TABLE t (id int PRIMARY KEY, s text); INSERT INTO t VALUES (1, 'x')");
        world.redis::<()>(&refuse);
        world.config("public.t: { type: hash }");
        world.once();
        assert_eq!(world.hash("t:1")["s"], "x");
        assert!(world.calls("hset") > 0);
        assert_eq!(world.calls("restore"), 0);
    }
}
