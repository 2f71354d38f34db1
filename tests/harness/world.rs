//! A PostgreSQL, a Redis and the program between them, in one line.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls, SimpleQueryMessage};
use redis::FromRedisValue;
use redis_connect_postgres::throwaway::{Directory, Postgres, Redis, postgres as pg, redis as rd};

use super::connector::{Connector, Process};
use super::modules::{self, Given, Modules};

/// How long [`World::eventually`] waits, and the patience with everything that should be quick.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// For what may have to move many rows.
const LONG: Duration = Duration::from_secs(300);

/// Which servers a world has.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// A PostgreSQL of its own, started like this; without it a database in the shared one.
    pub(crate) postgres: Option<pg::Settings>,
    pub(crate) redis: rd::Settings,
}

/// What stands in the configuration file besides the name. URLs default to the world's servers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Config<'a> {
    pub(crate) source_url: Option<String>,
    pub(crate) target_url: Option<String>,
    /// Further lines under `source:`, such as `retain: 1s`.
    pub(crate) source: &'a str,
    /// Further lines under `target:`.
    pub(crate) target: &'a str,
    /// The lines under `tables:`; without any, the key is left out.
    pub(crate) tables: &'a str,
    /// Further lines at the top level.
    pub(crate) top: &'a str,
}

pub(crate) struct World {
    /// Unique among the tests of this process: the configuration's name, and the database's.
    pub(crate) name: String,
    directory: Directory,
    /// `None` for the shared cluster.
    own: Option<RefCell<Postgres>>,
    /// Which shared cluster.
    version: Option<u32>,
    /// `None` for one that was started by somebody else.
    server: Option<RefCell<Redis>>,
    given: Option<Given>,
    /// Where the data are since a failover.
    moved: Cell<Option<u16>>,
    postgres: RefCell<Option<Client>>,
    redis: RefCell<Option<redis::Connection>>,
    connectors: RefCell<Vec<Arc<Process>>>,
}

/// The cluster of a version that tests share: never stopped by a test, and cleared when the process ends.
///
/// Its databases present values oddly by default, so that a connection of the program that forgets
/// to pin their spelling is found out by whichever test reads a value.
fn shared(version: Option<u32>) -> &'static Postgres {
    static SHARED: Mutex<BTreeMap<Option<u32>, &'static OnceLock<Postgres>>> = Mutex::new(BTreeMap::new());
    let mut clusters = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster: &'static OnceLock<Postgres> =
        clusters.entry(version).or_insert_with(|| Box::leak(Box::default()));
    // Those who want another version do not wait for this one.
    drop(clusters);
    cluster.get_or_init(|| {
        let settings = odd(pg::Settings { version, ..pg::Settings::default() })
            .set("max_replication_slots", "200")
            .set("max_wal_senders", "200")
            .set("max_connections", "400");
        Postgres::start(settings).unwrap_or_else(|e| panic!("{e}"))
    })
}

fn odd(settings: pg::Settings) -> pg::Settings {
    settings
        .set("timezone", "Asia/Kolkata")
        .set("datestyle", "SQL, DMY")
        .set("intervalstyle", "sql_standard")
        .set("bytea_output", "escape")
        .set("extra_float_digits", "-3")
}

impl World {
    /// A fresh database in the shared cluster and a Redis of its own.
    ///
    /// Not for tests that stop PostgreSQL, and not for those that keep a transaction open for long:
    /// the creation of any slot in the cluster waits for all of them.
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    /// A PostgreSQL and a Redis that only this test uses and may kill; both keep what they confirmed.
    pub(crate) fn own() -> Self {
        Self::with(Settings { postgres: Some(pg::Settings::default()), redis: rd::Settings::durable() })
    }

    /// Like [`World::new`], with a PostgreSQL of this major version.
    pub(crate) fn of(version: u32) -> Self {
        Self::sharing(Some(version), Settings::default())
    }

