//! Tests of what the other tests stand on.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use redis_connect_postgres::throwaway::{Postgres, Redis, Shutdown, postgres as pg, redis as rd};

use crate::harness::{Config, Connector, Proxy, Settings, Table, World, skip};

// --- servers ---

#[test]
fn postgres_survives_every_way_to_stop_it_and_leaves_nothing() {
    let mut server = Postgres::start(pg::Settings::default()).unwrap();
    let (port, directory) = (server.port(), server.socket_directory().to_owned());
    let connect = |server: &Postgres| postgres::Client::connect(&server.url(), postgres::NoTls).unwrap();
    connect(&server).batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1)").unwrap();

    server.restart(Shutdown::Fast).unwrap();
    server.restart(Shutdown::Immediate).unwrap();
    server.kill9();
    assert!(!server.is_running());
    server.start_again().unwrap();

    assert_eq!(server.port(), port);
    let row = connect(&server).query_one("SELECT n, current_setting('wal_level') FROM t", &[]).unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1)), (1, "logical"));
    let pid = server.pid().unwrap();
    drop(server);
    assert_gone(pid, &directory, port);
}

#[test]
fn a_killed_postgres_leaves_no_shared_memory() {
    let mut server = Postgres::start(pg::Settings::default()).unwrap();
    let pid = server.pid().unwrap();
    server.kill9();
    drop(server);
    let Ok(segments) = std::fs::read_to_string("/proc/sysvipc/shm") else {
        skip!("only Linux tells which shared memory there is");
    };
    // Columns: key shmid perms size cpid …
    let ours = |line: &str| line.split_whitespace().nth(4) == Some(&pid.to_string());
    assert!(!segments.lines().any(ours), "{segments}");
}

#[test]
fn a_durable_redis_keeps_its_data_and_leaves_nothing() {
    let mut server = Redis::start(rd::Settings::durable()).unwrap();
    let (port, directory) = (server.port(), server.directory().to_owned());
    let connect = |server: &Redis| redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    redis::cmd("SET").arg("k").arg("v").exec(&mut connect(&server)).unwrap();
    server.kill9();
    server.start_again().unwrap();
    server.shutdown().unwrap();
    server.start_again().unwrap();
    assert_eq!(server.port(), port);
    let value: String = redis::cmd("GET").arg("k").query(&mut connect(&server)).unwrap();
    assert_eq!(value, "v");

    server.pause();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    assert!(stream.read(&mut [0; 8]).is_err());
    server.resume();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 7);

    let pid = server.pid().unwrap();
    drop(server);
    assert_gone(pid, &directory, port);
}

#[test]
fn a_wrong_setting_is_reported_in_the_servers_own_words() {
    let error = Postgres::start(pg::Settings::default().set("wal_level", "sideways")).unwrap_err();
    assert!(error.to_string().contains("sideways"), "{error}");
    let error = Redis::start(rd::Settings::default().set("maxmemory", "much")).unwrap_err();
    assert!(error.to_string().contains("maxmemory"), "{error}");
}

/// The child is this very test again, told by a variable to start servers and then to hang.
#[test]
fn servers_end_with_a_process_that_is_killed() {
    const ORDER: &str = "TEST_START_AND_HANG";
    if let Some(report) = std::env::var_os(ORDER).map(PathBuf::from) {
        let postgres = Postgres::start(pg::Settings::default()).unwrap();
        let redis = Redis::start(rd::Settings::default()).unwrap();
        redis.pause();
        let words = format!("{} {}", postgres.pid().unwrap(), redis.pid().unwrap());
        let lines = format!("{words} {} {}", postgres.port(), postgres.socket_directory().display());
        let unfinished = report.with_extension("tmp");
        std::fs::write(&unfinished, lines).unwrap();
        std::fs::rename(&unfinished, &report).unwrap();
        loop {
            thread::park();
        }
    }
    let world = World::new();
    let report = world.directory().join("report");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "harness_tests::servers_end_with_a_process_that_is_killed"])
        .env(ORDER, &report)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    world.eventually("the other process starts its servers", || report.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let report = std::fs::read_to_string(report).unwrap();
    let words: Vec<&str> = report.split(' ').collect();
    let home = Path::new(words[3]).parent().unwrap();
    world.eventually("its janitor removes everything", || !home.exists());
    assert_gone(words[0].parse().unwrap(), home, words[2].parse().unwrap());
    assert!(!runs(words[1].parse().unwrap()));
}

