//! What Redis carried out, in order, and whether that is what exactly-once means.
//!
//! `MONITOR` names every command when it is executed, also those of a transaction, and none of a
//! transaction that was refused. From the checkpoints and the counters among them follows:
//!
//! - the batches are numbered one after the other, and none is missing;
//! - the position never goes back, inside a large transaction neither;
//! - when the epoch was raised, no batch of an earlier one follows;
//! - every increment of a counter is written exactly once, except that the changes of the last batch may
//!   be done again, all of them and in one batch that reaches at least as far.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::harness::World;

/// What is expected of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Each number follows the one before.
    Strict,
    /// A snapshot was interrupted: some rows can be ahead of the stream for a while.
    Converging,
}

/// Listens until it is dropped; made before the program is started.
#[derive(Debug)]
pub(crate) struct Journal {
    stop: Arc<AtomicBool>,
    record: Arc<Mutex<Record>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Record {
    name: String,
    order: Order,
    /// The connection was lost: what is missing may have been carried out.
    gap: bool,
    counter_gaps: [bool; 2],
    last: Option<Batch>,
    /// The epoch as it was raised last.
    epoch: u64,
    counters: [Option<u64>; 2],
    /// What they were before the last batch.
    counters_before: [Option<u64>; 2],
    /// What the batch that is being read says of them.
    counted: Vec<(usize, u64)>,
    marks: Vec<String>,
    batches: u64,
    split: u64,
    violations: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Batch {
    number: u64,
    epoch: u64,
    /// Commit position and ordinal: larger is later.
    position: (u64, u64),
    /// Where its changes begin.
    before: (u64, u64),
}

impl Journal {
    pub(crate) fn begin(world: &World, order: Order) -> Self {
        let record = Record {
            name: world.name.clone(),
            order,
            gap: false,
            counter_gaps: [false; 2],
            last: None,
            epoch: 0,
            counters: [None; 2],
            counters_before: [None; 2],
            counted: Vec::new(),
            marks: Vec::new(),
            batches: 0,
            split: 0,
            violations: Vec::new(),
        };
        let (stop, record) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(record)));
        let (port, stopped, recorded) = (world.redis_port(), Arc::clone(&stop), Arc::clone(&record));
        let mut lines = listen(port).unwrap();
        let thread = thread::spawn(move || {
            let mut line = Vec::new();
            while !stopped.load(Relaxed) {
                // A time-out leaves the first part of a line, to be continued.
                match lines.read_until(b'\n', &mut line) {
                    Ok(1..) if line.ends_with(b"\n") => {
                        recorded.lock().unwrap().take(&String::from_utf8_lossy(&line));
                        line.clear();
                    }
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    _ => {
                        recorded.lock().unwrap().miss_some();
                        line.clear();
                        match listen(port) {
                            Ok(again) => lines = again,
                            Err(_) => thread::sleep(Duration::from_millis(2)),
                        }
                    }
                }
            }
        });
        Self { stop, record, thread: Some(thread) }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    /// Batches so far.
    pub(crate) fn batches(&self) -> u64 {
        self.record().batches
    }

    /// Batches so far that ended inside a transaction.
    pub(crate) fn split(&self) -> u64 {
        self.record().split
    }

    /// The epoch of the last batch; 0 when there is none.
    pub(crate) fn epoch(&self) -> u64 {
        self.record().last.map_or(0, |batch| batch.epoch)
    }

    /// Waits until so many more batches are written.
    #[track_caller]
    pub(crate) fn goes_on(&self, world: &World, more: u64) {
        let enough = self.batches() + more;
        world.eventually("batches are written", || self.batches() >= enough);
    }

