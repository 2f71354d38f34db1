//! Applications: several connections that change rows in every way there is, all at once.
//!
//! What each of them tries is made from the seed alone; what comes of it depends on who was quicker.
//! Transactions fail by locks, deadlocks, columns that are gone and servers that die, and are then
//! rolled back: only the history knows what happened.
//!
//! Keys come from a small range on purpose: rows are deleted, inserted again and moved over each
//! other's former keys all the time, which is what a repeated or forgotten change would show in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use postgres::{Client, NoTls};

use crate::faults::Random;
use crate::harness::World;

/// Threads that write until they are stopped.
#[derive(Debug)]
pub(super) struct Writers {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

const CONNECTIONS: u64 = 4;

impl Writers {
    pub(super) fn start(world: &World, seed: u64) -> Self {
        let (stop, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writer = |number| {
            let mut writer = Writer {
                url: world.source_url(),
                client: None,
                random: Random::new(seed.wrapping_mul(1_000).wrapping_add(number)),
                stop: Arc::clone(&stop),
                committed: Arc::clone(&committed),
            };
            thread::spawn(move || {
                while !writer.stop.load(Relaxed) {
                    writer.write();
                }
            })
        };
        let threads = (0..CONNECTIONS).map(writer).collect();
        Self { stop, committed, threads }
    }

    /// Returns how many transactions were committed when the last one is over.
    pub(super) fn stop(mut self) -> u64 {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            assert!(thread.join().is_ok(), "a writer failed");
        }
        self.committed.load(Relaxed)
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Writer {
    url: String,
    client: Option<Client>,
    random: Random,
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
}

impl Writer {
    /// One transaction, or several small ones.
    fn write(&mut self) {
        match self.random.within(1, 100) {
            1..=38 => {
                let statements = self.statements(1, 4);
                self.at_once(&statements);
            }
            39..=58 => self.long(),
            59..=68 => {
                for _ in 0..self.random.within(5, 25) {
                    let statement = self.statement();
                    self.at_once(&statement);
                }
            }
            69..=75 => {
                let large = self.large();
                self.at_once(&large);
            }
            76..=84 => {
                let parts = [
                    self.statements(0, 2),
                    "SAVEPOINT a;".to_owned(),
                    self.statements(1, 3),
                    "SAVEPOINT b;".to_owned(),
                    self.statements(1, 2),
                    (*self.choose(&["ROLLBACK TO a;", "ROLLBACK TO b;", "RELEASE a;"])).to_owned(),
                    self.statements(0, 2),
                ];
                self.at_once(&parts.concat());
            }
            85..=89 => {
                let statements = self.statements(1, 3);
                self.at_once(&(statements + "ROLLBACK; BEGIN;"));
            }
            90..=94 => {
                let truncate = self.truncate();
                let statements = self.statements(0, 2);
                let more = self.statements(0, 2);
                self.at_once(&(statements + &truncate + &more));
            }
            _ => {
                let change = self.definition();
                let around = if self.random.chance(50) {
                    [self.statements(0, 2), self.statements(1, 3)]
                } else {
                    Default::default()
                };
                self.at_once(&format!("{}{change}{}", around[0], around[1]));
            }
        }
        self.random.pause(1, 12);
    }

    /// Statement by statement, with time for the others between.
    fn long(&mut self) {
        let count = self.random.within(3, 8);
        if !self.run("BEGIN") {
            return;
        }
        let mut saved = false;
        for _ in 0..count {
            let statement = match self.random.within(1, 12) {
                1 | 2 => {
                    saved = true;
                    "SAVEPOINT s".to_owned()
                }
                3 if saved => "ROLLBACK TO s".to_owned(),
                4 if self.random.chance(25) => self.definition(),
                _ => self.statement(),
            };
            if !self.run(&statement) && (!saved || !self.run("ROLLBACK TO s")) {
                self.run("ROLLBACK");
                return;
            }
            self.random.pause(1, 60);
            if self.stop.load(Relaxed) {
                break;
            }
        }
        let end = if self.random.chance(85) { "COMMIT" } else { "ROLLBACK" };
        if self.run(end) && end == "COMMIT" {
            self.committed.fetch_add(1, Relaxed);
        }
    }

    fn at_once(&mut self, statements: &str) {
        if self.run(&format!("BEGIN; {statements} COMMIT")) {
            self.committed.fetch_add(1, Relaxed);
        } else {
            self.run("ROLLBACK");
        }
    }

    /// False when it failed.
    fn run(&mut self, sql: &str) -> bool {
        if self.client.is_none() {
            self.connect();
        }
        let Some(client) = &mut self.client else { return false };
        let Err(error) = client.batch_execute(sql) else { return true };
        let state = error.code().map_or("", |code| code.code());
        assert!(state != "42601", "{sql}: {error:?}");
        if client.is_closed() {
            self.client = None;
        }
        false
    }

    fn connect(&mut self) {
        while !self.stop.load(Relaxed) {
            if let Ok(mut client) = Client::connect(&self.url, NoTls)
                && client.batch_execute("SET lock_timeout = '300ms'; SET client_min_messages = error").is_ok()
            {
                self.client = Some(client);
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn choose<'a>(&mut self, of: &'a [&'a str]) -> &'a str {
        of[self.random.within(0, of.len() as u64 - 1) as usize]
    }

    /// A value for a column that is stored out of line, inline or not at all.
    fn doc(&mut self) -> String {
        match self.random.within(1, 4) {
            1 => "NULL".to_owned(),
            2 => format!("'it''s short {}'", self.random.within(1, 1_000_000)),
            _ => format!("repeat(md5('{}'), 75)", self.random.next()),
        }
    }

    fn statements(&mut self, low: u64, high: u64) -> String {
        (0..self.random.within(low, high)).map(|_| self.statement()).collect()
    }

    fn statement(&mut self) -> String {
        match self.random.within(1, 100) {
            1..=30 => self.account(),
            31..=48 => self.pair(),
            49..=68 => self.whole(),
            69..=84 => self.part(),
            85..=97 => self.swap(),
            _ => {
                let table = self.choose(&NAMES);
                let column = self.choose(&EXTRA);
                format!("UPDATE {table} SET {column} = '{}';", self.random.within(1, 99))
            }
        }
    }

    fn account(&mut self) -> String {
        let (id, other, n) =
            (self.random.within(1, 60), self.random.within(1, 60), self.random.within(1, 999));
        let doc = self.doc();
        match self.random.within(1, 12) {
            1..=3 => format!(
                "INSERT INTO account VALUES ({id}, {n}, 'w{n}', {doc}) ON CONFLICT (id) \
                 DO UPDATE SET n = account.n + 1, word = EXCLUDED.word, doc = EXCLUDED.doc;"
            ),
            4..=6 => format!(
                "UPDATE account SET n = n + 1, word = CASE WHEN id % 5 > 0 THEN 'u{n}' END \
                 WHERE id BETWEEN {id} AND {id} + 8;"
            ),
            7 => format!("UPDATE account SET doc = {doc} WHERE id = {id};"),
            8 => format!("DELETE FROM account WHERE id BETWEEN {id} AND {id} + 2;"),
            9 => format!(
                "DELETE FROM account WHERE id = {other}; UPDATE account SET id = {other} WHERE id = {id};"
            ),
            10 => format!(
                "UPDATE account SET id = -1 WHERE id = {id}; UPDATE account SET id = {id}, n = n + 1 \
                 WHERE id = {other}; UPDATE account SET id = {other} WHERE id = -1;"
            ),
            11 => format!(
                "DELETE FROM account WHERE id = {other}; UPDATE account SET id = {other} WHERE id = {id}; \
                 INSERT INTO account VALUES ({id}, {n}, 'in its place', {doc}) ON CONFLICT DO NOTHING;"
            ),
            _ => format!(
                "DELETE FROM account WHERE id BETWEEN {id} + 300 AND {id} + 305; \
                 UPDATE account SET id = id + 300 WHERE id BETWEEN {id} AND {id} + 5; \
                 UPDATE account SET id = id - 300, doc = {doc} WHERE id BETWEEN {id} + 300 AND {id} + 302;"
            ),
        }
    }

    fn pair(&mut self) -> String {
        let (a, b, n) = (self.random.within(0, 5), self.random.within(1, 15), self.random.within(1, 999));
        match self.random.within(1, 6) {
            1 | 2 => format!(
                "INSERT INTO pair VALUES ({a}, 'b:{b}', {n}, '50%') ON CONFLICT (a, b) DO UPDATE SET n = {n}, v = 'v{n}';"
            ),
            3 => format!("UPDATE pair SET n = CASE WHEN a % 2 > 0 THEN {n} END, v = NULL WHERE a = {a};"),
            4 => format!("DELETE FROM pair WHERE a = {a} AND b LIKE 'b:{}%';", b % 10),
            5 => format!(
                "DELETE FROM pair WHERE b = 'c%:{b}'; UPDATE pair SET b = 'c%:{b}' WHERE b = 'b:{b}' AND a < 4;"
            ),
            _ => format!(
                "DELETE FROM pair WHERE a = {a} AND b = 'b:{b}'; UPDATE pair SET a = {a} WHERE b = 'b:{b}' AND a = {};",
                (a + 1) % 6
            ),
        }
    }

    fn whole(&mut self) -> String {
        let (id, other, n) =
            (self.random.within(1, 50), self.random.within(1, 50), self.random.within(1, 999));
        let doc = self.doc();
        let grp = self.choose(&["'a'", "'b'", "'c'", "NULL"]);
        match self.random.within(1, 9) {
            1 | 2 => format!(
                "INSERT INTO whole VALUES ({id}, {grp}, {n}, 'w{n}', {doc}) ON CONFLICT (id) \
                 DO UPDATE SET grp = EXCLUDED.grp, n = EXCLUDED.n, doc = EXCLUDED.doc;"
            ),
            3 => format!("UPDATE whole SET grp = {grp} WHERE id BETWEEN {id} AND {id} + 4;"),
            4 => format!(
                "UPDATE whole SET n = CASE WHEN id % 4 > 0 THEN {n} END WHERE id BETWEEN {id} AND {id} + 4;"
            ),
            5 => format!("UPDATE whole SET word = 'u{n}' WHERE id = {id};"),
            6 => format!("UPDATE whole SET doc = {doc}, word = NULL WHERE id = {id};"),
            7 => format!("DELETE FROM whole WHERE id BETWEEN {id} AND {id} + 2;"),
            8 => format!(
                "DELETE FROM whole WHERE id = {other}; UPDATE whole SET id = {other} WHERE id = {id};"
            ),
            _ => format!(
                "UPDATE whole SET id = -1 WHERE id = {id}; UPDATE whole SET id = {id}, grp = {grp} WHERE id = {other}; \
                 UPDATE whole SET id = {other} WHERE id = -1;"
            ),
        }
    }

    fn part(&mut self) -> String {
        let (id, other, n) =
            (self.random.within(1, 60), self.random.within(1, 60), self.random.within(1, 999));
        let doc = self.doc();
        let region = self.choose(&["r0", "r1", "r2"]);
        match self.random.within(1, 8) {
            1 | 2 => format!(
                "INSERT INTO part VALUES ({id}, '{region}', {n}, {doc}) ON CONFLICT (id, region) \
                 DO UPDATE SET n = part.n + 1;"
            ),
            3 | 4 => format!("UPDATE part SET n = n + 1 WHERE id BETWEEN {id} AND {id} + 10;"),
            5 => format!("UPDATE part SET doc = {doc} WHERE id = {id};"),
            6 => format!("DELETE FROM part WHERE id = {id};"),
            7 => {
                format!("DELETE FROM part WHERE id = {other}; UPDATE part SET id = {other} WHERE id = {id};")
            }
            _ => format!(
                "DELETE FROM part WHERE id = {id} AND region = '{region}'; \
                 UPDATE part SET region = '{region}' WHERE id = {id} AND region = '{}';",
                if region == "r0" { "r1" } else { "r0" }
            ),
        }
    }

    fn swap(&mut self) -> String {
        let (id, n) = (self.random.within(1, 15), self.random.within(1, 999));
        let v = self.choose(&["'a'", "'b'", "NULL"]);
        match self.random.within(1, 6) {
            1 => format!("DELETE FROM swap WHERE id = {id}; INSERT INTO swap VALUES ({id}, {n}, {v});"),
            2 => format!("UPDATE swap SET id = 31 - id WHERE id IN ({id}, 31 - {id});"),
            3 => "UPDATE swap SET id = 21 - id WHERE id BETWEEN 1 AND 20;".to_owned(),
            4 => format!("UPDATE swap SET n = {n}, v = {v} WHERE id BETWEEN {id} AND {id} + 3;"),
            5 => format!(
                "UPDATE swap SET id = {id} WHERE id = {id} + 1; DELETE FROM swap WHERE id = {id} AND n % 2 = 0;"
            ),
            _ => format!("DELETE FROM swap WHERE id BETWEEN {id} AND {id} + 1;"),
        }
    }

    fn large(&mut self) -> String {
        let from = self.random.within(1_000, 1_100);
        let to = from + self.random.within(50, 250);
        match self.random.within(1, 4) {
            1 | 2 => format!(
                "INSERT INTO account SELECT g, 1, 'large', CASE WHEN g % 9 = 0 THEN repeat(md5(g::text), 75) END \
                 FROM generate_series({from}, {to}) g ON CONFLICT (id) DO UPDATE SET n = account.n + 1;"
            ),
            3 => format!("UPDATE account SET n = n + 1, word = NULL WHERE id BETWEEN {from} AND {to};"),
            _ => format!("DELETE FROM account WHERE id BETWEEN {from} AND {to};"),
        }
    }

    fn truncate(&mut self) -> String {
        let table = self.choose(&NAMES);
        match self.choose(&NAMES) {
            other if other != table && self.random.chance(60) => format!("TRUNCATE {table}, {other};"),
            _ => format!("TRUNCATE {table};"),
        }
    }

    fn definition(&mut self) -> String {
        let table = self.choose(&NAMES);
        let (column, other) = (self.choose(&EXTRA), self.choose(&EXTRA));
        let statement = match self.random.within(1, 10) {
            1 | 2 => format!("ALTER TABLE {table} ADD {column} int;"),
            3 => format!("ALTER TABLE {table} ADD {column} text DEFAULT 'default';"),
            4 => format!("ALTER TABLE {table} ADD {column} int NOT NULL DEFAULT 7;"),
            5 | 6 => format!("ALTER TABLE {table} DROP {column};"),
            7 => format!("ALTER TABLE {table} RENAME {column} TO {other};"),
            8 => format!("ALTER TABLE {table} ALTER {column} TYPE text;"),
            9 => format!("ALTER TABLE {table} ALTER n TYPE {};", self.choose(&["bigint", "int"])),
            _ => format!("ALTER TABLE {table} ADD {column} int, ADD {other} text DEFAULT 'both';"),
        };
        // A slot that is made while definitions change can be of no use: PostgreSQL 15 forgets which
        // transactions changed the catalog between its first and its second look at what is running,
        // and then can't decode what they wrote ("could not map filenode"), or by the old definition.
        format!(
            "DO $do$ BEGIN IF EXISTS (SELECT FROM pg_replication_slots WHERE plugin = 'pgoutput' AND \
             confirmed_flush_lsn IS NOT NULL) THEN {statement} END IF; END $do$;"
        )
    }
}

const NAMES: [&str; 5] = ["account", "pair", "whole", "part", "swap"];

/// Columns that come and go.
const EXTRA: [&str; 3] = ["x", "y", "z"];
