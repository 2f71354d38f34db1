//! The tables, what they become in Redis, and what Redis must hold in the end.
//!
//! Every table has all structures at once, and its events go to one stream with those of all others.
//! What is expected comes from SQL and from the templates as they are written out here again, not from
//! the program.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::history::{Cell, Row, Tuple};
use super::reader::Reader;
use crate::harness::World;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// Columns of the primary key.
    pub(crate) key: &'static [&'static str],
    /// Columns that no ALTER TABLE removes or renames.
    pub(crate) core: &'static [&'static str],
    /// Old rows are whole (REPLICA IDENTITY FULL).
    pub(crate) full: bool,
}

pub(crate) static TABLES: [Table; 5] = [
    Table { name: "account", key: &["id"], core: &["id", "n", "word", "doc"], full: false },
    Table { name: "pair", key: &["a", "b"], core: &["a", "b", "n", "v"], full: false },
    Table { name: "whole", key: &["id"], core: &["id", "grp", "n", "word", "doc"], full: true },
    Table { name: "part", key: &["id", "region"], core: &["id", "region", "n", "doc"], full: false },
    Table { name: "swap", key: &["id"], core: &["id", "n", "v"], full: true },
];

pub(crate) const SCHEMA: &str = "
    CREATE TABLE account (id int PRIMARY KEY, n int NOT NULL, word text, doc text);
    ALTER TABLE account ALTER doc SET STORAGE EXTERNAL;
    CREATE TABLE pair (a int, b text, n int, v text, PRIMARY KEY (a, b));
    CREATE TABLE whole (id int PRIMARY KEY, grp text, n int, word text, doc text);
    ALTER TABLE whole ALTER doc SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
    CREATE TABLE part (id int, region text, n int, doc text, PRIMARY KEY (id, region)) PARTITION BY RANGE (id);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (MINVALUE) TO (20);
    CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (20) TO (40);
    CREATE TABLE part_3 PARTITION OF part DEFAULT;
    ALTER TABLE part_1 ALTER doc SET STORAGE EXTERNAL;
    ALTER TABLE part_2 ALTER doc SET STORAGE EXTERNAL;
    ALTER TABLE part_3 ALTER doc SET STORAGE EXTERNAL;
    CREATE TABLE swap (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, n int, v text);
    ALTER TABLE swap REPLICA IDENTITY FULL;
    -- Wide enough for new rows to be restored.
    DO $$ BEGIN
        FOR i IN 1 .. 20 LOOP
            EXECUTE format('ALTER TABLE pair ADD f%1$s int DEFAULT %1$s', i);
            EXECUTE format('ALTER TABLE swap ADD f%1$s int DEFAULT %1$s', i);
        END LOOP;
    END $$;";

/// With as many more as `{more}` says.
pub(crate) const ROWS: &str = "
    INSERT INTO account SELECT g, 0, 'first', CASE WHEN g % 3 > 0 THEN repeat(md5(g::text), 75) END
        FROM generate_series(1, 200) g;
    INSERT INTO account SELECT g, g, 'more' FROM generate_series(2001, 2000 + {more}) g;
    INSERT INTO pair SELECT g % 6, 'b:' || g, g, 'first' FROM generate_series(1, 60) g;
    INSERT INTO whole SELECT g, chr(97 + g % 3), g, 'first', CASE WHEN g % 3 > 0 THEN repeat(md5(g::text), 75) END
        FROM generate_series(1, 40) g;
    INSERT INTO part SELECT g, 'r' || g % 3, g, CASE WHEN g % 3 > 0 THEN repeat(md5(g::text), 75) END
        FROM generate_series(1, 60) g;
    INSERT INTO swap SELECT g, g, chr(97 + g % 3) FROM generate_series(1, 20) g";

