//! What becomes of slots: PostgreSQL 18 invalidates those that nobody reads.

use redis_connect_postgres::throwaway::Shutdown;

use super::needs;
use crate::harness::{Table, World};
use crate::hashes::wait_until_free;

/// `idle_replication_slot_timeout` counts whole minutes; a test server's can be told to see it at once by
/// injection points only, so this waits for the minute, at a checkpoint.
#[test]
fn nobody_reads_it_for_too_long() {
    needs!(18);
    let world = World::own_of(18, &[("idle_replication_slot_timeout", "1min")]);
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    world.run_until_caught_up();
    wait_until_free(&world);
    world.sql("UPDATE t SET v = 'x' WHERE id = 1; DELETE FROM t WHERE id = 2");
    let reason = format!(
        "SELECT coalesce(invalidation_reason, '') FROM pg_replication_slots WHERE slot_name = '{}'",
        world.slot()
    );
    world.within(std::time::Duration::from_secs(120), "the slot is invalidated", || {
        world.sql("CHECKPOINT");
        std::thread::sleep(std::time::Duration::from_millis(500));
        world.value::<String>(&reason) == "idle_timeout"
    });
    world.postgres().restart(Shutdown::Fast).unwrap();
    let healed = world.run_until_caught_up();
    assert!(healed.log_contains("idle_replication_slot_timeout"), "{}", healed.story());
    world.assert_table(&Table::new("t"));
}
