//! Somebody has a table locked for long (VACUUM FULL, an ALTER TABLE that is not committed): the others don't
//! wait for that. From PostgreSQL 16 on, to look at `pg_publication_tables` is to wait.

use std::time::Duration;

use super::needs;
use crate::harness::World;
use crate::hashes::Live;

fn others_go_on(version: u32) {
    let world = World::of(version);
    world.sql("CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1)");
    let mut live = Live::begin(&world);
    live.settle();
    let mut client = world.client();
    client.batch_execute("BEGIN; LOCK TABLE b IN ACCESS EXCLUSIVE MODE").unwrap();
    live.connector.term();
    live.connector.wait(Duration::from_secs(30));
    live.start_again();
    world.sql("INSERT INTO a VALUES (2, 2)");
    world.eventually("it has begun again", || world.hash("a:2").contains_key("v"));
    world.sql("CREATE TABLE c (id int PRIMARY KEY, v int); INSERT INTO c VALUES (1, 1)");
    world.eventually("a new table is read", || world.hash("c:1").contains_key("v"));
    client.batch_execute("COMMIT").unwrap();
    live.settle();
    live.assert_equal(&["a", "b", "c"]);
}

#[test]
fn others_go_on_16() {
    needs!(16);
    others_go_on(16);
}

#[test]
fn others_go_on_18() {
    needs!(18);
    others_go_on(18);
}