    /// Like [`World::own`], with a PostgreSQL of this major version and further settings.
    pub(crate) fn own_of(version: u32, options: &[(&str, &str)]) -> Self {
        let postgres = pg::Settings { version: Some(version), ..pg::Settings::default() };
        let postgres = options.iter().fold(postgres, |all, (name, value)| all.set(name, value));
        Self::with(Settings { postgres: Some(postgres), redis: rd::Settings::durable() })
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self::sharing(None, settings)
    }

    /// The version is that of the shared cluster; `None` for the machine's first.
    fn sharing(version: Option<u32>, settings: Settings) -> Self {
        let server = Redis::start(settings.redis.clone()).unwrap_or_else(|e| panic!("{e}"));
        Self::beside(version, settings, Some(server), None)
    }

    /// Like [`World::new`], with a Redis that has RedisJSON and RediSearch. `None` where there is none:
    /// that is noted, and the test is to return.
    pub(crate) fn with_modules() -> Option<Self> {
        Some(match modules::named()? {
            Modules::Command(command) => {
                let redis = rd::Settings { command, ..rd::Settings::default() };
                Self::with(Settings { redis, ..Settings::default() })
            }
            Modules::Server(given) => Self::beside(None, Settings::default(), None, Some(given)),
        })
    }

    /// Like [`World::own`], with a Redis that keeps small hashes as listpacks (7.0 and later), which can be restored.
    /// `None` where it does not: that is noted, and the test is to return.
    pub(crate) fn with_listpacks() -> Option<Self> {
        let world = Self::own();
        let found: Vec<String> = world.redis(&["CONFIG", "GET", "hash-max-listpack-entries"]);
        if found.is_empty() {
            super::skipped(thread::current().name().unwrap_or_default(), "this Redis has no listpacks");
        }
        (!found.is_empty()).then_some(world)
    }

    fn beside(version: Option<u32>, settings: Settings, server: Option<Redis>, given: Option<Given>) -> Self {
        let name = unique_name();
        let own = settings.postgres.map(|settings| {
            // The test's own settings come last and count.
            let mut with_odd = odd(pg::Settings::default());
            with_odd.options.extend(settings.options);
            let settings = pg::Settings { options: with_odd.options, ..settings };
            RefCell::new(Postgres::start(settings).unwrap_or_else(|e| panic!("{e}")))
        });
        let world = Self {
            directory: Directory::new("world").unwrap_or_else(|e| panic!("{e}")),
            own,
            version,
            server: server.map(RefCell::new),
            given,
            moved: Cell::new(None),
            postgres: RefCell::new(None),
            redis: RefCell::new(None),
            connectors: RefCell::new(Vec::new()),
            name,
        };
        connect(&world.database_url("postgres"))
            .batch_execute(&format!("CREATE DATABASE {} TEMPLATE template0", world.name))
            .unwrap();
        world
    }

    // --- servers ---

