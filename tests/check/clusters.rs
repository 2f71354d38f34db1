//! What is found at one of the masters of a cluster is told with its name.

use super::{Report, check, run_refuses};
use crate::harness::{Cluster, Config, World};

const TABLES: &str = "public.t: { type: hash }";

fn world(cluster: &Cluster, top: &str) -> World {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one'); ANALYZE t");
    configure(&world, cluster, top);
    world
}

fn configure(world: &World, cluster: &Cluster, top: &str) {
    world.configure(&Config {
        target_url: Some(cluster.url().replace("://", "://app:secret@")),
        tables: TABLES,
        top,
        ..Config::default()
    });
}

/// The user, with these rights at one of the nodes.
fn give(cluster: &Cluster, node: usize, rights: &[&str]) {
    let user = ["ACL", "SETUSER", "app", "reset", "on", ">secret", "~*", "+@all"];
    cluster.ask::<String>(node, &[&user, rights].concat());
}

fn give_all(cluster: &Cluster) {
    (0..3).for_each(|node| give(cluster, node, &[]));
}

fn address(cluster: &Cluster, node: usize) -> String {
    format!("127.0.0.1:{}", cluster.port(node))
}

/// No other node is named.
#[track_caller]
fn names_only(report: &Report, check: &str, cluster: &Cluster, node: usize) {
    let found = report.of(check);
    for other in (0..3).filter(|other| *other != node) {
        let address = address(cluster, other);
        assert!(
            !found.iter().any(|(outcome, words)| *outcome != "ok" && words.contains(&address)),
            "{found:#?}"
        );
    }
}

#[test]
fn settings_and_rights_of_one_master() {
    let cluster = Cluster::start(3, 0);
    give_all(&cluster);
    let world = world(&cluster, "");
    let report = check(&world);
    report.is_ready();
    report.says("redis_topology", "ok", &["a cluster with 3 masters"]);
    report.says("redis_rights", "ok", &["app may do what is needed"]);
    report.says("eviction", "ok", &["noeviction"]);
    report.says("persistence", "warning", &["all 3 masters: none"]);
    report.says("memory", "ok", &["over 3 masters"]);
    // What is the same everywhere is told once.
    for name in ["redis_version", "redis_rights", "eviction", "persistence", "memory", "redis_clock"] {
        assert_eq!(report.of(name).len(), 1, "{name}: {:#?}", report.of(name));
    }
    for node in 0..3 {
        let address = address(&cluster, node);
        give(&cluster, node, &["-hset", "-asking"]);
        cluster.ask::<String>(node, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
        cluster.ask::<String>(node, &["CONFIG", "SET", "maxmemory", "1"]);
        cluster.ask::<String>(node, &["CONFIG", "SET", "appendonly", "yes"]);
        let report = check(&world);
        report.is_not_ready();
        report.says("redis_rights", "not_ready", &[&address, "+asking +hset are missing"]);
        report.says("eviction", "warning", &[&address, "allkeys-lru"]);
        report.says("memory", "warning", &[&address, "its part of 1 rows"]);
        report.says("persistence", "ok", &[&address, "append-only file"]);
        for name in ["redis_rights", "eviction", "memory"] {
            names_only(&report, name, &cluster, node);
        }
        let before: Vec<i64> = cluster.sizes();
        run_refuses(&world, &[&address, "+asking +hset are missing"]);
        assert_eq!(cluster.sizes(), before);
        give(&cluster, node, &[]);
        for (setting, value) in [("maxmemory-policy", "noeviction"), ("maxmemory", "0"), ("appendonly", "no")]
        {
            cluster.ask::<String>(node, &["CONFIG", "SET", setting, value]);
        }
    }
    check(&world).is_ready();
}

#[test]
fn a_master_that_does_not_let_us_in() {
    let cluster = Cluster::start(3, 0);
    give_all(&cluster);
    let world = world(&cluster, "");
    cluster.ask::<String>(1, &["ACL", "SETUSER", "app", "resetpass", ">another"]);
    give(&cluster, 2, &["-hset"]);
    let report = check(&world);
    report.is_not_ready();
    report.says("redis_login", "not_ready", &[&address(&cluster, 1), "WRONGPASS"]);
    // The others are looked at.
    report.says("redis_rights", "not_ready", &[&address(&cluster, 2), "+hset"]);
    run_refuses(&world, &["WRONGPASS"]);
}

#[test]
fn a_master_that_is_not_there() {
    let cluster = Cluster::start(3, 0);
    give_all(&cluster);
    let world = world(&cluster, "");
    cluster.server(1).kill9();
    let report = check(&world);
    report.is_not_ready();
    report.says("redis_reach", "not_ready", &[&address(&cluster, 1), "refused", "cluster-announce-ip"]);
    names_only(&report, "redis_reach", &cluster, 1);
    report.says("eviction", "ok", &["noeviction"]);
}

#[test]
fn replicas_for_the_durability_asked_for() {
    let cluster = Cluster::start(3, 0);
    give_all(&cluster);
    let world = world(&cluster, "durability: { wait: 1 }");
    let report = check(&world);
    report.is_ready();
    report.says(
        "persistence",
        "warning",
        &["all 3 masters", "durability.wait asks for 1 replica, and there are 0"],
    );
    for node in 0..3 {
        give(&cluster, node, &["-wait"]);
    }
    check(&world).says("redis_rights", "not_ready", &["all 3 masters", "+wait are missing"]);
    give_all(&cluster);
    configure(&world, &cluster, "durability: { waitaof: 0 }");
    cluster.ask::<String>(2, &["CONFIG", "SET", "appendonly", "yes"]);
    let report = check(&world);
    let two = [address(&cluster, 0), address(&cluster, 1)].join(", ");
    report.says("persistence", "warning", &[&two, "durability.waitaof asks for an append-only file"]);
}

/// An index over the rows of one master is none.
#[test]
fn search_indexes() {
    let Some(cluster) = Cluster::with_modules(3) else { return };
    give_all(&cluster);
    let world = world(&cluster, "");
    let index = |index: &str| {
        world.configure(&Config {
            target_url: Some(cluster.url()),
            tables: &format!("public.t: {{ type: json{index} }}"),
            ..Config::default()
        });
    };
    index("");
    check(&world).is_ready();
    index(", index: true");
    let words = ["RediSearch", "does not know of clusters"];
    // One that does is another Redis.
    if check(&world).code == 1 {
        check(&world).says("redis_modules", "not_ready", &words);
        run_refuses(&world, &words);
    }
}
