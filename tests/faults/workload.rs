//! A writer that changes rows in every way there is, for as long as a test runs.
//!
//! Keys come from a small range on purpose: rows are deleted, inserted again and moved over each
//! other's former keys all the time, which is what a repeated or forgotten change would show in.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use postgres::{Client, NoTls};

use super::Random;
use crate::harness::World;

/// The tables of the workload.
pub(crate) const TABLES: [&str; 5] = ["account", "pair", "tiny", "counter", "bulk"];

/// Keys of `account` lie between 1 and this.
const ACCOUNTS: u64 = 2_000;

/// Keys of `bulk` lie between 1 and this.
const BULK: u64 = 6_000;

const SCHEMA: &str = "
    CREATE TABLE account (id int PRIMARY KEY, n bigint NOT NULL, word text, at timestamptz, doc text);
    ALTER TABLE account ALTER doc SET STORAGE EXTERNAL;
    CREATE TABLE pair (a int, b text, v text, PRIMARY KEY (a, b));
    CREATE TABLE tiny (id int PRIMARY KEY, v text);
    CREATE TABLE counter (id int PRIMARY KEY, n bigint NOT NULL);
    CREATE TABLE bulk (id int PRIMARY KEY, n bigint NOT NULL, v text);
    INSERT INTO counter VALUES (1, 0), (2, 0);
    INSERT INTO tiny SELECT g, 'first' FROM generate_series(1, 20) g;
    INSERT INTO pair SELECT g % 10, 'x:' || g, 'first' FROM generate_series(1, 200) g;
    INSERT INTO account SELECT g, 0, 'first', now(), CASE WHEN g % 3 = 0 THEN repeat(md5(g::text), 80) END
        FROM generate_series(1, 1000) g;";

/// A thread that writes; its seed is printed when the test fails.
#[derive(Debug)]
pub(crate) struct Workload {
    seed: u64,
    stop: Arc<AtomicBool>,
    transactions: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Workload {
    /// Makes the tables, `bulk` with this many rows.
    pub(crate) fn prepare(world: &World, bulk: u64) {
        world.sql(SCHEMA);
        world.sql(&format!(
            "INSERT INTO bulk SELECT g, 0, 'row ' || g FROM generate_series(1, {bulk}) g; ANALYZE"
        ));
    }

    pub(crate) fn start(world: &World) -> Self {
        Self::with_pause(world, Duration::from_millis(1))
    }

    /// Waits so long after each transaction.
    pub(crate) fn with_pause(world: &World, pause: Duration) -> Self {
        let seed = Random::seed();
        let stop = Arc::new(AtomicBool::new(false));
        let transactions = Arc::new(AtomicU64::new(0));
        let mut writer = Writer {
            url: world.source_url(),
            client: None,
            random: Random::new(seed),
            stop: Arc::clone(&stop),
            transactions: Arc::clone(&transactions),
        };
        let thread = thread::spawn(move || {
            while !writer.stop.load(Relaxed) {
                writer.write();
                thread::sleep(pause);
            }
        });
        Self { seed, stop, transactions, thread: Some(thread) }
    }

    /// Random numbers for the test that depend on nothing but the seed.
    pub(crate) fn random(&self) -> Random {
        Random::new(!self.seed)
    }

    /// Committed so far.
    pub(crate) fn transactions(&self) -> u64 {
        self.transactions.load(Relaxed)
    }

    /// Waits until so many more transactions are committed.
    #[track_caller]
    pub(crate) fn goes_on(&self, world: &World, more: u64) {
        let enough = self.transactions() + more;
        world.eventually("the writer goes on", || self.transactions() >= enough);
    }

    /// Returns when the last transaction is committed.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.stop.store(true, Relaxed);
        let thread = self.thread.take().unwrap();
        assert!(thread.join().is_ok(), "the writer failed");
        assert!(self.transactions() > 0, "the writer has written nothing");
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if thread::panicking() {
            println!("TEST_SEED={}", self.seed);
        }
    }
}

struct Writer {
    url: String,
    client: Option<Client>,
    random: Random,
    stop: Arc<AtomicBool>,
    transactions: Arc<AtomicU64>,
}

impl Writer {
    fn write(&mut self) {
        // Made before anything can fail, so that the sequence depends on the seed alone.
        let sql = self.transaction();
        while !self.stop.load(Relaxed) {
            let Some(client) = &mut self.client else {
                self.connect();
                continue;
            };
            match client.batch_execute(&sql) {
                Ok(()) => {
                    self.transactions.fetch_add(1, Relaxed);
                    return;
                }
                // The lock that TRUNCATE needs is the snapshot's for now.
                Err(e) if e.code().is_some_and(|c| c.code() == "55P03") => {
                    client.batch_execute("ROLLBACK").unwrap();
                    return;
                }
                // It may have been committed all the same; every transaction can be repeated.
                Err(e) if e.is_closed() || e.code().is_none_or(|c| c.code().starts_with("57")) => {
                    self.client = None;
                }
                Err(e) => panic!("{sql}: {e:?}"),
            }
        }
    }

