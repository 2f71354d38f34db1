//! Every type's values: random ones and those that are known to be hard, from the snapshot, from an
//! INSERT and from an UPDATE, compared with each other and with PostgreSQL's own view of them.
//!
//! ```text
//!  row n       ── snapshot ─────────────────────────> hash ─┐
//!  row n + 1M  ── snapshot of other values, UPDATE ──> hash ─┼─ all the same, and what SQL says
//!  row n + 2M  ── INSERT ───────────────────────────> hash ─┤
//!  row n again ── UPDATE of another column ─────────> hash ─┘
//! ```
//!
//! `TEST_VALUES_SEED` and `TEST_VALUES_ROWS` repeat a run or make a longer one; a test that fails
//! prints what it had.

mod check;
mod columns;
mod exact;
mod random;
mod spelling;
mod structures;
mod types;

use std::time::{SystemTime, UNIX_EPOCH};

use self::check::{Table, check};
use self::columns::Column;
use self::spelling::{FUNCTIONS, Options};
use crate::harness::{World, skip};

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

fn seed() -> u64 {
    let now = || u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos());
    variable("TEST_VALUES_SEED").unwrap_or_else(now)
}

fn rows() -> usize {
    usize::try_from(variable("TEST_VALUES_ROWS").unwrap_or(40)).unwrap()
}

