//! Search indexes, on a Redis with RediSearch: nothing that is written is left out of them.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::harness::{Config, World, skip};
use crate::hashes::{Live, wide};

/// The keys that a query finds.
fn search(world: &World, index: &str, query: &str) -> BTreeSet<String> {
    let found: Vec<redis::Value> =
        world.redis(&["FT.SEARCH", index, query, "NOCONTENT", "LIMIT", "0", "1000", "DIALECT", "2"]);
    found[1..].iter().map(|key| redis::from_redis_value_ref::<String>(key).unwrap()).collect()
}

fn words<const N: usize>(words: [&str; N]) -> BTreeSet<String> {
    words.map(str::to_owned).into()
}

const COLUMNS: &str = "id int PRIMARY KEY, name text, code varchar(8), kind mood, ok bool, n numeric, f float8, big bigint, at timestamptz, d date, place point, u uuid, j jsonb, a text[]";

fn tables(world: &World) {
    world.sql("CREATE TYPE mood AS ENUM ('happy', 'sad')");
    world.sql(&format!("CREATE TABLE t ({COLUMNS})"));
    world.sql(
        "INSERT INTO t VALUES
         (1, 'a red chair', 'c-1', 'happy', true, 1.5, 2.5, 9007199254740993, '2018-08-09 19:50:13+00', '2018-08-09', '(1.5,2.5)', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"x\": 1}', '{a,b}'),
         (2, 'blue table', 'c-2', 'sad', false, 'NaN', 'NaN', -1, 'infinity', '-infinity', '(1000,2000)', NULL, '[1]', '{{a},{b}}'),
         (3, '', '', NULL, NULL, NULL, 'Infinity', NULL, '-infinity', 'infinity', NULL, NULL, 'null', '{}'),
         (4, NULL, NULL, NULL, NULL, -1e300, '-Infinity', NULL, NULL, NULL, '(NaN,Infinity)', NULL, NULL, NULL)",
    );
}

/// Every row of a table of awkward values is found, in either structure, with every way of spelling.
#[test]
fn nothing_is_left_out() {
    for options in [
        "type: hash",
        "type: hash, timestamps: epoch_ms",
        "type: json",
        "type: json, decimals: number, timestamps: epoch_us",
        "type: json, nulls: omit",
    ] {
        let Some(world) = World::with_modules() else { return };
        tables(&world);
        let live = Live::tables(&world, &format!("public.t: {{ {options}, index: true }}"));
        let all = words(["t:1", "t:2", "t:3", "t:4"]);
        world.eventually_eq(options, &all, || search(&world, "idx:t", "*"));
        live.sql("UPDATE t SET name = 'again ' || id; INSERT INTO t (id, name) VALUES (5, 'five')");
        live.settle();
        world.eventually_eq(options, &words(["t:1", "t:2", "t:3", "t:4"]), || {
            search(&world, "idx:t", "@name:again")
        });
        world.eventually_eq(options, &words(["t:5"]), || search(&world, "idx:t", "@name:five"));
        assert_eq!(search(&world, "idx:t", "@place:[1 2 500 km]"), words(["t:1"]), "{options}");
        assert_eq!(search(&world, "idx:t", "@kind:{sad}"), words(["t:2"]), "{options}");
        assert_eq!(search(&world, "idx:t", "@ok:{true}"), words(["t:1"]), "{options}");
        assert_eq!(search(&world, "idx:t", "@big:[-5 0]"), words(["t:2"]), "{options}");
        assert_eq!(search(&world, "idx:t", "@code:{c\\-1}"), words(["t:1"]), "{options}");
        if options.contains("epoch_ms") {
            assert_eq!(search(&world, "idx:t", "@at:[1533844213000 1533844213000]"), words(["t:1"]));
        }
        if options.contains("number") || options.contains("hash") {
            assert_eq!(search(&world, "idx:t", "@n:[1 2]"), words(["t:1"]), "{options}");
        }
        live.sql("DELETE FROM t WHERE id < 5");
        live.settle();
        world.eventually_eq(options, &words(["t:5"]), || search(&world, "idx:t", "*"));
    }
}

/// A new column gets into the index, an index that nobody asks for goes, the documents stay.
#[test]
fn made_anew_with_the_columns() {
    let Some(world) = World::with_modules() else { return };
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one')");
    let live = Live::tables(&world, "public.t: { type: json, index: true }");
    live.sql("ALTER TABLE t ADD w int; INSERT INTO t VALUES (2, 'two', 2)");
    live.settle();
    world
        .eventually_eq("the new column is searched", &words(["t:2"]), || search(&world, "idx:t", "@w:[2 2]"));
    assert_eq!(search(&world, "idx:t", "@v:one"), words(["t:1"]));
    live.sql("ALTER TABLE t ALTER w TYPE text USING w || ' words'; INSERT INTO t VALUES (3, 'three', 'some words')");
    live.settle();
    world
        .eventually_eq("the retyped one too", &words(["t:2", "t:3"]), || search(&world, "idx:t", "@w:words"));
    live.connector.kill9();
    world.config("public.t: { type: json }");
    world.run_until_caught_up();
    let indexes: Vec<String> = world.redis(&["FT._LIST"]);
    assert!(indexes.is_empty(), "{indexes:?}");
    assert_eq!(world.keys("t:*").len(), 3);
}

#[test]
fn chosen_columns_and_types() {
    let Some(world) = World::with_modules() else { return };
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, title text, \"odd name\" text, price numeric); INSERT INTO t VALUES (1, 'a b', 'x y', 5)",
    );
    let _live = Live::tables(
        &world,
        "public.t: { type: hash, key: 'p:{id}', columns: [{ title: t }, odd name, price], index: [{ title: tag }, { odd name: text }, price] }",
    );
    world.eventually_eq("as a tag", &words(["p:1"]), || search(&world, "idx:t", "@t:{a\\ b}"));
    assert_eq!(search(&world, "idx:t", "@odd\\ name:y"), words(["p:1"]));
    assert_eq!(search(&world, "idx:t", "@price:[4 6]"), words(["p:1"]));
}

