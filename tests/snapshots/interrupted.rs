//! Snapshots that did not come to their end the first time.

use super::beside_writers::{change, create};
use super::{logged, state};
use crate::harness::{Config, Proxy, World};
use crate::hashes::{Live, Writer, large};

const TOP: &str = "snapshot: { range_rows: 1000, workers: 2 }";
/// A range is noted as read with the batch after its last rows: there must be some batches.
const BATCH: &str = "batch: { rows: 500 }";

/// Ranges of `public.t` that the checkpoint has as read.
fn done(world: &World) -> Vec<u64> {
    let Some(state) = state(world, "public.t") else { return Vec::new() };
    state["done"].as_array().into_iter().flatten().map(|n| n.as_u64().unwrap()).collect()
}

/// Starts through the proxy and kills it when some ranges are read and others are not.
fn interrupt<'a>(world: &'a World, proxy: &Proxy) -> Live<'a> {
    proxy.throttle(2_500_000);
    let live = Live::start(
        world,
        &Config {
            target_url: Some(world.target_url_at(proxy.port())),
            target: BATCH,
            top: TOP,
            ..Config::default()
        },
    );
    world.eventually("some ranges are read", || done(world).len() >= 2);
    live.connector.kill9();
    assert!(done(world).len() >= 2 && !complete(world), "the snapshot was too quick");
    live
}

fn complete(world: &World) -> bool {
    state(world, "public.t").is_some_and(|state| state["complete"] == true)
}

#[test]
fn missing_ranges_are_read_and_others_are_not() {
    let world = World::new();
    world.sql(&create(6000));
    let proxy = Proxy::to(world.redis_port());
    let mut live = interrupt(&world, &proxy);
    let before = done(&world).len() as u64;
    let all = logged(&live.connector, "ranges=");
    proxy.throttle(0);
    live.start_again();
    live.settle();
    assert!(live.connector.log_contains("snapshot goes on"), "{}", live.connector.story());
    // One more than of the table itself, for the marker's table, which may be done too.
    let again = logged(&live.connector, "ranges=");
    assert!(again <= all - before, "{all} ranges, {before} done, {again} read again");
    live.assert_equal(&["t"]);
}

#[test]
fn with_every_kind_of_change_in_between() {
    const ROWS: u32 = 6000;
    let world = World::new();
    world.sql(&create(ROWS));
    let proxy = Proxy::to(world.redis_port());
    let mut live = interrupt(&world, &proxy);
    let mut number = 0;
    for _ in 0..2 {
        for _ in 0..600 {
            world.sql(&change(number, ROWS));
            number += 1;
        }
        // Interrupted again, in the middle of the rest.
        let before = done(&world).len();
        live.start_again();
        world.eventually("more ranges are read", || done(&world).len() > before || complete(&world));
        live.connector.kill9();
    }
    for _ in 0..300 {
        world.sql(&change(number, ROWS));
        number += 1;
    }
    proxy.throttle(0);
    live.start_again();
    live.settle();
    live.assert_equal(&["t"]);
    live.sql("UPDATE t SET n = 5 WHERE id % 20 = 0; UPDATE t SET id = id + 100000 WHERE id % 30 = 0");
    live.assert_equal(&["t"]);
}

#[test]
fn with_a_writer_all_the_time() {
    const ROWS: u32 = 6000;
    let world = World::new();
    world.sql(&create(ROWS));
    let proxy = Proxy::to(world.redis_port());
    let writer = Writer::begin(&world, |i| change(i, ROWS));
    let mut live = interrupt(&world, &proxy);
    proxy.throttle(6_000_000);
    live.start_again();
    world.eventually("the stream begins", || live.connector.log_contains("streaming from"));
    writer.stop();
    proxy.throttle(0);
    live.settle();
    live.assert_equal(&["t"]);
}

/// Rows with large values, all in ranges that are read, get a new key before the snapshot goes on, and
/// another one while it does. When the stream tells of the first change, the row can't be read again
/// by the key of then, and the second change does not send the large value either.
#[test]
fn a_key_changes_while_it_was_interrupted_and_again_while_it_goes_on() {
    let world = World::new();
    world.sql(&create(6000));
    let proxy = Proxy::to(world.redis_port());
    let mut live = interrupt(&world, &proxy);
    world.sql("UPDATE t SET id = -id WHERE id < 1000 AND id % 20 = 1");
    live.start_again();
    world.eventually("the snapshot goes on", || live.connector.log_contains("snapshot goes on"));
    world.sql("UPDATE t SET id = id - 100000 WHERE id < 0");
    proxy.throttle(0);
    live.settle();
    live.assert_equal(&["t"]);
}

/// The same, and some rows come back to the key that they had, which others had meanwhile.
#[test]
fn a_key_changes_there_and_back() {
    let world = World::new();
    world.sql(&create(6000));
    let proxy = Proxy::to(world.redis_port());
    let mut live = interrupt(&world, &proxy);
    world.sql("UPDATE t SET id = -id WHERE id < 1000 AND id % 20 = 1");
    world.sql("UPDATE t SET id = -id WHERE id < 0 AND id % 40 = -1");
    world.sql(
        "INSERT INTO t SELECT i, 0, 'new', 'b' FROM generate_series(1, 1000, 20) i ON CONFLICT DO NOTHING",
    );
    live.start_again();
    world.eventually("the snapshot goes on", || live.connector.log_contains("snapshot goes on"));
    world.sql("DELETE FROM t WHERE a = 'new'");
    world.sql("UPDATE t SET id = -id WHERE id < 0 AND id % 3 = 0");
    proxy.throttle(0);
    live.settle();
    live.assert_equal(&["t"]);
}

