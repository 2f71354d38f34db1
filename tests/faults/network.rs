//! The network on either side: cut, refusing, slow, late, silent.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::{Journal, Order, TABLES, Workload, settle, stops_cleanly};
use crate::harness::{Config, Connector, Proxy, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Postgres,
    Redis,
}

/// A world whose program has a proxy on one side.
struct Scene {
    proxy: Proxy,
    journal: Journal,
    connector: Connector,
    workload: Workload,
    world: World,
}

impl Scene {
    fn new(side: Side) -> Self {
        let world = World::own();
        Workload::prepare(&world, 1_000);
        let (proxy, config) = match side {
            Side::Postgres => {
                let proxy = Proxy::to(world.postgres_port());
                let source_url = Some(world.source_url_at(proxy.port()));
                (proxy, Config { source_url, ..Config::default() })
            }
            Side::Redis => {
                let proxy = Proxy::to(world.redis_port());
                let target_url = Some(world.target_url_at(proxy.port()));
                (proxy, Config { target_url, ..Config::default() })
            }
        };
        world.configure(&Config { target: "batch: { rows: 1000 }", ..config });
        let journal = Journal::begin(&world, Order::Strict);
        let connector = streaming(&world);
        let workload = Workload::start(&world);
        Self { proxy, journal, connector, workload, world }
    }

    #[track_caller]
    fn works(&self) {
        self.journal.goes_on(&self.world, 10);
    }

    #[track_caller]
    fn end(self) {
        settle(&self.world, self.workload, &self.connector);
        self.journal.check(&self.world);
    }
}

#[track_caller]
fn streaming(world: &World) -> Connector {
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming"));
    connector
}

fn cut_and_refuse(side: Side) {
    let mut scene = Scene::new(side);
    let mut random = scene.workload.random();
    for _ in 0..8 {
        random.pause(20, 400);
        scene.proxy.cut();
    }
    scene.works();
    scene.proxy.refuse(true);
    scene.proxy.cut();
    thread::sleep(Duration::from_secs(3));
    scene.proxy.refuse(false);
    scene.works();
    scene.end();
}

#[test]
fn postgres_is_cut_off_and_refuses() {
    cut_and_refuse(Side::Postgres);
}

#[test]
fn redis_is_cut_off_and_refuses() {
    cut_and_refuse(Side::Redis);
}

fn slow_and_late(side: Side) {
    let scene = Scene::new(side);
    scene.proxy.delay(30);
    scene.workload.goes_on(&scene.world, 300);
    scene.works();
    scene.proxy.delay(0);
    scene.proxy.throttle(300_000);
    scene.workload.goes_on(&scene.world, 600);
    scene.works();
    scene.proxy.cut();
    scene.works();
    scene.proxy.throttle(0);
    scene.works();
    assert!(!scene.connector.log_contains("taken for dead"), "{}", scene.connector.story());
    scene.end();
}

#[test]
fn postgres_is_slow_and_late() {
    slow_and_late(Side::Postgres);
}

#[test]
fn redis_is_slow_and_late() {
    slow_and_late(Side::Redis);
}

/// A batch of the default size takes longer than any reply may: slow is not dead.
#[test]
fn a_batch_that_takes_long_over_a_slow_network_arrives() {
    let world = World::own();
    world.sql("CREATE TABLE wide (id int PRIMARY KEY, v text)");
    let proxy = Proxy::to(world.redis_port());
    world.configure(&Config {
        target_url: Some(world.target_url_at(proxy.port())),
        target: "batch: { rows: 10000, bytes: 8MiB }",
        ..Config::default()
    });
    let connector = streaming(&world);
    proxy.throttle(400_000);
    world.sql("INSERT INTO wide SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 6000) g");
    world.eventually("the batch is on its way", || proxy.bytes_to_upstream() > 1_000_000);
    world.within(Duration::from_secs(25), "the transaction is in Redis", || {
        !world.keys("wide:6000").is_empty()
    });
    proxy.throttle(0);
    world.eventually_equal(&["wide"]);
    assert!(!connector.log_contains("taken for dead"), "{}", connector.story());
    stops_cleanly(&connector);
}

fn half_open(side: Side) {
    let scene = Scene::new(side);
    scene.works();
    scene.proxy.stall(true);
    // Longer than both sides wait for a sign of life.
    thread::sleep(Duration::from_secs(13));
    scene.world.eventually("it is noticed", || scene.connector.log_contains("taken for dead"));
    scene.proxy.stall(false);
    let began = Instant::now();
    scene.works();
    println!("{side:?} works again after {:?}", began.elapsed());
    scene.end();
}

#[test]
fn postgres_is_half_open() {
    half_open(Side::Postgres);
}

#[test]
fn redis_is_half_open() {
    half_open(Side::Redis);
}

/// The first host's machine vanishes without a word; the second leads to the same server.
fn two_hosts(world: &World) -> (Proxy, Config<'static>) {
    let first = Proxy::to(world.postgres_port());
    let url = format!(
        "postgresql://postgres@127.0.0.1:{},127.0.0.1:{}/{}?connect_timeout=2",
        first.port(),
        world.postgres_port(),
        world.name
    );
    (first, Config { source_url: Some(url), ..Config::default() })
}

#[test]
fn the_way_to_postgres_vanishes_during_the_stream() {
    let world = World::own();
    Workload::prepare(&world, 1_000);
    let (first, config) = two_hosts(&world);
    world.configure(&config);
    let journal = Journal::begin(&world, Order::Strict);
    let connector = streaming(&world);
    let workload = Workload::start(&world);
    journal.goes_on(&world, 10);
    first.stall(true);
    let began = Instant::now();
    world.eventually("it is noticed", || connector.log_contains("taken for dead"));
    journal.goes_on(&world, 5);
    println!("another way to PostgreSQL after {:?}", began.elapsed());
    settle(&world, workload, &connector);
    journal.check(&world);
}

