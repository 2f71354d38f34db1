//! `snapshot TABLE…`: tables are read again while the stream goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::failure;
use crate::harness::{Config, Table, World};
use crate::hashes::Live;

fn file(world: &World) -> String {
    world.config_file().to_string_lossy().into_owned()
}

/// What is wrong in Redis is right afterwards, with writers all the time, in several slices.
#[test]
fn under_load() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE other (id int PRIMARY KEY, v int)");
    world.sql("INSERT INTO t SELECT n, 0 FROM generate_series(1, 60000) n; ANALYZE t");
    let live = Live::with(
        &world,
        &Config {
            tables: "public.t: [{ type: hash }, { type: set, key: ids }]\npublic.other: { type: hash }",
            top: "snapshot: { range_rows: 1000, workers: 1 }",
            ..Config::default()
        },
    );
    world.redis::<i64>(&["HSET", "t:500", "v", "wrong", "surplus", "x"]);
    world.redis::<i64>(&["DEL", "t:600"]);
    world.redis::<i64>(&["HSET", "t:99999", "v", "no row"]);
    world.redis::<i64>(&["SADD", "ids", "99999"]);
    world.redis::<i64>(&["SREM", "ids", "700"]);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (stop, mut client) = (Arc::clone(&stop), world.client());
        std::thread::spawn(move || {
            let mut n = 0;
            while !stop.load(Relaxed) {
                n += 1;
                let sql = format!(
                    "UPDATE t SET v = v + 1 WHERE id % 60 = {n} % 60; INSERT INTO other VALUES ({n}, {n});
                     DELETE FROM t WHERE id = {n}; UPDATE t SET id = id + 1000000 WHERE id = 60000 - {n}"
                );
                client.batch_execute(&sql).unwrap();
            }
        })
    };
    let (code, command) = world.finish(&["snapshot", "-c", &file(&world), "t"]);
    assert_eq!(code, Some(0), "{}", command.story());
    assert!(command.stdout().contains("public.t: "), "{}", command.stdout());
    stop.store(true, Relaxed);
    writer.join().unwrap();
    live.settle();
    // A field that the table never had is nobody's business but verify's.
    world.redis::<i64>(&["HDEL", "t:500", "surplus"]);
    for table in ["t", "other"] {
        world.assert_table(&Table::new(table));
    }
    let mut members: Vec<i64> = world.redis(&["SMEMBERS", "ids"]);
    members.sort_unstable();
    let rows: Vec<i64> = world
        .rows("SELECT id FROM t ORDER BY id")
        .into_iter()
        .map(|row| row[0].as_ref().unwrap().parse().unwrap())
        .collect();
    assert_eq!(members, rows);
}

/// Streams get the rows once more, behind what they have.
#[test]
fn rows_of_a_stream() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let live = Live::tables(&world, "public.t: { type: stream }");
    live.sql("INSERT INTO t VALUES (2)");
    live.settle();
    assert_eq!(world.finish(&["snapshot", "-c", &file(&world), "public.t"]).0, Some(0));
    live.sql("INSERT INTO t VALUES (3)");
    live.settle();
    let found: Vec<(String, Vec<String>)> = world.redis(&["XRANGE", "t:events", "-", "+"]);
    let ops: String = found.iter().map(|(_, fields)| fields[1].as_str()).collect();
    assert_eq!(ops, "rcrrc");
}

#[test]
fn mistakes() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    world.config("");
    let (code, line) = failure(&world, &["snapshot", "-c", &file(&world), "t"]);
    assert_eq!(code, 1, "{line}");
    assert!(line.contains("nothing was captured yet"), "{line}");
    world.run_until_caught_up();
    let (code, line) = failure(&world, &["snapshot", "-c", &file(&world), "tt"]);
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("public.tt is not captured; did you mean `public.t`?"), "{line}");
    // Without an instance, the next one does it.
    assert_eq!(world.finish(&["snapshot", "-c", &file(&world), "t", "--no-wait"]).0, Some(0));
    world.redis::<i64>(&["HSET", "t:9", "id", "9"]);
    world.run_until_caught_up();
    assert!(world.keys("t:*").is_empty());
}
