//! Masters, connections and the program are lost while rows are written.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{Entries, settle, world};
use crate::faults::Workload;
use crate::harness::Cluster;

#[test]
fn a_master_is_lost_and_its_replica_takes_over() {
    let cluster = Cluster::start(3, 1);
    let world = world(&cluster, false);
    let workload = Workload::start(&world);
    let entries = Entries::start(&world);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    for master in 0..2 {
        entries.goes_on(&world, 50);
        cluster.server(master).kill9();
        world.eventually("its replica has its slots", || {
            cluster.ask::<String>(2, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
                && cluster.ask::<String>(3 + master, &["INFO", "replication"]).contains("role:master")
        });
        entries.goes_on(&world, 50);
    }
    settle(&world, &cluster, (workload, entries), &connector);
    assert!(connector.log_contains("works again"), "{}", connector.story());
}

#[test]
fn the_program_is_killed_again_and_again() {
    let cluster = Cluster::start(3, 0);
    let world = world(&cluster, false);
    let workload = Workload::start(&world);
    let entries = Entries::start(&world);
    let mut random = workload.random();
    let mut connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    for _ in 0..12 {
        random.pause(20, 400);
        connector.kill9();
        connector = world.run();
    }
    entries.goes_on(&world, 50);
    settle(&world, &cluster, (workload, entries), &connector);
}

/// One that slept while another took over writes nothing any more, on no shard.
#[test]
fn a_sleeper_does_not_write() {
    let cluster = Cluster::start(3, 0);
    let world = world(&cluster, true);
    let workload = Workload::start(&world);
    let entries = Entries::start(&world);
    let mut first = world.run();
    world.eventually("it streams", || first.log_contains("streaming"));
    for _ in 0..3 {
        let second = world.run();
        world.eventually("the second one waits", || second.log_contains("waiting to take over"));
        entries.goes_on(&world, 20);
        first.stop();
        world.eventually("the second one takes over", || second.log_contains("streaming"));
        entries.goes_on(&world, 20);
        first.cont();
        let status = first.wait(Duration::from_secs(30));
        assert_eq!(status.code(), Some(1), "{}", first.story());
        assert!(first.log_contains("another instance has taken over"), "{}", first.story());
        first = second;
    }
    settle(&world, &cluster, (workload, entries), &first);
}

/// A shard comes back with what it had saved some time ago; the others know more.
#[test]
fn a_shard_forgets() {
    let cluster = Cluster::start(3, 0);
    let world = world(&cluster, false);
    let workload = Workload::start(&world);
    let entries = Entries::start(&world);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    for shard in 0..3 {
        entries.goes_on(&world, 50);
        let written = entries.written.load(Relaxed);
        // Else several have forgotten the same, and nothing is left to notice.
        world.eventually("Redis has caught up", || cluster.get::<u64>(&["XLEN", "log"]) >= written);
        cluster.ask::<String>(shard, &["SAVE"]);
        entries.goes_on(&world, 100);
        let mut server = cluster.server(shard);
        server.kill9();
        server.start_again().unwrap();
        drop(server);
        cluster.settle();
    }
    entries.goes_on(&world, 100);
    settle(&world, &cluster, (workload, entries), &connector);
    // Of a shard that is not the checkpoint's, or of the checkpoint's.
    let noticed = ["has forgotten data", "which is not where it was left"];
    assert!(noticed.iter().any(|words| connector.log_contains(words)), "{}", connector.story());
}

/// A shard comes back empty: that is a gap, and its rows are read again.
#[test]
fn a_shard_comes_back_empty() {
    let cluster = Cluster::start(3, 0);
    let world = world(&cluster, false);
    let workload = Workload::start(&world);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    workload.goes_on(&world, 50);
    let slot: u16 =
        cluster.ask(0, &["CLUSTER", "KEYSLOT", &format!("redis-connect-postgres:{}:checkpoint", world.name)]);
    let other = (cluster.owner(slot) + 1) % 3;
    let mut server = cluster.server(other);
    server.kill9();
    server.start_again().unwrap();
    drop(server);
    world.eventually("it is noticed", || connector.log_contains("a shard of Redis has forgotten rows"));
    workload.stop();
    let file = world.config_file();
    let (code, verify) = world.finish(&["verify", "-c", &file.to_string_lossy()]);
    assert_eq!(code, Some(0), "{}\n{}\n{}", verify.stdout(), verify.log(), world.story());
}

/// A batch that one shard refuses is no reason for a checkpoint, also not when the program is stopped meanwhile.
#[test]
fn stopped_while_a_shard_is_full() {
    let cluster = Cluster::start(3, 0);
    let world = world(&cluster, false);
    let workload = Workload::start(&world);
    let entries = Entries::start(&world);
    for full in 0..3 {
        let connector = world.run();
        world.eventually("it streams", || connector.log_contains("streaming"));
        entries.goes_on(&world, 20);
        cluster.ask::<String>(full, &["CONFIG", "SET", "maxmemory", "1"]);
        world.eventually("it is refused", || connector.log_contains("OOM"));
        crate::faults::stops_cleanly(&connector);
        cluster.ask::<String>(full, &["CONFIG", "SET", "maxmemory", "0"]);
    }
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    settle(&world, &cluster, (workload, entries), &connector);
}
