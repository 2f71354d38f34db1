//! A cluster that stays as it is.

use std::time::Duration;

use super::{Entries, settle, world};
use crate::faults::Workload;
use crate::harness::{Cluster, Config, World};

#[test]
fn snapshot_and_stream() {
    let cluster = Cluster::start(3, 0);
    let world = world(&cluster, false);
    let workload = Workload::start(&world);
    let entries = Entries::start(&world);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    workload.goes_on(&world, 500);
    settle(&world, &cluster, (workload, entries), &connector);
    // Every shard has its part.
    let sizes = cluster.sizes();
    assert!(sizes.iter().all(|size| *size > 200), "{sizes:?}");
    assert!(!connector.log_contains("WARN"), "{}", connector.story());
}

/// Rows move between hash slots, also with values that the UPDATE does not send.
#[test]
fn keys_move_across_slots() {
    let cluster = Cluster::start(3, 0);
    let world = World::new();
    world.sql(
        "CREATE TABLE doc (id int PRIMARY KEY, word text, body text);
         ALTER TABLE doc ALTER body SET STORAGE EXTERNAL;
         INSERT INTO doc SELECT g, 'w' || g % 7, repeat(md5(g::text), 100) FROM generate_series(1, 200) g",
    );
    world.configure(&Config {
        target_url: Some(cluster.url()),
        tables: "
            public.doc:
              - { type: hash }
              - { type: string, key: 'copy:{id}' }
              - { type: sorted_set, key: 'of:{id}', member: '{id}', score: '{id}' }",
        ..Config::default()
    });
    world.run_until_caught_up();
    world.sql("UPDATE doc SET id = id + 1000 WHERE id % 3 = 0");
    world.sql("UPDATE doc SET id = id + 1000, word = 'moved' WHERE id % 3 = 1 AND id < 1000; DELETE FROM doc WHERE id % 10 = 7");
    world.run_until_caught_up();
    verified(&world);
    assert_eq!(cluster.get::<usize>(&["HSTRLEN", "doc:1003", "body"]), 3200);
    world.sql("TRUNCATE doc");
    world.run_until_caught_up();
    let left: i64 = cluster.sizes().iter().sum();
    // The checkpoint, the epoch, a marker for each of three shards.
    assert_eq!(left, 5);
}

#[track_caller]
fn verified(world: &World) {
    let file = world.config_file();
    let (code, verify) = world.finish(&["verify", "-c", &file.to_string_lossy()]);
    assert_eq!(code, Some(0), "{}{}", verify.stdout(), verify.log());
}

#[test]
fn differences_are_found_and_mended() {
    let cluster = Cluster::start(3, 0);
    let world = world(&cluster, false);
    world.run_until_caught_up();
    for key in ["account:1", "account:2", "account:3", "account:4"] {
        cluster.get::<i64>(&["DEL", key]);
        cluster.get::<i64>(&["HSET", &format!("{key}000"), "id", "1"]);
    }
    cluster.get::<i64>(&["SADD", "ids", "999999"]);
    let file = world.config_file();
    let (code, verify) = world.finish(&["verify", "-c", &file.to_string_lossy()]);
    assert_eq!(code, Some(1), "{}{}", verify.stdout(), verify.log());
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    let (code, verify) = world.finish(&["verify", "--repair", "-c", &file.to_string_lossy()]);
    assert_eq!(code, Some(0), "{}{}", verify.stdout(), verify.log());
    verified(&world);
}

/// What can't be written becomes a letter, and is replayed.
#[test]
fn dead_letters() {
    let cluster = Cluster::start(3, 0);
    let world = world(&cluster, false);
    for key in ["tiny:1", "tiny:2", "tiny:3", "tiny:4", "tiny:5"] {
        cluster.get::<String>(&["SET", key, "in the way"]);
    }
    world.run_until_caught_up();
    let dlq = format!("redis-connect-postgres:{}:dlq", world.name);
    assert_eq!(cluster.get::<i64>(&["XLEN", &dlq]), 5);
    for key in ["tiny:1", "tiny:2", "tiny:3", "tiny:4"] {
        cluster.get::<i64>(&["DEL", key]);
    }
    let file = world.config_file();
    let (code, replay) = world.finish(&["dlq", "-c", &file.to_string_lossy(), "replay"]);
    assert_eq!(code, Some(1), "{}{}", replay.stdout(), replay.log());
    assert!(replay.stdout().contains("4 dead letters replayed, 1 remain"), "{}", replay.stdout());
    assert_eq!(cluster.get::<i64>(&["XLEN", &dlq]), 1);
    cluster.get::<i64>(&["DEL", "tiny:5"]);
    let (code, replay) = world.finish(&["dlq", "-c", &file.to_string_lossy(), "replay"]);
    assert_eq!(code, Some(0), "{}{}", replay.stdout(), replay.log());
    verified(&world);
}

