//! Writes rows, lets the program carry them, and compares.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::columns::Column;
use super::random::Rng;
use super::spelling::Options;
use crate::harness::{Config, World};

pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    pub(super) options: Options,
    /// Compare with PostgreSQL's view of the value, not only the ways with each other.
    pub(super) settled: bool,
}

impl Table {
    /// Columns with the same name get a number.
    pub(super) fn new(name: &str, mut columns: Vec<Column>) -> Self {
        for (n, column) in columns.iter_mut().enumerate() {
            column.name = format!("c{n}{}", &column.name[1..]);
        }
        Self { name: name.to_owned(), columns, options: Options::default(), settled: true }
    }

    pub(super) fn options(self, options: Options) -> Self {
        Self { options, ..self }
    }

    fn names(&self) -> String {
        self.columns.iter().fold(String::new(), |names, c| names + ", " + &c.name)
    }

    fn create(&self) -> String {
        let mut sql = String::new();
        for column in &self.columns {
            sql += &column.before;
        }
        let _ = write!(sql, "CREATE TABLE {} (id int PRIMARY KEY, touched int", self.name);
        for column in &self.columns {
            let _ = write!(sql, ", {} {}", column.name, column.sql_type);
        }
        // All that can lie outside the row does, so that an update leaves it out.
        let _ = write!(
            sql,
            ") WITH (toast_tuple_target = 128); DO $$ DECLARE c name; BEGIN \
             FOR c IN SELECT attname FROM pg_attribute JOIN pg_type t ON t.oid = atttypid \
             WHERE attrelid = '{0}'::regclass AND attnum > 0 AND typstorage <> 'p' \
             LOOP EXECUTE format('ALTER TABLE {0} ALTER %I SET STORAGE EXTERNAL', c); END LOOP; END $$;",
            self.name
        );
        sql
    }
}

/// The ways of a value into Redis, by what is added to the id of the row that had it first.
const WAYS: [(&str, usize); 4] = [
    ("snapshot", 0),
    ("update", 1_000_000),
    ("insert", 2_000_000),
    ("snapshot, then an update elsewhere", 0),
];

type Hash = BTreeMap<Vec<u8>, Vec<u8>>;

/// Brings random rows into Redis in every way and fails unless they are as they should be.
#[track_caller]
pub(super) fn check(world: &World, source_url: Option<String>, tables: &[Table], seed: u64, rows: usize) {
    // Shown when the test fails.
    println!("TEST_VALUES_SEED={seed} TEST_VALUES_ROWS={rows}");
    let mut rng = Rng::new(seed);
    let mut written = Vec::new();
    for table in tables {
        world.sql(&table.create());
        written.push(insert(world, table, rows, &mut rng));
    }
    let yaml: String =
        tables.iter().map(|t| format!("public.{}: {{ type: hash{} }}\n", t.name, t.options.yaml())).collect();
    world.configure(&Config { source_url, tables: &yaml, ..Config::default() });
    world.once();
    let read = |way: usize| -> Vec<Vec<Hash>> {
        tables.iter().map(|t| hashes(world, &t.name, WAYS[way].1, rows)).collect()
    };
    let mut found = vec![read(0)];
    for Table { name, columns, .. } in tables {
        let (all, set) = (tables.iter().find(|t| t.name == *name).unwrap().names(), assignments(columns));
        world.sql(&format!(
            "INSERT INTO {name} (id{all}) SELECT id + {} {all} FROM {name} WHERE id <= {rows};
             UPDATE {name} u SET {set} FROM {name} o WHERE u.id = o.id + {} AND o.id <= {rows};
             UPDATE {name} SET touched = 1 WHERE id <= {rows}",
            WAYS[2].1, WAYS[1].1,
        ));
    }
    world.run_until_caught_up();
    found.extend([read(1), read(2), read(3)]);

    let mut failures = Failures::default();
    for (t, table) in tables.iter().enumerate() {
        let expected = expected(world, table, rows);
        for row in 0..rows {
            for (way, hashes) in found.iter().enumerate() {
                let place = format!("{} row {} by {}", table.name, row + 1, WAYS[way].0);
                let first = &found[0][t][row];
                compare(table, &expected[row], &hashes[t][row], first, &mut |column, words| {
                    let value = column.map_or("", |c| &written[t][row][c]);
                    failures.add(t, column, format!("{place}: {words}\n      written as {value:.300}"));
                });
            }
        }
    }
    failures.report(world);
}

/// What went wrong: for each column the first two in words, and how many there are.
#[derive(Default)]
struct Failures(BTreeMap<(usize, Option<usize>), (usize, Vec<String>)>);

impl Failures {
    fn add(&mut self, table: usize, column: Option<usize>, words: String) {
        let (count, first) = self.0.entry((table, column)).or_default();
        *count += 1;
        if first.len() < 2 {
            first.push(words);
        }
    }

    #[track_caller]
    fn report(&self, world: &World) {
        let list = self.0.values().take(30).fold(String::new(), |list, (count, first)| {
            format!("{list}\n  {count} times: {}", first.join("\n    and "))
        });
        let columns = self.0.len();
        assert!(columns == 0, "{columns} columns are not as they should be:{list}\n{}", world.story());
    }
}

