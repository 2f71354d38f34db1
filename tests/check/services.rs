//! Managed services, played by a PostgreSQL that has their settings and roles.

use redis_connect_postgres::throwaway::{postgres as pg, redis as rd};

use super::{check, run_refuses};
use crate::harness::{Config, Settings, World};

/// A server with these settings, and a role without the right to replicate.
fn service(settings: &[(&str, &str)], roles: &str) -> World {
    let mut all = pg::Settings::default();
    for (name, value) in settings {
        all = all.set(name, value);
    }
    let world = World::with(Settings { postgres: Some(all), redis: rd::Settings::default() });
    world.sql("CREATE TABLE t (id int PRIMARY KEY); CREATE ROLE repl LOGIN; GRANT SELECT ON t TO repl");
    world.sql(&format!("CREATE PUBLICATION redis_connect_{} FOR TABLE t", world.name));
    world.sql(roles);
    let url = format!("postgresql://repl@127.0.0.1:{}/{}", world.postgres_port(), world.name);
    world.configure(&Config {
        source_url: Some(url),
        tables: "public.t: { type: hash }",
        ..Config::default()
    });
    world
}

#[test]
fn amazon_rds() {
    let world = service(
        &[("wal_level", "replica"), ("rds.logical_replication", "off")],
        "CREATE ROLE rds_superuser; CREATE ROLE rds_replication",
    );
    let report = check(&world);
    report.is_not_ready();
    report.says("postgres_service", "ok", &["Amazon RDS", "docs/postgres/rds.md"]);
    let wal = [
        "wal_level is replica",
        "set rds.logical_replication to 1 in the DB parameter group",
        "can't be set directly",
        "reboot it, by hand or in its maintenance window",
    ];
    report.says("wal_level", "not_ready", &wal);
    report.says("replication_right", "not_ready", &["GRANT rds_replication TO \"repl\""]);
    run_refuses(&world, &wal);
    world.sql("GRANT rds_replication TO repl");
    check(&world).says("replication_right", "ok", &["repl has it"]);
    // What the snapshot needs.
    world.sql("REVOKE SELECT ON t FROM repl");
    check(&world).says("tables", "not_ready", &["GRANT SELECT ON \"public\".\"t\" TO \"repl\""]);
}

#[test]
fn amazon_rds_that_waits_for_its_reboot() {
    let world =
        service(&[("wal_level", "replica"), ("rds.logical_replication", "on")], "CREATE ROLE rds_superuser");
    let words = ["waits for a restart", "reboot the instance"];
    check(&world).says("wal_level", "not_ready", &words);
}

#[test]
fn amazon_aurora() {
    let world = service(
        &[("wal_level", "replica"), ("rds.logical_replication", "off"), ("max_slot_wal_keep_size", "-1")],
        "CREATE ROLE rds_superuser;
         CREATE FUNCTION aurora_version() RETURNS text LANGUAGE sql AS $$SELECT '15.4'$$",
    );
    let report = check(&world);
    report.says("postgres_service", "ok", &["Amazon Aurora", "docs/postgres/aurora.md"]);
    report.says("wal_level", "not_ready", &["DB cluster parameter group", "reboot the writer"]);
}

#[test]
fn google_cloud_sql() {
    let world = service(
        &[("wal_level", "replica"), ("cloudsql.logical_decoding", "off")],
        "CREATE ROLE cloudsqlsuperuser",
    );
    let report = check(&world);
    report.says("postgres_service", "ok", &["Google Cloud SQL"]);
    report.says("wal_level", "not_ready", &["cloudsql.logical_decoding to on"]);
    report.says("replication_right", "not_ready", &["cloudsqlsuperuser", "ALTER ROLE \"repl\" REPLICATION"]);
}

#[test]
fn azure() {
    let world = service(
        &[("wal_level", "replica"), ("azure.extensions", "hstore")],
        "CREATE ROLE azure_pg_admin; CREATE ROLE azuresu",
    );
    let report = check(&world);
    report.says("postgres_service", "ok", &["Azure"]);
    report.says("wal_level", "not_ready", &["server parameter wal_level to logical", "restart the server"]);
    report.says("replication_right", "not_ready", &["administrator", "ALTER ROLE \"repl\" REPLICATION"]);
}

#[test]
fn supabase() {
    let world = service(&[("max_slot_wal_keep_size", "-1")], "CREATE ROLE supabase_admin");
    let report = check(&world);
    report.says("postgres_service", "ok", &["Supabase"]);
    report.says("replication_right", "not_ready", &["ALTER ROLE \"repl\" REPLICATION"]);
    if world.postgres_version() >= 13 {
        report.says("wal_limit", "warning", &["supabase postgres-config"]);
    }
}

#[test]
fn neon() {
    let world =
        service(&[("wal_level", "replica"), ("neon.timeline_id", "0123")], "CREATE ROLE neon_superuser");
    let report = check(&world);
    report.says("postgres_service", "ok", &["Neon"]);
    report.says("wal_level", "not_ready", &["Neon console", "can't be undone"]);
}

#[test]
fn a_server_of_ones_own() {
    let world = service(&[], "SELECT 1");
    check(&world).says("postgres_service", "ok", &["docs/postgres/self-hosted.md"]);
}
