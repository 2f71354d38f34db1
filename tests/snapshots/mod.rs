//! The first reading of tables, and every later one: whole, in ranges, interrupted, beside writers.

mod again;
mod batches;
mod beside_writers;
mod changed;
mod given;
mod interrupted;
mod ranges;
mod restored;
mod retyped;
mod together;
mod told;

use crate::harness::{Connector, World};

/// The number behind a word such as `ranges=` in the program's log, where it was logged last.
fn logged(connector: &Connector, word: &str) -> u64 {
    let log = connector.log();
    let number = log
        .rsplit_once(word)
        .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap());
    number.unwrap_or_else(|| panic!("no {word} in the log\n{}", connector.story()))
}

/// What the checkpoint says of a table, as JSON.
fn state(world: &World, table: &str) -> Option<serde_json::Value> {
    let checkpoint = world.checkpoint();
    checkpoint.get(&format!("table:{table}")).map(|text| serde_json::from_str(text).unwrap())
}
