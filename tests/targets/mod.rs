//! Every kind of Redis that is written to, and every way there.

mod durability;
mod protocol;
mod proxied;
mod rights;
mod sentinel;
mod tls;

use std::time::Duration;

use crate::harness::{Connector, World};

/// Runs until the end, which must be a failure with these words in the line that says why.
#[track_caller]
fn fails(world: &World, words: &[&str]) {
    let connector = world.run_with(&["--once"]);
    let status = connector.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(1), "{}", connector.story());
    let line = the_line(&connector);
    for word in words {
        assert!(line.contains(word), "`{word}` is missing in: {line}");
    }
}

/// The line on stderr that says why it ended.
#[track_caller]
fn the_line(connector: &Connector) -> String {
    let log = connector.log();
    let last = log.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("redis-connect-postgres: "), "{log}");
    last
}
