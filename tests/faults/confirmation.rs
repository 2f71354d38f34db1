//! PostgreSQL forgets what it was told is safe. So it is never told of more than Redis has.

use std::thread;
use std::time::{Duration, Instant};

use super::journal::lsn_number;
use super::{Journal, Order, Workload, settle};
use crate::harness::{Config, Proxy, World};

#[test]
fn postgres_is_told_of_nothing_that_redis_does_not_have() {
    let world = World::own();
    Workload::prepare(&world, 1_000);
    let proxy = Proxy::to(world.redis_port());
    world.configure(&Config {
        target_url: Some(world.target_url_at(proxy.port())),
        source: "retain: 0s",
        target: "batch: { rows: 200 }",
        ..Config::default()
    });
    let journal = Journal::begin(&world, Order::Strict);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    let workload = Workload::start(&world);
    let query =
        format!("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{}'", world.slot());
    let confirmed = || lsn_number(&world.value::<String>(&query));
    let first = confirmed();
    for _ in 0..3 {
        // While nothing gets through to Redis, its checkpoint stands still, and so must the slot.
        for stalled in [false, true] {
            proxy.stall(stalled);
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(1_500) {
                let confirmed = confirmed();
                let checkpoint = lsn_number(&world.checkpoint()["lsn"]);
                assert!(confirmed <= checkpoint, "{confirmed:x} > {checkpoint:x}\n{}", connector.story());
                thread::sleep(Duration::from_millis(3));
            }
        }
    }
    proxy.stall(false);
    world.eventually("positions are confirmed", || confirmed() > first);
    settle(&world, workload, &connector);
    journal.check(&world);
    assert!(confirmed() <= lsn_number(&world.checkpoint()["lsn"]));
}

/// Positions of other databases' changes are confirmed too: an idle table does not pin the log.
#[test]
fn an_idle_table_does_not_pin_the_log() {
    let world = World::own();
    Workload::prepare(&world, 10);
    world.sql("CREATE TABLE other (v text)");
    world.configure(&Config {
        source: "retain: 0s",
        tables: "public.tiny: { type: hash }",
        ..Config::default()
    });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    world.sql("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 10000)");
    let end: String = world.value("SELECT pg_current_wal_lsn()");
    let query = format!(
        "SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots WHERE slot_name = '{}'",
        world.slot()
    );
    world.within(Duration::from_secs(5), "the slot moves on", || world.value::<String>(&query) == "t");
    super::stops_cleanly(&connector);
    world.assert_equal(&["tiny"]);
}
