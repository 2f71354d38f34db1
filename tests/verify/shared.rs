//! Rows as members of sets and sorted sets that they share.

use super::{contents, counted, finds, is_equal, is_mended, kinds, report};
use crate::harness::World;

const TABLE: &str = "CREATE TABLE p (id int PRIMARY KEY, category text, score float8);
    ALTER TABLE p REPLICA IDENTITY FULL;
    INSERT INTO p SELECT g, (ARRAY['a', 'b', 'c'])[g % 3 + 1], g * 1.5 FROM generate_series(1, 30) g;
    INSERT INTO p VALUES (31, 'a', NULL), (32, NULL, 1), (33, 'a', 'inf'), (34, 'a', 1e-300)";

fn change(world: &World, commands: &[&str]) {
    for command in commands {
        world.redis::<redis::Value>(&command.split(' ').collect::<Vec<_>>());
    }
}

#[test]
fn every_difference_of_a_set() {
    let world = World::new();
    world.sql(TABLE);
    world.config(r#"public.p: { type: set, key: "in:{category}", member: "{id}" }"#);
    world.once();
    is_equal(&world);
    let before = contents(&world);
    change(&world, &["SREM in:a 3", "SADD in:a 1000", "SADD in:b x", "SADD in:d 1", "EXPIRE in:c 1000"]);
    let (code, found) = report(&world, &[]);
    assert_eq!(code, 1);
    // That the set expires is told for each of its rows.
    let expected = counted([("missing_member", 1), ("surplus_member", 3), ("surplus_ttl", 10)]);
    assert_eq!(kinds(&found), expected, "{found:#}");
    is_mended(&world, &before, contents);
    change(&world, &["SREM in:a 3", "SADD in:a 1000", "SET in:other 1"]);
    finds(
        &world,
        &[
            "in:a: the member 3 is missing",
            "in:a: has a member 1000 that no row of public.p has",
            "in:other: a key of public.p that no row has",
        ],
    );
    is_mended(&world, &before, contents);
    change(&world, &["DEL in:b", "HSET in:b f v"]);
    let (code, found) = report(&world, &[]);
    assert_eq!((code, kinds(&found)), (1, counted([("wrong_type", 10)])), "{found:#}");
    is_mended(&world, &before, contents);
}

#[test]
fn every_difference_of_a_sorted_set() {
    let world = World::new();
    world.sql(TABLE);
    world.config(
        r#"public.p: { type: sorted_set, key: "top:{category}", member: "m{id}", score: "{score}" }"#,
    );
    world.once();
    is_equal(&world);
    let before = contents(&world);
    change(
        &world,
        &[
            "ZADD top:a 5 m3",
            "ZREM top:a m6",
            "ZADD top:a 1 m1000",
            "ZADD top:a 1 m31",
            "ZADD top:a 0.5 m34",
            "ZADD top:d 1 m1",
        ],
    );
    finds(
        &world,
        &[
            "top:a: the score of m3 is 5, the row has 4.5",
            "top:a: the member m6 is missing",
            "top:a: has a member m1000 that no row of public.p has",
            "top:a: has a member m31 that no row of public.p has",
            "top:a: the score of m34 is 0.5, the row has 1e-300",
            "top:d: has a member m1 that no row of public.p has",
        ],
    );
    is_mended(&world, &before, contents);
    change(&world, &["DEL top:b", "SADD top:b x"]);
    let (code, found) = report(&world, &[]);
    assert_eq!((code, kinds(&found)), (1, counted([("wrong_type", 10)])), "{found:#}");
    is_mended(&world, &before, contents);
}

/// A score that is no number can't be written; the row is then no member, and that is right.
#[test]
fn scores_that_are_none() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, s text); INSERT INTO t VALUES (1, 'high'), (2, '7')");
    world.config(r#"public.t: { type: sorted_set, score: "{s}" }"#);
    world.once();
    is_equal(&world);
    let before = contents(&world);
    world.redis::<i64>(&["ZADD", "t", "1", "1"]);
    finds(&world, &["t: has a member 1 that no row of public.t has"]);
    is_mended(&world, &before, contents);
}

/// Sets of more members than Redis tells at once, and more sets than are scanned at once.
#[test]
fn large_and_many_sets() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 5000)");
    world.config(
        r#"
        public.t:
          - { type: set, key: "all", member: "{id}" }
          - { type: set, key: "one:{id}", member: "m" }
        "#,
    );
    world.once();
    is_equal(&world);
    change(&world, &["SADD all x", "SADD one:4711 n", "SADD one:9999 m"]);
    finds(
        &world,
        &[
            "all: has a member x that no row of public.t has",
            "one:4711: has a member n that no row of public.t has",
            "one:9999: has a member m that no row of public.t has",
        ],
    );
}
