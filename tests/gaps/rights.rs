//! A right that is taken away from the connector's role while it works, and given back: nothing is missing then.

use std::time::Duration;

use crate::harness::{Config, World};

#[test]
fn revoked_and_granted_again() {
    let world = World::own();
    world.sql(
        "CREATE ROLE repl LOGIN REPLICATION; CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a');
         CREATE TABLE u (id int PRIMARY KEY, v text); GRANT SELECT ON t, u TO repl; CREATE PUBLICATION given FOR TABLE t, u",
    );
    let url = format!("postgresql://repl@127.0.0.1:{}/{}", world.postgres_port(), world.name);
    world.configure(&Config {
        source_url: Some(url),
        source: "publication: given",
        tables: "public.t: { type: hash }\npublic.u: { type: hash }",
        ..Config::default()
    });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming from"));
    world.sql("ALTER ROLE repl NOREPLICATION");
    world
        .value::<i64>("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'repl'");
    assert_eq!(connector.wait(Duration::from_secs(30)).code(), Some(1), "{}", connector.story());
    assert!(connector.log_contains("ALTER ROLE … REPLICATION"), "{}", connector.story());
    world
        .sql("INSERT INTO t VALUES (2, 'b'); UPDATE t SET v = 'c' WHERE id = 1; ALTER ROLE repl REPLICATION");
    world.run_until_caught_up();
    world.assert_equal(&["t", "u"]);
}
