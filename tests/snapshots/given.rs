//! Slots and publications that somebody made by hand before the first start.

use std::time::Duration;

use crate::harness::{Config, World};

const PUBLICATION: &str = "SELECT p.*, p.xmin, array(SELECT prrelid::regclass FROM pg_publication_rel WHERE prpubid = p.oid ORDER BY 1)
    FROM pg_publication p ORDER BY pubname";

fn publication(world: &World) -> String {
    format!("redis_connect_{}", world.name)
}

#[test]
fn a_slot_and_a_publication_made_by_hand() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'before' FROM generate_series(1, 100) i");
    world.sql(&format!("CREATE PUBLICATION {} FOR TABLE t", publication(&world)));
    world.sql(&format!("SELECT pg_create_logical_replication_slot('{}', 'pgoutput')", world.slot()));
    world.sql(
        "UPDATE t SET v = 'between' WHERE id < 10; DELETE FROM t WHERE id = 20; INSERT INTO t VALUES (200, 'between');
         UPDATE t SET id = 300 WHERE id = 30",
    );
    let made = world.rows(PUBLICATION);
    let connector = world.run_until_caught_up();
    assert!(
        !connector.log_contains("slot made") && !connector.log_contains("publication made"),
        "{}",
        connector.story()
    );
    world.assert_equal(&["t"]);
    world.sql("UPDATE t SET v = 'after' WHERE id < 5; DELETE FROM t WHERE id = 300");
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
    assert_eq!(world.rows(PUBLICATION), made);
}

/// PostgreSQL looks for the publication in the catalog of the time that it decodes, so a slot that is
/// older than the publication can't be read with it as long as there are changes between the two.
#[test]
fn a_slot_that_is_older_than_the_publication() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    world.sql(&format!("SELECT pg_create_logical_replication_slot('{}', 'pgoutput')", world.slot()));
    world.sql("INSERT INTO t VALUES (2)");
    let connector = world.run_with(&["--until-caught-up"]);
    let status = connector.wait(Duration::from_secs(20));
    if status.success() {
        world.assert_equal(&["t"]);
    } else {
        let log = connector.log();
        let last = log.lines().last().unwrap();
        assert!(
            last.contains("reset") || last.contains("pg_drop_replication_slot"),
            "nothing that mends it:\n{log}"
        );
    }
}

/// Names that need quotes, in both.
#[test]
fn names_of_slot_and_publication() {
    let world = World::new();
    world.sql(r#"CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE PUBLICATION "My ""pub"", it's" FOR ALL TABLES"#);
    let slot = format!("{}_own", world.name);
    world.configure(&Config {
        source: &format!("slot: {slot}\npublication: 'My \"pub\", it''s'"),
        ..Config::default()
    });
    world.run_until_caught_up();
    world.sql("INSERT INTO t VALUES (2)");
    world.run_until_caught_up();
    world.assert_equal(&["t"]);
    assert_eq!(
        world.value::<i64>(&format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}'")),
        1
    );
}

#[test]
fn a_publication_without_a_named_table_is_an_error_with_the_statement() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    world.sql(&format!("CREATE PUBLICATION {} FOR TABLE t", publication(&world)));
    let made = world.rows(PUBLICATION);
    let file = world.config("public.t: { type: hash }\npublic.u: { type: hash }");
    let (code, connector) = world.finish(&["run", "-c", &file.to_string_lossy()]);
    let log = connector.log();
    assert_eq!(code, Some(1), "{log}");
    let line = log.lines().last().unwrap();
    assert!(line.contains("public.u") && line.contains("ALTER PUBLICATION"), "{line}");
    assert_eq!(world.rows(PUBLICATION), made);
    // The statement in the message mends it.
    let statement = &line[line.find("ALTER PUBLICATION").unwrap()..];
    world.sql(statement);
    world.sql("INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)");
    world.run_until_caught_up();
    world.sql("INSERT INTO u VALUES (2)");
    world.run_until_caught_up();
    world.assert_equal(&["t", "u"]);
}

