//! Hash slots move while rows are written.

use super::{Entries, settle, world};
use crate::faults::Workload;
use crate::harness::Cluster;

#[test]
fn slots_move_between_masters() {
    let cluster = Cluster::start(3, 0);
    let world = world(&cluster, false);
    let workload = Workload::start(&world);
    let entries = Entries::start(&world);
    let connector = world.run();
    for slot in (0..16_384).step_by(16_384 / 120) {
        let to = usize::from(slot) % 3;
        cluster.move_slot(slot, to);
    }
    // Where the stream and the checkpoint are, too.
    let checkpoint = format!("redis-connect-postgres:{}:checkpoint", world.name);
    for key in ["log", &checkpoint, "by_n"] {
        let slot: u16 = cluster.ask(0, &["CLUSTER", "KEYSLOT", key]);
        let to = (cluster.owner(slot) + 1) % 3;
        entries.goes_on(&world, 20);
        cluster.move_slot(slot, to);
        entries.goes_on(&world, 20);
    }
    settle(&world, &cluster, (workload, entries), &connector);
}

/// A master that was not there when it began gets all slots of another.
#[test]
fn a_new_master() {
    let mut cluster = Cluster::start(2, 0);
    let world = world(&cluster, false);
    let workload = Workload::start(&world);
    let entries = Entries::start(&world);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    let new = cluster.add();
    let keys: Vec<u16> =
        (1..=20).map(|id| cluster.ask(0, &["CLUSTER", "KEYSLOT", &format!("tiny:{id}")])).collect();
    for slot in keys {
        cluster.move_slot(slot, new);
    }
    workload.goes_on(&world, 200);
    settle(&world, &cluster, (workload, entries), &connector);
    assert!(cluster.sizes()[new] > 0);
}
