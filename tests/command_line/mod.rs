//! What a user sees: exit codes, one clear line for each mistake, nothing secret, an end in time.

mod completions;
mod configuration;
mod databases;
mod demo;
mod help;
mod hostile_names;
mod judge;
mod least_privilege;
mod logs;
mod man;
mod positions;
mod roles;
mod schema;
mod secrets;
#[cfg(target_os = "linux")]
mod service_manager;
mod signals;
mod snapshot;

pub(crate) use completions::tempdir;

use std::time::{Duration, Instant};

use crate::harness::{Connector, World};

/// Runs with the configuration file until the end, which must come soon and be a failure: the exit
/// code and the line that says why.
#[track_caller]
fn failure(world: &World, arguments: &[&str]) -> (i32, String) {
    let began = Instant::now();
    let connector = world.start(arguments);
    let status = connector.wait(Duration::from_secs(20));
    let code = status.code().unwrap_or_else(|| panic!("{status}\n{}", connector.story()));
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    assert!(connector.stdout().is_empty(), "on stdout: {}", connector.stdout());
    (code, the_line(&connector))
}

/// The last line on stderr, the only one that is no line of the log.
#[track_caller]
fn the_line(connector: &Connector) -> String {
    let log = connector.log();
    let last = log.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("redis-connect-postgres: "), "the last line is not the reason:\n{log}");
    let others = log.lines().filter(|line| line.starts_with("redis-connect-postgres: ")).count();
    assert_eq!(others, 1, "more than one reason:\n{log}");
    // A line that is neither of the log nor the reason would be a part of it that was broken off.
    assert!(log.lines().all(|line| line == last || line.starts_with("20")), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    last
}

/// Fails with this code when run with the configuration file, with all of these words.
#[track_caller]
fn fails(world: &World, code: i32, words: &[&str]) {
    let file = world.config_file();
    let (found, line) = failure(world, &["run", "-c", &file.to_string_lossy()]);
    assert_eq!(found, code, "{line}");
    for word in words {
        assert!(line.contains(word), "`{word}` is missing in: {line}");
    }
}

/// Writes the configuration file.
fn write(world: &World, yaml: &str) {
    let yaml = yaml.replace("$SOURCE", &world.source_url()).replace("$TARGET", &world.target_url());
    std::fs::write(world.config_file(), yaml).unwrap();
}
