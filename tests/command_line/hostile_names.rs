//! Names and keys that would mean something in SQL, RESP, a log line or a template, through everything that
//! is done with them. Whoever may create a table, or write a row, chooses them.

use std::fmt::Write as _;

use crate::dead_letters::letters;
use crate::harness::{Config, World};
use crate::hashes::Live;

const NAMES: &[&str] = &[
    "a\"; DROP TABLE witness; --",
    "a'); DROP TABLE witness; --",
    "x\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "$1\r\n-ERR no\r\n",
    "line\nredis-connect-postgres: forged",
    "tab\tbell\u{7}escape\u{1b}[31m",
    "\\0 %00 \u{2400} \u{1}",
    "{pk} {table} {{",
    "${HOME}",
    "*[a-z]?\\",
    // 63 bytes, the most that a name can have.
    "表表表表表表表表表表表表表表表表表表表表表",
];

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A table of each name, with columns of all names, and rows whose keys are all names.
fn make(world: &World) {
    let columns = NAMES.iter().fold(String::new(), |mut columns, name| {
        write!(columns, ", {} text", quoted(name)).unwrap();
        columns
    });
    for name in NAMES {
        let table = quoted(name);
        world.sql(&format!("CREATE TABLE {table} (pk text PRIMARY KEY, \"{{n}}\" int{columns})"));
        world.sql(&format!("ALTER TABLE {table} REPLICA IDENTITY FULL"));
        for key in NAMES {
            let (key, column) = (literal(key), quoted(key));
            world.sql(&format!("INSERT INTO {table} (pk, \"{{n}}\", {column}) VALUES ({key}, 1, {key})"));
        }
    }
}

#[test]
fn snapshot_stream_verify_and_again() {
    let world = World::new();
    world.sql("CREATE TABLE witness (id int PRIMARY KEY); INSERT INTO witness VALUES (1)");
    world.redis::<()>(&["SET", "witness", "x"]);
    make(&world);
    let tables = "public.*: [{ type: hash }, { type: string, key: 'str:{table}:{pk}' }, \
                  { type: set, key: 'set:{table}' }, { type: sorted_set, key: 'z:{table}', score: '1' }, \
                  { type: stream, key: 'log:{table}' }]";
    let mut live = Live::with(&world, &Config { tables, ..Config::default() });
    let file = world.config_file().to_string_lossy().into_owned();
    let equal = |what: &str| {
        let (code, ended) = world.finish(&["verify", "-c", &file]);
        assert_eq!(code, Some(0), "{what}: {}\n{}", ended.stdout(), ended.story());
    };
    equal("after the snapshot");
    for name in NAMES {
        let table = quoted(name);
        for (index, key) in NAMES.iter().enumerate() {
            let (key, column) = (literal(key), quoted(key));
            world.sql(&format!("UPDATE {table} SET {column} = NULL, \"{{n}}\" = 2 WHERE pk = {key}"));
            world.sql(&format!("UPDATE {table} SET pk = pk || 'x' WHERE pk = {key} AND {index} % 2 = 0"));
            world.sql(&format!("DELETE FROM {table} WHERE pk = {key} AND {index} % 3 = 1"));
        }
        live.settle();
    }
    equal("after changes");
    for name in NAMES {
        let table = format!("public.{}", quoted(name));
        let (code, ended) = world.finish(&["snapshot", "-c", &file, &table]);
        assert_eq!(code, Some(0), "{}", ended.story());
    }
    // A row that Redis refuses, in each table. Its key was changed above.
    let poisoned = |name: &str| format!("{name}:{}x", NAMES[2]);
    for name in NAMES {
        world.redis::<()>(&["DEL", &poisoned(name)]);
        world.redis::<()>(&["SET", &poisoned(name), "in the way"]);
        let key = literal(&format!("{}x", NAMES[2]));
        world.sql(&format!("UPDATE {} SET \"{{n}}\" = 3 WHERE pk = {key}", quoted(name)));
    }
    live.settle();
    assert_eq!(letters(&world).len(), NAMES.len());
    let (code, ended) = world.finish(&["dlq", "-c", &file, "list"]);
    assert_eq!(code, Some(0), "{}", ended.story());
    assert_eq!(ended.stdout().lines().count(), NAMES.len() + 2, "{}", ended.stdout());
    for name in NAMES {
        world.redis::<()>(&["DEL", &poisoned(name)]);
    }
    let (code, ended) = world.finish(&["dlq", "-c", &file, "replay"]);
    assert_eq!(code, Some(0), "{}\n{}", ended.stdout(), ended.story());
    equal("after the dead letters");
    // In the log, a name is no line of its own.
    let log = live.connector.log();
    assert!(log.lines().all(|line| line.starts_with("20")), "{log}");
    assert!(!log.contains('\u{1b}') && !log.contains('\u{7}'), "{log:?}");
    live.connector.term();
    live.connector.wait(std::time::Duration::from_secs(30));
    live.start_again();
    live.settle();
    equal("after a restart");
    // Nothing was carried out that stands in a name.
    assert_eq!(world.value::<i64>("SELECT count(*) FROM witness"), 1);
    assert_eq!(world.redis::<String>(&["GET", "witness"]), "x");
    let (code, ended) = world.finish(&["check", "-c", &file]);
    assert_eq!(code, Some(0), "{}", ended.stdout());
    let starts = ["ok  ", "warning  ", "not seen  ", "    ", "ready; "];
    let stdout = ended.stdout();
    let strange = stdout.lines().find(|line| !starts.iter().any(|start| line.starts_with(start)));
    assert_eq!(strange, None, "{stdout}");
}

/// What a user is told of such a name is one line.
#[test]
fn errors_are_one_line() {
    let world = World::new();
    let name = NAMES[4];
    world.sql(&format!("CREATE TABLE {} (id int)", quoted(name)));
    world.config(&format!("'public.{}': {{ type: hash }}", quoted("near")));
    let file = world.config_file().to_string_lossy().into_owned();
    let (code, connector) = world.finish(&["run", "-c", &file]);
    assert_eq!(code, Some(2), "{}", connector.story());
    world.config(&format!(
        "{}: {{ type: hash }}",
        serde_json::to_string(&format!("public.{}", quoted(name))).unwrap()
    ));
    let (code, connector) = world.finish(&["run", "-c", &file]);
    assert_eq!(code, Some(2), "{}", connector.story());
    let log = connector.log();
    assert_eq!(log.lines().filter(|line| line.starts_with("redis-connect-postgres: ")).count(), 1, "{log}");
    assert!(log.contains("REPLICA IDENTITY FULL"), "{log}");
}