pub(crate) const CONFIGURATION: &str = "
    public.account:
      - { type: hash }
      - { type: hash, key: 'account-ttl:{id}', ttl: 86400 }
      - { type: string, key: 'account-s:{id}' }
      - { type: set, key: account-set }
      - { type: sorted_set, key: account-rank, score: '{n}' }
      - { type: stream, key: all }
    public.pair:
      - { type: hash }
      - { type: string, key: 'pair-s:{pk}' }
      - { type: set, key: 'pair-set:{a}', member: '{b}' }
      - { type: sorted_set, key: 'pair-rank:{a}', member: '{b}', score: '{n}' }
      - { type: stream, key: all }
      - { type: stream, key: flat, format: flat }
    public.whole:
      - { type: hash }
      - { type: string, key: 'whole-s:{id}', value: '{grp}/{n}/{word}' }
      - { type: set, key: 'whole-set:{grp}', member: '{id}' }
      - { type: sorted_set, key: 'whole-rank:{grp}', member: '{id}.{word}', score: '{n}' }
      - { type: stream, key: all }
      - { type: stream, key: debezium, format: debezium }
    public.part:
      - { type: hash }
      - { type: string, key: 'part-s:{pk}' }
      - { type: set, key: 'part-set:{region}', member: '{id}' }
      - { type: sorted_set, key: part-rank, score: '{n}' }
      - { type: stream, key: all }
    public.swap:
      - { type: hash }
      - { type: string, key: 'swap-s:{id}' }
      - { type: set, key: 'swap-set:{v}', member: '{id}' }
      - { type: sorted_set, key: swap-rank, member: '{id}', score: '{n}' }
      - { type: stream, key: all }";

pub(crate) fn named(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

/// The table that a partition belongs to, or the table itself.
pub(crate) fn of_relation(name: &str) -> Option<&'static Table> {
    named(if name.starts_with("part_") { "part" } else { name })
}

impl Table {
    pub(crate) fn key_of(&self, tuple: &Tuple) -> String {
        self.joined(|column| match &tuple[column] {
            Cell::Text(text) => text.clone(),
            other => panic!("{column} is {other:?}"),
        })
    }

    pub(crate) fn key_of_row(&self, row: &Row) -> String {
        self.joined(|column| row[column].clone().unwrap())
    }

    fn joined(&self, value: impl Fn(&str) -> String) -> String {
        let parts: Vec<String> = self.key.iter().map(|&column| value(column)).collect();
        if let [part] = &parts[..] {
            return part.clone();
        }
        let escaped = parts.iter().map(|part| part.replace('%', "%25").replace(':', "%3A"));
        escaped.collect::<Vec<_>>().join(":")
    }

    /// The columns that stay, of a row.
    pub(crate) fn core_of(&self, row: &Row) -> Row {
        self.core.iter().map(|&name| (name.to_owned(), row.get(name).cloned().flatten())).collect()
    }
}

/// A key's content.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Hash(Row),
    Document(Row),
    Text(String),
    Set(BTreeSet<String>),
    SortedSet(BTreeMap<String, f64>),
}

/// Everything but streams, by key.
pub(crate) type Keys = BTreeMap<String, Content>;

/// A JSON object of scalars, each as text.
pub(crate) fn row_of_json(text: &str) -> Row {
    let Ok(Value::Object(members)) = serde_json::from_str(text) else { panic!("no JSON object: {text}") };
    let value = |value: Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    members.into_iter().map(|(name, content)| (name, value(content))).collect()
}

/// The rows that PostgreSQL has.
pub(crate) fn rows(world: &World, table: &Table) -> Vec<Row> {
    let found = world.rows(&format!("SELECT to_jsonb(t)::text FROM {} t", table.name));
    found.iter().map(|row| row_of_json(row[0].as_ref().unwrap())).collect()
}

/// What Redis must hold for the rows that PostgreSQL has.
pub(crate) fn expected(world: &World) -> Keys {
    let mut keys = Keys::new();
    for table in &TABLES {
        for row in rows(world, table) {
            expect(table, &row, &mut keys);
        }
    }
    keys
}

