//! The streams against the history: every committed change once, in the order of the commits, and
//! nothing else.
//!
//! A transaction may be missing from a table's events for one reason only: the snapshot saw it. Which
//! ones it saw is not asked of the program: the rows that it read must be the rows that exactly the
//! missing transactions make.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::history::{Cell, Change, Op, Row, Rows, Transaction};
use super::reader::Reader;
use super::tables::{TABLES, Table, row_of_json};

/// An entry of a stream.
#[derive(Debug)]
struct Entry {
    lsn: u64,
    ordinal: u64,
    fields: BTreeMap<String, String>,
}

impl Entry {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("(absent)", String::as_str)
    }

    fn row(&self, name: &str) -> Option<Row> {
        self.fields.get(name).map(|text| row_of_json(text))
    }
}

fn entries(redis: &Reader<'_>, stream: &str) -> Vec<Entry> {
    if !redis.has(stream) {
        return Vec::new();
    }
    let found: Vec<(String, Vec<String>)> = redis.redis(&["XRANGE", stream, "-", "+"]);
    let entry = |(id, list): (String, Vec<String>)| {
        let (lsn, ordinal) = id.split_once('-').unwrap();
        let fields = list.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        Entry { lsn: lsn.parse().unwrap(), ordinal: ordinal.parse().unwrap(), fields }
    };
    found.into_iter().map(entry).collect()
}

/// A change with what the history knows of its row.
struct Known<'a> {
    change: &'a Change,
    /// The whole new row.
    row: Option<Row>,
}

/// What was found out of step; empty when all is as it must be.
pub(super) fn check(redis: &Reader<'_>, history: &[Transaction], interrupted: bool) -> Vec<String> {
    let all = entries(redis, "all");
    let mut checking = Checking { known: Vec::new(), violations: Vec::new() };
    let mut rows: BTreeMap<&str, Rows> = BTreeMap::new();
    for change in history.iter().flat_map(|transaction| &transaction.changes) {
        let row = rows.entry(change.table.name).or_default().apply(change);
        checking.known.push(Known { change, row });
    }
    let (read, streamed): (Vec<&Entry>, Vec<&Entry>) = all.iter().partition(|e| e.field("op") == "r");
    let missing = checking.in_order(&streamed, history);
    for table in &TABLES {
        let read: Vec<&Entry> =
            read.iter().copied().filter(|entry| entry.field("table") == table.name).collect();
        checking.snapshot(table, &read, history, &missing, interrupted);
        checking.snapshot_first(table, &all);
    }
    // Each stream of a cluster is at a server of its own: a batch of rows may have come to one of them only, when the
    // program was killed, and then comes once more.
    let rows = !(interrupted && redis.is_cluster());
    checking.other_formats(redis, &all, rows);
    checking.violations
}

/// What was found out of step where PostgreSQL could not decode its log, and all tables were read again:
/// the streams were told. (An instance that was killed meanwhile leaves the next one another reason.)
pub(super) fn check_gap(redis: &Reader<'_>) -> Vec<String> {
    let told = |entry: &Entry| entry.field("op") == "g";
    let all = entries(redis, "all");
    let untold = |table: &&Table| !all.iter().any(|e| told(e) && e.field("table") == table.name);
    TABLES.iter().filter(untold).map(|table| format!("the gap of {} is not told", table.name)).collect()
}

/// Transactions, by table, that have no event.
type Missing = BTreeMap<&'static str, BTreeSet<usize>>;

struct Checking<'a> {
    known: Vec<Known<'a>>,
    violations: Vec<String>,
}