#[test]
fn the_table_is_truncated_in_between() {
    let world = World::new();
    world.sql(&create(6000));
    let proxy = Proxy::to(world.redis_port());
    let mut live = interrupt(&world, &proxy);
    world.sql("INSERT INTO t VALUES (10000, 1, 'gone', 'x'); TRUNCATE t; INSERT INTO t VALUES (1, 1, 'new', NULL), (5000, 2, NULL, 'new')");
    proxy.throttle(0);
    live.start_again();
    live.settle();
    live.assert_equal(&["t"]);
}

#[test]
fn the_tables_definition_changes_in_between() {
    for statements in [
        "ALTER TABLE t DROP COLUMN a; UPDATE t SET n = 0 WHERE id % 50 = 0",
        "ALTER TABLE t ADD COLUMN c text DEFAULT 'c'; UPDATE t SET n = 0 WHERE id % 50 = 0",
        "UPDATE t SET n = 0 WHERE id % 50 = 0; ALTER TABLE t RENAME a TO c; UPDATE t SET n = 1 WHERE id % 50 = 1",
        "UPDATE t SET n = 0 WHERE id % 50 = 0; ALTER TABLE t ALTER n TYPE text USING 'n' || n; UPDATE t SET n = 1 WHERE id % 50 = 1",
    ] {
        let world = World::new();
        world.sql(&create(5000));
        let proxy = Proxy::to(world.redis_port());
        let mut live = interrupt(&world, &proxy);
        world.sql(statements);
        proxy.throttle(0);
        live.start_again();
        live.settle();
        live.eventually_equal(&["t"]);
        live.sql("UPDATE t SET n = '7' WHERE id % 50 = 2");
        live.assert_equal(&["t"]);
    }
}

/// A table that changes its definition while it is read.
#[test]
fn the_tables_definition_changes_while_it_is_read() {
    let world = World::new();
    world.sql(&create(6000));
    let proxy = Proxy::to(world.redis_port());
    proxy.throttle(4_000_000);
    let live = Live::start(
        &world,
        &Config {
            target_url: Some(world.target_url_at(proxy.port())),
            target: BATCH,
            top: TOP,
            ..Config::default()
        },
    );
    world.eventually("some ranges are read", || done(&world).len() >= 2);
    world.sql("SET lock_timeout = '100ms'");
    // PostgreSQL keeps it waiting while somebody reads the table.
    let altered =
        world.with_postgres(|client| client.batch_execute("ALTER TABLE t ADD COLUMN c int DEFAULT 7"));
    world.sql("RESET lock_timeout");
    proxy.throttle(0);
    live.settle();
    if altered.is_err() {
        world.sql("ALTER TABLE t ADD COLUMN c int DEFAULT 7");
    }
    live.sql("UPDATE t SET n = 0 WHERE id % 50 = 0");
    live.eventually_equal(&["t"]);
}

/// A table that comes into the configuration later is read while the others are streamed on.
#[test]
fn a_table_that_is_added_later_is_interrupted() {
    let world = World::new();
    world.sql(&create(6000));
    world.sql(&format!(
        "CREATE TABLE u (id int PRIMARY KEY, v text); INSERT INTO u VALUES (1, {})",
        large(1, "v")
    ));
    world.config("public.u: { type: hash }");
    world.run_until_caught_up();
    world.sql("UPDATE u SET id = 2; INSERT INTO u VALUES (3, 'x')");
    let proxy = Proxy::to(world.redis_port());
    let mut live = interrupt(&world, &proxy);
    world.sql("UPDATE u SET id = 4 WHERE id = 2; UPDATE t SET n = 0 WHERE id % 9 = 0; UPDATE t SET id = -id WHERE id % 50 = 0");
    proxy.throttle(0);
    live.start_again();
    live.settle();
    live.assert_equal(&["t", "u"]);
}

/// The connection that has the snapshot breaks before the others have joined it: they are told that there is no
/// such snapshot, which is no reason to give up.
#[test]
fn the_snapshot_goes_before_the_others_have_joined_it() {
    let world = World::own();
    world.sql(&create(6000));
    world.configure(&Config { top: TOP, ..Config::default() });
    // So that there is time between the snapshot and who joins it.
    world.sql("ALTER SYSTEM SET pre_auth_delay = '4s'");
    world.sql("SELECT pg_reload_conf()");
    let connector = world.run();
    let leaders = "FROM pg_stat_activity WHERE state = 'idle in transaction' AND backend_xmin IS NOT NULL";
    world
        .eventually("there is a snapshot", || world.value::<i64>(&format!("SELECT count(*) {leaders}")) == 1);
    world.sql(&format!("SELECT pg_terminate_backend(pid) {leaders}"));
    world.sql("ALTER SYSTEM RESET pre_auth_delay");
    world.sql("SELECT pg_reload_conf()");
    world.eventually("it is noticed", || connector.log_contains("trying again") || !connector.is_running());
    world.eventually_equal(&["t"]);
    assert!(connector.is_running(), "{}", connector.story());
}
