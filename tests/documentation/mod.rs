//! The examples of docs/structures are run, and what they show is compared with what happens.
//!
//! ```text
//!   page ── sql, yaml ──> World ── program ──> Recorder ──> Redis
//!     └──── redis ────────── compared with ───────┘
//! ```
//!
//! Commands are compared as they are sent, without those that every batch has (MULTI, EXEC, the fence and
//! the checkpoint) and those that only look. So pages about modules are checked everywhere; where Redis
//! has the modules they run once more, with what redis-cli replies. Where
//! nothing is pretended, the program has only the rights that docs/redis.md names.

mod page;
mod recorder;
pub(crate) mod rights;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Config, World, skipped};
use crate::hashes::Live;
pub(crate) use page::configurations as yaml_blocks;
use page::{Example, Step};
use recorder::{Command, Modules, Recorder};

const PATIENCE: Duration = Duration::from_secs(20);

fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "docs", "structures"].iter().collect()
}

fn read(page: &str) -> Vec<Example> {
    let text = fs::read_to_string(directory().join(page)).unwrap();
    let examples = page::examples(&text);
    assert!(!examples.is_empty(), "{page} has no example");
    examples
}

/// Runs every example, with a world of its own.
fn run(page: &str, modules: Modules, world: impl Fn() -> Option<World>) {
    for example in read(page) {
        let Some(world) = world() else { return };
        if example_needs_14(&example) && world.postgres_version() < 14 {
            skipped(&format!("documentation, {page}, {}", example.heading), "needs PostgreSQL 14");
            continue;
        }
        try_out(page, &example, &world, modules);
    }
}

fn example_needs_14(example: &Example) -> bool {
    let emits = |step: &Step| matches!(step, Step::Changes(sql) if sql.contains("pg_logical_emit_message"));
    example.steps.iter().any(emits)
}

fn try_out(page: &str, example: &Example, world: &World, modules: Modules) {
    let (host, port) = world.redis_address();
    let recorder = Recorder::before((host.clone(), port), modules);
    world.sql(&example.setup);
    let between = format!("127.0.0.1:{}", recorder.port());
    let mut target_url = world.target_url().replace(&format!("{host}:{port}"), &between);
    // The pages show HSET, as without the right to RESTORE.
    let user = match modules {
        Modules::Loaded => rights::grant(&example.tables, world),
        _ => rights::grant_all_but_restore(world),
    };
    target_url = target_url.replace("redis://", &format!("redis://{user}@"));
    let target_url = Some(target_url);
    let config = Config { tables: &example.tables, target_url, ..Config::default() };
    let live = Live::with(world, &config);
    for step in &example.steps {
        match step {
            Step::Changes(sql) => {
                // Nothing happens that the page is silent about.
                compare(page, 0, "", &recorder.take(), world);
                live.sql(sql);
            }
            Step::Commands { line, text } => compare(page, *line, text, &recorder.take(), world),
            Step::Console { line, text } => {
                if modules == Modules::Loaded {
                    converse(page, *line, text, world);
                }
            }
        }
    }
    compare(page, 0, "", &recorder.take(), world);
    let dead_letters = format!("redis-connect-postgres:{}:dlq", world.name);
    assert!(
        !world.redis::<bool>(&["EXISTS", &dead_letters]),
        "{page}: Redis refused something\n{}",
        world.story()
    );
}

/// The command as a page shows it; `None` for one that no page shows.
fn shown(command: &Command, world: &World) -> Option<Vec<String>> {
    const LOOKING: &[&str] = &[
        "PING", "AUTH", "HELLO", "CLIENT", "SELECT", "COMMAND", "CONFIG", "INFO", "MULTI", "EXEC", "WATCH",
        "UNWATCH", "GET", "HGET", "HGETALL", "SCAN", "SSCAN", "ZSCAN", "XINFO", "FT._LIST",
    ];
    let text = |argument: &Vec<u8>| String::from_utf8_lossy(argument).replace(&world.name, "shop");
    let command: Vec<String> = command.iter().map(text).collect();
    let key = command.get(1).map_or("", String::as_str);
    let own = key.starts_with("redis-connect-postgres:") && !key.ends_with(":messages");
    let hidden = own || key.starts_with("marker:") || LOOKING.contains(&command[0].as_str());
    (!hidden).then_some(command)
}