#[track_caller]
fn assert_gone(pid: u32, directory: &Path, port: u16) {
    assert!(!runs(pid), "process {pid} still runs");
    assert!(!directory.exists(), "{} is still there", directory.display());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "port {port} still answers");
}

/// A process that waits for somebody to collect it does not run.
fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

// --- world ---

#[test]
fn a_world_gives_everything_back() {
    let (name, url) = {
        let world = World::new();
        world.sql("CREATE TABLE t (n int); CREATE PUBLICATION p FOR TABLE t");
        let slot = world.slot();
        world.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"));
        assert_eq!(
            world.value::<i64>(
                "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
            ),
            1
        );
        world.redis::<()>(&["HSET", "h", "f", "v"]);
        assert_eq!(world.hash("h")["f"], "v");
        (world.name.clone(), world.source_url())
    };
    assert!(postgres::Client::connect(&url, postgres::NoTls).is_err(), "{name} is still there");
    let other = World::new();
    let left = format!("SELECT count(*) FROM pg_replication_slots WHERE database = '{name}'");
    assert_eq!(other.value::<i64>(&left), 0);
}

#[test]
fn the_worlds_connections_survive_restarts() {
    let world = World::own();
    world.sql("CREATE TABLE t (n int)");
    world.redis::<()>(&["SET", "k", "v"]);
    world.postgres().kill9();
    world.postgres().start_again().unwrap();
    world.redis_server().kill9();
    world.redis_server().start_again().unwrap();
    world.sql("INSERT INTO t VALUES (1)");
    assert_eq!(world.redis::<String>(&["GET", "k"]), "v");
}

#[test]
fn the_program_is_run_and_its_output_kept() {
    let world = World::new();
    let (code, connector) = world.finish(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(connector.stdout().contains("Usage"), "{}", connector.story());
}

#[test]
fn a_dropped_connector_is_killed() {
    let world = World::new();
    let mut command = std::process::Command::new("sleep");
    command.arg("1000");
    let connector: Connector = world.spawn(command);
    let pid = connector.pid();
    assert!(connector.is_running() && runs(pid));
    #[cfg(target_os = "linux")]
    assert!(connector.peak_memory() > 0);
    drop(connector);
    assert!(!runs(pid));
}

#[test]
fn a_configuration_is_complete_yaml() {
    let world = World::with(Settings {
        redis: rd::Settings::default().set("maxmemory", "50mb"),
        ..Settings::default()
    });
    let path = world.configure(&Config {
        source: "retain: 1s",
        tables: "
            public.emp: { type: hash }
            public.dept:
              - { type: hash }
        ",
        target_url: Some(world.target_url_at(1234)),
        ..Config::default()
    });
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        format!(
            "name: {}\nsource:\n  url: {}\n  retain: 1s\ntarget:\n  url: redis://127.0.0.1:1234/0\n\
             tables:\n  public.emp: {{ type: hash }}\n  public.dept:\n    - {{ type: hash }}\n",
            world.name,
            world.source_url(),
        )
    );
}

#[test]
fn a_world_with_modules_has_them_and_begins_empty() {
    let Some(world) = World::with_modules() else { return };
    assert_eq!(world.redis::<i64>(&["DBSIZE"]), 0);
    world.redis::<()>(&["JSON.SET", "k", "$", "{}"]);
    assert_eq!(world.redis::<Vec<String>>(&["FT._LIST"]), [""; 0]);
    assert!(world.target_url().contains(&world.redis_port().to_string()));
}

// --- compare ---

