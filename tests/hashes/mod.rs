//! What the stream makes of every kind of change to a table, in hashes.
//!
//! A test starts the program on empty or small tables, changes them, and then compares every row
//! with every key. [`Live::settle`] tells when everything that was committed has been applied, so
//! that a comparison can't pass by coming too early.

mod changes;
mod definitions;
mod failures;
mod identities;
mod keys;
mod names;
mod outputs;
mod partitions;
mod positions;
mod transactions;
mod truncate;
pub(crate) mod wide;

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use crate::harness::{Config, Connector, World};

/// A world whose tables are being streamed.
pub(crate) struct Live<'a> {
    pub(crate) world: &'a World,
    pub(crate) connector: Connector,
    marks: Cell<u32>,
}

impl<'a> Live<'a> {
    /// Captures every table there is.
    pub(crate) fn begin(world: &'a World) -> Self {
        Self::with(world, &Config::default())
    }

    /// Captures with these lines under `tables:`.
    pub(crate) fn tables(world: &'a World, tables: &str) -> Self {
        Self::with(world, &Config { tables, ..Config::default() })
    }

    pub(crate) fn with(world: &'a World, config: &Config<'_>) -> Self {
        let live = Self::start(world, config);
        live.settle();
        live
    }

    /// Does not wait for the snapshot.
    pub(crate) fn start(world: &'a World, config: &Config<'_>) -> Self {
        world.sql("CREATE TABLE marker (n int PRIMARY KEY)");
        let lines: Vec<&str> = config.tables.lines().filter(|line| !line.trim().is_empty()).collect();
        let indentation = lines.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
        let marker = format!("{}public.marker: {{ type: hash }}", " ".repeat(indentation));
        let tables = match lines.as_slice() {
            [] => String::new(),
            lines => format!("{}\n{marker}\n", lines.join("\n")),
        };
        world.configure(&Config { tables: &tables, ..config.clone() });
        Live { world, connector: world.run(), marks: Cell::new(0) }
    }

    /// The program was ended by the test, and is started again.
    pub(crate) fn start_again(&mut self) {
        self.connector = self.world.run();
    }

    /// Waits until everything that was committed before is in Redis: transactions are applied in the
    /// order of their commits, so one more row of a table of ours tells.
    #[track_caller]
    pub(crate) fn settle(&self) {
        // Not before the stream begins: a snapshot would have the row of before the other changes.
        self.world.eventually("it streams", || self.connector.log_contains("streaming from"));
        let mark = self.marks.get() + 1;
        self.marks.set(mark);
        self.world.sql(&format!("INSERT INTO marker VALUES ({mark})"));
        let key = format!("marker:{mark}");
        self.world.eventually("the marker is in Redis", || self.world.redis(&["EXISTS", &key]));
        // What is read again meanwhile comes by another way.
        let checkpoint = format!("redis-connect-postgres:{}:checkpoint", self.world.name);
        self.world.eventually("tables are read", || {
            let fields: Vec<String> = self.world.redis(&["HVALS", &checkpoint]);
            let is_unread = |field: &String| {
                field.contains("\"complete\":false") && !field.contains("was not captured for a while")
            };
            !fields.iter().any(is_unread)
        });
    }

    /// Runs statements and waits until Redis has what they did.
    #[track_caller]
    pub(crate) fn sql(&self, statements: &str) {
        self.world.sql(statements);
        self.settle();
    }
}

impl Deref for Live<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        self.world
    }
}

/// A session that changes rows in the background until it is told to stop, or its test ends.
#[derive(Debug)]
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u32>>,
}

impl Writer {
    /// Runs these statements for 0, 1, 2, …
    pub(crate) fn begin(world: &World, statements: impl Fn(u32) -> String + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut client = world.client();
        let thread = thread::spawn(move || {
            let mut count = 0;
            while !stopped.load(Relaxed) {
                client.batch_execute(&statements(count)).unwrap();
                count += 1;
            }
            count
        });
        Self { stop, thread: Some(thread) }
    }

    /// How many times it has run its statements.
    pub(crate) fn stop(mut self) -> u32 {
        self.stop.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits until nobody reads the slot: PostgreSQL notices the end of its reader a moment later.
pub(crate) fn wait_until_free(world: &World) {
    let slot = world.slot();
    let active = format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}' AND active");
    world.eventually("the slot is free", || world.value::<i64>(&active) == 0);
}

/// Text that does not compress, so that it is stored outside its row.
pub(crate) fn large(seed: i32, column: &str) -> String {
    format!("(SELECT string_agg(md5('{seed} {column} ' || i), '') FROM generate_series(1, 200) i)")
}
