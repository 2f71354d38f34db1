//! Names that need quotes in SQL, or would mean something in a pattern or template.

use super::Live;
use crate::harness::World;

#[test]
fn names_of_all_kinds() {
    let world = World::new();
    let tables = [
        "Upper",
        "größe",
        "表",
        "with space",
        "dot.ted",
        "quo\"te",
        "br{ace}s",
        "apos'trophe",
        "back\\slash",
        "select",
        "per%cent",
        "colon:s",
        "emoji 🦀",
    ];
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    for table in tables {
        let columns: String =
            tables.iter().map(|column| format!(", {} text", quoted(column))).collect::<Vec<_>>().concat();
        world.sql(&format!(
            "CREATE TABLE {t} (\"Schlüssel {{x}}\" int PRIMARY KEY, plain text{columns});
             INSERT INTO {t} VALUES (1, 'a', 'b')",
            t = quoted(table)
        ));
    }
    let live = Live::begin(&world);
    for table in tables {
        live.world.sql(&format!(
            "INSERT INTO {t} VALUES (2, 'x'), (3, 'y'), (4, 'z'); UPDATE {t} SET {c} = 'new', plain = NULL
             WHERE \"Schlüssel {{x}}\" < 3; UPDATE {t} SET \"Schlüssel {{x}}\" = 30 WHERE \"Schlüssel {{x}}\" = 3;
             DELETE FROM {t} WHERE \"Schlüssel {{x}}\" = 4",
            t = quoted(table),
            c = quoted(table),
        ));
    }
    live.settle();
    for table in tables {
        // The harness splits at the first dot.
        live.assert_equal(&[&format!("public.{table}")]);
    }
    for table in tables {
        live.world.sql(&format!("TRUNCATE {}", quoted(table)));
    }
    live.settle();
    for table in tables {
        live.assert_equal(&[&format!("public.{table}")]);
    }
}

#[test]
fn schemas_of_all_kinds_named_in_the_configuration() {
    let world = World::new();
    world.sql(
        r#"CREATE SCHEMA "My Schema"; CREATE TABLE "My Schema"."T""x" (id int PRIMARY KEY, v text);
           INSERT INTO "My Schema"."T""x" VALUES (1, 'a');
           CREATE SCHEMA größen; CREATE TABLE größen."Ä" (id int PRIMARY KEY, v text)"#,
    );
    let live = Live::tables(
        &world,
        r#"
        '"My Schema"."T""x"': { type: hash }
        größen.*: { type: hash }
        "#,
    );
    live.sql(r#"INSERT INTO "My Schema"."T""x" VALUES (2, 'b'); INSERT INTO größen."Ä" VALUES (1, 'ß')"#);
    assert_eq!(live.hash("My Schema.T\"x:2")["v"], "b");
    live.assert_equal(&["My Schema.T\"x", "größen.Ä"]);
}

/// In a template `{pk}` and `{table}` mean what they always mean.
#[test]
fn columns_named_like_parts_of_a_template() {
    let world = World::new();
    world.sql(
        r#"CREATE TABLE t (a int, "table" text, pk text, b int, PRIMARY KEY (b, a));
           INSERT INTO t VALUES (1, 'tab', 'key', 2)"#,
    );
    let live = Live::begin(&world);
    live.sql(r#"INSERT INTO t VALUES (3, 'x', 'y', 4); UPDATE t SET pk = 'new', "table" = NULL WHERE a = 1"#);
    assert_eq!(live.hash("t:2:1")["pk"], "new");
    live.assert_equal(&["t"]);
}

#[test]
fn a_primary_key_named_pk() {
    let world = World::new();
    world.sql(
        r#"CREATE TABLE "table" (pk text PRIMARY KEY, "{pk}" text); INSERT INTO "table" VALUES ('a', 'b')"#,
    );
    let live = Live::begin(&world);
    live.sql(r#"INSERT INTO "table" VALUES ('c:d', 'e'); UPDATE "table" SET "{pk}" = 'f' WHERE pk = 'a'"#);
    assert_eq!(live.hash("table:c:d")["{pk}"], "e");
    live.assert_equal(&["table"]);
}
