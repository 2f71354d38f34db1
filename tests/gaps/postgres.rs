//! PostgreSQL forgets: the slot, the log that it needs, the publication, or what happened since a time.

use redis_connect_postgres::throwaway::postgres as pg;

use super::{FAIL, heals, ops, stops_with};
use crate::harness::{Config, Settings, Table, World};
use crate::hashes::Live;

fn drop_slot(world: &World) {
    // The walsender may take a moment to see that its reader has left.
    world.eventually("the slot is dropped", || {
        let drop = format!("SELECT pg_drop_replication_slot('{}')", world.slot());
        world.with_postgres(|client| client.batch_execute(&drop)).is_ok()
    });
}

/// Changes that the dropped slot would have brought: rows that are new, changed and gone.
fn change(world: &World) {
    world.sql("INSERT INTO t VALUES (10, 'new'); UPDATE t SET v = 'changed' WHERE id = 1; DELETE FROM t WHERE id = 2");
}

fn captured(world: &World) {
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    );
    world.run_until_caught_up();
}

#[test]
fn the_slot_is_dropped() {
    let world = World::new();
    world.configure(&FAIL);
    captured(&world);
    drop_slot(&world);
    change(&world);
    stops_with(&world, &["does not exist any more", "on_gap: resnapshot", "reset"]);
    world.config("");
    heals(&world, "does not exist any more", &["t"]);
    // It goes on from there.
    world.sql("INSERT INTO t VALUES (11, 'later')");
    let connector = world.run_until_caught_up();
    assert!(!connector.log_contains("resnapshot"), "{}", connector.story());
    world.assert_table(&Table::new("t"));
}

#[test]
fn the_slot_is_made_anew_by_somebody_else() {
    let world = World::new();
    world.configure(&FAIL);
    captured(&world);
    drop_slot(&world);
    change(&world);
    world.sql(&format!("SELECT pg_create_logical_replication_slot('{}', 'pgoutput')", world.slot()));
    stops_with(&world, &["later than the checkpoint"]);
    world.config("");
    heals(&world, "later than the checkpoint", &["t"]);
}

#[test]
fn somebody_else_reads_the_slot() {
    let world = World::new();
    captured(&world);
    change(&world);
    world.sql(&format!("SELECT pg_replication_slot_advance('{}', pg_current_wal_lsn())", world.slot()));
    heals(&world, "later than the checkpoint", &["t"]);
}

/// `max_slot_wal_keep_size`: PostgreSQL removes log that the slot still needs.
#[test]
fn the_slot_is_invalidated() {
    if redis_connect_postgres::throwaway::postgres_installations().first().is_some_and(|i| i.version < 13) {
        crate::harness::skip!("max_slot_wal_keep_size came with PostgreSQL 13");
    }
    let postgres = pg::Settings::default()
        .set("max_slot_wal_keep_size", "1MB")
        .set("min_wal_size", "32MB")
        .set("max_wal_size", "32MB");
    let world = World::with(Settings { postgres: Some(postgres), ..Settings::default() });
    captured(&world);
    change(&world);
    world.sql("CREATE TABLE ballast (v text)");
    world.eventually("the slot is lost", || {
        world.sql(
            "INSERT INTO ballast SELECT repeat('x', 1000) FROM generate_series(1, 20000);
             SELECT pg_switch_wal(); CHECKPOINT",
        );
        world.value::<String>(&format!(
            "SELECT coalesce(wal_status, 'lost') FROM pg_replication_slots WHERE slot_name = '{}'",
            world.slot()
        )) == "lost"
    });
    heals(&world, "invalidated", &["t"]);
}

/// While it runs, the slot's walsender is ended and the slot dropped.
#[test]
fn the_slot_is_dropped_while_it_is_read() {
    let world = World::own();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    let live = Live::begin(&world);
    let slot = world.slot();
    world.eventually("the slot is dropped", || {
        let drop = format!(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{slot}' AND active;
             SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{slot}' AND NOT active"
        );
        let _ = world.with_postgres(|client| client.batch_execute(&drop));
        live.connector.log_contains("does not exist any more")
    });
    change(&world);
    live.eventually_equal(&["t"]);
}

