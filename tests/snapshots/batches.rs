//! How the rows of a snapshot are divided into batches.

use crate::harness::{Config, Proxy, World};

/// The number of the last batch.
fn batches(world: &World) -> u64 {
    world.checkpoint().get("batch").map_or(0, |batch| batch.parse().unwrap())
}

fn create(world: &World, rows: u32) {
    world.sql(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, repeat('v', 80) FROM \
         generate_series(1, {rows}) i; ANALYZE t"
    ));
}

/// Where PostgreSQL is slow and Redis idle, a batch is not sent for every few rows; nor is the first one
/// held back until all are there.
#[test]
fn rows_that_come_slowly() {
    let world = World::new();
    create(&world, 4_000);
    let to_postgres = Proxy::to(world.postgres_port());
    world.configure(&Config {
        source_url: Some(world.source_url_at(to_postgres.port())),
        ..Config::default()
    });
    to_postgres.throttle(200_000);
    let connector = world.run();
    world.eventually("the first rows are there", || !world.keys("t:*").is_empty());
    assert!(!connector.log_contains("snapshot done"), "they were not awaited");
    world.eventually("all are there", || world.keys("t:*").len() == 4_000);
    let all = batches(&world);
    println!("{all} batches");
    assert!(all < 12, "{all} batches");
}
