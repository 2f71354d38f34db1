//! `demo`: what it says can be pasted, it ends with both sides equal, and leaves nothing.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{tempdir, the_line};
use crate::harness::{Connector, PATIENCE, skip};

/// A demo with a temporary directory of its own.
struct Demo {
    connector: Connector,
    directory: PathBuf,
}

impl Demo {
    fn start(name: &str, arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Demo {
        // Short, so that sockets fit; and the servers' user must get in, whatever the umask.
        let directory = tempdir(name);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Connector::command();
        command.arg("demo").args(arguments).env("TMPDIR", &directory);
        prepare(&mut command);
        Demo { connector: Connector::spawn(command), directory }
    }

    /// What stands behind this name in what it says at first.
    fn said(&self, name: &str) -> String {
        let stdout = self.connector.stdout();
        let line = stdout.lines().find_map(|line| line.strip_prefix("  ")?.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {stdout}")).trim().to_owned()
    }

    #[track_caller]
    fn eventually(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let began = Instant::now();
        while !condition() {
            let goes_on = self.connector.is_running() && began.elapsed() < PATIENCE;
            assert!(goes_on, "not within {PATIENCE:?}: {what}\n{}", self.connector.story());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn wait_until_streaming(&self) {
        self.eventually("the shop is captured", || self.connector.log_contains(" streaming from"));
    }

    fn redis(&self) -> redis::Connection {
        let cli = self.said("redis-cli");
        let url = format!("redis://:{}@127.0.0.1:{}", password(&cli), port(&cli));
        redis::Client::open(url).unwrap().get_connection().unwrap()
    }

    /// Waits for its end, with nothing left; returns the exit code.
    #[track_caller]
    fn finish(&self) -> Option<i32> {
        let status = self.connector.wait(Duration::from_secs(60));
        let left: Vec<_> =
            fs::read_dir(&self.directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}\n{}", self.connector.story());
        if let Ok(processes) = fs::read_dir("/proc") {
            let directory = self.directory.to_string_lossy().into_owned();
            for process in processes.flatten() {
                let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                assert!(!line.contains(&directory), "still running: {line}");
            }
        }
        status.code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.connector.end();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What follows this flag in a command line.
fn flag(line: &str, flag: &str) -> String {
    let mut words = line.split(' ').skip_while(|word| *word != flag);
    words.nth(1).unwrap_or_else(|| panic!("no {flag} in {line}")).to_owned()
}

/// The value of the variable that a command line begins with.
fn password(line: &str) -> &str {
    line.split(['=', ' ']).nth(1).unwrap()
}

fn port(line: &str) -> u16 {
    flag(line, "-p").parse().unwrap()
}

#[test]
fn ends_by_itself_with_both_sides_equal() {
    let demo = Demo::start("demo-ends", &["--seconds", "2", "--rate", "200"], |_| {});
    assert_eq!(demo.finish(), Some(0), "{}", demo.connector.story());
    let stdout = demo.connector.stdout();
    assert!(stdout.ends_with(" rows in 5 tables compared: equal\n"), "{stdout}");
    for name in ["psql", "redis-cli"] {
        let port = port(&demo.said(name));
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "somebody still listens on {port}");
    }
    // Something was bought.
    let log = demo.connector.log();
    let visits = log.split("visits=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    assert!(visits.parse::<u32>().unwrap() > 20, "{log}");
}

#[test]
fn can_be_looked_at_until_it_is_told_to_stop() {
    let demo = Demo::start("demo-look", &[], |_| {});
    demo.wait_until_streaming();

    let (psql, cli) = (demo.said("psql"), demo.said("redis-cli"));
    let mut config = postgres::Config::new();
    config.host("127.0.0.1").port(port(&psql)).user("postgres").dbname("shop");
    assert!(config.connect(postgres::NoTls).is_err(), "its superuser needs no password");
    let mut client = config.user("shop").password(password(&psql)).connect(postgres::NoTls).unwrap();
    client.batch_execute("UPDATE customers SET name = 'You', email = NULL WHERE id = 1").unwrap();

    let redis_url = format!("127.0.0.1:{}", port(&cli));
    let stranger = redis::Client::open(format!("redis://{redis_url}")).unwrap();
    let mut stranger = stranger.get_connection().unwrap();
    assert!(redis::cmd("GET").arg("x").query::<String>(&mut stranger).is_err(), "Redis needs no password");
    let mut redis = demo.redis();
    demo.eventually("the row arrives", || {
        redis::cmd("HGET").arg("customer:1").arg("name").query::<String>(&mut redis).unwrap() == "You"
    });
    assert!(!redis::cmd("HEXISTS").arg("customer:1").arg("email").query::<bool>(&mut redis).unwrap());
    // Every structure is there.
    for (key, kind) in [
        ("customer:2", "hash"),
        ("product:SKU-002", "string"),
        ("category:light", "set"),
        ("bestsellers", "zset"),
        ("orders", "stream"),
    ] {
        demo.eventually(key, || redis::cmd("TYPE").arg(key).query::<String>(&mut redis).unwrap() == kind);
    }

    // The commands that it names.
    for (name, expected) in [("status", "streaming"), ("verify", "equal")] {
        let output = Command::new("sh").args(["-c", &demo.said(name)]).output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && stdout.contains(expected), "{output:?}");
    }
    let dashboard = demo.said("dashboard");
    let address = dashboard.trim_start_matches("http://").trim_end_matches('/');
    TcpStream::connect(address).unwrap();

    demo.connector.term();
    assert_eq!(demo.finish(), Some(0), "{}", demo.connector.story());
    assert!(demo.connector.stdout().ends_with("compared: equal\n"), "{}", demo.connector.stdout());
}

#[test]
fn what_differs_is_told() {
    let demo = Demo::start("demo-differs", &[], |_| {});
    demo.wait_until_streaming();
    let mut redis = demo.redis();
    redis::cmd("HSET").arg(&["customer:999999", "name", "nobody"]).exec(&mut redis).unwrap();
    demo.connector.signal(rustix::process::Signal::INT);
    assert_eq!(demo.finish(), Some(1), "{}", demo.connector.story());
    let stdout = demo.connector.stdout();
    assert!(stdout.contains("customer:999999: a key of public.customers that no row has"), "{stdout}");
    assert!(stdout.ends_with("compared: 1 different\n"), "{stdout}");
}

/// Redis does not take what was committed last, and whoever waits has waited long enough.
#[test]
fn a_second_signal_does_not_wait() {
    let demo = Demo::start("demo-twice", &[], |_| {});
    demo.wait_until_streaming();
    redis::cmd("CLIENT").arg(&["PAUSE", "600000", "WRITE"]).exec(&mut demo.redis()).unwrap();
    demo.connector.term();
    demo.eventually("it begins to end", || demo.connector.log_contains("the shop has closed"));
    demo.connector.term();
    assert_eq!(demo.finish(), Some(1), "{}", demo.connector.story());
    let line = the_line(&demo.connector);
    assert!(line.ends_with("stopped before both sides were compared"), "{line}");
}

#[test]
fn documents_where_redis_has_them() {
    let stack = std::env::var("TEST_REDIS_STACK").unwrap_or_default();
    if stack.is_empty() || stack.contains("://") {
        skip!("needs RedisJSON and RediSearch: set TEST_REDIS_STACK to a command that starts such a Redis");
    }
    let scripts = tempdir("demo-stack");
    let script = scripts.join("redis-server");
    fs::write(&script, format!("#!/bin/sh\nexec {stack} \"$@\"\n")).unwrap();
    for path in [&scripts, &script] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let demo = Demo::start("demo-json", &["--seconds", "1"], |command| {
        command.env("TEST_REDIS_SERVER", &script);
    });
    assert_eq!(demo.finish(), Some(0), "{}", demo.connector.story());
    assert!(demo.connector.stdout().contains("JSON.GET product:SKU-001\n"), "{}", demo.connector.stdout());
    assert!(demo.connector.log_contains("search index made"), "{}", demo.connector.story());
    fs::remove_dir_all(scripts).unwrap();
}

#[test]
fn without_servers_it_names_the_packages() {
    let homebrew = ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"];
    let everywhere =
        |name: &str| homebrew.iter().any(|prefix| Path::new(prefix).join("bin").join(name).exists());
    if everywhere("redis-server") || everywhere("valkey-server") {
        skip!("Redis is found here without PATH");
    }
    let demo = Demo::start("demo-none", &[], |command| {
        command.env("PATH", "").env_remove("TEST_REDIS_SERVER").env("TEST_POSTGRES_BIN", "/nowhere");
    });
    assert_eq!(demo.finish(), Some(1), "{}", demo.connector.story());
    let line = the_line(&demo.connector);
    for words in [
        "no PostgreSQL server in /nowhere",
        "apt-get install redis-server",
        "dnf install valkey",
        "brew install redis",
    ] {
        assert!(line.contains(words), "`{words}` is missing in: {line}");
    }
}
