//! A right that is taken away from the connector's role while it works, and given back: nothing is missing then.

use std::time::Duration;

use crate::harness::{Config, Connector, World};

/// A role of its own, with a table that it may read, of which `doc` is stored apart.
fn begin(world: &World, role: &str) -> Connector {
    world.sql(&format!(
        "CREATE ROLE {role} LOGIN REPLICATION; CREATE TABLE t (id int PRIMARY KEY, v text, doc text);
         ALTER TABLE t ALTER doc SET STORAGE EXTERNAL; INSERT INTO t VALUES (1, 'a', repeat('x', 10000));
         GRANT SELECT ON t TO {role}; CREATE PUBLICATION given FOR TABLE t"
    ));
    world.configure(&Config {
        source_url: Some(format!("postgresql://{role}@127.0.0.1:{}/{}", world.postgres_port(), world.name)),
        source: "publication: given",
        tables: "public.t: [{ type: hash }, { type: string, key: \"s:{pk}\" }]",
        ..Config::default()
    });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming from"));
    connector
}

fn disconnect(world: &World, role: &str) {
    world.value::<i64>(&format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{role}'"
    ));
}

/// It ends, says what gives the right back, and goes on from where it was when that was done.
fn ends_with(world: &World, connector: Connector, (statement, grant): (&str, &str)) {
    assert_eq!(connector.wait(Duration::from_secs(30)).code(), Some(1), "{}", connector.story());
    assert!(connector.log_contains(statement), "{}", connector.story());
    world.sql(&format!("INSERT INTO t VALUES (2, 'b', 'y'); UPDATE t SET v = 'c' WHERE id = 1; {grant}"));
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
}

#[test]
fn replication_is_taken_away() {
    let world = World::own();
    let connector = begin(&world, "repl");
    world.sql("ALTER ROLE repl NOREPLICATION");
    disconnect(&world, "repl");
    ends_with(&world, connector, ("ALTER ROLE … REPLICATION", "ALTER ROLE repl REPLICATION"));
}

#[test]
fn login_is_taken_away() {
    let world = World::own();
    let connector = begin(&world, "login");
    world.sql("ALTER ROLE login NOLOGIN");
    disconnect(&world, "login");
    ends_with(&world, connector, ("ALTER ROLE … LOGIN", "ALTER ROLE login LOGIN"));
}

/// The stream does without. It shows where a large value is needed that an UPDATE did not send.
#[test]
fn select_is_taken_away() {
    let world = World::own();
    let connector = begin(&world, "reader");
    world.sql("REVOKE SELECT ON t FROM reader; INSERT INTO t VALUES (3, 'd', 'z')");
    world.eventually("an INSERT comes all the same", || !world.keys("s:3").is_empty());
    world.sql("UPDATE t SET v = 'b' WHERE id = 1");
    let grant = "GRANT SELECT ON \"public\".\"t\" TO \"reader\"";
    ends_with(&world, connector, (grant, grant));
}
