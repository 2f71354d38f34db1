//! `dlq.max`: the connector stops before there are more letters.

use std::time::Duration;

use super::{dlq, expect_letters, letters};
use crate::harness::{Config, World};
use crate::hashes::Live;

#[test]
fn it_stops_and_goes_on() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let config = Config { top: "dlq: { max: 3 }", ..Config::default() };
    let mut live = Live::with(&world, &config);
    for id in 1..=5 {
        world.redis::<()>(&["SET", &format!("t:{id}"), "x"]);
    }
    live.sql("INSERT INTO t VALUES (1, 'v'); INSERT INTO t VALUES (2, 'v'); INSERT INTO t VALUES (3, 'v')");
    expect_letters(&live, 3);
    assert!(live.connector.is_running());
    world.sql("INSERT INTO t VALUES (4, 'v'); INSERT INTO t VALUES (5, 'v'), (6, 'v')");
    for _ in 0..2 {
        let status = live.connector.wait(Duration::from_secs(30));
        assert_eq!(status.code(), Some(1), "{}", live.connector.story());
        let log = live.connector.log();
        let last = log.lines().last().unwrap();
        for words in
            ["3 dead letters are in", "dlq.max (3)", "WRONGTYPE", "dlq -c", "list", "replay", "purge"]
        {
            assert!(last.contains(words), "no `{words}` in {last}");
        }
        assert_eq!(letters(&world).len(), 3);
        // Nothing has changed, so it stops again.
        live.start_again();
    }
    live.connector.wait(Duration::from_secs(30));
    world.redis::<()>(&["DEL", "t:1", "t:2", "t:3"]);
    let (code, told) = dlq(&world, &["replay"]);
    assert_eq!((code, told.contains("3 dead letters replayed, 0 remain")), (0, true), "{told}");
    assert_eq!(world.hash("t:3")["v"], "v");
    live.start_again();
    // Nothing was skipped meanwhile.
    let found = expect_letters(&live, 2);
    assert_eq!((&*found[0]["key"], &*found[1]["key"]), ("4", "5"));
    assert_eq!(world.hash("t:6")["v"], "v");
}

/// Whoever removes letters makes room without a restart.
#[test]
fn room_that_was_made() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let live = Live::with(&world, &Config { top: "dlq: { max: 1 }", ..Config::default() });
    for id in 1..=3 {
        world.redis::<()>(&["SET", &format!("t:{id}"), "x"]);
        live.sql(&format!("INSERT INTO t VALUES ({id})"));
        expect_letters(&live, 1);
        assert_eq!(dlq(&world, &["purge", "--yes"]), (0, "1 dead letter removed\n".to_owned()));
    }
    assert!(live.connector.is_running());
}

#[test]
fn a_stream_that_is_none() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    world.redis::<()>(&["SET", &format!("redis-connect-postgres:{}:dlq", world.name), "x"]);
    world.config("");
    let connector = world.run();
    assert_eq!(connector.wait(Duration::from_secs(30)).code(), Some(1));
    assert!(connector.log_contains("is no stream"), "{}", connector.story());
}