#[test]
fn planted_differences_are_found_in_both_directions() {
    let world = World::new();
    world.sql(
        "CREATE TABLE emp (id int PRIMARY KEY, name text, boss int); \
               INSERT INTO emp VALUES (1, 'Ada', NULL), (2, 'Bob', 1), (3, 'Cy', 1)",
    );
    for (id, name) in [("1", "Ada"), ("2", "Bob"), ("3", "Cy")] {
        world.redis::<()>(&["HSET", &format!("emp:{id}"), "id", id, "name", name]);
    }
    world.redis::<()>(&["HSET", "emp:2", "boss", "1"]);
    world.redis::<()>(&["HSET", "emp:3", "boss", "1"]);
    world.assert_equal(&["public.emp", "emp"]);

    let found = |command: &[&str], undo: &[&str]| {
        world.redis::<redis::Value>(command);
        let differences = world.differences(&Table::new("public.emp"));
        assert_eq!(differences.count, 1, "{differences:?}");
        world.redis::<redis::Value>(undo);
        world.assert_equal(&["emp"]);
        differences.first[0].clone()
    };
    insta::assert_snapshot!(
        found(&["HSET", "emp:2", "name", "Rob"], &["HSET", "emp:2", "name", "Bob"]),
        @r#"emp:2: name is "Rob" in Redis, "Bob" in PostgreSQL"#
    );
    insta::assert_snapshot!(
        found(&["HSET", "emp:1", "boss", "7"], &["HDEL", "emp:1", "boss"]),
        @r#"emp:1: field "boss" is "7" in Redis, null in PostgreSQL"#
    );
    insta::assert_snapshot!(
        found(&["HDEL", "emp:2", "boss"], &["HSET", "emp:2", "boss", "1"]),
        @r#"emp:2: no field "boss" in Redis, "1" in PostgreSQL"#
    );
    insta::assert_snapshot!(
        found(&["RENAME", "emp:3", "away"], &["RENAME", "away", "emp:3"]),
        @r#"emp:3: not in Redis, a row in PostgreSQL: boss="1" id="3" name="Cy""#
    );
    insta::assert_snapshot!(
        found(&["HSET", "emp:4", "id", "4"], &["DEL", "emp:4"]),
        @"emp:4: in Redis, no such row in PostgreSQL"
    );
    world.redis::<()>(&["RENAME", "emp:1", "away"]);
    world.redis::<()>(&["SET", "emp:1", "text"]);
    let differences = world.differences(&Table::new("emp"));
    assert!(differences.first[0].contains("WRONGTYPE"), "{differences:?}");
}

