//! Help and version, as they are read.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::{Connector, World};

/// What the program prints for these arguments, on a terminal of 100 columns.
#[track_caller]
pub(super) fn printed(arguments: &[&str]) -> String {
    let mut command = Connector::command();
    command.args(arguments).env("COLUMNS", "100").env("LINES", "50");
    let connector = Connector::spawn(command);
    assert!(connector.wait(Duration::from_secs(20)).success(), "{}", connector.story());
    assert_eq!(connector.log(), "");
    connector.stdout()
}

/// The commands that a help names, in its order.
pub(super) fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    // What goes on in a second line is indented further.
    let named = lines.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    named
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Every command with its path, the program itself included, and its help.
pub(super) fn all() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(path) = open.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = printed(&arguments);
        open.extend(commands(&help).into_iter().map(|name| [&path[..], &[name]].concat()));
        found.insert(path.join(" "), help);
    }
    found
}

/// One snapshot for each command. `cargo insta review`, or INSTA_UPDATE=always, takes over what has changed:
/// read it as somebody who sees the program for the first time.
#[test]
fn help_of_every_command() {
    let all = all();
    assert!(all.len() > 10, "{:?}", all.keys());
    for (command, help) in &all {
        assert!(help.contains("Usage: redis-connect-postgres"), "{command}: {help}");
        // Those under `dlq` are shown by example there.
        if !command.contains(' ') {
            assert!(
                help.contains("Examples:\n") || help.contains("First steps:\n"),
                "{command} has no example"
            );
        }
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("help_{}", command.replace(' ', "_")), help);
        });
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("help_short", printed(&["-h"]));
    });
}

/// Each example is understood: its command and options exist.
#[test]
fn examples_are_understood() {
    let mut seen = 0;
    for (command, help) in all() {
        let (_, shown) =
            help.split_once("Examples:\n").or(help.split_once("First steps:\n")).unwrap_or_default();
        for line in shown.lines() {
            assert!(line.len() <= 80, "{command}: too long for many terminals: {line}");
        }
        for line in shown.replace("\\\n", " ").lines().map(str::trim_start) {
            let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
            let line = line.trim_start_matches("source <(").trim_end_matches(')');
            let Some(arguments) = line.strip_prefix("redis-connect-postgres ") else { continue };
            // An explanation stands behind several spaces, but for those of a line that goes on.
            let arguments = match arguments.split_once("      --") {
                Some((before, rest)) => format!("{before}--{rest}"),
                None => arguments.split("  ").next().unwrap_or_default().to_owned(),
            };
            let arguments = arguments.split(['|', '>', '&']).next().unwrap_or_default();
            let mut arguments: Vec<&str> =
                arguments.split_whitespace().map(|word| word.trim_matches('\'')).collect();
            // With it nothing is done, but what stands before it must be known.
            arguments.push("--help");
            printed(&arguments);
            seen += 1;
        }
    }
    assert!(seen > 15, "{seen}");
}

#[test]
fn the_version() {
    assert_eq!(
        printed(&["--version"]).trim(),
        format!("redis-connect-postgres {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn an_unknown_command_names_the_nearest() {
    let world = World::new();
    let (code, connector) = world.finish(&["rum"]);
    assert_eq!(code, Some(2));
    assert!(connector.log().contains("'run'"), "{}", connector.story());
}

/// The form without a file does the same.
#[test]
fn without_a_file() {
    let world = World::new();
    world.sql("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE SCHEMA s; CREATE TABLE s.c (id int PRIMARY KEY)");
    world.sql("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO s.c VALUES (1)");
    let (source, target) = (world.source_url(), world.target_url());
    let arguments = [
        "run", "--source", &source, "--target", &target, "--tables", "a", "--tables", "s.*", "--type", "hash",
    ];
    for flag in ["--once", "--until-caught-up"] {
        let (code, connector) = world.finish(&[&arguments[..], &[flag]].concat());
        assert_eq!(code, Some(0), "{}", connector.story());
        world.assert_equal(&["a", "s.c"]);
        world.sql("UPDATE a SET id = id + 1; DELETE FROM s.c");
    }
    assert!(world.keys("b:*").is_empty());
    // The name is the database's.
    assert!(!world.checkpoint().is_empty());
}
