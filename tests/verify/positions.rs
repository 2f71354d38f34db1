//! What it says about the stream, and what it leaves alone.

use super::{finds, is_equal, report, verify};
use crate::harness::World;
use crate::hashes::Live;

/// Nobody brings the change that is missing: it is a difference, and the reason is told.
#[test]
fn without_a_connector_it_says_so() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')");
    world.config("public.t: { type: hash }");
    world.once();
    world.sql("UPDATE t SET v = 'b'");
    let (code, output) = verify(&world, &[]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("t:1: v is `a`, the row has `b`"), "{output}");
    let words = format!("note: no connector reads the slot {}: Redis is at ", world.slot());
    assert!(output.contains(&words), "{output}");
}

#[test]
fn before_the_first_run_it_says_so() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    world.config("public.t: { type: hash }");
    let (code, output) = verify(&world, &[]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("note: there is no checkpoint redis-connect-postgres:"), "{output}");
}

/// A change that is on its way is waited for.
#[test]
fn a_connector_that_is_behind_is_waited_for() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'a' FROM generate_series(1, 100) g");
    let live = Live::tables(&world, "public.t: { type: hash }");
    live.connector.stop();
    world.sql("UPDATE t SET v = 'b'; DELETE FROM t WHERE id > 90; INSERT INTO t VALUES (1000, 'c')");
    let file = world.config_file();
    let looking = world.start(&["verify", "-c", &file.to_string_lossy(), "--log-level", "debug"]);
    // It has seen the difference when it asks for the checkpoint again and again.
    world.eventually("it waits for the stream", || {
        let stats: String = world.redis(&["INFO", "commandstats"]);
        let hget = stats.lines().find(|line| line.starts_with("cmdstat_hget:")).unwrap_or_default();
        hget.split(['=', ',']).nth(1).and_then(|calls| calls.parse::<u64>().ok()).unwrap_or(0) > 5
    });
    live.connector.cont();
    let status = looking.wait(std::time::Duration::from_secs(60));
    assert_eq!(status.code(), Some(0), "{}{}", looking.stdout(), looking.story());
    let output = looking.stdout();
    assert!(output.ends_with("compared: equal\n"), "{output}");
}

/// A text in a key can look like the key of another output, which is not a key too many.
#[test]
fn keys_of_other_outputs_are_left_alone() {
    let world = World::new();
    world.sql("CREATE TABLE u (name text PRIMARY KEY); INSERT INTO u VALUES ('a'), ('b')");
    world.config(
        r#"
        public.u:
          - { type: hash, key: "user:{name}" }
          - { type: stream, key: "user:events" }
          - { type: set, key: "user:all" }
          - { type: string, key: "{name}" }
        "#,
    );
    world.once();
    is_equal(&world);
    let entries: i64 = world.redis(&["XLEN", "user:events"]);
    assert_eq!(entries, 2);
    // `{name}` makes every key there is, also what the connector keeps for itself.
    world.redis::<()>(&["SET", "nobody", "1"]);
    finds(&world, &["nobody: a key of public.u that no row has"]);
    let (code, output) = verify(&world, &["--repair"]);
    assert_eq!(code, 0, "{output}");
    assert_eq!(world.redis::<i64>(&["XLEN", "user:events"]), 2);
    assert!(!world.checkpoint().is_empty());
    is_equal(&world);
}

/// Streams tell what happened; a table that has nothing else is not compared.
#[test]
fn streams_are_not_compared() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    world.config("public.t: { type: stream }");
    world.once();
    world.redis::<i64>(&["DEL", "t:events"]);
    let (code, found) = report(&world, &[]);
    assert_eq!((code, &found["equal"], &found["rows"]), (0, &true.into(), &0.into()), "{found:#}");
}