#[test]
fn every_type_is_compared_in_the_contracts_spelling() {
    let world = World::new();
    world.sql(
        r#"CREATE EXTENSION IF NOT EXISTS hstore;
        CREATE DOMAIN yes AS bool;
        CREATE SCHEMA "Odd * one";
        CREATE TABLE "Odd * one"."T""x" (
            a text, b bool, c bytea, d yes, e timestamp, f timestamptz, g timetz, h date, i interval,
            j char(5), k inet, l timestamp[], m timestamptz[], n numeric[], o bytea[], p int[], q text,
            r hstore, s float8, t timestamp, u date, v date, w timestamptz, x bool[], y text[],
            PRIMARY KEY (b, a));
        INSERT INTO "Odd * one"."T""x" VALUES (
            'x:y%z', true, '\x00ff', false, '2018-08-09 19:50:13', '2018-08-09 19:50:13.5+02',
            '13:51:30.123456+02', '2024-02-29', '1 year 2 mons 3 days 04:05:06.78', 'ab', '10.0.0.1',
            '{2018-08-09 19:50:13,NULL}', '{2018-08-09 19:50:13+00}', '{1.50,NaN}', '{"\\x00ff"}',
            '{{1,2},{3,4}}', E'tab\tline\nback\\slash', 'a=>1', 1e20, 'infinity', '0044-03-15 BC',
            '12024-01-01', '0044-03-15 00:00:00+00 BC', '{t,f}', '{a,"b c",NULL}')"#,
    );
    let key = "Odd * one.T\"x:true:x%3Ay%25z";
    for (field, value) in [
        ("a", "x:y%z"),
        ("b", "true"),
        ("c", "AP8="),
        ("d", "false"),
        ("e", "2018-08-09T19:50:13"),
        ("f", "2018-08-09T17:50:13.5Z"),
        ("g", "13:51:30.123456+02:00"),
        ("h", "2024-02-29"),
        ("i", "P1Y2M3DT4H5M6.78S"),
        ("j", "ab   "),
        ("k", "10.0.0.1"),
        ("l", r#"["2018-08-09T19:50:13",null]"#),
        ("m", r#"["2018-08-09T19:50:13Z"]"#),
        ("n", r#"["1.50","NaN"]"#),
        ("o", r#"["AP8="]"#),
        ("p", "[[1,2],[3,4]]"),
        ("q", "tab\tline\nback\\slash"),
        ("r", r#"{"a":"1"}"#),
        ("s", "1e+20"),
        ("t", "infinity"),
        ("u", "-0043-03-15"),
        ("v", "+12024-01-01"),
        ("w", "-0043-03-15T00:00:00Z"),
        ("x", "[true,false]"),
        ("y", r#"["a","b c",null]"#),
    ] {
        world.redis::<()>(&["HSET", key, field, value]);
    }
    world.assert_equal(&["Odd * one.T\"x"]);
}

#[test]
fn a_layout_of_ones_own_is_compared() {
    let world = World::new();
    world.sql("CREATE TABLE t (a int PRIMARY KEY, b text, c text); INSERT INTO t VALUES (1, 'x', 'y')");
    world.redis::<()>(&["HSET", "thing:x", "bee", "x"]);
    let table = Table::new("t").prefix("thing:").key(&["b"]);
    world.assert_table(&table.clone().columns(&[("b", "bee")]));
    assert_eq!(world.differences(&table.exclude(&["a", "c"])).count, 2);
}

// --- proxy ---

/// Sends back what it gets, on a port of its own, until the test process ends.
fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut stream);
                let _ = stream.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    port
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn round_trip(stream: &mut TcpStream, bytes: &[u8]) -> Duration {
    let began = Instant::now();
    let mut writing = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || writing.write_all(bytes).unwrap());
        let mut back = vec![0; bytes.len()];
        stream.read_exact(&mut back).unwrap();
        assert!(back == bytes);
    });
    began.elapsed()
}

#[test]
fn a_proxy_passes_everything_and_counts_it() {
    let proxy = Proxy::to(echo());
    let mut stream = connect(&proxy);
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    round_trip(&mut stream, &bytes);
    // The last bytes may arrive a moment before they are counted.
    let began = Instant::now();
    while proxy.bytes_to_client() < 1_000_000 && began.elapsed() < Duration::from_secs(10) {
        thread::yield_now();
    }
    assert_eq!((proxy.bytes_to_upstream(), proxy.bytes_to_client()), (1_000_000, 1_000_000));
    assert_eq!((proxy.connections(), proxy.open()), (1, 1));
    // An orderly end passes too.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_proxy_cuts_with_a_reset() {
    let proxy = Proxy::to(echo());
    let mut stream = connect(&proxy);
    round_trip(&mut stream, b"hello");
    proxy.cut();
    let error = stream.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    round_trip(&mut connect(&proxy), b"a new one is welcome");
}

#[test]
fn a_proxy_refuses_new_connections_and_keeps_the_old() {
    let mut proxy = Proxy::to(echo());
    let mut stream = connect(&proxy);
    round_trip(&mut stream, b"hello");
    proxy.refuse(true);
    let error = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    round_trip(&mut stream, b"still here");
    proxy.refuse(false);
    round_trip(&mut connect(&proxy), b"welcome again");
}

#[test]
fn a_stalled_proxy_lets_nothing_through_and_loses_nothing() {
    let proxy = Proxy::to(echo());
    let mut stream = connect(&proxy);
    round_trip(&mut stream, b"hello");
    proxy.stall(true);
    stream.write_all(b"held").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(stream.read(&mut [0; 8]).is_err());
    assert!(proxy.bytes_to_upstream() <= 5);
    // It can be connected to, and hangs as well.
    let mut other = connect(&proxy);
    other.write_all(b"x").unwrap();
    proxy.stall(false);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"held");
    other.read_exact(&mut back[..1]).unwrap();
    // A cut ends a stalled one too.
    proxy.stall(true);
    stream.write_all(b"lost").unwrap();
    proxy.cut();
    assert!(stream.read(&mut [0; 8]).is_err());
}

#[test]
fn a_proxy_throttles_and_delays() {
    let proxy = Proxy::to(echo());
    let mut stream = connect(&proxy);
    proxy.throttle(100_000);
    let took = round_trip(&mut stream, &[7; 20_000]);
    // Each direction takes a fifth of a second, at the same time; the first pieces go at once.
    assert!((150..2_000).contains(&took.as_millis()), "{took:?}");
    proxy.throttle(0);
    proxy.delay(50);
    let took = round_trip(&mut stream, &[7; 1_000_000]);
    assert!((100..2_000).contains(&took.as_millis()), "{took:?}");
}
