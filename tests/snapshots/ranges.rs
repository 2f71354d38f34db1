//! Tables that are cut into ranges of their keys.

use super::logged;
use crate::harness::{Config, Table, World};

const SMALL_RANGES: &str = "snapshot: { range_rows: 1000, workers: 4 }";

/// Reads `t` in ranges, streams some changes of it, and compares it.
#[track_caller]
fn read_in_ranges(world: &World) {
    world.sql("ANALYZE t");
    world.configure(&Config { top: SMALL_RANGES, ..Config::default() });
    let connector = world.once();
    assert!(logged(&connector, "ranges=") >= 4, "{}", connector.story());
    world.assert_equal(&["t"]);
}

#[test]
fn many_tables() {
    let world = World::new();
    for i in 0..60 {
        world.sql(&format!(
            "CREATE TABLE t{i} (id int PRIMARY KEY, v text); INSERT INTO t{i} SELECT n, 'v' || n FROM generate_series(1, {}) n",
            i * 7 % 40
        ));
    }
    world.configure(&Config { top: "snapshot: { workers: 5 }", ..Config::default() });
    let connector = world.once();
    assert!(connector.log_contains("workers=5"), "{}", connector.story());
    for i in 0..60 {
        world.assert_equal(&[&format!("t{i}")]);
    }
}

#[test]
fn integers() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i - 4000, 'v' || i FROM generate_series(1, 20000) i");
    read_in_ranges(&world);
}

/// A table that was never analysed is cut by its size.
#[test]
fn integers_without_statistics() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id bigint PRIMARY KEY, v text) WITH (autovacuum_enabled = off);
         INSERT INTO t SELECT i::bigint * 1000000000, repeat('x', 200) FROM generate_series(1, 8000) i",
    );
    world.configure(&Config { top: SMALL_RANGES, ..Config::default() });
    let connector = world.once();
    assert!(logged(&connector, "ranges=") >= 4, "{}", connector.story());
    world.assert_equal(&["t"]);
}

/// Most of the rows are in few pages, most of the keys in few rows.
#[test]
fn skewed_keys_and_dead_rows() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id bigint PRIMARY KEY, v text) WITH (autovacuum_enabled = off);
         INSERT INTO t SELECT i, repeat('x', i % 1500) FROM generate_series(1, 6000) i;
         DELETE FROM t WHERE id BETWEEN 1000 AND 4000; INSERT INTO t SELECT i::bigint * i * i, NULL FROM generate_series(200, 3000) i;
         INSERT INTO t VALUES (-9223372036854775808, 'least'), (9223372036854775807, 'most')",
    );
    read_in_ranges(&world);
}

const TEXTS: &str = "
    INSERT INTO t SELECT (ARRAY['a', 'A', 'ä', 'Z', 'é', 'ß', '表', '', '''', '\\', '%', ':', ' ', 'a b', E'\\t', E'\\n', '🦀', '-', '_', '\"'])[1 + i % 20]
        || md5(i::text) || (ARRAY['x', 'X', ' ', 'ı', 'I', 'İ', ''','''])[1 + i % 7], i FROM generate_series(1, 6000) i";

#[test]
fn texts_in_the_order_of_bytes() {
    let world = World::new();
    world.sql(&format!("CREATE TABLE t (id text PRIMARY KEY, v int); {TEXTS}"));
    read_in_ranges(&world);
}

#[test]
fn texts_in_the_order_of_a_language() {
    let world = World::new();
    world.sql(&format!("CREATE TABLE t (id text COLLATE \"de-x-icu\" PRIMARY KEY, v int); {TEXTS}"));
    read_in_ranges(&world);
}

/// `a` and `A` are one key.
#[test]
fn texts_whose_case_does_not_count() {
    let world = World::new();
    world.sql(&format!(
        "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE t (id text COLLATE nocase PRIMARY KEY, v int); {TEXTS} ON CONFLICT DO NOTHING"
    ));
    read_in_ranges(&world);
}

#[test]
fn padded_characters() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id char(8) PRIMARY KEY, v varchar(9));
         INSERT INTO t SELECT substr(md5(i::text), 1, i % 8 + 1), 'v' FROM generate_series(1, 9000) i ON CONFLICT DO NOTHING",
    );
    read_in_ranges(&world);
}

#[test]
fn uuids() {
    let world = World::new();
    world.sql("CREATE TABLE t (id uuid PRIMARY KEY, v int); INSERT INTO t SELECT md5(i::text)::uuid, i FROM generate_series(1, 6000) i");
    read_in_ranges(&world);
}

#[test]
fn numerics() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id numeric PRIMARY KEY, v int);
         INSERT INTO t SELECT (i - 3000) * 1.10 ^ (i % 300), i FROM generate_series(1, 6000) i ON CONFLICT DO NOTHING;
         INSERT INTO t VALUES ('NaN', 0), (-0.000, 0), (1e-200, 0) ON CONFLICT DO NOTHING",
    );
    if world.postgres_version() >= 14 {
        world.sql("INSERT INTO t VALUES ('Infinity', 0), ('-Infinity', 0)");
    }
    read_in_ranges(&world);
}

#[test]
fn timestamps() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id timestamptz PRIMARY KEY, v int);
         INSERT INTO t SELECT timestamptz '2024-10-27 00:00:00+02' + i * interval '1.000001 s', i FROM generate_series(1, 6000) i;
         INSERT INTO t VALUES ('infinity', 0), ('-infinity', 0), ('0044-03-15 BC', 0), ('12024-01-01', 0)",
    );
    read_in_ranges(&world);
}

#[test]
fn dates_intervals_and_floats() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id interval, d date, f float8, v int, PRIMARY KEY (f, id, d));
         INSERT INTO t SELECT i * interval '1 month 3 days 0.5 s', date '1999-12-31' + i, sqrt(i % 100) * (1 - i % 3), i
             FROM generate_series(1, 6000) i;
         INSERT INTO t VALUES ('1 day', 'infinity', 'NaN', 0), ('-1 mon', '-infinity', '-Infinity', 0)",
    );
    read_in_ranges(&world);
}

#[test]
fn bytes() {
    let world = World::new();
    world.sql(
        r"CREATE TABLE t (id bytea PRIMARY KEY, v int);
          INSERT INTO t SELECT decode(md5(i::text), 'hex') || '\x5c275c5c00ff'::bytea, i FROM generate_series(1, 6000) i",
    );
    read_in_ranges(&world);
}

#[test]
fn composite_keys() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (a int, b text, c boolean, v int, PRIMARY KEY (b, c, a));
         INSERT INTO t SELECT i / 3, (ARRAY['x:', 'y%', '', ''''])[1 + i % 4], i % 5 = 0, i FROM generate_series(1, 9000) i",
    );
    read_in_ranges(&world);
}