impl Checking<'_> {
    /// Walks both in step.
    fn in_order(&mut self, streamed: &[&Entry], history: &[Transaction]) -> Missing {
        let mut missing = Missing::new();
        let mut rest = streamed;
        let mut first = 0;
        for (number, transaction) in history.iter().enumerate() {
            let is_other = |entry: &&Entry| entry.field("xid") != transaction.xid;
            let events;
            (events, rest) = rest.split_at(rest.iter().position(is_other).unwrap_or(rest.len()));
            let told: BTreeSet<&str> = events.iter().map(|entry| entry.field("table")).collect();
            let mut expected = Vec::new();
            for (place, change) in transaction.changes.iter().enumerate() {
                if told.contains(change.table.name) {
                    expected.push(place);
                } else {
                    missing.entry(change.table.name).or_default().insert(number);
                }
            }
            if events.len() != expected.len() {
                self.violations.push(format!(
                    "transaction {}: {} events for {} changes of {told:?}; events {events:?}, changes {:?}",
                    transaction.xid,
                    events.len(),
                    expected.len(),
                    transaction.changes
                ));
            }
            // The tables of one TRUNCATE have no order.
            let mut open: Vec<usize> = expected;
            for event in events {
                let is_truncated = |place: &usize| {
                    let change = &transaction.changes[*place];
                    change.op == Op::Truncate && change.table.name == event.field("table")
                };
                let at = if event.field("op") == "t" { open.iter().position(is_truncated) } else { Some(0) };
                let Some(at) = at.filter(|at| *at < open.len()) else {
                    self.violations.push(format!("no change for {event:?}"));
                    continue;
                };
                let place = open.remove(at);
                self.event(event, first + place);
                let truncated = transaction.changes[place].op == Op::Truncate;
                if event.ordinal != place as u64 + 1 && !truncated {
                    self.violations.push(format!("change {} of its transaction: {event:?}", place + 1));
                }
            }
            first += transaction.changes.len();
        }
        if let Some(event) = rest.first() {
            self.violations.push(format!(
                "{} events are of no committed transaction, or late: the first is {event:?}",
                rest.len()
            ));
        }
        missing
    }

    /// One event tells what the change was.
    fn event(&mut self, event: &Entry, at: usize) {
        let Known { change, row } = &self.known[at];
        let table = change.table;
        let op = match change.op {
            Op::Insert => "c",
            Op::Update => "u",
            Op::Delete => "d",
            Op::Truncate => "t",
        };
        let mut wrong = Vec::new();
        if (event.field("op"), event.field("table")) != (op, table.name) {
            wrong.push("another change".to_owned());
        }
        let key = change.key_now().or_else(|| change.old.as_ref().map(|old| table.key_of(old)));
        if event.fields.get("key") != key.as_ref() {
            wrong.push(format!("the key is {key:?}"));
        }
        let (before, after) = (event.row("before"), event.row("after"));
        let old = change.old.as_ref();
        // The log leaves NULLs out of old rows.
        let known =
            |cells: Option<Row>| cells.map(|row| row.into_iter().filter(|(_, v)| v.is_some()).collect());
        let old: Option<Row> = old.map(|tuple| {
            let text = |(name, cell): (&String, &Cell)| match cell {
                Cell::Text(text) => Some((name.clone(), Some(text.clone()))),
                _ => None,
            };
            tuple.iter().filter_map(text).collect()
        });
        if known(before) != old {
            wrong.push(format!("before is {old:?}"));
        }
        match (&after, row) {
            (None, None) => {}
            (Some(_), None) => wrong.push("there is no row after it".to_owned()),
            (None, Some(_)) => {
                let new = change.new.as_ref().unwrap();
                if !new.values().any(|cell| *cell == Cell::Unchanged) {
                    wrong.push("the row is told as a whole".to_owned());
                } else if !self.leaves_later(at) {
                    wrong.push("its row never left its key".to_owned());
                }
            }
            (Some(after), Some(row)) => {
                let names = |row: &Row| row.keys().cloned().collect::<Vec<_>>();
                if names(after) != names(row) {
                    wrong.push(format!("the columns are {:?}", names(row)));
                }
                for (name, value) in after.iter().filter(|(name, _)| row.contains_key(*name)) {
                    let unchanged = change.new.as_ref().unwrap()[name] == Cell::Unchanged && !table.full;
                    if *value != row[name] && !(unchanged && self.becomes(at, name, value)) {
                        wrong.push(format!("{name} is {:?}", row[name]));
                    }
                }
            }
        }
        if !wrong.is_empty() {
            self.violations.push(format!("{}: {event:?}\n  for {change:?}", wrong.join(", ")));
        }
    }

    /// Some later change takes the row away from the key that it has now.
    fn leaves_later(&self, at: usize) -> bool {
        let change = self.known[at].change;
        self.known[at + 1..].iter().any(|later| {
            later.change.table == change.table
                && (later.change.op == Op::Truncate || later.change.key_left() == change.key_now())
        })
    }

    /// Some later row under the same key has this value.
    fn becomes(&self, at: usize, column: &str, value: &Option<String>) -> bool {
        let change = self.known[at].change;
        self.known[at + 1..].iter().any(|later| {
            later.change.table == change.table
                && later.change.key_now() == change.key_now()
                && later.row.as_ref().is_some_and(|row| row.get(column) == Some(value))
        })
    }

    /// The rows that were read are what the missing transactions made.
    fn snapshot(
        &mut self,
        table: &'static Table,
        read: &[&Entry],
        history: &[Transaction],
        missing: &Missing,
        interrupted: bool,
    ) {
        let none = BTreeSet::new();
        let missing = missing.get(table.name).unwrap_or(&none);
        let mut rows = Rows::default();
        for &number in missing {
            for change in history[number].changes.iter().filter(|change| change.table == table) {
                rows.apply(change);
            }
        }
        let core = |row: &Row| table.core_of(row);
        let mut expected: Vec<Row> = rows.0.iter().map(core).collect();
        let mut found: Vec<Row> =
            read.iter().filter_map(|entry| entry.row("after")).map(|r| core(&r)).collect();
        expected.sort();
        found.sort();
        if expected == found {
            return;
        }
        if !interrupted {
            let surplus: Vec<&Row> = found.iter().filter(|row| !expected.contains(row)).take(3).collect();
            let lost: Vec<&Row> = expected.iter().filter(|row| !found.contains(row)).take(3).collect();
            self.violations.push(format!(
                "the snapshot of {} has {} rows, not {}; surplus {surplus:?}, missing {lost:?}; {} transactions \
                 have no event",
                table.name,
                found.len(),
                expected.len(),
                missing.len()
            ));
            return;
        }
        // Parts were read later than others: each row as it was then or has become since.
        let mut allowed: BTreeSet<Row> = expected.iter().cloned().collect();
        let mut left = BTreeSet::new();
        let mut truncated = false;
        let mut first = 0;
        for (number, transaction) in history.iter().enumerate() {
            for known in &self.known[first..first + transaction.changes.len()] {
                if known.change.table == table && !missing.contains(&number) {
                    allowed.extend(known.row.as_ref().map(core));
                    left.extend(known.change.key_left());
                    truncated |= known.change.op == Op::Truncate;
                }
            }
            first += transaction.changes.len();
        }
        let never: Vec<&Row> = found.iter().filter(|row| !allowed.contains(*row)).take(3).collect();
        if !never.is_empty() {
            let without: Vec<String> =
                missing.iter().map(|&number| format!("{number} (xid {})", history[number].xid)).collect();
            self.violations.push(format!(
                "the snapshot of {} has rows that never were: {never:?}; of {} transactions these have no event: {}",
                table.name,
                history.len(),
                without.join(", ")
            ));
        }
        let keys: BTreeSet<String> = found.iter().map(|row| table.key_of_row(row)).collect();
        for row in &expected {
            let key = table.key_of_row(row);
            if !keys.contains(&key) && !left.contains(&key) && !truncated {
                self.violations.push(format!("the snapshot of {} has no row {key}", table.name));
            }
        }
    }

    fn snapshot_first(&mut self, table: &Table, all: &[Entry]) {
        let mut of_table = all.iter().filter(|entry| entry.field("table") == table.name);
        let late = of_table.by_ref().skip_while(|e| e.field("op") == "r").find(|e| e.field("op") == "r");
        if let Some(event) = late {
            self.violations.push(format!("a row of a snapshot behind changes: {event:?}"));
        }
    }

    /// The other formats tell the same; with `rows`, also of rows of a snapshot.
    fn other_formats(&mut self, redis: &Reader<'_>, all: &[Entry], rows: bool) {
        let is_told = |op: &str| rows || op != "r";
        let of = |name: &'static str| {
            all.iter().filter(move |entry| entry.field("table") == name && is_told(entry.field("op")))
        };
        let mut flat = entries(redis, "flat");
        flat.retain(|entry| is_told(entry.field("op")));
        let same = |a: &Entry, b: &Entry| (a.lsn, a.ordinal) == (b.lsn, b.ordinal);
        for (index, event) in of("pair").enumerate() {
            let Some(found) = flat.get(index).filter(|found| same(found, event)) else {
                self.violations.push(format!("not in the flat stream as entry {index}: {event:?}"));
                break;
            };
            let mut expected: BTreeMap<String, String> = BTreeMap::new();
            for (name, value) in event.row("after").or(event.row("before")).unwrap_or_default() {
                expected.extend(value.map(|value| (name, value)));
            }
            expected.insert("op".to_owned(), event.field("op").to_owned());
            if found.fields != expected {
                self.violations.push(format!("flat: {found:?}, not {expected:?}"));
            }
        }
        let mut debezium = entries(redis, "debezium");
        debezium.retain(|entry| rows || !entry.field("value").contains(r#""op":"r""#));
        let mut told = debezium.iter();
        for event in of("whole") {
            let (before, after) = (event.row("before"), event.row("after"));
            let key = |row: &Option<Row>| row.as_ref().map(|row| row["id"].clone());
            let moved = event.field("op") == "u" && key(&before) != key(&after);
            let parts: &[_] = match event.field("op") {
                _ if moved => &[("d", before, None), ("c", None, after)],
                op => &[(op, before, after)],
            };
            for (op, before, after) in parts {
                let Some(found) = told.next() else {
                    self.violations.push(format!("debezium: nothing for {event:?}"));
                    return;
                };
                let value: Value = serde_json::from_str(found.field("value")).unwrap();
                let row = |name: &str| {
                    let row = &value[name];
                    (!row.is_null()).then(|| row_of_json(&row.to_string()))
                };
                if found.lsn != event.lsn
                    || found.ordinal / 2 != event.ordinal
                    || value["op"].as_str() != Some(op)
                    || (&row("before"), &row("after")) != (before, after)
                {
                    self.violations.push(format!("debezium: {found:?}\n  for {event:?}"));
                    return;
                }
            }
        }
        if flat.len() != of("pair").count() || told.next().is_some() {
            self.violations.push("there are entries in other formats that are of no change".to_owned());
        }
    }
}