    /// The PostgreSQL of [`World::own`], to stop, kill and start.
    pub(crate) fn postgres(&self) -> RefMut<'_, Postgres> {
        let own = self.own.as_ref();
        own.expect("other tests use this PostgreSQL too: begin with World::own() to stop it").borrow_mut()
    }

    /// The Redis, to stop, kill, pause and start.
    pub(crate) fn redis_server(&self) -> RefMut<'_, Redis> {
        let own = self.server.as_ref();
        own.expect("the Redis that TEST_REDIS_STACK names is not this test's to stop").borrow_mut()
    }

    pub(crate) fn postgres_port(&self) -> u16 {
        self.own.as_ref().map_or_else(|| shared(self.version).port(), |own| own.borrow().port())
    }

    pub(crate) fn redis_port(&self) -> u16 {
        self.redis_address().1
    }

    /// From now on the test looks at this port of this machine.
    pub(crate) fn redis_moved_to(&self, port: u16) {
        self.moved.set(Some(port));
        *self.redis.borrow_mut() = None;
    }

    /// Host and port.
    pub(crate) fn redis_address(&self) -> (String, u16) {
        if let Some(port) = self.moved.get() {
            return ("127.0.0.1".to_owned(), port);
        }
        match (&self.server, &self.given) {
            (None, Some(given)) => (given.address().0.to_owned(), given.address().1),
            (server, _) => ("127.0.0.1".to_owned(), server.as_ref().unwrap().borrow().port()),
        }
    }

    /// The major version of PostgreSQL.
    pub(crate) fn postgres_version(&self) -> u32 {
        self.own.as_ref().map_or_else(|| shared(self.version).version(), |own| own.borrow().version())
    }

    pub(crate) fn postgres_log(&self) -> String {
        self.own.as_ref().map_or_else(|| shared(self.version).log(), |own| own.borrow().log())
    }

    /// The world's database.
    pub(crate) fn source_url(&self) -> String {
        self.source_url_at(self.postgres_port())
    }

    /// The world's database through another port, such as a proxy's.
    pub(crate) fn source_url_at(&self, port: u16) -> String {
        format!("postgresql://postgres@127.0.0.1:{port}/{}", self.name)
    }

    fn database_url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.postgres_port())
    }

    pub(crate) fn target_url(&self) -> String {
        match &self.given {
            Some(given) => given.url().to_owned(),
            None => self.target_url_at(self.redis_port()),
        }
    }

    pub(crate) fn target_url_at(&self, port: u16) -> String {
        format!("redis://127.0.0.1:{port}/0")
    }

    /// The slot's default name for this configuration.
    pub(crate) fn slot(&self) -> String {
        format!("redis_connect_{}", self.name)
    }

    /// A directory for files of the test.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    // --- PostgreSQL ---

    /// A connection of its own, for what the world's must not be kept busy with.
    pub(crate) fn client(&self) -> Client {
        connect(&self.source_url())
    }

    /// Runs statements.
    #[track_caller]
    pub(crate) fn sql(&self, statements: &str) {
        let done = self.with_postgres(|client| client.batch_execute(statements));
        done.unwrap_or_else(|e| panic!("{statements}: {e:?}"));
    }

    /// The rows of a query, each value as PostgreSQL spells it.
    #[track_caller]
    pub(crate) fn rows(&self, query: &str) -> Vec<Vec<Option<String>>> {
        let messages = self.with_postgres(|client| client.simple_query(query));
        messages
            .unwrap_or_else(|e| panic!("{query}: {e:?}"))
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
                }
                _ => None,
            })
            .collect()
    }

    /// The only value of a query, parsed.
    #[track_caller]
    pub(crate) fn value<T: FromStr<Err: Debug>>(&self, query: &str) -> T {
        let rows = self.rows(query);
        let value = rows.first().and_then(|row| row.first()).and_then(Option::as_ref);
        value.unwrap_or_else(|| panic!("{query}: no value")).parse().unwrap()
    }

    /// Works on the world's connection, a new one when the server went away meanwhile.
    pub(crate) fn with_postgres<T>(&self, work: impl FnOnce(&mut Client) -> T) -> T {
        let mut client = self.postgres.borrow_mut();
        if client.as_mut().is_none_or(|c| c.is_valid(PATIENCE).is_err()) {
            *client = Some(self.client());
        }
        work(client.as_mut().unwrap())
    }

    // --- Redis ---

    /// One command: `world.redis::<String>(&["GET", "key"])`.
    #[track_caller]
    pub(crate) fn redis<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let reply = self.with_redis(|connection| redis::cmd(command[0]).arg(&command[1..]).query(connection));
        reply.unwrap_or_else(|e| panic!("{command:?}: {e}"))
    }

    /// The fields of a hash; empty when there is no such key.
    #[track_caller]
    pub(crate) fn hash(&self, key: &str) -> BTreeMap<String, String> {
        self.redis(&["HGETALL", key])
    }

    /// The keys that match a glob pattern.
    pub(crate) fn keys(&self, pattern: &str) -> BTreeSet<String> {
        self.redis(&["KEYS", pattern])
    }

    /// How often Redis carried out a command. Of a Redis of the world's own.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let info: String = self.redis(&["INFO", "commandstats"]);
        let name = format!("cmdstat_{command}:calls=");
        let line = info.lines().find_map(|line| line.strip_prefix(name.as_str()));
        line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
    }

    /// The checkpoint of this configuration.
    pub(crate) fn checkpoint(&self) -> BTreeMap<String, String> {
        self.hash(&format!("redis-connect-postgres:{}:checkpoint", self.name))
    }

    /// Works on the world's connection, a new one when the server went away meanwhile.
    pub(crate) fn with_redis<T>(&self, work: impl FnOnce(&mut redis::Connection) -> T) -> T {
        let mut connection = self.redis.borrow_mut();
        let alive = |c: &mut redis::Connection| redis::cmd("PING").query::<String>(c).is_ok();
        if !connection.as_mut().is_some_and(alive) {
            let client = redis::Client::open(self.target_url()).unwrap();
            let new = retry(|| client.get_connection_with_timeout(PATIENCE));
            // A paused server is a mistake of the test, not a reason to hang.
            new.set_read_timeout(Some(LONG)).unwrap();
            *connection = Some(new);
        }
        work(connection.as_mut().unwrap())
    }

    // --- the program ---

    /// Writes a complete configuration with these lines under `tables:`.
    pub(crate) fn config(&self, tables: &str) -> PathBuf {
        self.configure(&Config { tables, ..Config::default() })
    }

    /// Writes a complete configuration.
    pub(crate) fn configure(&self, config: &Config<'_>) -> PathBuf {
        let source_url = config.source_url.clone().unwrap_or_else(|| self.source_url());
        let target_url = config.target_url.clone().unwrap_or_else(|| self.target_url());
        let mut yaml = format!("name: {}\nsource:\n  url: {source_url}\n", self.name);
        yaml += &indented(config.source, "  ");
        yaml += &format!("target:\n  url: {target_url}\n");
        yaml += &indented(config.target, "  ");
        if !config.tables.trim().is_empty() {
            yaml += "tables:\n";
            yaml += &indented(config.tables, "  ");
        }
        yaml += &indented(config.top, "");
        let path = self.config_file();
        fs::write(&path, yaml).unwrap();
        path
    }

    /// Where the configuration is, for tests that write their own.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.directory().join("config.yaml")
    }

    /// The program in the background, with these arguments.
    #[must_use = "dropping it kills it"]
    pub(crate) fn start(&self, arguments: &[&str]) -> Connector {
        let mut command = Connector::command();
        command.args(arguments);
        self.spawn(command)
    }

    /// The program in the background, from a command that began as [`Connector::command`].
    #[must_use = "dropping it kills it"]
    pub(crate) fn spawn(&self, mut command: Command) -> Connector {
        command.current_dir(self.directory());
        let connector = Connector::spawn(command);
        self.connectors.borrow_mut().push(connector.process());
        connector
    }

    /// The program with these arguments, until its end.
    #[track_caller]
    pub(crate) fn finish(&self, arguments: &[&str]) -> (Option<i32>, Connector) {
        let connector = self.start(arguments);
        (connector.wait(LONG).code(), connector)
    }

    /// `run -c FILE` in the background.
    #[must_use = "dropping it kills it"]
    pub(crate) fn run(&self) -> Connector {
        self.run_with(&[])
    }

    #[must_use = "dropping it kills it"]
    pub(crate) fn run_with(&self, flags: &[&str]) -> Connector {
        let file = self.config_file();
        if !file.exists() {
            self.config("");
        }
        let file = file.to_string_lossy().into_owned();
        self.start(&[&["run", "-c", &file], flags].concat())
    }

    /// Runs until everything committed before is in Redis.
    #[track_caller]
    pub(crate) fn run_until_caught_up(&self) -> Connector {
        self.succeed("--until-caught-up")
    }

    /// Runs until the snapshot is in Redis.
    #[track_caller]
    pub(crate) fn once(&self) -> Connector {
        self.succeed("--once")
    }

    #[track_caller]
    fn succeed(&self, flag: &str) -> Connector {
        let connector = self.run_with(&[flag]);
        let status = connector.wait(LONG);
        assert!(status.success(), "run {flag} failed with {status}\n{}", connector.story());
        connector
    }

    // --- waiting ---

    /// Waits until the condition holds, at most 90 s; fails with the program's log.
    #[track_caller]
    pub(crate) fn eventually(&self, what: &str, condition: impl FnMut() -> bool) {
        self.within(PATIENCE, what, condition);
    }

    #[track_caller]
    pub(crate) fn within(&self, limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < limit, "not within {limit:?}: {what}\n{}", self.story());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the value is the expected one; fails with the last value and the program's log.
    #[track_caller]
    pub(crate) fn eventually_eq<T: PartialEq + Debug>(
        &self,
        what: &str,
        expected: &T,
        mut actual: impl FnMut() -> T,
    ) {
        let began = Instant::now();
        loop {
            let value = actual();
            if value == *expected {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "not within {PATIENCE:?}: {what}\nexpected {expected:#?}\n     got {value:#?}\n{}",
                self.story()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What every program that was started here logged, with its number, in the order in which they were started.
    pub(crate) fn logs(&self) -> Vec<(u32, String)> {
        self.connectors.borrow().iter().map(|connector| (connector.pid(), connector.log())).collect()
    }

    /// What every program that was started here did and logged, for the message of a failed test.
    pub(crate) fn story(&self) -> String {
        let connectors = self.connectors.borrow();
        // The last ones: a test may have killed fifty before.
        let from = connectors.len().saturating_sub(3);
        connectors[from..].iter().map(|c| c.story()).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for connector in self.connectors.get_mut() {
            connector.end();
        }
        *self.postgres.get_mut() = None;
        if self.own.is_none() {
            self.leave_shared();
        }
    }
}

impl World {
    /// Gives back to the shared cluster: slots first, because a database that has some stays.
    fn leave_shared(&self) {
        let Ok(mut client) = Client::connect(&self.database_url("postgres"), NoTls) else { return };
        let began = Instant::now();
        let clear = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{0}'; \
             SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
             WHERE database = '{0}' AND NOT active;",
            self.name
        );
        loop {
            let cleared = client
                .batch_execute(&clear)
                .and_then(|()| client.batch_execute(&format!("DROP DATABASE {}", self.name)));
            match cleared {
                Ok(()) => return,
                // Whoever was just told to go is not gone yet.
                Err(_) if began.elapsed() < Duration::from_secs(10) => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(e) => {
                    println!("the database {} and its slots stay: {e:?}", self.name);
                    return;
                }
            }
        }
    }
}

/// Like the test, so that a log says whose it is, with a number that keeps it unique.
fn unique_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let thread = thread::current();
    let test = thread.name().unwrap_or("test").rsplit("::").next().unwrap_or("test").to_lowercase();
    let word: String =
        test.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(30).collect();
    format!("t_{word}_{number}")
}

fn connect(url: &str) -> Client {
    let mut config: postgres::Config = url.parse().unwrap();
    // Plain spellings for the test, whatever the server's defaults are.
    config.options(
        "-c TimeZone=UTC -c DateStyle=ISO,YMD -c IntervalStyle=iso_8601 -c bytea_output=hex \
         -c extra_float_digits=1 -c client_min_messages=warning",
    );
    retry(|| config.connect(NoTls))
}

/// For a server that is being restarted.
fn retry<T, E: Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(e) => assert!(began.elapsed() < PATIENCE, "no connection: {e:?}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The lines with this indentation instead of their common one, so that tests can write YAML where
/// it reads best.
fn indented(text: &str, by: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let common = lines.iter().map(|l| l.len() - l.trim_start().len()).min().unwrap_or(0);
    lines.iter().map(|l| format!("{by}{}\n", &l[common..])).collect()
}