/// Rows 1.. with the values, and the rows that will be updated to them, now with the next row's.
fn insert(world: &World, table: &Table, rows: usize, rng: &mut Rng) -> Vec<Vec<String>> {
    let mut written = Vec::new();
    let mut statements = String::new();
    let (name, all) = (&table.name, table.names());
    for row in 0..rows {
        let values: Vec<String> = table.columns.iter().map(|c| c.value(row, rng)).collect();
        let _ =
            writeln!(statements, "INSERT INTO {name} (id{all}) VALUES ({}, {});", row + 1, values.join(", "));
        written.push(values);
    }
    let _ = write!(
        statements,
        "INSERT INTO {name} (id{all}) SELECT {} + id % {rows} + 1 {all} FROM {name}",
        WAYS[1].1
    );
    let done = world.with_postgres(|client| client.batch_execute(&statements));
    if done.is_err() {
        find_the_culprit(world, table, &written);
    }
    done.unwrap();
    written
}

/// One by one, to say which of thousands of values PostgreSQL does not take.
fn find_the_culprit(world: &World, table: &Table, written: &[Vec<String>]) {
    for (c, column) in table.columns.iter().enumerate() {
        for value in written.iter().map(|row| &row[c]) {
            let taken = world.with_postgres(|client| client.batch_execute(&format!("SELECT {value}")));
            if let Err(e) = taken {
                panic!("{column:?} does not take {value:.2000}: {:?}", e.as_db_error());
            }
        }
    }
}

fn assignments(columns: &[Column]) -> String {
    columns.iter().map(|Column { name, .. }| format!("{name} = o.{name}")).collect::<Vec<_>>().join(", ")
}

fn hashes(world: &World, table: &str, offset: usize, rows: usize) -> Vec<Hash> {
    let mut pipe = redis::pipe();
    for row in 1..=rows {
        pipe.cmd("HGETALL").arg(format!("{table}:{}", offset + row));
    }
    world.with_redis(|redis| pipe.query(redis)).unwrap()
}

/// PostgreSQL's view of each value.
fn expected(world: &World, table: &Table, rows: usize) -> Vec<Vec<Option<String>>> {
    let view = |c: &Column| {
        let Column { name, spelling, .. } = c;
        format!("CASE WHEN {name} IS DISTINCT FROM NULL THEN {} END", spelling.field(name, table.options))
    };
    let views: Vec<String> = table.columns.iter().map(view).collect();
    world.rows(&format!("SELECT {} FROM {} WHERE id <= {rows} ORDER BY id", views.join(", "), table.name))
}

fn compare(
    table: &Table,
    expected: &[Option<String>],
    found: &Hash,
    first: &Hash,
    fail: &mut impl FnMut(Option<usize>, String),
) {
    let own = 1 + usize::from(found.contains_key(&b"touched"[..]));
    let mut known = own;
    for (c, (column, expected)) in table.columns.iter().zip(expected).enumerate() {
        let field = column.name.as_bytes();
        let (found, first) = (found.get(field), first.get(field));
        known += usize::from(found.is_some());
        if found != first {
            fail(Some(c), format!("{column:?} is {}, from the snapshot {}", show(found), show(first)));
        }
        let raw = column.spelling.is_bytes() && table.options.binary == "raw";
        let empty = (table.options.nulls == "empty").then_some("");
        let same = match (expected.as_deref().or(empty), found) {
            _ if !table.settled => true,
            (None, None) => true,
            (Some(expected), Some(found)) if raw => hex(found) == expected,
            (Some(expected), Some(found)) if expected.as_bytes() == found => true,
            (Some(expected), Some(found)) if column.spelling.is_json() => {
                tokens(found).is_some_and(|found| Some(found) == tokens(expected.as_bytes()))
            }
            _ => false,
        };
        if !same {
            let expected = expected.as_ref().map(|e| e.clone().into_bytes());
            fail(Some(c), format!("{column:?} is {}, should be {}", show(found), show(expected.as_ref())));
        }
    }
    if known != found.len() {
        fail(None, format!("{} fields, of which {known} are the table's", found.len()));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn show(value: Option<&Vec<u8>>) -> String {
    value.map_or("absent".to_owned(), |v| format!("{:.400}", format!("{:?}", String::from_utf8_lossy(v))))
}

/// A JSON text without blanks, each string read, each number as it is spelled. None when it is none.
pub(super) fn tokens(json: &[u8]) -> Option<Vec<String>> {
    let _: serde::de::IgnoredAny = serde_json::from_slice(json).ok()?;
    let text = std::str::from_utf8(json).ok()?;
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => {
                let bytes = rest.as_bytes();
                let mut end = 1;
                while bytes[end] != b'"' {
                    end += 1 + usize::from(bytes[end] == b'\\');
                }
                end + 1
            }
            '[' | ']' | '{' | '}' | ',' | ':' => 1,
            _ => rest.find(['[', ']', '{', '}', ',', ':', ' ', '\n', '\r', '\t']).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(end);
        tokens.push(match first {
            // Marked, so that "1" is not 1.
            '"' => format!("\"{}", serde_json::from_str::<String>(token).ok()?),
            _ => token.to_owned(),
        });
        rest = after.trim_start();
    }
    Some(tokens)
}
