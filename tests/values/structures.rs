//! Every type of the contract in every structure, by snapshot, insert and update.
//!
//! A hash has the value's text. A JSON document has a string with the same text, or the value of which
//! this is the JSON text; a set has the text as a member, a stream either of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::check::tokens;
use super::exact::{CONTRACT, values};
use super::types::OWN_TYPES;
use crate::harness::{Config, World};

type Document = BTreeMap<String, Box<RawValue>>;

fn fields(list: Vec<String>) -> BTreeMap<String, String> {
    list.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

#[track_caller]
fn expect_document(text: &str, place: &str) {
    let document: Document = serde_json::from_str(text).unwrap_or_else(|e| panic!("{place}: {e}: {text}"));
    assert_eq!(document.len(), CONTRACT.len() + 1, "{place}");
    for (n, (of, value, expected)) in CONTRACT.iter().enumerate() {
        let found = document[&format!("c{n}")].get();
        let same = match serde_json::from_str::<String>(found) {
            Ok(text) => text == *expected,
            Err(_) => tokens(found.as_bytes()) == tokens(expected.as_bytes()),
        };
        assert!(same, "{of} {value:?} is {found} in {place}, as text it is {expected:?}");
    }
}

fn outputs(world: &World, more: &str) {
    let sets: String = (0..CONTRACT.len())
        .map(|n| format!("  - {{ type: set, key: \"set:{n}\", member: \"{{c{n}}}\" }}\n"))
        .collect();
    let tables = format!(
        "public.t:\n  - {{ type: hash }}\n  - {{ type: string, key: \"s:{{id}}\" }}\n  - {{ type: stream, key: events }}\n  \
         - {{ type: stream, key: flat, format: flat }}\n{more}{sets}"
    );
    world.configure(&Config { tables: &tables, ..Config::default() });
}

/// Row 1 by the snapshot, row 2 by an INSERT, row 3 by an UPDATE.
fn bring(world: &World) {
    world.sql(OWN_TYPES);
    world.sql(&values("t", CONTRACT));
    world.sql("ALTER TABLE t REPLICA IDENTITY FULL");
    world.run_until_caught_up();
    let columns: Vec<String> = (0..CONTRACT.len()).map(|n| format!("c{n}")).collect();
    let columns = columns.join(", ");
    world.sql(&format!(
        "INSERT INTO t SELECT 2, {columns} FROM t WHERE id = 1;
         UPDATE t SET ({columns}) = (SELECT {columns} FROM t WHERE id = 1) WHERE id = 3"
    ));
    world.run_until_caught_up();
}

#[test]
fn strings_sets_and_streams() {
    let world = World::new();
    outputs(&world, "");
    bring(&world);
    for id in 1..=3 {
        expect_document(&world.redis::<String>(&["GET", &format!("s:{id}")]), &format!("s:{id}"));
    }
    let events: Vec<(String, Vec<String>)> = world.redis(&["XRANGE", "events", "-", "+"]);
    let flat: Vec<(String, Vec<String>)> = world.redis(&["XRANGE", "flat", "-", "+"]);
    // Two rows of the snapshot, one of them all NULL, and two changes.
    assert_eq!((events.len(), flat.len()), (4, 4));
    for index in [0, 2, 3] {
        let place = format!("event {index}");
        expect_document(&fields(events[index].1.clone())["after"], &place);
        let flat = fields(flat[index].1.clone());
        for (n, (of, value, expected)) in CONTRACT.iter().enumerate() {
            assert_eq!(flat[&format!("c{n}")], *expected, "{of} {value:?} in {place}");
        }
    }
    for (n, (of, value, expected)) in CONTRACT.iter().enumerate() {
        let members: BTreeSet<String> = world.redis(&["SMEMBERS", &format!("set:{n}")]);
        assert_eq!(members, BTreeSet::from([(*expected).to_owned()]), "{of} {value:?}");
    }
    // The old row tells where a member is, in the same spelling.
    world.sql("DELETE FROM t");
    world.run_until_caught_up();
    assert!(world.keys("set:*").is_empty() && world.keys("s:*").is_empty());
}

#[test]
fn documents() {
    let Some(world) = World::with_modules() else { return };
    outputs(&world, "  - { type: json, key: \"j:{id}\" }\n");
    bring(&world);
    for id in 1..=3 {
        let text: String = world.redis(&["JSON.GET", &format!("j:{id}")]);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let written: String = world.redis(&["GET", &format!("s:{id}")]);
        let written: serde_json::Value = serde_json::from_str(&written).unwrap();
        // RedisJSON keeps numbers as numbers, not as they are spelled.
        assert_eq!(document, written, "j:{id}");
    }
}