fn expect(table: &Table, row: &Row, keys: &mut Keys) {
    let name = table.name;
    let pk = table.key_of_row(row);
    let present: Row = row.iter().filter(|(_, v)| v.is_some()).map(|(k, v)| (k.clone(), v.clone())).collect();
    let value = |column: &str| row[column].clone();
    let text = |column: &str| row[column].clone().unwrap_or_default();
    let before = keys.insert(format!("{name}:{pk}"), Content::Hash(present.clone()));
    assert!(before.is_none(), "two rows of {name} have the key {pk}");
    if name == "account" {
        keys.insert(format!("account-ttl:{pk}"), Content::Hash(present));
    }
    let string = match name {
        "whole" => Content::Text(format!("{}/{}/{}", text("grp"), text("n"), text("word"))),
        _ => Content::Document(row.clone()),
    };
    keys.insert(format!("{name}-s:{pk}"), string);
    let set = match name {
        "account" => Some(("account-set".to_owned(), pk.clone())),
        "pair" => Some((format!("pair-set:{}", text("a")), text("b"))),
        "whole" => value("grp").map(|grp| (format!("whole-set:{grp}"), pk.clone())),
        "part" => Some((format!("part-set:{}", text("region")), text("id"))),
        _ => value("v").map(|v| (format!("swap-set:{v}"), pk.clone())),
    };
    if let Some((key, member)) = set {
        match keys.entry(key).or_insert_with(|| Content::Set(BTreeSet::new())) {
            Content::Set(members) => assert!(members.insert(member)),
            other => panic!("{other:?}"),
        }
    }
    let (key, member) = match name {
        "pair" => (Some(format!("pair-rank:{}", text("a"))), Some(text("b"))),
        "whole" => (
            value("grp").map(|grp| format!("whole-rank:{grp}")),
            value("word").map(|word| format!("{pk}.{word}")),
        ),
        _ => (Some(format!("{name}-rank")), Some(pk.clone())),
    };
    if let (Some(key), Some(member), Some(score)) = (key, member, value("n")) {
        match keys.entry(key).or_insert_with(|| Content::SortedSet(BTreeMap::new())) {
            Content::SortedSet(members) => members.insert(member, score.parse().unwrap()),
            other => panic!("{other:?}"),
        };
    }
}

/// The streams, which [`found`] leaves out.
const STREAMS: [&str; 3] = ["all", "flat", "debezium"];

/// What Redis holds, apart from streams and the program's own keys.
pub(super) fn found(redis: &Reader<'_>) -> Keys {
    let mut keys = Keys::new();
    for key in redis.keys() {
        if redis.is_own(&key) {
            continue;
        }
        if STREAMS.contains(&&*key) {
            continue;
        }
        let lives: i64 = redis.redis(&["TTL", &key]);
        assert_eq!(lives > 0, key.starts_with("account-ttl:"), "{key} has a TTL of {lives}");
        let content = match &*redis.redis::<String>(&["TYPE", &key]) {
            "hash" => Content::Hash(
                redis
                    .redis::<BTreeMap<String, String>>(&["HGETALL", &key])
                    .into_iter()
                    .map(|(name, value)| (name, Some(value)))
                    .collect(),
            ),
            "string" => {
                let text: String = redis.redis(&["GET", &key]);
                if key.starts_with("whole-") {
                    Content::Text(text)
                } else {
                    Content::Document(row_of_json(&text))
                }
            }
            "set" => Content::Set(redis.redis(&["SMEMBERS", &key])),
            "zset" => Content::SortedSet(redis.redis(&["ZRANGE", &key, "0", "-1", "WITHSCORES"])),
            other => panic!("{key} is a {other}"),
        };
        keys.insert(key, content);
    }
    keys
}

/// The first differences in words; empty when there is none.
pub(crate) fn differences(expected: &Keys, found: &Keys) -> Vec<String> {
    let mut words = Vec::new();
    for (key, content) in expected {
        match found.get(key) {
            None => words.push(format!("{key} is missing: {content:?}")),
            Some(other) if other != content => {
                words.push(format!("{key}\n      is {other:?}\n  not {content:?}"));
            }
            Some(_) => {}
        }
    }
    for (key, content) in found.iter().filter(|(key, _)| !expected.contains_key(*key)) {
        words.push(format!("{key} has no row: {content:?}"));
    }
    words
}