/// A world that has the types and the functions.
fn world() -> World {
    let world = World::new();
    world.sql("SET jit = off");
    world.sql(FUNCTIONS);
    world.sql(types::OWN_TYPES);
    // What names of things are names of.
    world.sql(
        "CREATE SCHEMA hidden; CREATE TABLE hidden.thing (); CREATE TABLE \"Öd d\" (); \
         CREATE TYPE hidden.kind AS (); \
         CREATE FUNCTION hidden.work(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    );
    world
}

/// Each type by itself, and in domains and arrays.
fn all(world: &World) -> Vec<Table> {
    let version = world.postgres_version();
    let groups = [
        ("numbers", types::numbers(version)),
        ("texts", types::texts()),
        ("others", types::others(version)),
        ("ranges", types::ranges(version)),
        ("times", types::times(version)),
        ("bytes", types::bytes()),
        ("documents", types::documents()),
    ];
    let mut tables = Vec::new();
    for (name, columns) in groups {
        tables.push(Table::new(&format!("{name}_in_disguise"), disguised(&columns)));
        tables.push(Table::new(name, columns));
    }
    tables.push(Table::new("names", types::names()));
    tables
}

fn disguised(columns: &[Column]) -> Vec<Column> {
    // These are arrays themselves for ARRAY[…].
    let plain = columns.iter().filter(|c| !matches!(c.sql_type.as_str(), "int2vector" | "oidvector"));
    plain.flat_map(Column::disguised).collect()
}

#[test]
fn every_value_is_what_postgresql_says_from_snapshot_and_stream() {
    let world = world();
    check(&world, None, &all(&world), seed(), rows());
}

#[test]
fn settings_of_role_and_database_change_nothing() {
    let world = world();
    let role = format!("role_{}", world.name);
    world.sql(&format!("CREATE ROLE {role} SUPERUSER LOGIN REPLICATION"));
    // Where the server knows another currency than none, both ways must write the same one.
    let known = "SELECT count(*) FROM pg_collation WHERE collcollate LIKE 'de_DE.utf8%'";
    let german = world.value::<u32>(known) > 0;
    for (setting, value) in [
        ("DateStyle", "'German, DMY'"),
        ("IntervalStyle", "postgres_verbose"),
        ("TimeZone", "'America/St_Johns'"),
        ("bytea_output", "escape"),
        ("extra_float_digits", "-15"),
        ("lc_monetary", if german { "'de_DE.utf8'" } else { "'C'" }),
        ("lc_numeric", if german { "'de_DE.utf8'" } else { "'C'" }),
        ("xmloption", "document"),
        ("xmlbinary", "hex"),
        ("search_path", "hidden, nowhere"),
        ("standard_conforming_strings", "off"),
        ("backslash_quote", "off"),
        ("quote_all_identifiers", "on"),
        ("array_nulls", "off"),
        ("client_encoding", "latin1"),
        ("default_transaction_isolation", "serializable"),
    ] {
        world.sql(&format!("ALTER ROLE {role} SET {setting} = {value}"));
    }
    for (setting, value) in [
        ("DateStyle", "'SQL, MDY'"),
        ("IntervalStyle", "sql_standard"),
        ("TimeZone", "'Asia/Kathmandu'"),
        ("bytea_output", "escape"),
        ("extra_float_digits", "0"),
    ] {
        world.sql(&format!("ALTER DATABASE {} SET {setting} = {value}", world.name));
    }
    let mut tables = all(&world);
    for table in &mut tables {
        // A currency and the search path are the role's business; all ways must still agree.
        table.settled = table.name != "names" && !(german && table.name.starts_with("others"));
    }
    let url = world.source_url().replacen("postgres@", &format!("{role}@"), 1);
    check(&world, Some(url), &tables, seed(), rows().div_ceil(2));
}

#[test]
fn value_options_apply_everywhere() {
    let world = world();
    let version = world.postgres_version();
    let mut tables = Vec::new();
    for (name, options) in [
        ("ms", Options { timestamps: "epoch_ms", ..Options::default() }),
        ("us", Options { timestamps: "epoch_us", ..Options::default() }),
        ("hex", Options { binary: "hex", ..Options::default() }),
        ("raw", Options { binary: "raw", ..Options::default() }),
        ("decimals", Options { decimals: "number", ..Options::default() }),
        ("empty", Options { nulls: "empty", ..Options::default() }),
        (
            "all_at_once",
            Options { timestamps: "epoch_us", binary: "raw", decimals: "number", nulls: "empty" },
        ),
        ("defaults", Options { timestamps: "iso", binary: "base64", decimals: "string", nulls: "omit" }),
    ] {
        let columns = [types::times(version), types::bytes(), types::numbers(version)].concat();
        let columns = [disguised(&columns), columns].concat();
        tables.push(Table::new(name, columns).options(options));
    }
    check(&world, None, &tables, seed(), rows().div_ceil(2));
}

/// All in one schema that is in nobody's search path.
#[test]
fn types_of_extensions() {
    const EXTENSIONS: [&str; 7] = ["hstore", "citext", "ltree", "cube", "seg", "isn", "lo"];
    let world = world();
    let missing: Vec<&str> = EXTENSIONS.into_iter().filter(|name| !available(&world, name)).collect();
    if !missing.is_empty() {
        skip!("PostgreSQL has no extension {}; Debian has them in postgresql-contrib", missing.join(", "));
    }
    // For the test's own SQL; the program does not get to see it.
    world.sql("CREATE SCHEMA ext; SET search_path = public, ext");
    let mut tables = Vec::new();
    for name in EXTENSIONS {
        world.sql(&format!("CREATE EXTENSION {name} SCHEMA ext"));
        let columns = types::extension(name);
        tables.push(Table::new(&format!("of_{name}"), [disguised(&columns), columns].concat()));
    }
    check(&world, None, &tables, seed(), rows());
}

#[test]
fn vectors() {
    let world = world();
    if !available(&world, "vector") {
        skip!("PostgreSQL has no extension vector; Debian has it in postgresql-NN-pgvector");
    }
    world.sql("CREATE EXTENSION vector");
    let columns = types::extension("vector");
    check(&world, None, &[Table::new("vectors", [disguised(&columns), columns].concat())], seed(), rows());
}

fn available(world: &World, extension: &str) -> bool {
    let count = format!("SELECT count(*) FROM pg_available_extensions WHERE name = '{extension}'");
    world.value::<u32>(&count) > 0
}
