//! Several outputs of one table, and outputs of several tables.

use std::time::Duration;

use crate::harness::{Config, World};
use crate::hashes::Live;

/// What committed together appears together, in all structures.
#[test]
fn all_at_once() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v int)");
    let live = Live::tables(
        &world,
        "
        public.t:
          - { type: hash }
          - { type: string, key: 's:{id}' }
          - { type: set, key: ids }
          - { type: sorted_set, key: by_v, score: '{v}' }
          - { type: stream }
        ",
    );
    let mut watcher = redis::Client::open(world.target_url()).unwrap().get_connection().unwrap();
    live.sql("BEGIN; INSERT INTO t SELECT n, n FROM generate_series(1, 500) n; COMMIT");
    let lengths = |connection: &mut redis::Connection| -> Vec<i64> {
        redis::pipe()
            .atomic()
            .cmd("EXISTS")
            .arg("t:500")
            .cmd("EXISTS")
            .arg("s:500")
            .cmd("SCARD")
            .arg("ids")
            .cmd("ZCARD")
            .arg("by_v")
            .cmd("XLEN")
            .arg("t:events")
            .query(connection)
            .unwrap()
    };
    world.eventually("all of it", || {
        let found = lengths(&mut watcher);
        let nothing = found == [0, 0, 0, 0, 0];
        let everything = found == [1, 1, 500, 500, 500];
        assert!(nothing || everything, "{found:?}");
        everything
    });
}

fn refused(world: &World, tables: &str, words: &[&str]) {
    world.configure(&Config { tables, ..Config::default() });
    let connector = world.run_with(&["--once"]);
    let status = connector.wait(Duration::from_secs(30));
    assert!(!status.success(), "{tables}: {}", connector.story());
    for word in words {
        assert!(connector.story().contains(word), "{word} is missing in\n{}", connector.story());
    }
}

#[test]
fn what_is_refused_at_the_start() {
    let world = World::new();
    world.sql(
        "CREATE TABLE a (id int PRIMARY KEY, name text UNIQUE, region text, total int);
         CREATE TABLE b (id int PRIMARY KEY, name text)",
    );
    for (tables, words) in [
        // Two tables with the same keys, also where one is a pattern's.
        (
            "public.a: { type: hash, key: 'x:{id}' }\npublic.b: { type: string, key: 'x:{id}' }",
            &["x:{id}", "public.a", "public.b", "another `key`"][..],
        ),
        ("public.a: { type: set, key: x }\npublic.b: { type: set, key: x }", &["public.a", "public.b"]),
        (
            "public.a: { type: stream, key: x }\npublic.b: { type: stream, key: x, format: flat }",
            &["one format"],
        ),
        // Old values that deletes do not carry.
        (
            "public.a: { type: set, key: 'in:{region}' }",
            &["`key` needs the column `region`", "ALTER TABLE \"public\".\"a\" REPLICA IDENTITY FULL"],
        ),
        (
            "public.a: { type: set, member: '{name}' }",
            &["`member` needs the column `name`", "REPLICA IDENTITY FULL"],
        ),
        // Columns that are not there.
        (
            "public.a: { type: string, value: '{nam}' }",
            &["output string", "`value` names the column `nam`", "did you mean `name`?"],
        ),
        (
            "public.a: { type: sorted_set, score: '{totl}' }",
            &["output sorted_set", "`score`", "did you mean `total`?"],
        ),
        ("public.a: { type: set, member: '{x}' }", &["output set", "`member` names the column `x`"]),
        ("public.a: { type: stream, columns: [idd] }", &["output stream", "`columns`", "did you mean `id`?"]),
    ] {
        refused(&world, tables, words);
    }
    world.sql("ALTER TABLE a REPLICA IDENTITY FULL");
    refused(
        &world,
        "public.a: { type: hash, key: 'r:{region}' }",
        &["rows would share a key", "`{pk}`", "(id)"],
    );
    world.sql("CREATE TABLE c (id int PRIMARY KEY, op text)");
    refused(&world, "public.c: { type: stream, format: flat }", &["`op`", "rename it"]);
}

/// A unique column is as good as the key.
#[test]
fn a_key_of_another_unique_column() {
    let world = World::new();
    world.sql(
        "CREATE TABLE a (id int PRIMARY KEY, name text UNIQUE, v int); ALTER TABLE a REPLICA IDENTITY FULL;
         INSERT INTO a VALUES (1, 'x', 1)",
    );
    let live = Live::tables(&world, "public.a: { type: hash, key: 'n:{name}' }");
    live.sql("UPDATE a SET name = 'y', v = 2; INSERT INTO a VALUES (2, 'x', 3)");
    live.settle();
    assert_eq!(world.hash("n:y")["v"], "2");
    assert_eq!(world.hash("n:x")["id"], "2");
}
