//! What is found in the catalog.

use redis_connect_postgres::throwaway::{postgres as pg, redis as rd};

use super::{check, run_refuses};
use crate::harness::{Config, Settings, World};

#[test]
fn names_that_mean_nothing_are_all_told() {
    let world = World::new();
    world.sql("CREATE TABLE emp (id int PRIMARY KEY); CREATE TABLE dept (id int PRIMARY KEY)");
    world.config(
        "public.em: { type: hash }\npublic.dpt: { type: hash }\npublic.dept: { type: hash, columns: [nam] }",
    );
    let report = check(&world);
    report.is_not_ready();
    report.says("tables", "not_ready", &["public.em ", "did you mean `public.emp`?"]);
    report.says("tables", "not_ready", &["public.dpt ", "did you mean `public.dept`?"]);
    report.says("mapping", "not_ready", &["config.yaml", "nam"]);
    assert_eq!(report.json["not_ready"], 3);
}

#[test]
fn what_patterns_fit_and_cannot_be_captured() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, a text, twice int GENERATED ALWAYS AS (id * 2) STORED);
         CREATE TABLE nokey (id int); CREATE VIEW v AS SELECT 1 AS id; CREATE MATERIALIZED VIEW m AS SELECT 1 AS id;
         CREATE UNLOGGED TABLE u (id int PRIMARY KEY);
         CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw;
         CREATE FOREIGN TABLE f (id int) SERVER s;
         CREATE SCHEMA apart; CREATE VIEW apart.v AS SELECT 1 AS id",
    );
    world.config("public.*: { type: hash }");
    let report = check(&world);
    report.is_ready();
    report.says("not_tables", "warning", &["views", "public.v"]);
    report.says("not_tables", "warning", &["materialized views", "public.m"]);
    report.says("not_tables", "warning", &["unlogged", "public.u", "SET LOGGED"]);
    report.says("not_tables", "warning", &["foreign", "public.f"]);
    assert!(!report.json.to_string().contains("apart"), "{:#}", report.json);
    report.says("table_keys", "warning", &["public.nokey", "ADD PRIMARY KEY"]);
    report.says("generated_columns", "warning", &["public.t: twice"]);
    report.says("tables", "ok", &["1: public.t"]);
}

#[test]
fn replica_identities_against_what_outputs_need() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, region text NOT NULL); CREATE TABLE nokey (id int);
         CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING",
    );
    world.config(
        "public.t: { type: hash, key: 't:{region}:{id}' }\n\
         public.nokey: { type: stream }\n\
         public.nothing: { type: hash }",
    );
    let report = check(&world);
    report.is_not_ready();
    report.says("mapping", "not_ready", &["region", "ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL"]);
    report.says(
        "table_keys",
        "not_ready",
        &["public.nokey", "ALTER TABLE \"public\".\"nokey\" REPLICA IDENTITY FULL"],
    );
    report.says("table_keys", "not_ready", &["public.nothing"]);
    world.sql(
        "ALTER TABLE t REPLICA IDENTITY FULL; ALTER TABLE nokey REPLICA IDENTITY FULL;
         ALTER TABLE nothing REPLICA IDENTITY DEFAULT",
    );
    check(&world).is_ready();
}

#[test]
fn outputs_that_write_the_same_keys() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    world.config("public.t: { type: hash, key: 'x:{id}' }\npublic.u: { type: hash, key: 'x:{id}' }");
    let report = check(&world);
    report.is_not_ready();
    report.says("mapping", "not_ready", &["`x:{id}`", "another `key`"]);
}

#[test]
fn large_values() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t ALTER v SET STORAGE EXTERNAL;
         INSERT INTO t VALUES (1, repeat('x', 100000))",
    );
    world.sql("VACUUM t");
    world.config("public.t: [{ type: hash }, { type: stream }]");
    check(&world).says("large_values", "warning", &["public.t", "REPLICA IDENTITY FULL"]);
    world.config("public.t: { type: hash }");
    check(&world).says("large_values", "ok", &[]);
    world.sql("ALTER TABLE t REPLICA IDENTITY FULL");
    world.config("public.t: [{ type: hash }, { type: stream }]");
    check(&world).says("large_values", "ok", &[]);
}

/// Everything a role lacks is told at once, each with the statement for its owner.
#[test]
fn rights_of_the_role() {
    let world =
        World::with(Settings { postgres: Some(pg::Settings::default()), redis: rd::Settings::default() });
    world.sql(
        "CREATE SCHEMA s; CREATE TABLE s.a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);
         CREATE TABLE c (id int PRIMARY KEY); CREATE TABLE \"d\"\"d\" (id int PRIMARY KEY);
         ALTER TABLE b ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON b USING (id = 1);
         CREATE ROLE repl LOGIN REPLICATION; GRANT SELECT ON b TO repl; GRANT SELECT ON s.a TO repl;
         GRANT SELECT ON \"d\"\"d\" TO repl",
    );
    world.sql(&format!("CREATE PUBLICATION redis_connect_{} FOR TABLE b", world.name));
    let url = format!("postgresql://repl@127.0.0.1:{}/{}", world.postgres_port(), world.name);
    let tables = "s.a: { type: hash }\npublic.b: { type: hash }\npublic.*: { type: hash }";
    world.configure(&Config { source_url: Some(url), tables, ..Config::default() });
    let report = check(&world);
    report.is_not_ready();
    let a = "GRANT USAGE ON SCHEMA \"s\" TO \"repl\"; GRANT SELECT ON \"s\".\"a\" TO \"repl\"";
    report.says("tables", "not_ready", &["may not read s.a", a]);
    report.says(
        "tables",
        "warning",
        &["may not read public.c", "GRANT SELECT ON \"public\".\"c\" TO \"repl\""],
    );
    report.says("row_security", "not_ready", &["public.b", "ALTER ROLE \"repl\" BYPASSRLS"]);
    report.says("publication", "warning", &["public.d\"d", "ADD TABLE ONLY \"public\".\"d\"\"d\""]);
    world.sql("GRANT USAGE ON SCHEMA s TO repl");
    let report = check(&world);
    report.says("publication", "not_ready", &["s.a", "let its owner run: ALTER PUBLICATION", "ADD TABLE"]);
    run_refuses(&world, &["row-level security of public.b", "BYPASSRLS"]);
    world.sql(&format!(
        "ALTER ROLE repl BYPASSRLS; ALTER PUBLICATION redis_connect_{} ADD TABLE s.a, \"d\"\"d\"",
        world.name
    ));
    check(&world).is_ready();
    world.once();
}