/// Types whose operators are found by the search path can't be trusted to have an order.
#[test]
fn types_of_users_are_read_in_one_piece() {
    let world = World::new();
    world.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN code AS text;
         CREATE TABLE t (m mood, c code, v int, PRIMARY KEY (m, c));
         INSERT INTO t SELECT (ARRAY['sad', 'ok', 'happy'])[1 + i % 3]::mood, 'c' || i, i FROM generate_series(1, 5000) i; ANALYZE t",
    );
    world.configure(&Config { top: SMALL_RANGES, ..Config::default() });
    world.once();
    world.assert_equal(&["t"]);
}

#[test]
fn partitions() {
    let world = World::new();
    if world.postgres_version() < 13 {
        return crate::harness::skipped(
            "snapshots::ranges::partitions",
            "PostgreSQL 12 can't publish a partitioned table",
        );
    }
    world.sql(
        "CREATE TABLE t (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
         CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (5000);
         CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (5000) TO (100000) PARTITION BY RANGE (id);
         CREATE TABLE t3 PARTITION OF t2 FOR VALUES FROM (5000) TO (9000); CREATE TABLE t4 PARTITION OF t2 DEFAULT;
         INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 20000) i",
    );
    read_in_ranges(&world);
}

#[test]
fn an_index_as_identity_and_a_parent_with_children() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (v int, code text NOT NULL UNIQUE); ALTER TABLE t REPLICA IDENTITY USING INDEX t_code_key;
         CREATE TABLE child () INHERITS (t);
         INSERT INTO t SELECT i, 'c' || i FROM generate_series(1, 8000) i;
         INSERT INTO child SELECT i, 'child ' || i FROM generate_series(1, 3000) i; ANALYZE t",
    );
    world.configure(&Config { top: SMALL_RANGES, tables: "public.t: { type: hash }", ..Config::default() });
    let connector = world.once();
    assert!(logged(&connector, "ranges=") >= 4, "{}", connector.story());
    let rows: i64 = world.value("SELECT count(*) FROM ONLY t");
    let found = world.keys("t:*");
    assert_eq!(found.len() as i64, rows);
    assert!(!found.iter().any(|key| key.contains("child")));
}

/// Quotes and the like in names and values of bounds.
#[test]
fn odd_names() {
    let world = World::new();
    world.sql(
        r#"CREATE SCHEMA "S'x"; CREATE TABLE "S'x"."T""\ y" ("k'""\" text PRIMARY KEY, "redis connect n" int);
           INSERT INTO "S'x"."T""\ y" SELECT '''\' || i, i FROM generate_series(1, 5000) i; ANALYZE "S'x"."T""\ y""#,
    );
    world.configure(&Config { top: SMALL_RANGES, ..Config::default() });
    let connector = world.once();
    assert!(logged(&connector, "ranges=") >= 4, "{}", connector.story());
    world.assert_table(&Table::new("S'x.T\"\\ y"));
}

/// The columns of the sample must not meet those of the key.
#[test]
fn a_key_named_like_a_column_of_the_sample() {
    let world = World::new();
    world.sql(
        r#"CREATE TABLE t ("redis connect n" int, "redis connect of" int, PRIMARY KEY ("redis connect n", "redis connect of"));
           INSERT INTO t SELECT i, i FROM generate_series(1, 5000) i"#,
    );
    read_in_ranges(&world);
}
