//! The report as a whole.

use std::collections::BTreeSet;

use super::check;
use crate::harness::{Config, World};

#[test]
fn a_world_that_is_ready() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one')");
    world.config("public.t: { type: hash }");
    let report = check(&world);
    report.is_ready();
    assert_eq!(report.json["not_ready"], 0);
    assert_eq!(report.json["skipped"].as_array().unwrap().len(), 0);
    report.says("wal_level", "ok", &["logical"]);
    report.says("tables", "ok", &["1: public.t"]);
    report.says("publication", "ok", &["will be made"]);
    report.says("redis_rights", "ok", &[]);
    report.says("replication_right", "warning", &["superuser"]);
    let file = world.config_file();
    let (code, words) = world.finish(&["check", "-c", &file.to_string_lossy()]);
    assert_eq!(code, Some(0));
    let words = words.stdout();
    assert!(words.contains("\nok         wal_level: logical\n"), "{words}");
    assert!(words.contains("\nready; "), "{words}");
    world.once();
    let after = check(&world);
    after.is_ready();
    after.says("publication", "ok", &["sends all tables"]);
    after.says("replication_slots", "ok", &["exists"]);
    after.says("foreign_keys", "ok", &["has written there before"]);
}

/// Whatever it finds, it leaves no trace.
#[test]
fn nothing_is_changed() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one'); CREATE TABLE u (id int)");
    world.redis::<()>(&["SET", "t:9", "x"]);
    world.config(
        "public.t: [{ type: hash }, { type: string, key: 's:{id}' }, { type: set }, { type: stream }, \
         { type: sorted_set, key: z, score: '{id}' }]\n\
         public.*: { type: hash }",
    );
    let state = || {
        (
            world.rows("SELECT oid, xmin FROM pg_publication"),
            world.rows("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"),
            world.rows("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"),
            world.keys("*"),
            world.redis::<String>(&["GET", "t:9"]),
        )
    };
    let before = state();
    let dirty = || {
        let info: String = world.redis(&["INFO", "persistence"]);
        info.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:")).unwrap().to_owned()
    };
    let changes = dirty();
    check(&world);
    assert_eq!(state(), before);
    // Redis counts every write.
    assert_eq!(dirty(), changes);
}

#[test]
fn servers_that_are_not_there() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    world.configure(&Config { source_url: Some(world.source_url_at(1)), ..Config::default() });
    let report = check(&world);
    report.is_not_ready();
    report.says("postgres_reach", "not_ready", &["127.0.0.1:1", "refused"]);
    report.says("redis_version", "ok", &[]);
    let skipped: BTreeSet<&str> =
        report.json["skipped"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(skipped.contains("wal_level") && skipped.contains("memory"), "{skipped:?}");
    world.configure(&Config { target_url: Some(world.target_url_at(1)), ..Config::default() });
    let report = check(&world);
    report.is_not_ready();
    report.says("redis_reach", "not_ready", &["127.0.0.1:1", "refused"]);
    report.says("tables", "ok", &["public.t"]);
    // A server that is something else.
    world.configure(&Config {
        source_url: Some(world.source_url_at(world.redis_port())),
        ..Config::default()
    });
    let report = check(&world);
    report.is_not_ready();
    let of_login = report.of("postgres_login").len() + report.of("postgres_reach").len();
    assert!(of_login > 0, "{:#}", report.json);
}

#[test]
fn usage() {
    let world = World::new();
    let (code, _) = world.finish(&["check", "-c", "/nonexistent.yaml"]);
    assert_eq!(code, Some(2));
    let (code, connector) =
        world.finish(&["check", "--source", &world.source_url(), "--target", &world.target_url()]);
    assert_eq!(code, Some(1));
    assert!(connector.stdout().contains("no table to capture"), "{}", connector.stdout());
}

/// Passwords are in no line of it.
#[test]
fn secrets() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let source = world.source_url().replace("postgres@", "postgres:s3cr3t@");
    let target = world.target_url().replace("redis://", "redis://:s3cr3t@");
    world.configure(&Config { source_url: Some(source), target_url: Some(target), ..Config::default() });
    let file = world.config_file();
    for mode in [0o644, 0o600] {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&file, permissions).unwrap();
        let report = check(&world);
        assert!(!report.json.to_string().contains("s3cr3t"), "{:#}", report.json);
        report.says("redis_login", "not_ready", &["AUTH"]);
        match mode {
            0o644 => report.says("secret_files", "warning", &["config.yaml", "mode 644", "chmod o-r"]),
            _ => report.says("secret_files", "ok", &[]),
        }
    }
}
