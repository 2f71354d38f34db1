//! `verify` finds whatever differs and nothing else, also while rows change; and mends it.
//!
//! A test copies rows into Redis, changes something there by hand, and names what must be found.

mod documents;
mod hashes;
mod live;
mod many;
mod positions;
mod repair;
mod shared;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::harness::World;

/// Runs it with these flags beside the configuration: exit code and stdout.
#[track_caller]
fn verify(world: &World, flags: &[&str]) -> (i32, String) {
    let file = world.config_file();
    let (code, program) = world.finish(&[&["verify", "-c", &file.to_string_lossy()], flags].concat());
    let output = program.stdout();
    let code = code.unwrap_or_else(|| panic!("{}", program.story()));
    assert!(!output.is_empty(), "{}", program.story());
    (code, output)
}

/// It says equal, in words.
#[track_caller]
fn is_equal(world: &World) {
    let (code, output) = verify(world, &[]);
    assert_eq!(code, 0, "{output}\n{}", world.story());
    assert!(output.trim_end().ends_with("compared: equal"), "{output}");
}

/// It tells these differences, each as a line that begins so, and no others. Without a connector that
/// could bring what is missing, it says so.
#[track_caller]
fn finds(world: &World, lines: &[&str]) {
    let (code, output) = verify(world, &[]);
    assert_eq!(code, 1, "{output}\n{}", world.story());
    for line in lines {
        assert!(output.lines().any(|told| told == *line), "`{line}` is missing in:\n{output}");
    }
    let verdict = format!("compared: {} different", lines.len());
    assert!(output.trim_end().ends_with(&verdict), "`{verdict}` is missing in:\n{output}");
}

/// The report for machines.
#[track_caller]
fn report(world: &World, flags: &[&str]) -> (i32, Value) {
    let (code, output) = verify(world, &[&["--json"], flags].concat());
    (code, serde_json::from_str(&output).unwrap_or_else(|e| panic!("{e}: {output}")))
}

/// How many differences of each kind the report counts, in all tables.
fn kinds(report: &Value) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for table in report["tables"].as_array().unwrap() {
        for (kind, count) in table["kinds"].as_object().unwrap() {
            *kinds.entry(kind.clone()).or_default() += count.as_u64().unwrap();
        }
    }
    kinds
}

fn counted<const N: usize>(kinds: [(&str, u64); N]) -> BTreeMap<String, u64> {
    kinds.map(|(kind, count)| (kind.to_owned(), count)).into()
}

/// Everything in Redis but what the connector keeps for itself: type, value and whether it expires.
fn contents(world: &World) -> BTreeMap<String, (String, BTreeSet<Vec<String>>, bool)> {
    let mut contents = BTreeMap::new();
    for key in world.keys("*").into_iter().filter(|key| !key.starts_with("redis-connect-postgres:")) {
        let kind: String = world.redis(&["TYPE", &key]);
        let (command, width): (&[&str], _) = match kind.as_str() {
            "hash" => (&["HGETALL", &key], 2),
            "set" => (&["SMEMBERS", &key], 1),
            "zset" => (&["ZRANGE", &key, "0", "-1", "WITHSCORES"], 2),
            "stream" => (&["XRANGE", &key, "-", "+"], 1),
            "string" => (&["MGET", &key], 1),
            _ => (&["JSON.MGET", &key, "$"], 1),
        };
        let values: Vec<redis::Value> = world.redis(command);
        let values = values.chunks(width).map(|part| part.iter().map(|v| format!("{v:?}")).collect());
        let expires = world.redis::<i64>(&["PTTL", &key]) > 0;
        contents.insert(key.clone(), (kind, values.collect(), expires));
    }
    contents
}

/// `verify --repair` mends all differences, and leaves everything else as it was `before` they were made.
#[track_caller]
fn is_mended<T: PartialEq + std::fmt::Debug>(world: &World, before: &T, now: impl Fn(&World) -> T) {
    let (code, output) = verify(world, &["--repair"]);
    assert_eq!(code, 0, "{output}\n{}", world.story());
    assert!(!output.contains("not mended") && output.contains(" mended"), "{output}");
    assert_eq!(now(world), *before, "{output}");
    is_equal(world);
}