    /// Reads everything up to now and fails if something is not as it must be.
    #[track_caller]
    pub(crate) fn check(&self, world: &World) {
        let mark = format!("mark-{}", self.record().marks.len());
        world.redis::<String>(&["ECHO", &mark]);
        world.eventually("the journal is read", || self.record().marks.contains(&mark));
        let record = self.record();
        let first: Vec<&String> = record.violations.iter().take(10).collect();
        let (count, batches) = (record.violations.len(), record.batches);
        assert!(count == 0, "{count} violations in {batches} batches: {first:#?}\n{}", world.story());
        assert!(batches > 0, "no batch was seen");
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(port: u16) -> std::io::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    stream.write_all(b"MONITOR\r\n")?;
    let mut lines = BufReader::with_capacity(1 << 18, stream);
    let mut line = String::new();
    loop {
        match lines.read_line(&mut line) {
            // -LOADING, or the end.
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) if line == "+OK\r\n" => return Ok(lines),
            Ok(_) => return Err(std::io::Error::other(line)),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
}

impl Record {
    fn take(&mut self, line: &str) {
        // +1339518083.107412 [0 127.0.0.1:60866] "HSET" "counter:1" "id" "1" "n" "5"
        let Some((_, command)) = line.split_once("] ") else { return };
        if command.starts_with("\"HSET\" \"counter:") {
            self.counter(&words(command));
        } else if command.starts_with("\"HSET\" \"redis-connect-postgres:") {
            self.batch(&words(command));
        } else if command.starts_with("\"INCR\" \"redis-connect-postgres:") {
            // The number itself is not shown; it begins with 1.
            self.epoch += 1;
        } else if command.starts_with("\"ECHO\"") {
            self.marks.extend(words(command).get(1).cloned());
        }
    }

    fn miss_some(&mut self) {
        self.gap = true;
        self.counted.clear();
        self.counter_gaps = [true; 2];
    }

    fn batch(&mut self, words: &[String]) {
        if words[1] != format!("redis-connect-postgres:{}:checkpoint", self.name) {
            return;
        }
        let field = |name: &str| words[2..].chunks(2).find(|pair| pair[0] == name).map(|pair| &*pair[1]);
        let number = |name: &str| field(name).unwrap().parse::<u64>().unwrap();
        let ordinal = number("ordinal");
        let lsn = field(if ordinal > 0 { "split" } else { "lsn" }).unwrap();
        let epoch = number("epoch");
        let before = match *field("before").unwrap().split(' ').collect::<Vec<_>>() {
            [lsn] => (lsn_number(lsn), 0),
            [_, lsn, ordinal] => (lsn_number(lsn), ordinal.parse().unwrap()),
            _ => panic!("{words:?}"),
        };
        let batch = Batch { number: number("batch"), epoch, position: (lsn_number(lsn), ordinal), before };
        let repeats = self.last.is_some_and(|last| batch.before < last.position);
        self.count(repeats);
        if let Some(last) = self.last {
            let follows = if self.gap { batch.number > last.number } else { batch.number == last.number + 1 };
            // Sent once more, since its replies were lost.
            let again =
                batch.number == last.number && (batch.position, batch.before) == (last.position, last.before);
            if repeats && batch.before != last.before && !self.gap {
                let (before, expected) = (batch.before, last.before);
                self.violate(format!(
                    "changes since {before:x?} are done again, not those since {expected:x?}"
                ));
            }
            if !follows && !again {
                self.violate(format!("batch {} after batch {}", batch.number, last.number));
            }
            if batch.position < last.position {
                let words = words[2..10].join(" ");
                self.violate(format!("position {:x?} after {:x?}: {words}", batch.position, last.position));
            }
        }
        if epoch < self.epoch {
            self.violate(format!("batch {} of epoch {epoch} in epoch {}", batch.number, self.epoch));
        }
        self.epoch = self.epoch.max(epoch);
        self.batches += 1;
        self.split += u64::from(ordinal > 0);
        self.gap = false;
        self.last = Some(batch);
    }

    fn counter(&mut self, words: &[String]) {
        let index = if words[1] == "counter:1" { 0 } else { 1 };
        let place = words.iter().position(|word| word == "n").unwrap();
        self.counted.push((index, words[place + 1].parse().unwrap()));
    }

    /// The counters of a batch that has been read to its end.
    fn count(&mut self, repeats: bool) {
        let counted = std::mem::take(&mut self.counted);
        if counted.is_empty() {
            if !repeats {
                self.counters_before = self.counters;
            }
            return;
        }
        let mut counters = if repeats { self.counters_before } else { self.counters };
        self.counters_before = counters;
        for (index, n) in counted {
            if let (Order::Strict, Some(last)) = (self.order, counters[index]) {
                let follows = if self.counter_gaps[index] { n > last } else { n == last + 1 };
                if !follows {
                    self.violate(format!("counter {} is {n} after {last}", index + 1));
                }
            }
            counters[index] = Some(n);
            self.counter_gaps[index] = false;
        }
        self.counters = counters;
    }

    fn violate(&mut self, words: String) {
        self.violations.push(words);
    }
}

/// `0/1A2B3C` as a number.
pub(crate) fn lsn_number(lsn: &str) -> u64 {
    let (high, low) = lsn.split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}

/// The arguments of a command as MONITOR quotes them.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = command.chars();
    while chars.by_ref().any(|c| c == '"') {
        let mut word = String::new();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => word.extend(chars.next()),
                _ => word.push(c),
            }
        }
        words.push(word);
    }
    words
}
