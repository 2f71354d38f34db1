//! Rows that Redis refuses: what is told of them, that it is told once, and how they are mended.

mod commands;
mod limit;
mod once;
mod replays;
mod told;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Config, Connector, Proxy, World};
use crate::hashes::Live;

/// A letter's fields.
pub(crate) type Letter = BTreeMap<String, String>;

/// The letters, the oldest first.
pub(crate) fn letters(world: &World) -> Vec<Letter> {
    let stream = format!("redis-connect-postgres:{}:dlq", world.name);
    let entries: Vec<(String, Letter)> = world.redis(&["XRANGE", &stream, "-", "+"]);
    entries.into_iter().map(|(_, letter)| letter).collect()
}

/// Waits until there are so many letters, and gives time for one too many to come.
#[track_caller]
fn expect_letters(live: &Live<'_>, count: usize) -> Vec<Letter> {
    live.world.eventually_eq("letters", &count, || letters(live.world).len());
    live.settle();
    let found = letters(live.world);
    assert_eq!(found.len(), count, "{found:#?}\n{}", live.world.story());
    found
}

#[track_caller]
fn field<'a>(letter: &'a Letter, name: &str) -> &'a str {
    letter.get(name).unwrap_or_else(|| panic!("no {name} in {letter:#?}"))
}

#[track_caller]
fn row(letter: &Letter) -> Value {
    serde_json::from_str(field(letter, "row")).unwrap()
}

/// Runs `dlq` with these arguments; its exit code and what it printed.
#[track_caller]
fn dlq(world: &World, arguments: &[&str]) -> (i32, String) {
    let file = world.config_file();
    let mut all = vec!["dlq", "-c", file.to_str().unwrap()];
    all.extend(arguments);
    let ended = world.start(&all);
    let status = ended.wait(Duration::from_secs(60));
    (status.code().unwrap(), ended.stdout() + &ended.log())
}

/// A connector that reaches Redis through a proxy.
pub(crate) fn through_a_proxy<'a>(world: &'a World, config: &Config<'_>) -> (Live<'a>, Proxy) {
    let proxy = Proxy::to(world.redis_port());
    let target_url = Some(world.target_url_at(proxy.port()));
    (Live::with(world, &Config { target_url, ..config.clone() }), proxy)
}

/// Runs statements of one transaction, and returns when Redis has carried out their batch and the
/// connector has not read what it replied.
#[track_caller]
pub(crate) fn carried_out_unread(live: &Live<'_>, proxy: &Proxy, statements: &str) {
    live.settle();
    let before = live.checkpoint()["batch"].clone();
    // Only from this transaction on: what writes nothing but a position may be under way before it.
    proxy.hold_replies_from(b"marker:-1");
    live.world.sql(&format!(
        "BEGIN; {statements}; INSERT INTO marker VALUES (-1) ON CONFLICT (n) DO UPDATE SET n = excluded.n; COMMIT"
    ));
    live.eventually("the batch is carried out", || {
        let checkpoint = live.checkpoint();
        checkpoint["batch"] != before && checkpoint["before"] != checkpoint["lsn"]
    });
    assert!(live.connector.is_running());
}

/// Kills the connector at once and starts it again.
pub(crate) fn kill_and_start(live: &mut Live<'_>, proxy: &Proxy) -> Connector {
    live.connector.kill9();
    proxy.cut();
    proxy.hold_replies(false);
    let again = live.world.run();
    std::mem::replace(&mut live.connector, again)
}