#[test]
fn the_way_to_postgres_vanishes_during_the_snapshot() {
    let world = World::own();
    Workload::prepare(&world, 40_000);
    let (first, config) = two_hosts(&world);
    first.throttle(300_000);
    world.configure(&Config { top: "snapshot: { workers: 3, range_rows: 2000 }", ..config });
    let connector = world.run();
    world.eventually("some ranges are read", || {
        world.checkpoint().get("table:public.bulk").is_some_and(|state| state.contains("\"done\":["))
    });
    first.stall(true);
    let began = Instant::now();
    // 10 s of silence, then each new connection tries the dead host for 2 s first; the rest is for a busy
    // machine.
    world.within(Duration::from_secs(90), "the snapshot goes on by another way", || {
        world.checkpoint()["snapshot"] == "done"
    });
    println!("snapshot done after {:?}", began.elapsed());
    world.eventually_equal(&TABLES);
    stops_cleanly(&connector);
}

/// A program that streams, with a proxy before PostgreSQL.
fn behind_a_proxy() -> (World, Proxy, Connector) {
    let world = World::own();
    Workload::prepare(&world, 100);
    let proxy = Proxy::to(world.postgres_port());
    world.configure(&Config { source_url: Some(world.source_url_at(proxy.port())), ..Config::default() });
    let connector = streaming(&world);
    (world, proxy, connector)
}

/// While PostgreSQL answers nothing, at whatever step of a new beginning, SIGTERM is heard.
#[test]
fn a_signal_is_heard_while_postgres_is_silent() {
    let (world, proxy, connector) = behind_a_proxy();
    proxy.cut();
    proxy.stall(true);
    world.sql("UPDATE counter SET n = n + 1");
    let before = proxy.connections();
    world.eventually("it connects again", || proxy.connections() > before);
    stops_cleanly(&connector);
    drop(proxy);
    world.config("");
    world.run_until_caught_up();
    world.assert_equal(&TABLES);
}

/// A proxy in between that has lost PostgreSQL may answer itself. Who has spoken with PostgreSQL before waits for it.
#[test]
fn somebody_else_answers_for_a_while() {
    let (world, proxy, connector) = behind_a_proxy();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    proxy.lead_to(listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.write_all(b"HTTP/1.0 503 Service Unavailable\r\n\r\n");
            // Until it goes: what it has sent must not be answered by a reset.
            let _ = client.read_to_end(&mut Vec::new());
        }
    });
    proxy.cut();
    world.eventually("it is noticed", || connector.log_contains("it begins with \"H\""));
    proxy.lead_to(world.postgres_port());
    world.sql("UPDATE counter SET n = n + 1");
    world.eventually_equal(&TABLES);
    stops_cleanly(&connector);
}

/// A batch that a network held back arrives when the program has long sent it again on another
/// connection and gone on: it must not be carried out a second time.
#[test]
fn a_batch_that_arrives_late_is_not_carried_out_twice() {
    let world = World::own();
    Workload::prepare(&world, 1_000);
    let network = Network::to(world.redis_port());
    world.configure(&Config { target_url: Some(world.target_url_at(network.port)), ..Config::default() });
    let journal = Journal::begin(&world, Order::Strict);
    let connector = streaming(&world);
    let workload = Workload::start(&world);
    journal.goes_on(&world, 10);
    workload.stop();
    world.eventually_equal(&TABLES);
    network.hold.store(true, Relaxed);
    let before = network.connections.load(Relaxed);
    world.sql("UPDATE counter SET n = n + 1; UPDATE account SET word = 'held' WHERE id < 50");
    world.eventually("another connection", || network.connections.load(Relaxed) > before);
    world.sql("UPDATE counter SET n = n + 1; UPDATE account SET word = 'later' WHERE id < 50");
    world.eventually_equal(&TABLES);
    network.hold.store(false, Relaxed);
    world.eventually("what was held arrives", || network.released.load(Relaxed) > 0);
    world.sql("UPDATE counter SET n = n + 1");
    world.eventually("the next change", || {
        world.hash("counter:1")["n"] == world.value::<String>("SELECT n FROM counter WHERE id = 1")
    });
    journal.check(&world);
    stops_cleanly(&connector);
    world.assert_equal(&TABLES);
}

/// Leads to a port. While `hold` is set, what the connections of before send is kept; those that
/// are made meanwhile are not held up.
struct Network {
    port: u16,
    hold: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    /// Bytes that were held and have been delivered.
    released: Arc<AtomicUsize>,
}

impl Network {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let network = Self {
            port: listener.local_addr().unwrap().port(),
            hold: Arc::default(),
            connections: Arc::default(),
            released: Arc::default(),
        };
        let (hold, connections) = (Arc::clone(&network.hold), Arc::clone(&network.connections));
        let released = Arc::clone(&network.released);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                connections.fetch_add(1, Relaxed);
                let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || forward(from, to, &AtomicBool::new(false), &AtomicUsize::new(0)));
                let affected = !hold.load(Relaxed);
                let hold = if affected { Arc::clone(&hold) } else { Arc::default() };
                let released = Arc::clone(&released);
                thread::spawn(move || forward(client, server, &hold, &released));
            }
        });
        network
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, hold: &AtomicBool, released: &AtomicUsize) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let held = hold.load(Relaxed);
        while hold.load(Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        if held {
            released.fetch_add(count, Relaxed);
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