#[test]
fn streams_are_told() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')");
    world.config("public.t: [{ type: stream }, { type: stream, key: flat, format: flat }]");
    world.run_until_caught_up();
    world.sql("INSERT INTO t VALUES (2, 'b')");
    world.run_until_caught_up();
    drop_slot(&world);
    world.sql("DELETE FROM t WHERE id = 1");
    world.run_until_caught_up();
    world.sql("DELETE FROM t");
    world.run_until_caught_up();
    // The gap, and the rows as they are behind it.
    for stream in ["t:events", "flat"] {
        assert_eq!(ops(&world, stream), "rcgrd", "{stream}");
    }
    let found: Vec<(String, Vec<String>)> = world.redis(&["XRANGE", "t:events", "-", "+"]);
    let gap = found[2].1.join(" ");
    assert!(gap.contains("reason the replication slot") && gap.contains("table t"), "{gap}");
}

/// Changes that were made while the publication did not send the table.
#[test]
fn a_table_was_out_of_the_publication() {
    let world = World::new();
    world.sql("CREATE TABLE other (id int PRIMARY KEY)");
    captured(&world);
    let publication = world.slot();
    world.sql(&format!("ALTER PUBLICATION {publication} DROP TABLE t"));
    change(&world);
    world.sql(&format!("ALTER PUBLICATION {publication} ADD TABLE t"));
    world.sql("INSERT INTO t VALUES (12, 'sent')");
    heals(&world, "taken out of it", &["t"]);
}

#[test]
fn the_publication_left_out_updates_for_a_while() {
    let world = World::new();
    captured(&world);
    let publication = world.slot();
    world.sql(&format!("ALTER PUBLICATION {publication} SET (publish = 'insert')"));
    change(&world);
    world.sql(&format!("ALTER PUBLICATION {publication} SET (publish = 'insert, update, delete, truncate')"));
    heals(&world, "made anew or changed", &["t"]);
}

#[test]
fn the_publication_is_dropped() {
    let world = World::new();
    captured(&world);
    change(&world);
    world.sql(&format!("DROP PUBLICATION {}", world.slot()));
    change_more(&world);
    heals(&world, "read again", &["t"]);
}

fn change_more(world: &World) {
    world.sql("INSERT INTO t VALUES (20, 'unpublished'); DELETE FROM t WHERE id = 3");
}

/// A restore to an earlier point: what Redis has of the time after it never happened.
#[test]
fn an_earlier_state_is_restored() {
    let world = World::own();
    captured(&world);
    let mut postgres = world.postgres();
    postgres.stop(pg::Shutdown::Fast).unwrap();
    let (data, copy) = (postgres.data_directory(), world.directory().join("backup"));
    copy_directory(&data, &copy);
    postgres.start_again().unwrap();
    drop(postgres);
    change(&world);
    world.run_until_caught_up();
    let mut postgres = world.postgres();
    postgres.stop(pg::Shutdown::Fast).unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    copy_directory(&copy, &data);
    // As after recovery to a point in time: a new timeline.
    std::fs::write(data.join("recovery.signal"), "").unwrap();
    let conf = data.join("postgresql.auto.conf");
    let settings = std::fs::read_to_string(&conf).unwrap_or_default();
    std::fs::write(&conf, settings + "restore_command = 'false'\n").unwrap();
    own_like(&data, &conf);
    own_like(&data, &data.join("recovery.signal"));
    postgres.start_again().unwrap();
    drop(postgres);
    world.eventually("recovery has ended", || {
        world.value::<String>("SELECT pg_is_in_recovery()::text") == "false"
    });
    // What was written since has other positions than Redis knows, and the slot may be gone.
    world.sql("INSERT INTO t VALUES (30, 'another future')");
    heals(&world, "on_gap: resnapshot", &["t"]);
}

fn copy_directory(from: &std::path::Path, to: &std::path::Path) {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// PostgreSQL runs as another user than a test that is root.
fn own_like(like: &std::path::Path, path: &std::path::Path) {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(like).unwrap();
    let owner = format!("{}:{}", owner.uid(), owner.gid());
    let status = std::process::Command::new("chown").arg(owner).arg(path).status().unwrap();
    assert!(status.success());
}

/// A checkpoint of another server.
#[test]
fn another_server() {
    let world = World::own();
    captured(&world);
    let checkpoint = format!("redis-connect-postgres:{}:checkpoint", world.name);
    world.redis::<i64>(&["HSET", &checkpoint, "system_id", "12345"]);
    change(&world);
    world.configure(&Config { ..FAIL });
    stops_with(&world, &["another PostgreSQL", "12345"]);
    world.config("");
    heals(&world, "another PostgreSQL", &["t"]);
}
