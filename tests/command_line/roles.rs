//! Roles that may not do everything: what they lack is said with the statement that gives it.

use std::fs;

use redis_connect_postgres::throwaway::{postgres as pg, redis as rd};

use super::fails;
use crate::harness::{Config, Settings, World};

fn world() -> World {
    World::with(Settings { postgres: Some(pg::Settings::default()), redis: rd::Settings::default() })
}

fn configure(world: &World, role: &str, tables: &str) {
    let url = format!("postgresql://{role}@127.0.0.1:{}/{}", world.postgres_port(), world.name);
    world.configure(&Config { source_url: Some(url), tables, ..Config::default() });
}

#[test]
fn step_by_step_to_a_role_that_may() {
    let world = world();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE ROLE \"re-pl\" LOGIN");
    configure(&world, "re-pl", "public.t: { type: hash }");
    fails(&world, 1, &["REPLICATION", "ALTER ROLE \"re-pl\" REPLICATION"]);
    world.sql("ALTER ROLE \"re-pl\" REPLICATION");
    fails(&world, 1, &["public.t", "GRANT SELECT ON \"public\".\"t\" TO \"re-pl\""]);
    world.sql("GRANT SELECT ON t TO \"re-pl\"");
    // To publish, it would have to own the table.
    fails(&world, 1, &["CREATE PUBLICATION", "owner"]);
    world.sql(&format!("CREATE PUBLICATION redis_connect_{} FOR TABLE t", world.name));
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

#[test]
fn tables_that_a_role_may_not_read_are_left_out_of_patterns() {
    let world = world();
    world.sql(
        "CREATE ROLE repl LOGIN REPLICATION; GRANT CREATE ON SCHEMA public TO repl; CREATE TABLE secret (id int PRIMARY KEY)",
    );
    world.sql(&format!("GRANT ALL ON DATABASE {} TO repl", world.name));
    world.sql("SET ROLE repl; CREATE TABLE t (id int PRIMARY KEY); RESET ROLE; INSERT INTO t VALUES (1)");
    configure(&world, "repl", "");
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
    assert!(world.keys("secret:*").is_empty());
}

/// Rows that a policy hides would look as if they were not there.
#[test]
fn row_level_security() {
    let world = world();
    world.sql(&format!(
        "CREATE ROLE repl LOGIN REPLICATION; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);
         GRANT SELECT ON t TO repl; ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id = 1);
         CREATE PUBLICATION redis_connect_{} FOR TABLE t",
        world.name
    ));
    configure(&world, "repl", "public.t: { type: hash }");
    fails(&world, 1, &["t", "row-level security"]);
}

#[test]
fn passwords() {
    let world = world();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); SET password_encryption = 'scram-sha-256'; CREATE ROLE repl SUPERUSER LOGIN PASSWORD 'r1ght'");
    let file = world.postgres().data_directory().join("pg_hba.conf");
    let rules = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("host all repl 127.0.0.1/32 scram-sha-256\n{rules}")).unwrap();
    world.sql("SELECT pg_reload_conf()");
    let begins = |password: &str| {
        let url = format!("postgresql://repl{password}@127.0.0.1:{}/{}", world.postgres_port(), world.name);
        world.configure(&Config { source_url: Some(url), ..Config::default() });
    };
    // The postmaster reads its rules when it gets to it.
    world.eventually("the password is asked for", || {
        let url = format!("postgresql://repl:wrong@127.0.0.1:{}/{}", world.postgres_port(), world.name);
        postgres::Client::connect(&url, postgres::NoTls).is_err()
    });
    begins(":wr0ng");
    fails(&world, 1, &["password", "repl"]);
    begins("");
    fails(&world, 1, &["password"]);
    begins(":r1ght");
    world.once();
    fs::write(world.directory().join("password"), "r1ght\n").unwrap();
    let url = format!("postgresql://repl@127.0.0.1:{}/{}", world.postgres_port(), world.name);
    world.configure(&Config {
        source_url: Some(url),
        source: "password_file: password",
        ..Config::default()
    });
    world.once();
}
