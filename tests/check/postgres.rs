//! What is found on the server, and refused by `run` with the same words.

use redis_connect_postgres::throwaway::postgres::Shutdown;
use redis_connect_postgres::throwaway::{postgres as pg, redis as rd};

use super::{check, run_refuses};
use crate::harness::{Config, Settings, World};

fn world(settings: pg::Settings) -> World {
    let world = World::with(Settings { postgres: Some(settings), redis: rd::Settings::default() });
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    world.config("public.t: { type: hash }");
    world
}

fn own() -> World {
    world(pg::Settings::default())
}

#[test]
fn wal_level_and_a_restart_that_is_pending() {
    let world = world(pg::Settings::default().set("wal_level", "replica"));
    let words = ["wal_level is replica", "ALTER SYSTEM SET wal_level = 'logical', then restart"];
    let report = check(&world);
    report.is_not_ready();
    report.says("wal_level", "not_ready", &words);
    run_refuses(&world, &words);
    world.sql("ALTER SYSTEM SET wal_level = 'logical'");
    world.sql("SELECT pg_reload_conf()");
    world.eventually("the server has read its configuration again", || {
        world.value::<String>("SELECT pending_restart FROM pg_settings WHERE name = 'wal_level'") == "t"
    });
    let words = ["wal_level is replica", "waits for a restart"];
    check(&world).says("wal_level", "not_ready", &words);
    run_refuses(&world, &words);
    world.postgres().restart(Shutdown::Fast).unwrap();
    let report = check(&world);
    report.is_ready();
    report.says("wal_level", "ok", &["logical"]);
    world.once();
}

#[test]
fn no_slot_and_no_sender_is_free() {
    let world = world(pg::Settings::default().set("max_replication_slots", "1").set("max_wal_senders", "1"));
    world.sql("SELECT pg_create_logical_replication_slot('other', 'pgoutput')");
    let words = ["all 1 replication slots are taken", "max_replication_slots = '6'"];
    let report = check(&world);
    report.is_not_ready();
    report.says("replication_slots", "not_ready", &words);
    report.says("wal_senders", "ok", &["1 sender free"]);
    run_refuses_with_slot(&world, &words);
    world.sql("SELECT pg_drop_replication_slot('other')");
    let report = check(&world);
    report.is_ready();
    report.says("replication_slots", "ok", &["1 slot free"]);
    // The one sender is our own when the connector runs.
    let connector = world.run();
    world.eventually("it streams", || !world.hash("t:1").is_empty());
    world.eventually("the slot is read", || {
        world.value::<String>("SELECT count(*) = 1 FROM pg_replication_slots WHERE active") == "t"
    });
    let report = check(&world);
    report.says("wal_senders", "ok", &["0 senders free"]);
    report.says("replication_slots", "ok", &["reads it"]);
    connector.term();
}

/// Like [`run_refuses`], where there is a slot of somebody else.
fn run_refuses_with_slot(world: &World, words: &[&str]) {
    let file = world.config_file();
    let (code, connector) = world.finish(&["run", "--once", "-c", &file.to_string_lossy()]);
    assert_eq!(code, Some(1));
    let log = connector.log();
    assert!(words.iter().all(|word| log.contains(word)), "{log}");
    let publications: i64 = world.value("SELECT count(*) FROM pg_publication");
    assert_eq!(publications, 0, "{log}");
}

#[test]
fn slots_of_others() {
    let world = own();
    world.sql("SELECT pg_create_physical_replication_slot('idle', true)");
    check(&world).says("other_slots", "ok", &["1 slot, none that holds much back"]);
    // Named like ours, and made for something else.
    world.sql(&format!("SELECT pg_create_logical_replication_slot('{}', 'test_decoding')", world.slot()));
    let report = check(&world);
    report.is_not_ready();
    report.says("replication_slots", "not_ready", &["test_decoding", "source.slot"]);
}

#[test]
fn a_slot_that_holds_back_much_and_one_that_is_lost() {
    let world = world(
        pg::Settings::default()
            .set("max_slot_wal_keep_size", "1MB")
            .set("min_wal_size", "32MB")
            .set("max_wal_size", "32MB"),
    );
    if world.postgres_version() < 13 {
        return;
    }
    world.sql("SELECT pg_create_physical_replication_slot('idle', true)");
    world.eventually("the slot is lost", || {
        world.sql("SELECT pg_switch_wal(); CREATE TABLE IF NOT EXISTS w (t text); INSERT INTO w SELECT repeat('x', 1000) FROM generate_series(1, 20000); CHECKPOINT");
        world.value::<String>("SELECT wal_status = 'lost' FROM pg_replication_slots") == "t"
    });
    let report = check(&world);
    report.says("other_slots", "warning", &["idle is lost", "pg_drop_replication_slot('idle')"]);
    report.says("wal_limit", "ok", &["1MB"]);
}

#[test]
fn transactions_that_the_slot_waits_for() {
    let world = world(pg::Settings::default().set("max_prepared_transactions", "2"));
    check(&world).says("long_transactions", "ok", &[]);
    world.sql("BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'forgotten'");
    // Longer ago than it looks: nobody waits for ten seconds here.
    let mut other = world.client();
    other.batch_execute("BEGIN; INSERT INTO t VALUES (3)").unwrap();
    let report = check(&world);
    report.says("long_transactions", "ok", &["none that is open for long"]);
    // A role that may not see how long.
    world.sql("CREATE ROLE repl LOGIN REPLICATION; GRANT SELECT ON t TO repl");
    let url = format!("postgresql://repl@127.0.0.1:{}/{}", world.postgres_port(), world.name);
    world.configure(&Config { source_url: Some(url), ..Config::default() });
    let report = check(&world);
    report.says("long_transactions", "unseen", &["1 transaction", "pg_read_all_stats"]);
}

#[test]
fn limits_encoding_and_clocks() {
    let world = own();
    let report = check(&world);
    if world.postgres_version() >= 13 {
        report.says(
            "wal_limit",
            "warning",
            &["-1", "ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'; SELECT pg_reload_conf()"],
        );
    }
    report.says("encoding", "ok", &["UTF8"]);
    report.says("postgres_clock", "ok", &[]);
    report.says("postgres_tls", "ok", &["nothing leaves this machine"]);
    report.says("replication_connection", "ok", &[]);
    world.sql("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'");
    let url = format!("postgresql://postgres@127.0.0.1:{}/ascii", world.postgres_port());
    world.configure(&Config { source_url: Some(url), ..Config::default() });
    check(&world).says("encoding", "warning", &["SQL_ASCII"]);
}

#[test]
fn a_connection_for_replication_that_is_refused() {
    let world = own();
    world.sql("CREATE ROLE repl LOGIN; GRANT SELECT ON t TO repl");
    let url = format!("postgresql://repl@127.0.0.1:{}/{}", world.postgres_port(), world.name);
    world.configure(&Config {
        source_url: Some(url),
        tables: "public.t: { type: hash }",
        ..Config::default()
    });
    let report = check(&world);
    report.is_not_ready();
    report.says("replication_right", "not_ready", &["ALTER ROLE \"repl\" REPLICATION"]);
    report.says("replication_connection", "unseen", &[]);
    report.says(
        "publication",
        "not_ready",
        &[
            "no publication",
            "it does not own public.t",
            "CREATE PUBLICATION",
            "FOR TABLE ONLY \"public\".\"t\"",
        ],
    );
    run_refuses(&world, &["ALTER ROLE \"repl\" REPLICATION"]);
}
