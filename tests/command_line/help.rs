//! Help and version.

use crate::harness::World;

#[test]
fn help_and_version() {
    let world = World::new();
    let (code, connector) = world.finish(&["--help"]);
    assert_eq!(code, Some(0));
    let help = connector.stdout();
    for words in [
        "Captures row changes from PostgreSQL",
        "Usage: redis-connect-postgres",
        "run",
        "verify",
        "reset",
        "--log-format",
        "--version",
    ] {
        assert!(help.contains(words), "`{words}` is missing in:\n{help}");
    }
    let (code, connector) = world.finish(&["run", "--help"]);
    assert_eq!(code, Some(0));
    let help = connector.stdout();
    for words in [
        "--config <FILE>",
        "--source <URL>",
        "--target <URL>",
        "--tables <PATTERN>",
        "--type <TYPE>",
        "--once",
        "--until-caught-up",
    ] {
        assert!(help.contains(words), "`{words}` is missing in:\n{help}");
    }
    let (code, connector) = world.finish(&["verify", "--help"]);
    assert_eq!(code, Some(0));
    let help = connector.stdout();
    for words in
        ["--config <FILE>", "--repair", "--json", "Exit code 0: equal, or all that differed was mended"]
    {
        assert!(help.contains(words), "`{words}` is missing in:\n{help}");
    }
    let (code, connector) = world.finish(&["--version"]);
    assert_eq!(code, Some(0));
    assert_eq!(connector.stdout().trim(), format!("redis-connect-postgres {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(connector.log(), "");
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
