//! Mistakes in configurations and arguments: exit code 2, the place, and the nearest right name.

use super::{fails, failure, write};
use crate::harness::World;

const URLS: &str = "source: { url: '$SOURCE' }\ntarget: { url: '$TARGET' }\n";

#[test]
fn an_unknown_key() {
    let world = World::new();
    for (yaml, words) in [
        ("sorce: {}\n", ["config.yaml:3", "sorce", "source"]),
        ("snapshot:\n  wokers: 3\n", ["config.yaml:4", "wokers", "workers"]),
        ("tables:\n  t: { type: hash, exlude: [a] }\n", ["config.yaml:4", "exlude", "exclude"]),
        ("tables:\n  t: { type: hsh }\n", ["config.yaml:4", "hsh", "hash"]),
    ] {
        write(&world, &format!("{URLS}{yaml}"));
        fails(&world, 2, &words);
    }
}

#[test]
fn not_yaml() {
    let world = World::new();
    write(&world, &format!("{URLS}tables: [\n"));
    fails(&world, 2, &["config.yaml:"]);
    write(&world, "\t");
    fails(&world, 2, &["config.yaml"]);
    write(&world, "");
    fails(&world, 2, &["config.yaml", "empty"]);
    std::fs::write(world.config_file(), b"name: \xff").unwrap();
    fails(&world, 2, &["config.yaml", "UTF-8"]);
}

#[test]
fn urls_that_are_none() {
    let world = World::new();
    for (yaml, words) in [
        (
            "source: { url: 'mysql://h/d' }\ntarget: { url: '$TARGET' }",
            ["config.yaml:1", "source.url", "postgresql://"],
        ),
        (
            "source: { url: '$SOURCE' }\ntarget: { url: 'http://h' }",
            ["config.yaml:2", "target.url", "redis://"],
        ),
        (
            "source: { url: '$SOURCE' }\ntarget: { url: 'redis://h:port' }",
            ["config.yaml:2", "target.url", "port"],
        ),
        ("source: { url: '$SOURCE' }\n", ["config.yaml", "target", "missing"]),
    ] {
        write(&world, yaml);
        fails(&world, 2, &words);
    }
}

#[test]
fn a_table_that_does_not_exist() {
    let world = World::new();
    world.sql("CREATE TABLE employees (id int PRIMARY KEY); CREATE SCHEMA hr; CREATE TABLE hr.emp (id int PRIMARY KEY)");
    write(&world, &format!("{URLS}tables:\n  public.employes: {{ type: hash }}\n"));
    fails(&world, 2, &["config.yaml:4", "public.employes", "did you mean `public.employees`?"]);
    write(&world, &format!("{URLS}tables:\n  emp: {{ type: hash }}\n"));
    fails(&world, 2, &["config.yaml:4", "public.emp", "did you mean"]);
    let nothing = world.value::<i64>("SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())");
    assert_eq!(nothing, 0, "something was made before the mistake was found");
}

#[test]
fn views_and_partitions_are_no_tables() {
    let world = World::new();
    world.sql(
        "CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE low PARTITION OF root DEFAULT;
         CREATE VIEW looking AS SELECT 1 AS id; CREATE UNLOGGED TABLE fast (id int PRIMARY KEY)",
    );
    for (table, words) in [("low", "root"), ("looking", "table"), ("fast", "table")] {
        write(&world, &format!("{URLS}tables:\n  {table}: {{ type: hash }}\n"));
        fails(&world, 2, &["config.yaml:4", &format!("public.{table}"), words]);
    }
}

#[test]
fn a_column_that_does_not_exist() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, salary int, name text)");
    for (output, words) in [
        ("columns: [id, salry]", ["salry", "did you mean `salary`?"]),
        ("columns: [{ nam: n }]", ["nam", "did you mean `name`?"]),
        ("exclude: [Salary]", ["Salary", "did you mean `salary`?"]),
        ("key: 'x:{idd}'", ["idd", "did you mean `id`?"]),
    ] {
        write(&world, &format!("{URLS}tables:\n  t: {{ type: hash, {output} }}\n"));
        fails(&world, 2, &["config.yaml", "4", words[0], words[1]]);
    }
}

/// DELETE would not carry what the key needs.
#[test]
fn a_key_of_columns_that_deletes_do_not_carry() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, region text)");
    write(&world, &format!("{URLS}tables:\n  t: {{ type: hash, key: '{{region}}:{{id}}' }}\n"));
    fails(&world, 2, &["region", "ALTER TABLE \"public\".\"t\" REPLICA IDENTITY FULL"]);
}

#[test]
fn no_such_file() {
    let world = World::new();
    let (code, line) = failure(&world, &["run", "-c", "nothing/here.yaml"]);
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("nothing/here.yaml") && line.contains("No such file"), "{line}");
    let (code, line) = failure(&world, &["run", "-c", "."]);
    assert_eq!(code, 2, "{line}");
}

#[test]
fn a_variable_that_is_not_set() {
    let world = World::new();
    write(
        &world,
        "source: { url: '$SOURCE', password: '${NOT_SET_ANYWHERE}' }\ntarget: { url: '$TARGET' }\n",
    );
    fails(&world, 2, &["config.yaml:1", "NOT_SET_ANYWHERE"]);
}

#[test]
fn arguments_that_do_not_fit() {
    let world = World::new();
    let (source, target) = (world.source_url(), world.target_url());
    for arguments in [
        &["run"][..],
        &["run", "--source", &source],
        &["run", "--source", "nonsense", "--target", &target],
        &["run", "--source", &source, "--target", "nonsense"],
        &["run", "--source", &source, "--target", &target, "--type", "hsh"],
        &["run", "--source", &source, "--target", &target, "--tables", "a.b.c"],
        &["run", "--source", &source, "--target", &target, "--tables", "nothing"],
        &["run", "-c", "x", "--source", &source, "--target", &target],
        &["run", "-c", "x", "--once", "--until-caught-up"],
        &["run", "-c", "x", "--log-format", "xml"],
        &["run", "--wrong"],
        &["walk"],
        &["reset"],
        &[],
    ] {
        let (code, connector) = world.finish(arguments);
        assert_eq!(code, Some(2), "{}", connector.story());
        assert!(connector.stdout().is_empty() && !connector.log().is_empty(), "{}", connector.story());
    }
}

/// An answer can't be given without a terminal.
#[test]
fn reset_without_a_terminal_wants_to_be_told() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    world.once();
    let file = world.config_file();
    let (code, line) = failure(&world, &["reset", "-c", &file.to_string_lossy()]);
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("--yes"), "{line}");
    assert!(!world.checkpoint().is_empty());
}
