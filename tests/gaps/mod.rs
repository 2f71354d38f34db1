//! Changes that are lost: recognised, told, and mended by reading the tables again; or, where asked for,
//! a stop that says what is missing.

mod new_tables;
mod postgres;
mod redis;
mod rights;

use std::time::Duration;

use crate::harness::{Config, Table, World};

const FAIL: Config<'static> =
    Config { source_url: None, target_url: None, source: "", target: "", tables: "", top: "on_gap: fail" };

/// Starts the program, which has to stop and name what is missing.
#[track_caller]
fn stops_with(world: &World, words: &[&str]) {
    let connector = world.run_with(&["--until-caught-up"]);
    let status = connector.wait(Duration::from_secs(30));
    assert_eq!(status.code(), Some(1), "{}", connector.story());
    for word in words {
        assert!(connector.story().contains(word), "{word} is missing in\n{}", connector.story());
    }
}

/// Rows and keys are equal again, and the program has said why it read everything once more.
#[track_caller]
fn heals(world: &World, reason: &str, tables: &[&str]) {
    let connector = world.run_until_caught_up();
    assert!(connector.log_contains(reason), "{reason} is missing in\n{}", connector.story());
    for table in tables {
        world.assert_table(&Table::new(table));
    }
}

/// The values of a field in all entries of a stream, as one text.
fn ops(world: &World, stream: &str) -> String {
    let found: Vec<(String, Vec<String>)> = world.redis(&["XRANGE", stream, "-", "+"]);
    let op = |fields: &[String]| fields.chunks(2).find(|pair| pair[0] == "op").unwrap()[1].clone();
    found.iter().map(|(_, fields)| op(fields)).collect()
}
