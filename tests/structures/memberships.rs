//! Rows as members of sets and sorted sets: where they are, where they were, and where they are not.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::World;
use crate::hashes::Live;

fn set(world: &World, key: &str) -> BTreeSet<String> {
    world.redis(&["SMEMBERS", key])
}

fn scores(world: &World, key: &str) -> BTreeMap<String, String> {
    let pairs: Vec<String> = world.redis(&["ZRANGE", key, "0", "-1", "WITHSCORES"]);
    pairs.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

fn words<const N: usize>(words: [&str; N]) -> BTreeSet<String> {
    words.map(str::to_owned).into()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(member, score)| (member.to_owned(), score.to_owned())).into()
}

#[test]
fn the_default_set() {
    let world = World::new();
    world.sql("CREATE TABLE t (a int, b text, v text, PRIMARY KEY (a, b)); INSERT INTO t VALUES (1, 'x:y', ''), (2, 'z', '')");
    let live = Live::tables(&world, "public.t: { type: set }");
    assert_eq!(set(&world, "t"), words(["1:x%3Ay", "2:z"]));
    live.sql("UPDATE t SET v = 'no key'; UPDATE t SET a = 3 WHERE a = 1; DELETE FROM t WHERE a = 2; INSERT INTO t VALUES (4, 'n')");
    live.settle();
    assert_eq!(set(&world, "t"), words(["3:x%3Ay", "4:n"]));
    live.sql("TRUNCATE t");
    live.settle();
    assert_eq!(world.redis::<i64>(&["EXISTS", "t"]), 0);
}

/// Under REPLICA IDENTITY FULL every column can say where a row is.
#[test]
fn moving_between_sets() {
    let world = World::new();
    world.sql(
        "CREATE TABLE p (id int PRIMARY KEY, category text, name text, score int); ALTER TABLE p REPLICA IDENTITY FULL;
         INSERT INTO p VALUES (1, 'a', 'x', 1), (2, 'a', 'y', 2), (3, NULL, 'z', 3), (4, 'b', NULL, 4)",
    );
    let live = Live::tables(
        &world,
        r#"
        public.p:
          - { type: set, key: "in:{category}", member: "{name}" }
          - { type: sorted_set, key: "top:{category}", member: "{id}", score: "{score}" }
        "#,
    );
    assert_eq!(set(&world, "in:a"), words(["x", "y"]));
    assert_eq!(world.keys("in:*"), words(["in:a"]));
    assert_eq!(scores(&world, "top:b"), pairs([("4", "4")]));
    live.sql(
        "UPDATE p SET category = 'b' WHERE id = 1; UPDATE p SET category = 'b', name = 'zz', score = NULL WHERE id = 3;
         UPDATE p SET name = 'was null', score = 40 WHERE id = 4; UPDATE p SET category = NULL WHERE id = 2",
    );
    live.settle();
    assert_eq!(world.keys("in:*"), words(["in:b"]));
    assert_eq!(set(&world, "in:b"), words(["x", "zz", "was null"]));
    assert_eq!(world.keys("top:*"), words(["top:b"]));
    assert_eq!(scores(&world, "top:b"), pairs([("1", "1"), ("4", "40")]));
    live.sql("UPDATE p SET name = NULL WHERE id = 1; UPDATE p SET score = NULL WHERE id = 4; DELETE FROM p WHERE id = 3");
    live.settle();
    assert_eq!(set(&world, "in:b"), words(["was null"]));
    assert_eq!(scores(&world, "top:b"), pairs([("1", "1")]));
}