#[test]
fn tables_are_read_again_and_forgotten() {
    let cluster = Cluster::start(3, 0);
    let world = world(&cluster, false);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    cluster.get::<i64>(&["DEL", "pair:1:x%3A1"]);
    let file = world.config_file();
    let (code, snapshot) = world.finish(&["snapshot", "-c", &file.to_string_lossy(), "pair"]);
    assert_eq!(code, Some(0), "{}{}", snapshot.stdout(), snapshot.log());
    verified(&world);
    crate::faults::stops_cleanly(&connector);
    let (code, reset) = world.finish(&["reset", "--yes", "-c", &file.to_string_lossy()]);
    assert_eq!(code, Some(0), "{}{}", reset.stdout(), reset.log());
    world.sql("DELETE FROM account WHERE id < 100");
    world.run_until_caught_up();
    verified(&world);
}

/// The wrong kind of URL is told, with the right one.
#[test]
fn urls_that_do_not_fit() {
    let cluster = Cluster::start(3, 0);
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    for (url, words) in [
        (format!("redis://127.0.0.1:{}", cluster.port(1)), "write redis-cluster:// instead of redis://"),
        (
            world.target_url().replace("redis://", "redis-cluster://"),
            "write redis:// instead of redis-cluster://",
        ),
    ] {
        world.configure(&Config {
            target_url: Some(url),
            tables: "public.*: { type: hash }",
            ..Config::default()
        });
        let connector = world.run_with(&["--once"]);
        let status = connector.wait(Duration::from_secs(30));
        assert_eq!(status.code(), Some(1));
        assert!(connector.log_contains(words), "{}", connector.story());
    }
}

/// Words of a page that begin with a plus sign, of the part between two others.
fn rights(page: &str, from: &str, to: &str) -> Vec<String> {
    let file: std::path::PathBuf = [env!("CARGO_MANIFEST_DIR"), "docs", page].iter().collect();
    let text = std::fs::read_to_string(file).unwrap();
    let (_, text) = text.split_once(from).unwrap();
    let (text, _) = text.split_once(to).unwrap();
    let words = text.split(|c: char| c.is_whitespace() || "`,;".contains(c));
    words.filter(|word| word.starts_with('+')).map(str::to_owned).collect()
}

/// The rights that the documentation names are enough, and each of those for clusters is needed.
#[test]
fn rights_of_the_documentation() {
    let mut cluster = Cluster::start(3, 0);
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 500) g");
    let needed = rights("cluster.md", "beside the [rights]", "## What is not promised");
    assert_eq!(needed.len(), 7);
    let beside = format!("~{{redis-connect-postgres:{}:checkpoint}}:*", world.name);
    let own = format!("~redis-connect-postgres:{}:*", world.name);
    let mut user = ["ACL", "SETUSER", "app", "reset", "on", ">secret", "~t:*", &own, &beside]
        .map(str::to_owned)
        .to_vec();
    user.extend(rights("redis.md", "ACL SETUSER", "```"));
    user.extend(rights("redis.md", "| [hash]", "|\n"));
    let give = |cluster: &Cluster, more: &[String]| {
        let user: Vec<&str> = user.iter().chain(more).map(String::as_str).collect();
        for node in 0..3 {
            cluster.ask::<String>(node, &user);
        }
    };
    give(&cluster, &needed);
    world.configure(&Config {
        target_url: Some(cluster.url().replace("://", "://app:secret@")),
        tables: "public.*: { type: hash }",
        ..Config::default()
    });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    world.sql("UPDATE t SET v = 'y'; UPDATE t SET id = id + 1000 WHERE id < 50; TRUNCATE t; INSERT INTO t VALUES (1, 'z')");
    world.eventually("it is in Redis", || {
        cluster.get::<Option<String>>(&["HGET", "t:1", "v"]).as_deref() == Some("z")
    });
    // Keys that move need ASKING.
    let new = cluster.add();
    cluster.ask::<String>(new, &user.iter().chain(&needed).map(String::as_str).collect::<Vec<_>>());
    for id in 1..=10 {
        let slot: u16 = cluster.ask(0, &["CLUSTER", "KEYSLOT", &format!("t:{id}")]);
        world.sql(&format!("INSERT INTO t VALUES ({id}, 'a') ON CONFLICT (id) DO UPDATE SET v = 'b'"));
        cluster.move_slot(slot, new);
    }
    world.eventually("all of it", || (1..=10).all(|id| cluster.get(&["EXISTS", &format!("t:{id}")])));
    crate::faults::stops_cleanly(&connector);
    assert!(!connector.log_contains("NOPERM"), "{}", connector.story());
    for missing in needed.iter().filter(|right| *right != "+asking") {
        let fewer: Vec<String> = needed.iter().filter(|right| *right != missing).cloned().collect();
        give(&cluster, &fewer);
        // Somebody else writes under this name, whose connection is to be closed.
        let mut other = redis::Client::open(format!("redis://127.0.0.1:{}", cluster.port(0)))
            .unwrap()
            .get_connection()
            .unwrap();
        redis::cmd("CLIENT")
            .arg(&["SETNAME", &format!("redis-connect-postgres:{}", world.name)])
            .exec(&mut other)
            .unwrap();
        let run = world.run_with(&["--until-caught-up"]);
        if missing == "+cluster|nodes" {
            run.end();
            continue;
        }
        let status = run.wait(Duration::from_secs(20));
        assert_eq!(status.code(), Some(1), "{missing}: {}", run.story());
        assert!(run.log_contains("NOPERM"), "{missing}: {}", run.story());
    }
}
