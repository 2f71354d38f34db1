//! Values that stand in the contract or follow from it, letter by letter.

use std::collections::{BTreeMap, BTreeSet};

use super::{available, skip, world};
use crate::harness::{Config, World};

/// Type, value, and its spelling in a hash.
pub(super) const CONTRACT: &[(&str, &str, &str)] = &[
    ("smallint", "-32768", "-32768"),
    ("bigint", "9223372036854775807", "9223372036854775807"),
    ("oid", "4294967295", "4294967295"),
    ("numeric(10,3)", "1.5", "1.500"),
    ("numeric", "0.00", "0.00"),
    ("numeric", "NaN", "NaN"),
    ("real", "0.1", "0.1"),
    ("real", "16777216", "1.6777216e+07"),
    ("double precision", "0.1", "0.1"),
    ("double precision", "1e300", "1e+300"),
    ("double precision", "NaN", "NaN"),
    ("double precision", "-Infinity", "-Infinity"),
    ("double precision", "-0", "-0"),
    ("boolean", "t", "true"),
    ("boolean", "f", "false"),
    ("text", "a\tb\\c\"d'\n🙂", "a\tb\\c\"d'\n🙂"),
    ("text", "", ""),
    ("text", "NULL", "NULL"),
    ("char(5)", "ab", "ab   "),
    ("name", "n", "n"),
    ("uuid", "A0EEBC999C0B4EF8BB6D6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("xml", "<a>&amp;</a>", "<a>&amp;</a>"),
    ("inet", "10.1.2.3/8", "10.1.2.3/8"),
    ("inet", "10.1.2.3/32", "10.1.2.3"),
    ("cidr", "10.0.0.0/8", "10.0.0.0/8"),
    ("macaddr", "08002B010203", "08:00:2b:01:02:03"),
    ("int4range", "(1,5]", "[2,6)"),
    ("tstzrange", "[2018-08-09 19:50:13+00,)", "[\"2018-08-09 19:50:13+00\",)"),
    ("tsvector", "b:2 a:1A", "'a':1A 'b':2"),
    ("bit(3)", "101", "101"),
    ("varbit", "", ""),
    ("point", "1.5,-2", "(1.5,-2)"),
    ("mood", "it's \"ok\"", "it's \"ok\""),
    ("inner_type", "(1,\"a b\")", "(1,\"a b\")"),
    ("inner_type", "(,)", "(,)"),
    ("date", "2024-02-29", "2024-02-29"),
    ("date", "infinity", "infinity"),
    ("date", "0001-12-31 BC", "0000-12-31"),
    ("date", "0044-03-15 BC", "-0043-03-15"),
    ("date", "12345-01-02", "+12345-01-02"),
    ("time", "13:51:30.123456", "13:51:30.123456"),
    ("time", "13:51:30", "13:51:30"),
    ("time", "24:00", "24:00:00"),
    ("timetz", "13:51:30.123456+02", "13:51:30.123456+02:00"),
    ("timetz", "13:51:30-03:30", "13:51:30-03:30"),
    ("timetz", "13:51:30Z", "13:51:30+00:00"),
    ("timestamp", "2018-08-09 19:50:13", "2018-08-09T19:50:13"),
    ("timestamp", "2018-08-09 19:50:13.120", "2018-08-09T19:50:13.12"),
    ("timestamp", "-infinity", "-infinity"),
    ("timestamp", "0044-03-15 12:00:00 BC", "-0043-03-15T12:00:00"),
    ("timestamp", "12345-01-02 03:04:05", "+12345-01-02T03:04:05"),
    ("timestamptz", "2018-08-09 19:50:13Z", "2018-08-09T19:50:13Z"),
    ("timestamptz", "2018-08-10 01:20:13.5+05:30", "2018-08-09T19:50:13.5Z"),
    ("timestamptz", "infinity", "infinity"),
    ("timestamptz", "0001-01-01 00:00:00+01", "0000-12-31T23:00:00Z"),
    ("interval", "1 year 2 months 3 days 4:05:06.78", "P1Y2M3DT4H5M6.78S"),
    ("interval", "0", "PT0S"),
    ("interval", "-1 year +1 day -0.5 seconds", "P-1Y1DT-0.5S"),
    ("interval", "100 hours", "PT100H"),
    ("bytea", "\\xdeadbeef", "3q2+7w=="),
    ("bytea", "\\x", ""),
    ("json", " {\"a\" : 1.00, \"a\":2} ", " {\"a\" : 1.00, \"a\":2} "),
    ("jsonb", "{\"b\":1.00,\"a\":null}", "{\"a\": null, \"b\": 1.00}"),
    ("int[]", "{}", "[]"),
    ("int[]", "[0:1]={1,NULL}", "[1,null]"),
    ("int[]", "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
    ("numeric[]", "{1.50,NaN}", "[\"1.50\",\"NaN\"]"),
    ("float8[]", "{1.5,NaN,-Infinity}", "[1.5,\"NaN\",\"-Infinity\"]"),
    ("boolean[]", "{t,f,NULL}", "[true,false,null]"),
    ("text[]", "{\"a b\",NULL,\"NULL\",\"\\\"\\\\\"}", "[\"a b\",null,\"NULL\",\"\\\"\\\\\"]"),
    ("timestamptz[]", "{2018-08-09 19:50:13+00,infinity}", "[\"2018-08-09T19:50:13Z\",\"infinity\"]"),
    ("bytea[]", "{\"\\\\xdeadbeef\"}", "[\"3q2+7w==\"]"),
    ("jsonb[]", "{\"{\\\"a\\\": 1.00}\",NULL,\"null\"}", "[{\"a\": 1.00},null,null]"),
    ("box[]", "{(1,1),(0,0);(2,2),(1,1)}", "[\"(1,1),(0,0)\",\"(2,2),(1,1)\"]"),
];

pub(super) fn values(name: &str, cases: &[(&str, &str, &str)]) -> String {
    let literal = |text: &str| super::random::quoted(text);
    let columns: Vec<String> = cases.iter().enumerate().map(|(n, (of, ..))| format!("c{n} {of}")).collect();
    let values: Vec<String> = cases.iter().map(|(_, value, _)| literal(value)).collect();
    format!(
        "CREATE TABLE {name} (id int PRIMARY KEY, {});
         INSERT INTO {name} VALUES (1, {});
         INSERT INTO {name} VALUES (3)",
        columns.join(", "),
        values.join(", ")
    )
}

#[track_caller]
fn expect(world: &World, key: &str, cases: &[(&str, &str, &str)]) {
    let hash = world.hash(key);
    for (n, (of, value, expected)) in cases.iter().enumerate() {
        let found = hash.get(&format!("c{n}")).map(String::as_str);
        assert_eq!(found, Some(*expected), "{of} {value:?} in {key}");
    }
    assert_eq!(hash.len(), cases.len() + 1);
}

/// From the snapshot, from an insert and from an update of a row of nulls.
#[track_caller]
fn check_table(world: &World, name: &str, cases: &[(&str, &str, &str)]) {
    world.sql(&values(name, cases));
    world.run_until_caught_up();
    let columns: Vec<String> = (0..cases.len()).map(|n| format!("c{n}")).collect();
    let columns = columns.join(", ");
    world.sql(&format!(
        "INSERT INTO {name} SELECT 2, {columns} FROM {name} WHERE id = 1;
         UPDATE {name} SET ({columns}) = (SELECT {columns} FROM {name} WHERE id = 1) WHERE id = 3"
    ));
    world.run_until_caught_up();
    for id in 1..=3 {
        expect(world, &format!("{name}:{id}"), cases);
    }
}

#[test]
fn the_contracts_own_examples() {
    check_table(&world(), "examples", CONTRACT);
}

#[test]
fn an_hstore_is_an_object() {
    let world = world();
    if !available(&world, "hstore") {
        skip!("PostgreSQL has no extension hstore; Debian has it in postgresql-contrib");
    }
    world.sql("CREATE EXTENSION hstore");
    check_table(
        &world,
        "objects",
        &[
            ("hstore", "", "{}"),
            ("hstore", "a=>1, b=>NULL", "{\"a\":\"1\",\"b\":null}"),
            ("hstore", "\"x\\\"y\"=>\"\\\\\"", "{\"x\\\"y\":\"\\\\\"}"),
            ("hstore[]", "{\"a=>1\"}", "[{\"a\":\"1\"}]"),
        ],
    );
}

/// Types that only have the names of others are spelled like what they are.
#[test]
fn a_name_does_not_make_a_type() {
    let world = world();
    world.sql(
        "CREATE TYPE hstore AS ENUM ('', '\"a\"=>\"b\"'); CREATE TYPE halfvec AS RANGE (subtype = float8); \
         CREATE TYPE vector AS (a int); CREATE TYPE bool_ AS ENUM ('t'); CREATE TYPE \"date\" AS ENUM ('2018-08-09 BC');",
    );
    check_table(
        &world,
        "namesakes",
        &[
            ("public.hstore", "", ""),
            ("public.hstore", "\"a\"=>\"b\"", "\"a\"=>\"b\""),
            ("public.hstore[]", "{\"\"}", "[\"\"]"),
            ("public.halfvec", "[1,2]", "[1,2]"),
            ("public.halfvec[]", "{\"[1,2]\"}", "[\"[1,2]\"]"),
            ("public.vector", "(1)", "(1)"),
            ("bool_", "t", "t"),
            ("public.\"date\"", "2018-08-09 BC", "2018-08-09 BC"),
            ("public.\"date\"[]", "{2018-08-09 BC}", "[\"2018-08-09 BC\"]"),
        ],
    );
}

/// Type, values of keys, and how they stand in the names of keys.
#[test]
fn keys_are_spelled_like_values() {
    let tables: &[(&str, &[(&str, &str)])] = &[
        ("date", &[("2024-02-29", "2024-02-29"), ("infinity", "infinity"), ("0044-03-15 BC", "-0043-03-15")]),
        ("timestamptz", &[("2018-08-10 01:20:13.5+05:30", "2018-08-09T19:50:13.5Z")]),
        ("timetz", &[("13:51:30+02", "13:51:30+02:00")]),
        ("interval", &[("1 year -1 day", "P1Y-1D")]),
        ("boolean", &[("t", "true"), ("f", "false")]),
        ("bytea", &[("\\xdeadbeef", "3q2+7w=="), ("\\x", "")]),
        ("numeric", &[("1.50", "1.50"), ("NaN", "NaN")]),
        ("float8", &[("1e300", "1e+300"), ("-0", "-0")]),
        ("uuid", &[("A0EEBC999C0B4EF8BB6D6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")]),
        ("text", &[("a:b%\n\\\"é🙂 *", "a:b%\n\\\"é🙂 *"), ("", "")]),
        ("char(4)", &[("ab", "ab  ")]),
        ("int[]", &[("{1,NULL}", "[1,null]"), ("{}", "[]")]),
        ("mood", &[("it's \"ok\"", "it's \"ok\"")]),
        ("inet", &[("::1", "::1")]),
        ("tsrange", &[("[2018-08-09 19:50:13,)", "[\"2018-08-09 19:50:13\",)")]),
        ("jsonb", &[("{\"a\":1.0}", "{\"a\": 1.0}")]),
        ("inner_type", &[("(1,\"a b\")", "(1,\"a b\")")]),
    ];
    let world = world();
    let each = |statement: &dyn Fn(usize, &str) -> String| {
        let mut statements = Vec::new();
        for (n, (of, keys)) in tables.iter().enumerate() {
            let keys = keys.iter().map(|(key, _)| format!("{}::{of}", super::random::quoted(key)));
            statements.extend(keys.map(|key| statement(n, &key)));
        }
        world.sql(&statements.join(";"));
    };
    for (n, (of, _)) in tables.iter().enumerate() {
        world.sql(&format!("CREATE TABLE k{n} (k {of} PRIMARY KEY, v text)"));
        world.sql(&format!("CREATE TABLE late{n} (k {of} PRIMARY KEY, v text)"));
    }
    each(&|n, key| format!("INSERT INTO k{n} VALUES ({key}, 'snapshot')"));
    world.run_until_caught_up();
    each(&|n, key| {
        format!("INSERT INTO late{n} VALUES ({key}, 'insert'); UPDATE k{n} SET v = 'update' WHERE k = {key}")
    });
    world.run_until_caught_up();
    for (n, (of, keys)) in tables.iter().enumerate() {
        for (table, v) in [("k", "update"), ("late", "insert")] {
            let name = |key: &str| format!("{table}{n}:{key}");
            let expected: BTreeSet<String> = keys.iter().map(|(_, key)| name(key)).collect();
            assert_eq!(world.keys(&name("*")), expected, "{of}");
            for (_, key) in *keys {
                let hash = world.hash(&name(key));
                assert_eq!((hash["k"].as_str(), hash["v"].as_str()), (*key, v), "{of}");
            }
        }
    }
    each(&|n, key| format!("DELETE FROM k{n} WHERE k = {key}; DELETE FROM late{n} WHERE k = {key}"));
    world.run_until_caught_up();
    assert_eq!(world.keys("k*"), BTreeSet::new());
    assert_eq!(world.keys("late*"), BTreeSet::new());
}

/// To PostgreSQL these are the same key; in Redis they are spelled differently.
#[test]
fn a_key_that_is_only_spelled_anew_moves_its_row() {
    let world = world();
    world.sql(
        "CREATE TABLE n (k numeric PRIMARY KEY, v text); INSERT INTO n VALUES (1.0, 'a'), (2, 'b');
         CREATE TABLE f (k float8 PRIMARY KEY, v text); INSERT INTO f VALUES (0, 'a');
         CREATE TABLE i (k interval PRIMARY KEY, v text); INSERT INTO i VALUES ('1 day', 'a')",
    );
    world.run_until_caught_up();
    world.sql(
        "UPDATE n SET k = 1.00 WHERE k = 1; UPDATE f SET k = '-0'; UPDATE i SET k = '24 hours', v = 'b'",
    );
    world.run_until_caught_up();
    assert_eq!(world.keys("[nfi]:*"), ["n:1.00", "n:2", "f:-0", "i:PT24H"].map(str::to_owned).into());
    assert_eq!(world.hash("n:1.00")["v"], "a");
    assert_eq!(world.hash("f:-0")["v"], "a");
    assert_eq!(world.hash("i:PT24H")["k"], "PT24H");
}

/// A database that does not speak UTF-8.
#[test]
fn an_encoding_of_its_own_comes_as_utf8() {
    let world = World::own();
    world.sql("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    let url = world.source_url().replacen(&world.name, "latin", 1);
    let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
    client
        .batch_execute(
            "CREATE TABLE \"größe\" (id int PRIMARY KEY, \"é\" text, a text[], c char(3), x \"char\");
             INSERT INTO \"größe\" VALUES (1, 'ÿß\\', ARRAY['é\"', NULL], 'é', 'a')",
        )
        .unwrap();
    world.configure(&Config {
        source_url: Some(url),
        tables: "\"public.größe\": { type: hash }",
        ..Config::default()
    });
    world.run_until_caught_up();
    client.batch_execute("INSERT INTO \"größe\" SELECT 2, \"é\", a, c, x FROM \"größe\"").unwrap();
    world.run_until_caught_up();
    for id in ["1", "2"] {
        let expected = [("id", id), ("é", "ÿß\\"), ("a", "[\"é\\\"\",null]"), ("c", "é  "), ("x", "a")];
        let expected: BTreeMap<String, String> =
            expected.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        assert_eq!(world.hash(&format!("größe:{id}")), expected);
    }
}

/// What the stream brings is spelled by its type, also when nobody knew the type at the start.
#[test]
fn types_that_are_made_while_streaming() {
    let world = world();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let _connector = world.run();
    world.sql("INSERT INTO t VALUES (1)");
    world.eventually("the first row is there", || !world.hash("t:1").is_empty());
    world.sql(
        "CREATE DOMAIN moment AS timestamptz; CREATE DOMAIN moments AS moment[]; CREATE TYPE colour AS ENUM ('re\"d');
         ALTER TABLE t ADD m moments, ADD c colour[], ADD b bytea, ADD x colour;
         INSERT INTO t VALUES (2, '{2018-08-09 19:50:13+00}', '{\"re\\\"d\",NULL}', '\\xde', 're\"d')",
    );
    let expected = [
        ("id", "2"),
        ("m", "[\"2018-08-09T19:50:13Z\"]"),
        ("c", "[\"re\\\"d\",null]"),
        ("b", "3g=="),
        ("x", "re\"d"),
    ];
    let expected: BTreeMap<String, String> =
        expected.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    world.eventually_eq("a row of the new types", &expected, || world.hash("t:2"));
    world.sql("ALTER TYPE colour ADD VALUE 'b,lue'");
    world.sql("UPDATE t SET c = '{\"b,lue\"}', x = 'b,lue', m = '{}' WHERE id = 1");
    let expected = [("id", "1"), ("m", "[]"), ("c", "[\"b,lue\"]"), ("x", "b,lue")];
    let expected: BTreeMap<String, String> =
        expected.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    world.eventually_eq("a row with the new value", &expected, || world.hash("t:1"));
}