#[test]
fn scores_of_every_type() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, i bigint, n numeric, f float8, d date, at timestamptz, s text);
         INSERT INTO t VALUES (1, 9007199254740993, 1.25, 'Infinity', '1970-01-02', '2018-08-09 19:50:13.25+00', '1e3'),
                              (2, -1, -0.5, '-Infinity', '-infinity', 'infinity', '-.5')",
    );
    let columns = ["i", "n", "f", "d", "at", "s"];
    let outputs: String = columns
        .map(|c| format!("  - {{ type: sorted_set, key: \"by_{c}\", score: \"{{{c}}}\" }}\n"))
        .concat();
    let tables = format!(
        "public.t:\n{outputs}  - {{ type: sorted_set, key: by_ms, score: \"{{at}}\", timestamps: epoch_ms }}\n"
    );
    let _live = Live::tables(&world, &tables);
    for (column, one, two) in [
        ("i", "9007199254740992", "-1"),
        ("n", "1.25", "-0.5"),
        ("f", "inf", "-inf"),
        ("d", "86400", "-inf"),
        ("at", "1533844213.25", "inf"),
        ("s", "1000", "-0.5"),
        ("ms", "1533844213250", "inf"),
    ] {
        assert_eq!(scores(&world, &format!("by_{column}")), pairs([("1", one), ("2", two)]), "{column}");
    }
}

/// What is no number is a dead letter, and the old membership goes.
#[test]
fn a_score_that_is_no_number() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, f float8); INSERT INTO t VALUES (1, 1), (2, 2), (3, 'NaN')",
    );
    let live = Live::tables(&world, "public.t: { type: sorted_set, key: z, score: '{f}' }");
    assert_eq!(scores(&world, "z"), pairs([("1", "1"), ("2", "2")]));
    live.sql("UPDATE t SET f = 'NaN' WHERE id = 1; UPDATE t SET f = 3 WHERE id = 3");
    live.settle();
    assert_eq!(scores(&world, "z"), pairs([("2", "2"), ("3", "3")]));
    let dlq = format!("redis-connect-postgres:{}:dlq", world.name);
    world.eventually("two dead letters", || world.redis::<i64>(&["XLEN", &dlq]) == 2);
}

/// Two rows swap their keys in one transaction, where the key is checked at its end only.
#[test]
fn members_that_swap() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int, v int, PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED);
         ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 10), (2, 20)",
    );
    let live = Live::tables(
        &world,
        "
        public.t:
          - { type: set, key: s }
          - { type: sorted_set, key: z, score: '{v}' }
        ",
    );
    live.sql("BEGIN; UPDATE t SET id = 3 - id; COMMIT");
    live.settle();
    assert_eq!(set(&world, "s"), words(["1", "2"]));
    assert_eq!(scores(&world, "z"), pairs([("1", "20"), ("2", "10")]));
    live.sql("BEGIN; UPDATE t SET id = 2 WHERE id = 1; DELETE FROM t WHERE v = 10; COMMIT");
    live.settle();
    assert_eq!(set(&world, "s"), words(["2"]));
    assert_eq!(scores(&world, "z"), pairs([("2", "20")]));
}

#[test]
fn time_to_live() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)");
    let live = Live::tables(
        &world,
        "
        public.t:
          - { type: set, key: s, ttl: 1000 }
          - { type: sorted_set, key: z, score: '{v}', ttl: 1000 }
          - { type: stream, ttl: 1000 }
        ",
    );
    for key in ["s", "z", "t:events"] {
        assert!(world.redis::<i64>(&["TTL", key]) > 900, "{key}");
        world.redis::<i64>(&["EXPIRE", key, "100"]);
    }
    live.sql("UPDATE t SET v = 2");
    live.settle();
    for key in ["s", "z", "t:events"] {
        assert!(world.redis::<i64>(&["TTL", key]) > 900, "{key}");
    }
}

/// A table that is read again leaves no member behind that no row has.
#[test]
fn members_of_another_definition_are_swept() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, n numeric(10,2), v int); ALTER TABLE t REPLICA IDENTITY FULL;
         INSERT INTO t VALUES (1, 1.5, 1), (2, 2.5, 2)",
    );
    let live = Live::tables(
        &world,
        "
        public.t:
          - { type: set, key: s, member: '{n}' }
          - { type: sorted_set, key: z, member: '{n}', score: '{v}' }
        ",
    );
    assert_eq!(set(&world, "s"), words(["1.50", "2.50"]));
    live.sql("ALTER TABLE t ALTER n TYPE numeric(10,3); UPDATE t SET v = 3 WHERE id = 1");
    world.eventually_eq("the members are spelled anew", &words(["1.500", "2.500"]), || set(&world, "s"));
    world.eventually_eq("the scores too", &pairs([("1.500", "3"), ("2.500", "2")]), || scores(&world, "z"));
}