    fn connect(&mut self) {
        match Client::connect(&self.url, NoTls) {
            Ok(mut client) => {
                let set = client.batch_execute("SET lock_timeout = '100ms'; SET client_min_messages = error");
                if set.is_ok() {
                    self.client = Some(client);
                }
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }

    fn transaction(&mut self) -> String {
        let mut sql = String::from("BEGIN;\n");
        // At the beginning or at the end of the transaction, of which a part may get lost.
        let counted = self.random.chance(50);
        let early = self.random.chance(50);
        let count = "UPDATE counter SET n = n + 1;\n";
        if counted && early {
            sql += count;
        }
        match self.random.within(1, 100) {
            1..=40 => {
                for _ in 0..self.random.within(1, 4) {
                    self.small(&mut sql);
                }
            }
            41..=55 => self.move_keys(&mut sql),
            56..=70 => self.pairs(&mut sql),
            71..=80 => self.tiny(&mut sql),
            81..=85 => self.large(&mut sql),
            86..=92 => {
                self.small(&mut sql);
                sql += "SAVEPOINT s;\n";
                self.move_keys(&mut sql);
                self.pairs(&mut sql);
                sql += "ROLLBACK TO s;\n";
                self.small(&mut sql);
            }
            _ => {
                self.small(&mut sql);
                self.pairs(&mut sql);
                sql += "ROLLBACK; BEGIN;\n";
                self.small(&mut sql);
            }
        }
        if counted && !early {
            sql += count;
        }
        sql + "COMMIT"
    }

    fn account(&mut self) -> u64 {
        self.random.within(1, ACCOUNTS)
    }

    /// An expression for a column that is stored out of line, inline or not at all.
    fn doc(&mut self) -> String {
        match self.random.within(1, 4) {
            1 => "NULL".to_owned(),
            2 => format!("'short {}'", self.random.within(1, 1_000_000)),
            _ => format!("repeat(md5('{}'), {})", self.random.next(), self.random.within(70, 200)),
        }
    }

    fn small(&mut self, sql: &mut String) {
        let (id, word) = (self.account(), self.random.within(1, 1_000_000));
        let _ = match self.random.within(1, 10) {
            1..=4 => {
                let doc = self.doc();
                writeln!(
                    sql,
                    "INSERT INTO account VALUES ({id}, 1, '{word}', now(), {doc}) ON CONFLICT (id) \
                     DO UPDATE SET n = account.n + 1, word = EXCLUDED.word, doc = EXCLUDED.doc;"
                )
            }
            // Leaves `doc` unchanged.
            5..=7 => writeln!(
                sql,
                "UPDATE account SET n = n + 1, word = CASE WHEN id % 5 > 0 THEN '{word}' END \
                 WHERE id BETWEEN {id} AND {id} + 20;"
            ),
            8 => writeln!(sql, "UPDATE account SET doc = {} WHERE id = {id};", self.doc()),
            _ => writeln!(sql, "DELETE FROM account WHERE id BETWEEN {id} AND {id} + 3;"),
        };
    }

    /// Rows get other rows' former keys, and take along what the UPDATE does not send.
    fn move_keys(&mut self, sql: &mut String) {
        let (a, b) = (self.account(), self.account());
        if a == b {
            return;
        }
        let _ = match self.random.within(1, 4) {
            1 => writeln!(
                sql,
                "DELETE FROM account WHERE id = {b}; UPDATE account SET id = {b} WHERE id = {a};"
            ),
            2 => writeln!(
                sql,
                "UPDATE account SET id = -1 WHERE id = {a}; UPDATE account SET id = {a}, n = n + 1 WHERE id = {b}; \
                 UPDATE account SET id = {b} WHERE id = -1;"
            ),
            3 => writeln!(
                sql,
                "DELETE FROM account WHERE id = {b}; UPDATE account SET id = {b} WHERE id = {a}; \
                 INSERT INTO account VALUES ({a}, 7, 'in its place', now(), {});",
                self.doc()
            ),
            _ => writeln!(
                sql,
                "DELETE FROM account WHERE id BETWEEN 301 AND 320; \
                 UPDATE account SET id = id + 200 WHERE id BETWEEN 101 AND 120; \
                 UPDATE account SET id = id - 200, doc = {} WHERE id BETWEEN 301 AND 310;",
                self.doc()
            ),
        };
    }

    fn pairs(&mut self, sql: &mut String) {
        let (a, b) = (self.random.within(0, 9), self.random.within(1, 200));
        let _ = match self.random.within(1, 5) {
            1 | 2 => writeln!(
                sql,
                "INSERT INTO pair VALUES ({a}, 'x:{b}', 'new') ON CONFLICT (a, b) DO UPDATE SET v = 'again {b}';"
            ),
            3 => writeln!(sql, "UPDATE pair SET v = NULL WHERE a = {a} AND b LIKE 'x:%{}';", b % 10),
            4 => writeln!(
                sql,
                "DELETE FROM pair WHERE b = 'moved:{b}'; UPDATE pair SET b = 'moved:{b}' WHERE b = 'x:{b}';"
            ),
            _ => writeln!(sql, "DELETE FROM pair WHERE a = {a} AND b > 'x:{b}';"),
        };
    }

    fn tiny(&mut self, sql: &mut String) {
        let id = self.random.within(1, 50);
        if self.random.chance(30) {
            sql.push_str("TRUNCATE tiny;\n");
        }
        let _ = writeln!(
            sql,
            "INSERT INTO tiny SELECT g, 'v{id}' FROM generate_series({id}, {id} + 10) g \
             ON CONFLICT (id) DO UPDATE SET v = tiny.v || '+';"
        );
        if self.random.chance(10) {
            sql.push_str("TRUNCATE tiny;\n");
        }
    }

    fn large(&mut self, sql: &mut String) {
        let from = self.random.within(1, BULK - 3_000);
        let to = from + self.random.within(500, 3_000);
        let _ = match self.random.within(1, 4) {
            1 | 2 => writeln!(
                sql,
                "INSERT INTO bulk SELECT g, 1, 'again ' || g FROM generate_series({from}, {to}) g \
                 ON CONFLICT (id) DO UPDATE SET n = bulk.n + 1;"
            ),
            3 => writeln!(sql, "UPDATE bulk SET n = n + 1, v = NULL WHERE id BETWEEN {from} AND {to};"),
            _ => writeln!(sql, "DELETE FROM bulk WHERE id BETWEEN {from} AND {to};"),
        };
    }
}