#[track_caller]
fn compare(page: &str, line: usize, text: &str, sent: &[Command], world: &World) {
    let expected = page::commands(text);
    let found: Vec<Vec<String>> = sent.iter().filter_map(|command| shown(command, world)).collect();
    let mut known = Vec::new();
    let mut fits = |(expected, found): (&Vec<String>, &Vec<String>)| {
        expected.len() == found.len()
            && expected.iter().zip(found).all(|(expected, found)| page::fits(expected, found, &mut known))
    };
    let mut difference = String::new();
    for index in 0..expected.len().max(found.len()) {
        match (expected.get(index), found.get(index)) {
            (Some(expected), Some(found)) if fits((expected, found)) => {
                writeln!(difference, "  {}", page::written(found)).unwrap();
            }
            (expected, found) => {
                for (sign, command) in [("-", expected), ("+", found)] {
                    if let Some(command) = command {
                        writeln!(difference, "{sign} {}", page::written(command)).unwrap();
                    }
                }
            }
        }
    }
    let same = difference.lines().all(|line| line.starts_with(' '));
    assert!(
        same,
        "docs/structures/{page}, line {line}: - is in the page, + is what was sent\n\n{difference}"
    );
}

/// Types what stands after `> `, and compares what comes back. RediSearch finds a row a moment after it was
/// written.
#[track_caller]
fn converse(page: &str, line: usize, text: &str, world: &World) {
    let began = Instant::now();
    let mut found = typed(text, world);
    while text != found && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
        found = typed(text, world);
    }
    assert!(
        text == found,
        "docs/structures/{page}, line {line}: the page has\n\n{text}\nbut it is\n\n{found}"
    );
}

fn typed(text: &str, world: &World) -> String {
    let mut found = String::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("> ")) {
        writeln!(found, "> {line}").unwrap();
        let command = page::commands(line).remove(0);
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        reply(&world.redis::<redis::Value>(&words), "", &mut found);
    }
    found
}

/// As redis-cli writes it.
fn reply(value: &redis::Value, indentation: &str, out: &mut String) {
    match value {
        redis::Value::Nil => writeln!(out, "(nil)").unwrap(),
        redis::Value::Int(number) => writeln!(out, "(integer) {number}").unwrap(),
        redis::Value::BulkString(text) => {
            let text = String::from_utf8_lossy(text).replace('\\', "\\\\").replace('"', "\\\"");
            writeln!(out, "\"{text}\"").unwrap();
        }
        redis::Value::Array(values) if values.is_empty() => writeln!(out, "(empty array)").unwrap(),
        redis::Value::Array(values) => {
            let width = values.len().to_string().len();
            for (index, value) in values.iter().enumerate() {
                let number = format!("{:>width$}) ", index + 1);
                let before = if index == 0 { "" } else { indentation };
                write!(out, "{before}{number}").unwrap();
                reply(value, &format!("{indentation}{}", " ".repeat(number.len())), out);
            }
        }
        redis::Value::Okay => writeln!(out, "OK").unwrap(),
        redis::Value::SimpleString(text) => writeln!(out, "{text}").unwrap(),
        other => panic!("a reply that no page has: {other:?}"),
    }
}

/// A test for each page, with whether every Redis has what its examples need.
macro_rules! pages {
    ($($test:ident $page:literal $modules:ident)*) => {
        const PAGES: &[&str] = &[$($page),*];
        $(#[test]
        fn $test() {
            run($page, Modules::$modules, || Some(World::new()));
        })*
    };
}

pages! {
    several_outputs "README.md" Loaded
    hash "hash.md" Loaded
    json "json.md" Pretended
    string "string.md" Loaded
    set "set.md" Loaded
    sorted_set "sorted-set.md" Loaded
    stream "stream.md" Loaded
    search_index "search-index.md" Pretended
}

#[test]
fn json_with_modules() {
    run("json.md", Modules::Loaded, World::with_modules);
}

#[test]
fn search_index_with_modules() {
    run("search-index.md", Modules::Loaded, World::with_modules);
}

#[test]
fn every_page_is_run() {
    let files = fs::read_dir(directory()).unwrap();
    let files: BTreeSet<String> = files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, PAGES.iter().map(|&page| page.to_owned()).collect());
}

/// Configurations as a whole, outside of the pages whose examples are run.
#[test]
fn configurations_are_understood() {
    for page in ["README.md", "docs/configuration.md"] {
        let text = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        let configurations = page::configurations(&text);
        assert!(!configurations.is_empty(), "{page} has none");
        for configuration in configurations {
            let variable =
                |name: &str| configuration.contains(&format!("${{{name}")).then(|| "secret".to_owned());
            let parsed = redis_connect_postgres::config::Config::parse(&configuration, page, &variable);
            assert!(parsed.is_ok(), "{:?}", parsed.err());
        }
    }
}
