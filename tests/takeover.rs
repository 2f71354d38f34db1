//! Two instances on one configuration: one works, the other waits, and never do both write.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use redis_connect_postgres::throwaway::Shutdown as PostgresShutdown;

use crate::faults::{Journal, Order, TABLES, Workload, settle, stops_cleanly};
use crate::harness::{Config, Connector, Proxy, World};

const WAITING: &str = "waiting to take over";

/// Waits until another writer than that of this epoch has written; says when that was.
#[track_caller]
fn taken_over(world: &World, journal: &Journal, epoch: u64) -> Instant {
    let began = Instant::now();
    while journal.epoch() <= epoch {
        assert!(began.elapsed() < Duration::from_secs(30), "nobody takes over\n{}", world.story());
        thread::sleep(Duration::from_millis(1));
    }
    Instant::now()
}

#[track_caller]
fn standby(world: &World) -> Connector {
    let second = world.run();
    world.eventually("the second one waits", || second.log_contains(WAITING));
    second
}

#[test]
fn the_second_takes_over_when_the_first_is_killed() {
    let world = World::own();
    Workload::prepare(&world, 1_000);
    let journal = Journal::begin(&world, Order::Strict);
    let mut first = world.run();
    world.eventually("it streams", || first.log_contains("streaming"));
    let workload = Workload::start(&world);
    let mut random = workload.random();
    for _ in 0..5 {
        let second = standby(&world);
        journal.goes_on(&world, 5);
        random.pause(0, 300);
        assert!(!second.log_contains("streaming"), "both work\n{}", world.story());
        let epoch = journal.epoch();
        let killed = Instant::now();
        first.kill9();
        let took = taken_over(&world, &journal, epoch) - killed;
        println!("taken over {took:?} after kill -9");
        assert!(took < Duration::from_secs(5), "{took:?}\n{}", world.story());
        first = second;
    }
    settle(&world, workload, &first);
    journal.check(&world);
}

#[test]
fn the_second_takes_over_during_the_snapshot() {
    let world = World::own();
    Workload::prepare(&world, 20_000);
    let proxy = Proxy::to(world.redis_port());
    proxy.throttle(1_000_000);
    world.configure(&Config {
        target_url: Some(world.target_url_at(proxy.port())),
        target: "batch: { rows: 200 }",
        top: "snapshot: { workers: 3, range_rows: 1000 }",
        ..Config::default()
    });
    let journal = Journal::begin(&world, Order::Converging);
    let workload = Workload::with_pause(&world, Duration::from_millis(10));
    let mut first = world.run();
    for _ in 0..3 {
        world.eventually("the first one reads tables", || first.log_contains("snapshot "));
        let second = standby(&world);
        journal.goes_on(&world, 2);
        assert_eq!(world.checkpoint()["snapshot"], "running");
        let epoch = journal.epoch();
        let killed = Instant::now();
        first.kill9();
        let took = taken_over(&world, &journal, epoch) - killed;
        println!("taken over {took:?} after kill -9 in the snapshot");
        assert!(took < Duration::from_secs(5), "{took:?}\n{}", world.story());
        first = second;
    }
    proxy.throttle(0);
    world.eventually("the snapshot is done", || world.checkpoint()["snapshot"] == "done");
    settle(&world, workload, &first);
    journal.check(&world);
}

#[test]
fn two_that_start_at_the_same_moment_share_nothing() {
    for _ in 0..5 {
        let world = World::new();
        Workload::prepare(&world, 3_000);
        world.configure(&Config { top: "snapshot: { workers: 2, range_rows: 1000 }", ..Config::default() });
        let journal = Journal::begin(&world, Order::Strict);
        let both = [world.run(), world.run()];
        world.eventually("one works and one waits", || {
            let [first, second] = &both;
            (first.log_contains("streaming") && second.log_contains(WAITING))
                || (second.log_contains("streaming") && first.log_contains(WAITING))
        });
        let workload = Workload::start(&world);
        journal.goes_on(&world, 20);
        workload.stop();
        world.eventually_equal(&TABLES);
        let streaming = both.iter().filter(|one| one.log_contains("streaming")).count();
        assert_eq!(streaming, 1, "{}", world.story());
        // The one that waits goes first, so that the other keeps its work.
        let (at_work, waiting): (Vec<_>, Vec<_>) = both.iter().partition(|c| c.log_contains("streaming"));
        stops_cleanly(waiting[0]);
        stops_cleanly(at_work[0]);
        journal.check(&world);
        world.assert_equal(&TABLES);
    }
}

/// Fails unless it says that it was replaced, and ends with code 1.
#[track_caller]
fn gives_up(connector: &Connector) {
    let status = connector.wait(Duration::from_secs(30));
    assert_eq!(status.code(), Some(1), "{}", connector.story());
    assert!(connector.log_contains("another instance has taken over"), "{}", connector.story());
}

