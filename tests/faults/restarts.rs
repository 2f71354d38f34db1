//! The servers go away and come back; the program stays.

use std::time::{Duration, Instant};

use redis_connect_postgres::throwaway::Shutdown;

use super::{Journal, Order, TABLES, Workload, settle, stops_cleanly};
use crate::harness::{Config, World};

#[test]
fn postgres_is_restarted_in_every_way() {
    let world = World::own();
    Workload::prepare(&world, 1_000);
    world.configure(&Config { source: "retain: 0s", ..Config::default() });
    let journal = Journal::begin(&world, Order::Strict);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    let workload = Workload::start(&world);
    for how in [Some(Shutdown::Fast), Some(Shutdown::Immediate), None, Some(Shutdown::Immediate), None] {
        workload.goes_on(&world, 150);
        match how {
            Some(how) => world.postgres().stop(how).unwrap(),
            None => world.postgres().kill9(),
        }
        world.postgres().start_again().unwrap();
        workload.goes_on(&world, 1);
        journal.goes_on(&world, 5);
    }
    settle(&world, workload, &connector);
    journal.check(&world);
}

/// The slot keeps what was confirmed in the last minute; PostgreSQL, which waits at a fast shutdown
/// until its readers have everything, must not take that for a reader that is behind.
#[test]
fn postgres_stops_at_once_although_positions_are_retained() {
    let world = World::own();
    Workload::prepare(&world, 100);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    world.sql("UPDATE counter SET n = n + 1");
    world.eventually_equal(&TABLES);
    let began = Instant::now();
    let stopped = world.postgres().stop(Shutdown::Fast);
    let took = began.elapsed();
    println!("PostgreSQL stopped after {took:?}");
    assert!(stopped.is_ok() && took < Duration::from_secs(10), "it took {took:?} to stop: {stopped:?}");
    world.postgres().start_again().unwrap();
    world.sql("UPDATE counter SET n = n + 1");
    world.eventually_equal(&TABLES);
    stops_cleanly(&connector);
}

/// While Redis is away nothing is read of what PostgreSQL still has to send; it must not wait for that.
#[test]
fn postgres_stops_although_redis_is_away() {
    let world = World::own();
    Workload::prepare(&world, 100);
    world.configure(&Config { target: "batch: { rows: 500 }", ..Config::default() });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    world.redis_server().kill9();
    world.sql("INSERT INTO bulk SELECT 1000000 + i, i, 'x' FROM generate_series(1, 100000) i");
    world.eventually("it notices", || connector.log_contains("trying again"));
    let began = Instant::now();
    let stopped = world.postgres().stop(Shutdown::Fast);
    let took = began.elapsed();
    assert!(stopped.is_ok() && took < Duration::from_secs(20), "it took {took:?} to stop: {stopped:?}");
    world.postgres().start_again().unwrap();
    world.redis_server().start_again().unwrap();
    world.eventually_equal(&TABLES);
    stops_cleanly(&connector);
}

#[test]
fn redis_is_restarted_killed_and_paused() {
    let world = World::own();
    Workload::prepare(&world, 1_000);
    world.configure(&Config { target: "batch: { rows: 500 }", ..Config::default() });
    let journal = Journal::begin(&world, Order::Strict);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    let workload = Workload::start(&world);
    for round in 0..6 {
        workload.goes_on(&world, 150);
        match round % 3 {
            0 => world.redis_server().shutdown().unwrap(),
            1 => world.redis_server().kill9(),
            _ => world.redis_server().pause(),
        }
        // The writer meanwhile fills what is not read.
        workload.goes_on(&world, 100);
        match round % 3 {
            2 => world.redis_server().resume(),
            _ => world.redis_server().start_again().unwrap(),
        }
        journal.goes_on(&world, 5);
    }
    settle(&world, workload, &connector);
    journal.check(&world);
    // Redis has kept everything. A batch with a moved key whose replies were lost is a reason of its own.
    let log = connector.log();
    let again =
        log.lines().find(|line| line.contains("beginning again") && !line.contains("its replies were lost"));
    assert!(again.is_none(), "{}", connector.story());
}

/// Every phase hears a signal, also when the servers answer nothing.
#[test]
fn a_signal_is_heard_while_redis_is_away() {
    let world = World::own();
    Workload::prepare(&world, 1_000);
    world.configure(&Config { target: "batch: { rows: 100 }", ..Config::default() });
    for away in ["paused", "killed"] {
        let connector = world.run();
        world.eventually("it streams", || connector.log_contains("streaming"));
        match away {
            "paused" => world.redis_server().pause(),
            _ => world.redis_server().kill9(),
        }
        // A TRUNCATE looks for keys in Redis; what is before it is in flight.
        world.sql("UPDATE bulk SET n = n + 1; TRUNCATE tiny; UPDATE counter SET n = n + 1");
        if away == "killed" {
            world.eventually("it has noticed", || connector.log_contains("trying again until it works"));
        }
        stops_cleanly(&connector);
        match away {
            "paused" => world.redis_server().resume(),
            _ => world.redis_server().start_again().unwrap(),
        }
    }
    world.run_until_caught_up();
    world.assert_equal(&TABLES);
}
