//! `dlq list` and `dlq purge`.

use serde_json::{Value, json};

use super::{dlq, expect_letters, letters};
use crate::harness::World;
use crate::hashes::Live;

fn some_letters(world: &World) -> Live<'_> {
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let live = Live::begin(world);
    for id in 1..=25 {
        world.redis::<()>(&["SET", &format!("t:{id}"), "x"]);
        live.world.sql(&format!("INSERT INTO t VALUES ({id}, E'v\\n')"));
    }
    expect_letters(&live, 25);
    live
}

#[test]
fn lists() {
    let world = World::new();
    world.config("");
    assert_eq!(dlq(&world, &["list"]), (0, "0 dead letters\n".to_owned()));
    let _live = some_letters(&world);
    let (code, told) = dlq(&world, &["list"]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!((code, lines.len()), (0, 27), "{told}");
    assert!(lines[0].starts_with("ID "), "{told}");
    let words: Vec<&str> = lines[3].split_whitespace().collect();
    assert_eq!((words[2], words[3], words[4], words[6], words[7]), ("public.t", "3", "c", "HSET", "t:3"));
    assert!(lines[3].contains("WRONGTYPE"), "{told}");
    assert_eq!(lines[26], "25 dead letters");
    let (_, told) = dlq(&world, &["list", "--limit", "2"]);
    assert_eq!(told.lines().count(), 4, "{told}");
    assert!(told.contains("t:24") && told.contains("t:25"), "{told}");
    let (_, told) = dlq(&world, &["list", "--json", "--limit", "1"]);
    let letter: Value = serde_json::from_str(told.trim()).unwrap();
    assert_eq!(letter["row"], json!({ "id": "25", "v": "v\n" }));
    assert_eq!((&letter["key"], &letter["ordinal"]), (&json!("25"), &json!(1)));
}

#[test]
fn purges() {
    let world = World::new();
    let _live = some_letters(&world);
    let (code, told) = dlq(&world, &["purge"]);
    assert_eq!((code, told.contains("--yes")), (2, true), "{told}");
    assert_eq!(dlq(&world, &["purge", "--yes", "nonsense"]).0, 2);
    let (_, told) = dlq(&world, &["list", "--json", "--limit", "1"]);
    let letter: Value = serde_json::from_str(told.trim()).unwrap();
    let id = letter["id"].as_str().unwrap();
    assert_eq!(dlq(&world, &["purge", "--yes", id]), (0, "1 dead letter removed\n".to_owned()));
    assert_eq!(letters(&world).len(), 24);
    assert_eq!(dlq(&world, &["purge", "--yes"]), (0, "24 dead letters removed\n".to_owned()));
    assert_eq!(dlq(&world, &["purge", "--yes"]), (0, "0 dead letters removed\n".to_owned()));
}

#[test]
fn without_a_configuration() {
    let world = World::new();
    let ended = world.start(&["dlq", "list"]);
    assert_eq!(ended.wait(std::time::Duration::from_secs(30)).code(), Some(2));
    assert!(ended.log_contains("-c FILE"), "{}", ended.story());
}
