//! Streaming from a standby, which PostgreSQL can since 16.

use std::time::Duration;

use redis_connect_postgres::throwaway::postgres as pg;

use super::needs;
use crate::harness::{Config, World};
use crate::hashes::Writer;

/// A standby of the world's server, which is no other test's.
pub(super) fn standby_of(world: &World, settings: pg::Settings) -> pg::Postgres {
    world.postgres().standby(settings).unwrap()
}

fn url(world: &World, standby: &pg::Postgres) -> String {
    standby.database_url(&world.name)
}

#[test]
fn rows_come_from_a_standby() {
    needs!(16);
    let world = World::own_of(16, &[]);
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'a' FROM generate_series(1, 1000) i");
    let standby = standby_of(&world, pg::Settings::default());
    let config = Config { source_url: Some(url(&world, &standby)), ..Config::default() };
    world.configure(&config);
    // The publication is the primary's to make.
    let refused = world.run_with(&["--until-caught-up"]);
    assert_eq!(refused.wait(Duration::from_secs(30)).code(), Some(1), "{}", refused.story());
    for words in ["on the primary", "CREATE PUBLICATION"] {
        assert!(refused.log_contains(words), "{words}\n{}", refused.story());
    }
    world.sql(&format!("CREATE PUBLICATION {} FOR TABLE t", world.slot()));
    let mut client = postgres::Client::connect(&url(&world, &standby), postgres::NoTls).unwrap();
    world.eventually("the standby has the publication", || {
        client.query_one("SELECT count(*) FROM pg_publication", &[]).unwrap().get::<_, i64>(0) == 1
    });
    // Transactions that run while the snapshot is taken; what it saw of them a standby can't tell.
    let writer = Writer::begin(&world, |n| {
        let id = n % 1000 + 1;
        format!("BEGIN; UPDATE t SET v = 'n{n}' WHERE id = {id}; SELECT pg_sleep(0.002); COMMIT")
    });
    let mut open = world.client();
    open.batch_execute("BEGIN; INSERT INTO t VALUES (2000, 'open')").unwrap();
    let connector = world.run();
    world.eventually("it says what it waits for, or goes on", || {
        let said = connector.log_contains("pg_log_standby_snapshot()") || connector.log_contains("streaming");
        world.sql("SELECT pg_log_standby_snapshot()");
        said
    });
    open.batch_execute("COMMIT").unwrap();
    world.eventually("it streams", || {
        world.sql("SELECT pg_log_standby_snapshot()");
        connector.log_contains("streaming from")
    });
    assert!(writer.stop() > 10);
    world.sql("INSERT INTO t VALUES (2001, 'new'); DELETE FROM t WHERE id <= 10");
    world.eventually_equal(&["t"]);
    // When it is promoted, the stream goes on.
    world.postgres().stop(pg::Shutdown::Fast).unwrap();
    standby.promote().unwrap();
    client.batch_execute("INSERT INTO t VALUES (3000, 'promoted')").unwrap();
    world.eventually("the row is there", || world.hash("t:3000").contains_key("v"));
    assert!(!connector.log_contains("resnapshot"), "{}", connector.story());
}

#[test]
fn an_older_standby_is_refused() {
    needs!(15);
    let world = World::own_of(15, &[]);
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let standby = standby_of(&world, pg::Settings::default());
    world.configure(&Config { source_url: Some(url(&world, &standby)), ..Config::default() });
    let refused = world.run_with(&["--until-caught-up"]);
    assert_eq!(refused.wait(Duration::from_secs(30)).code(), Some(1), "{}", refused.story());
    for words in ["standby", "PostgreSQL 16", "target_session_attrs=read-write"] {
        assert!(refused.log_contains(words), "{words}\n{}", refused.story());
    }
}