#[test]
fn one_that_was_asleep_writes_nothing_more() {
    let world = World::own();
    Workload::prepare(&world, 1_000);
    // A round trip of some length, so that a batch is in flight most of the time.
    let proxy = Proxy::to(world.redis_port());
    proxy.delay(5);
    world.configure(&Config {
        target_url: Some(world.target_url_at(proxy.port())),
        target: "batch: { rows: 300 }",
        ..Config::default()
    });
    let journal = Journal::begin(&world, Order::Strict);
    let mut first = world.run();
    world.eventually("it streams", || first.log_contains("streaming"));
    let workload = Workload::with_pause(&world, Duration::from_millis(10));
    let mut random = workload.random();
    for _ in 0..4 {
        let second = standby(&world);
        journal.goes_on(&world, 10);
        random.pause(0, 100);
        let epoch = journal.epoch();
        let stopped = Instant::now();
        first.stop();
        let took = taken_over(&world, &journal, epoch) - stopped;
        println!("taken over {took:?} after SIGSTOP");
        assert!(took < Duration::from_secs(8), "{took:?}\n{}", world.story());
        random.pause(0, 300);
        first.cont();
        gives_up(&first);
        journal.check(&world);
        first = second;
    }
    proxy.delay(0);
    settle(&world, workload, &first);
    journal.check(&world);
}

#[test]
fn one_that_comes_back_by_a_new_connection_writes_nothing_more() {
    let world = World::own();
    Workload::prepare(&world, 1_000);
    // The first one has a way to Redis of its own.
    let proxy = Proxy::to(world.redis_port());
    let target_url = Some(world.target_url_at(proxy.port()));
    let own = world.directory().join("own.yaml");
    fs::rename(world.configure(&Config { target_url, ..Config::default() }), &own).unwrap();
    world.config("");
    let journal = Journal::begin(&world, Order::Strict);
    let first = world.start(&["run", "-c", &own.to_string_lossy()]);
    world.eventually("it streams", || first.log_contains("streaming"));
    let workload = Workload::start(&world);
    let second = standby(&world);
    journal.goes_on(&world, 10);
    let epoch = journal.epoch();
    first.stop();
    taken_over(&world, &journal, epoch);
    proxy.cut();
    first.cont();
    gives_up(&first);
    settle(&world, workload, &second);
    journal.check(&world);
}

#[test]
fn a_clean_stop_hands_over_within_a_second() {
    let world = World::own();
    Workload::prepare(&world, 1_000);
    let journal = Journal::begin(&world, Order::Strict);
    let mut first = world.run();
    world.eventually("it streams", || first.log_contains("streaming"));
    let workload = Workload::start(&world);
    for _ in 0..3 {
        let second = standby(&world);
        journal.goes_on(&world, 5);
        let epoch = journal.epoch();
        let asked = Instant::now();
        stops_cleanly(&first);
        let ended = asked.elapsed();
        let took = taken_over(&world, &journal, epoch) - asked;
        println!("ended {ended:?} and taken over {took:?} after SIGTERM");
        assert!(took.saturating_sub(ended) < Duration::from_secs(1), "{took:?}\n{}", world.story());
        assert!(took < Duration::from_secs(2), "{took:?}\n{}", world.story());
        first = second;
    }
    settle(&world, workload, &first);
    journal.check(&world);
}

/// The reply to the command that raises the epoch is lost, more than once. Redis then has a number that this
/// instance has never been told of, and nobody else has taken over.
#[test]
fn the_reply_to_its_own_taking_over_is_lost() {
    let world = World::own();
    Workload::prepare(&world, 100);
    let lost = Arc::new(AtomicUsize::new(0));
    let port = losing_replies(world.redis_port(), b"INCR", &lost);
    world.configure(&Config { target_url: Some(world.target_url_at(port)), ..Config::default() });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    lost.store(3, SeqCst);
    // Another session begins.
    world.postgres().restart(PostgresShutdown::Fast).unwrap();
    world.sql("UPDATE counter SET n = n + 1");
    world.eventually_equal(&TABLES);
    assert_eq!(lost.load(SeqCst), 0, "{}", connector.story());
    stops_cleanly(&connector);
}

/// Leads to this port. As often as `lose` says, a connection is closed when the server has answered this command
/// and before the answer is passed on.
fn losing_replies(port: u16, command: &'static [u8], lose: &Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let own = listener.local_addr().unwrap().port();
    let lose = Arc::clone(lose);
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
            let lose = Arc::clone(&lose);
            thread::spawn(move || {
                let (mut replies, mut out) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let losing = Arc::new(AtomicUsize::new(0));
                let lost = Arc::clone(&losing);
                thread::spawn(move || {
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(count @ 1..) = replies.read(&mut buffer) {
                        if lost.load(SeqCst) > 0 || out.write_all(&buffer[..count]).is_err() {
                            break;
                        }
                    }
                    let _ = out.shutdown(Shutdown::Both);
                });
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = client.read(&mut buffer) {
                    let is_it = buffer[..count].windows(command.len()).any(|part| part == command);
                    if is_it && lose.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
                        losing.store(1, SeqCst);
                    }
                    if server.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    own
}
