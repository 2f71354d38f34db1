//! Servers that are not there, or not as they should be: exit code 1, soon, with what mends it.

use redis_connect_postgres::throwaway::{free_port, postgres as pg, redis as rd};

use super::{fails, write};
use crate::harness::{Config, Settings, World};

#[test]
fn nobody_answers() {
    let world = World::new();
    let port = free_port().unwrap();
    world.configure(&Config { source_url: Some(world.source_url_at(port)), ..Config::default() });
    fails(&world, 1, &["PostgreSQL", &format!("127.0.0.1:{port}"), "refused"]);
    world.configure(&Config { target_url: Some(world.target_url_at(port)), ..Config::default() });
    fails(&world, 1, &["Redis", &format!("127.0.0.1:{port}"), "refused"]);
}

#[test]
fn no_such_host() {
    let world = World::new();
    world.configure(&Config {
        source_url: Some("postgresql://u@no-such-host.invalid/d".to_owned()),
        ..Config::default()
    });
    fails(&world, 1, &["PostgreSQL", "no-such-host.invalid"]);
    world.configure(&Config {
        target_url: Some("redis://no-such-host.invalid".to_owned()),
        ..Config::default()
    });
    fails(&world, 1, &["Redis", "no-such-host.invalid"]);
}

#[test]
fn the_wrong_kind_of_server() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let url = world.target_url_at(world.postgres_port());
    world.configure(&Config { target_url: Some(url), ..Config::default() });
    fails(&world, 1, &["Redis", &world.postgres_port().to_string()]);
}

#[test]
fn no_such_database_and_no_such_role() {
    let world = World::new();
    let port = world.postgres_port();
    world.configure(&Config {
        source_url: Some(format!("postgresql://postgres@127.0.0.1:{port}/nothing")),
        ..Config::default()
    });
    fails(&world, 1, &["nothing", "does not exist"]);
    world.configure(&Config {
        source_url: Some(format!("postgresql://nobody@127.0.0.1:{port}/postgres")),
        ..Config::default()
    });
    fails(&world, 1, &["nobody", "does not exist"]);
}

#[test]
fn no_table_at_all() {
    let world = World::new();
    world.config("");
    fails(&world, 1, &["no table"]);
    world.sql("CREATE TABLE plain (a int)");
    fails(&world, 1, &["no table"]);
}

#[test]
fn a_database_without_logical_decoding() {
    let world = World::with(Settings {
        postgres: Some(pg::Settings::default().set("wal_level", "replica")),
        redis: rd::Settings::default(),
    });
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    world.config("");
    fails(&world, 1, &["wal_level", "replica", "ALTER SYSTEM SET wal_level = 'logical'", "restart"]);
    assert_eq!(world.value::<i64>("SELECT count(*) FROM pg_publication"), 0, "a publication was left behind");
}

#[test]
fn no_slot_is_free() {
    let world = World::with(Settings {
        postgres: Some(pg::Settings::default().set("max_replication_slots", "1")),
        redis: rd::Settings::default(),
    });
    world.sql("CREATE TABLE t (id int PRIMARY KEY); SELECT pg_create_physical_replication_slot('taken')");
    world.config("");
    fails(&world, 1, &["max_replication_slots", "ALTER SYSTEM SET"]);
}

/// That passes when another connection ends, so it is tried again, and shown.
#[test]
fn no_walsender_is_free() {
    let world = World::with(Settings {
        postgres: Some(pg::Settings::default().set("max_wal_senders", "0")),
        redis: rd::Settings::default(),
    });
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let connector = world.run();
    world.eventually("the log says why", || connector.log_contains("max_wal_senders"));
    connector.term();
    assert!(connector.wait(std::time::Duration::from_secs(30)).success());
}

#[test]
fn a_named_table_without_identity() {
    let world = World::new();
    world.sql("CREATE TABLE t (a int)");
    world.config("public.t: { type: hash }");
    let file = world.config_file();
    let (code, line) = super::failure(&world, &["run", "-c", &file.to_string_lossy()]);
    assert!(code == 1 || code == 2, "{code}: {line}");
    assert!(line.contains("public.t") && line.contains("REPLICA IDENTITY FULL"), "{line}");
    // Published, its own application could not change it any more.
    world.sql("INSERT INTO t VALUES (1); UPDATE t SET a = 2; DELETE FROM t");
}

/// Who names such a table gets its INSERTs, or is refused; but it is said that PostgreSQL will refuse
/// the application's UPDATEs.
#[test]
fn a_named_table_with_a_key_and_without_identity() {
    for statements in [
        "CREATE TABLE t (a int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY NOTHING",
        "CREATE TABLE t (a int PRIMARY KEY DEFERRABLE)",
    ] {
        let world = World::new();
        world.sql(statements);
        world.config("public.t: { type: hash }");
        let connector = world.run_with(&["--until-caught-up"]);
        let status = connector.wait(std::time::Duration::from_secs(20));
        assert!(connector.log_contains("REPLICA IDENTITY"), "{status}: {statements}\n{}", connector.story());
    }
}

#[test]
fn a_slot_of_another_plugin_or_database() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    world.config("");
    let slot = world.slot();
    world.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')"));
    fails(&world, 1, &[&slot, "test_decoding", "pgoutput", "source.slot"]);
    world.sql(&format!("SELECT pg_drop_replication_slot('{slot}')"));
    world.sql(&format!("SELECT pg_create_physical_replication_slot('{slot}')"));
    fails(&world, 1, &[&slot, "source.slot"]);
    world.sql(&format!("SELECT pg_drop_replication_slot('{slot}')"));
    // Of another test's database.
    let other = World::new();
    other.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"));
    fails(&world, 1, &[&slot, &other.name, "source.slot"]);
}

#[test]
fn a_password_that_redis_wants() {
    let world = World::with(Settings { postgres: None, redis: rd::Settings::default() });
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    world.redis::<()>(&["CONFIG", "SET", "requirepass", "right"]);
    let url = |password: &str| format!("redis://{password}127.0.0.1:{}", world.redis_port());
    world.configure(&Config { target_url: Some(url("")), ..Config::default() });
    fails(&world, 1, &["NOAUTH", "target.password"]);
    world.configure(&Config { target_url: Some(url(":wr0ng@")), ..Config::default() });
    fails(&world, 1, &["WRONGPASS", "target.password"]);
    world.configure(&Config { target_url: Some(url(":right@")), ..Config::default() });
    world.once();
}

/// A user who may not do what is needed is told so at the start, or with the first row.
#[test]
fn a_redis_user_without_rights() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    world.redis::<()>(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-hset"]);
    let url = format!("redis://app:secret@127.0.0.1:{}", world.redis_port());
    world.configure(&Config { target_url: Some(url), ..Config::default() });
    fails(&world, 1, &["NOPERM"]);
}

#[test]
fn configuration_files_are_read_before_anybody_is_asked() {
    let world = World::new();
    let port = free_port().unwrap();
    write(
        &world,
        &format!(
            "source: {{ url: 'postgresql://u@127.0.0.1:{port}/d' }}\ntarget: {{ url: '$TARGET', nonsense: 1 }}\n"
        ),
    );
    fails(&world, 2, &["nonsense"]);
}