/// The nearest ones are found, also those with no vector do no harm.
#[test]
fn vectors() {
    let Some(world) = World::with_modules() else { return };
    let there = "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'";
    if world.value::<u32>(there) == 0 {
        skip!("PostgreSQL has no extension vector (pgvector)");
    }
    world.sql(
        "CREATE EXTENSION vector;
         CREATE TABLE t (id int PRIMARY KEY, name text, v vector(3));
         INSERT INTO t VALUES (1, 'x', '[1,0,0]'), (2, 'y', '[0,1,0]'), (3, 'z', '[0,0,1]'), (4, 'none', NULL)",
    );
    let live = Live::tables(&world, "public.t: { type: json, index: true }");
    live.sql(
        "INSERT INTO t VALUES (5, 'near x', '[0.9,0.1,0]'); UPDATE t SET v = '[0,0.5,0.5]' WHERE id = 3",
    );
    live.settle();
    let nearest = |vector: [f32; 3]| -> BTreeSet<String> {
        let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        let found: Vec<redis::Value> = world.with_redis(|connection| {
            redis::cmd("FT.SEARCH")
                .arg(&["idx:t", "*=>[KNN 2 @v $q]", "NOCONTENT", "DIALECT", "2", "PARAMS", "2", "q"])
                .arg(bytes.as_slice())
                .query(connection)
                .unwrap()
        });
        found.into_iter().skip(1).map(|key| redis::from_redis_value(key).unwrap()).collect()
    };
    world.eventually_eq("near x", &words(["t:1", "t:5"]), || nearest([1.0, 0.0, 0.0]));
    assert_eq!(nearest([0.0, 1.0, 1.0]), words(["t:2", "t:3"]));
    assert_eq!(search(&world, "idx:t", "@name:none"), words(["t:4"]));
    live.sql("DELETE FROM t WHERE id = 5");
    world.eventually_eq("it is gone", &words(["t:1", "t:2"]), || nearest([1.0, 0.1, 0.0]));
}

fn refused(world: &World, tables: &str, wanted: &[&str]) {
    world.configure(&Config { tables, ..Config::default() });
    let connector = world.run_with(&["--once"]);
    assert!(!connector.wait(Duration::from_secs(30)).success(), "{tables}: {}", connector.story());
    for word in wanted {
        assert!(connector.story().contains(word), "{word} is missing in\n{}", connector.story());
    }
}

/// A Redis without the modules is told at once, by the module's name.
#[test]
fn without_the_modules() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    refused(&world, "public.t: { type: json }", &["no module RedisJSON", "`type: json`", "Redis Stack"]);
    refused(&world, "public.t: { type: hash, index: true }", &["no module RediSearch", "`index`"]);
}

#[test]
fn what_can_not_be_indexed() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, n numeric, at timestamptz, j jsonb, v text)");
    for (tables, wanted) in [
        ("public.t: { type: json, index: [{ n: numeric }] }", &["column `n`", "decimals: number"][..]),
        ("public.t: { type: json, index: [{ at: numeric }] }", &["column `at`", "timestamps: epoch_ms"]),
        ("public.t: { type: json, index: [{ j: text }] }", &["column `j`", "no single text"]),
        ("public.t: { type: json, index: [j] }", &["column `j`", "{ j: tag }"]),
        ("public.t: { type: json, index: [vv] }", &["`index` names the column `vv`", "did you mean `v`?"]),
        ("public.t: { type: json, exclude: [v], index: [v] }", &["`v`, which is not written"]),
        ("public.t: { type: json, index: [{ v: geo }] }", &["only a point"]),
        ("public.t: { type: hash, index: [{ v: vector }] }", &["only JSON documents"]),
        ("public.t: { type: hash, key: '{id}', index: true }", &["begins with a text"]),
        ("public.t: { type: hash, index: true, nulls: empty }", &["nulls: empty"]),
        (
            "public.t: [{ type: hash, index: true }, { type: hash, key: 'x:{id}', index: true }]",
            &["only one output"],
        ),
    ] {
        refused(&world, tables, wanted);
    }
}

/// RediSearch follows new rows of a wide table, which are restored and not set, into an index that its user made.
#[test]
fn an_index_of_somebody_else() {
    let Some(world) = World::with_modules() else { return };
    wide::create(&world);
    let (index, prefix) = (format!("index-{}", world.name), format!("{}:", world.name));
    world.redis::<()>(&[
        "FT.CREATE",
        &index,
        "ON",
        "HASH",
        "PREFIX",
        "1",
        &prefix,
        "SCHEMA",
        "c2",
        "NUMERIC",
    ]);
    let restored = world.calls("restore");
    let live = Live::tables(&world, &format!("public.wide: {{ type: hash, key: '{prefix}{{id}}' }}"));
    live.sql("SELECT put(i) FROM generate_series(1, 9) i; DELETE FROM wide WHERE id = 8");
    assert!(live.calls("restore") >= restored + 9);
    let seven_and_nine = [7, 9].map(|id| format!("{prefix}{id}")).into();
    world.eventually_eq("rows 7 and 9", &seven_and_nine, || search(&world, &index, "@c2:[14 18]"));
}