#[test]
fn a_publication_without_a_table_of_a_pattern_leaves_it_out() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)");
    world.sql(&format!("CREATE PUBLICATION {} FOR TABLE t", publication(&world)));
    let made = world.rows(PUBLICATION);
    world.config("public.*: { type: hash }");
    let connector = world.run_until_caught_up();
    let log = connector.log();
    assert!(log.lines().any(|l| l.contains("WARN") && l.contains("\"u\"")), "{log}");
    assert!(world.keys("u:*").is_empty());
    world.assert_equal(&["t"]);
    assert_eq!(world.rows(PUBLICATION), made);
}

#[test]
fn a_publication_of_partitions_by_their_own_names_is_refused() {
    let world = World::new();
    if world.postgres_version() < 13 {
        crate::harness::skip!("PostgreSQL 12 can't publish a partitioned table");
    }
    world.sql(
        "CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF root FOR VALUES FROM (0) TO (10)",
    );
    world.sql(&format!("CREATE PUBLICATION {} FOR TABLE root", publication(&world)));
    let file = world.config("public.root: { type: hash }");
    let (code, connector) = world.finish(&["run", "-c", &file.to_string_lossy()]);
    assert_eq!(code, Some(1), "{}", connector.story());
    assert!(connector.log_contains("publish_via_partition_root = true"), "{}", connector.story());
}

/// Changes that a publication leaves out would be lost without anybody noticing.
#[test]
fn a_publication_that_leaves_out_deletes_is_not_used_in_silence() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)");
    world.sql(&format!(
        "CREATE PUBLICATION {} FOR TABLE t WITH (publish = 'insert, update')",
        publication(&world)
    ));
    let connector = world.run_with(&["--until-caught-up"]);
    let status = connector.wait(Duration::from_secs(30));
    let log = connector.log();
    let told = log.lines().any(|l| l.contains("publi") && l.contains("delete"));
    assert!(told, "{status}, and not a word about it\n{log}");
}

/// A list of columns: what the stream has and what the catalog has differ for ever.
#[test]
fn a_publication_with_a_list_of_columns() {
    let world = World::new();
    if world.postgres_version() < 15 {
        crate::harness::skip!("lists of columns came with PostgreSQL 15");
    }
    world.sql("CREATE TABLE t (id int PRIMARY KEY, a text, b text); INSERT INTO t VALUES (1, 'a', 'b')");
    world.sql("CREATE TABLE u (id int PRIMARY KEY)");
    world.sql(&format!("CREATE PUBLICATION {} FOR TABLE t (id, a), u", publication(&world)));
    let connector = world.run();
    world.eventually("the snapshot is done, or it is refused", || {
        connector.log_contains("streaming from") || !connector.is_running()
    });
    if !connector.is_running() {
        assert!(connector.log().lines().last().unwrap().contains("column"), "{}", connector.story());
        return;
    }
    world.sql("UPDATE t SET a = 'new', b = 'new'; INSERT INTO u VALUES (1)");
    world.within(Duration::from_secs(10), "the stream goes on", || {
        world.hash("t:1").get("a").is_some_and(|a| a == "new") && !world.hash("u:1").is_empty()
    });
    assert!(connector.log().matches("read again").count() < 3, "{}", connector.story());
}

/// Tables are added to a publication of our own.
#[test]
fn our_own_publication_grows() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1)",
    );
    world.config("public.t: { type: hash }");
    world.run_until_caught_up();
    world.config("public.t: { type: hash }\npublic.u: { type: hash }");
    world.sql("INSERT INTO t VALUES (1); INSERT INTO u VALUES (2)");
    world.run_until_caught_up();
    world.sql("INSERT INTO t VALUES (2); INSERT INTO u VALUES (3); DELETE FROM u WHERE id = 1");
    world.run_until_caught_up();
    world.assert_equal(&["t", "u"]);
}
