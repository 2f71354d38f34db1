//! What systemd is told: a socket takes its place.

use std::fs;
use std::io::Write as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use redis_connect_postgres::throwaway::{postgres as pg, redis as rd};

use crate::harness::{Config, Connector, Settings, World};

struct Manager {
    socket: UnixDatagram,
    name: String,
    heard: Vec<String>,
}

impl Manager {
    fn of(socket: UnixDatagram, name: String) -> Manager {
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Manager { socket, name, heard: Vec::new() }
    }

    fn at_path(world: &World) -> Manager {
        let path = world.directory().join("notify");
        Manager::of(UnixDatagram::bind(&path).unwrap(), path.to_string_lossy().into_owned())
    }

    fn abstract_one(world: &World) -> Manager {
        let address = SocketAddr::from_abstract_name(&world.name).unwrap();
        Manager::of(UnixDatagram::bind_addr(&address).unwrap(), format!("@{}", world.name))
    }

    /// Takes in everything that was said up to now.
    fn listen(&mut self) {
        let mut datagram = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            let text = std::str::from_utf8(&datagram[..length]).unwrap();
            self.heard.extend(text.lines().map(str::to_owned));
        }
    }

    fn count(&mut self, line: &str) -> usize {
        self.listen();
        self.heard.iter().filter(|heard| heard.starts_with(line)).count()
    }

    #[track_caller]
    fn hears(&mut self, world: &World, line: &str) {
        world.eventually(line, || self.count(line) > 0);
    }

    fn run(&self, world: &World, more: &[(&str, &str)]) -> Connector {
        if !world.config_file().exists() {
            world.config("");
        }
        let mut command = Connector::command();
        command
            .args(["run", "-c", "config.yaml"])
            .env("NOTIFY_SOCKET", &self.name)
            .envs(more.iter().copied());
        world.spawn(command)
    }
}

fn stops(connector: &Connector) {
    connector.term();
    assert!(connector.wait(Duration::from_secs(10)).success(), "{}", connector.story());
}

fn world() -> World {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    world
}

/// PostgreSQL makes the slot when the open transaction is over.
#[test]
fn it_is_ready_when_the_stream_is_followed_and_not_before() {
    let world =
        World::with(Settings { postgres: Some(pg::Settings::default()), redis: rd::Settings::default() });
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let mut open = world.client();
    open.batch_execute("BEGIN; INSERT INTO t VALUES (2)").unwrap();
    let mut manager = Manager::at_path(&world);
    let connector = manager.run(&world, &[]);
    // Twice: so it goes on for as long as it takes.
    world.eventually("it asks for more time", || manager.count("EXTEND_TIMEOUT_USEC=30000000") >= 2);
    assert_eq!(manager.count("READY=1"), 0, "{:?}", manager.heard);
    assert_eq!(manager.count("STATUS=starting"), 1, "{:?}", manager.heard);
    open.batch_execute("COMMIT").unwrap();
    manager.hears(&world, "READY=1");
    manager.hears(&world, "STATUS=streaming: 2 rows written; behind by ");
    stops(&connector);
    manager.hears(&world, "STOPPING=1");
    let asked = manager.count("EXTEND_TIMEOUT_USEC");
    assert_eq!(manager.count("READY=1"), 1, "{:?}", manager.heard);
    let ready = manager.heard.iter().position(|line| line == "READY=1").unwrap();
    let late = manager.heard[ready..].iter().filter(|line| line.starts_with("EXTEND")).count();
    assert_eq!((asked >= 2, late), (true, 0), "{:?}", manager.heard);
    // Nobody waits for a sign of life.
    assert_eq!(manager.count("WATCHDOG=1"), 0);
}

#[test]
fn an_instance_that_waits_is_ready_too() {
    let world = world();
    let first = world.run();
    world.eventually("it streams", || first.log_contains("streaming"));
    let mut manager = Manager::abstract_one(&world);
    let second = manager.run(&world, &[]);
    manager.hears(&world, "READY=1");
    manager.hears(&world, "STATUS=waiting for another instance");
    stops(&first);
    manager.hears(&world, "STATUS=streaming");
    assert_eq!(manager.count("READY=1"), 1, "{:?}", manager.heard);
    stops(&second);
    manager.hears(&world, "STOPPING=1");
}

/// A password file that blocks takes the loop's thread away, while the others go on.
#[test]
fn the_watchdog_hears_nothing_of_a_loop_that_hangs() {
    let world = world();
    let at = |name: &str| world.directory().join(name);
    let points_to = |file: &str| {
        std::os::unix::fs::symlink(at(file), at("next")).unwrap();
        fs::rename(at("next"), at("password")).unwrap();
    };
    fs::write(at("plain"), "secret").unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
    points_to("plain");
    world.configure(&Config { source: "password_file: password", ..Config::default() });
    let mut manager = Manager::at_path(&world);
    let connector = manager.run(&world, &[("WATCHDOG_USEC", "300000")]);
    manager.hears(&world, "STATUS=streaming");
    let before = manager.count("WATCHDOG=1");
    world.eventually("it lives", || manager.count("WATCHDOG=1") > before + 10);
    points_to("fifo");
    world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid AND database = current_database()");
    // Silence for several times as long as the watchdog waits.
    let (mut heard, mut since) = (0, Instant::now());
    world.eventually("it is silent", || {
        let now = manager.count("WATCHDOG=1");
        if now != heard {
            (heard, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_secs(2)
    });
    assert!(connector.is_running());
    points_to("plain");
    fs::File::options().write(true).open(at("fifo")).unwrap().write_all(b"secret").unwrap();
    world.eventually("it lives again", || manager.count("WATCHDOG=1") > heard + 10);
    world.sql("INSERT INTO t VALUES (2)");
    world.eventually_equal(&["t"]);
    stops(&connector);
}

#[test]
fn a_socket_that_is_none_is_told_and_does_no_harm() {
    let world = world();
    world.config("");
    let mut command = Connector::command();
    command.args(["run", "-c", "config.yaml", "--until-caught-up"]).env("NOTIFY_SOCKET", "nonsense");
    let connector = world.spawn(command);
    assert!(connector.wait(Duration::from_secs(30)).success(), "{}", connector.story());
    assert!(connector.log_contains("NOTIFY_SOCKET can't be used"), "{}", connector.story());
}
