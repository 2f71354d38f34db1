//! Redis answers, but takes nothing: full, read-only, unable to save. All of it passes.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use super::{Journal, Order, Workload, settle};
use crate::harness::World;

/// Provokes a condition for a while; nothing is lost, and it is said once.
fn refused(word: &str, provoke: impl Fn(&World), relieve: impl Fn(&World)) {
    let world = World::own();
    Workload::prepare(&world, 1_000);
    let journal = Journal::begin(&world, Order::Strict);
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    let workload = Workload::start(&world);
    journal.goes_on(&world, 10);
    provoke(&world);
    world.eventually("it is said", || connector.log_contains(word));
    let written = journal.batches();
    std::thread::sleep(Duration::from_secs(3));
    assert!(journal.batches() <= written + 1, "batches are written in spite of {word}");
    assert!(connector.is_running(), "{}", connector.story());
    relieve(&world);
    world.within(Duration::from_secs(5), "it goes on", || journal.batches() > written + 5);
    settle(&world, workload, &connector);
    journal.check(&world);
    let log = connector.log();
    let said = log.lines().filter(|line| line.contains(word)).count();
    assert_eq!(said, 1, "said {said} times: {word}\n{}", connector.story());
    let over = log.lines().filter(|line| line.contains("works again")).count();
    assert_eq!(over, 1, "said {over} times that it is over\n{}", connector.story());
}

#[test]
fn redis_is_full() {
    let limit =
        |bytes: &'static str| move |world: &World| world.redis::<()>(&["CONFIG", "SET", "maxmemory", bytes]);
    refused("OOM command not allowed", limit("1"), limit("0"));
}

#[test]
fn redis_is_a_replica_for_a_while() {
    // Nobody listens on port 1, so its data stay.
    refused(
        "READONLY",
        |world| world.redis::<()>(&["REPLICAOF", "127.0.0.1", "1"]),
        |world| world.redis::<()>(&["REPLICAOF", "NO", "ONE"]),
    );
}

/// Somebody takes a right away that every batch needs, and gives it back.
#[test]
fn a_right_is_taken_away_for_a_while() {
    refused(
        "'hset' command",
        |world| world.redis::<()>(&["ACL", "SETUSER", "default", "-hset"]),
        |world| world.redis::<()>(&["ACL", "SETUSER", "default", "+hset"]),
    );
}

#[test]
fn redis_cannot_save() {
    let saved = |world: &World, expected: &str| {
        world.eventually("it tries to save", || {
            // Refused while one is still at it.
            let _ = world.with_redis(|c| redis::cmd("BGSAVE").exec(c));
            world
                .redis::<String>(&["INFO", "persistence"])
                .contains(&format!("rdb_last_bgsave_status:{expected}"))
        });
    };
    let obstacle = |world: &World| world.redis_server().directory().join("dump.rdb");
    refused(
        "MISCONF",
        |world| {
            // A file can't take a directory's place.
            fs::create_dir_all(obstacle(world).join("full")).unwrap();
            world.redis::<()>(&["CONFIG", "SET", "save", "3600 1"]);
            saved(world, "err");
        },
        |world| {
            fs::remove_dir_all(obstacle(world)).unwrap();
            saved(world, "ok");
        },
    );
}

/// Somebody's script does not come to an end: Redis answers BUSY until it is killed.
#[test]
fn a_script_keeps_redis_busy() {
    let say = |world: &World, words: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", world.redis_port())).unwrap();
        stream.write_all(words.as_bytes()).unwrap();
        stream
    };
    refused(
        "BUSY",
        |world| {
            world.redis::<()>(&["CONFIG", "SET", "lua-time-limit", "100"]);
            // It goes on although nobody waits for its reply.
            say(world, "EVAL \"while true do end\" 0\r\n");
        },
        |world| drop(say(world, "SCRIPT KILL\r\n")),
    );
}
