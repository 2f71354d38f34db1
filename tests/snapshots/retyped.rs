//! The configuration changes between two runs so that keys of the same names are of another type, or are written
//! under another rule.

use crate::harness::World;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t REPLICA IDENTITY FULL;
    INSERT INTO t SELECT i, 'v' FROM generate_series(1, 50) i; CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1)";

/// Runs with these outputs, one after the other, and is equal after each.
fn in_turn(world: &World, outputs: &[&str]) {
    world.sql(TABLE);
    for (run, output) in outputs.iter().enumerate() {
        world.config(&format!("public.t: {output}\npublic.other: {{ type: hash, key: \"t:other:{{id}}\" }}"));
        world.sql(&format!("INSERT INTO t VALUES (100 + {run}, 'new'); DELETE FROM t WHERE id = {run} + 1"));
        world.run_until_caught_up();
        let (code, verify) = world.finish(&["verify", "-c", &world.config_file().to_string_lossy()]);
        assert_eq!(code, Some(0), "{output}: {}\n{}", verify.stdout(), world.story());
        assert_eq!(world.keys("t:other:*").len(), 1);
        let letters = format!("redis-connect-postgres:{}:dlq", world.name);
        assert!(!world.redis::<bool>(&["EXISTS", &letters]), "{output}: {}", world.story());
    }
}

#[test]
fn a_row_of_another_type() {
    in_turn(
        &World::new(),
        &[
            "{ type: string, key: \"t:{id}\" }",
            "{ type: hash, key: \"t:{id}\" }",
            "{ type: string, key: \"t:{id}\", value: \"{v}\" }",
            "{ type: set, key: \"t:{v}\", member: \"{id}\" }",
            "{ type: sorted_set, key: \"t:{v}\", member: \"{id}\", score: \"{id}\" }",
            "{ type: hash, key: \"t:{id}\" }",
            "{ type: set, key: \"t:{id}\", member: \"{v}\" }",
            "{ type: string, key: \"t:{v}:{id}\" }",
            "{ type: set, key: \"t:{v}:{id}\", member: \"{v}\" }",
            "[{ type: hash, key: \"t:{id}\" }, { type: string, key: \"s:{id}\" }]",
            "[{ type: string, key: \"t:{id}\" }, { type: hash, key: \"s:{id}\" }]",
        ],
    );
}

#[test]
fn fields_of_other_names() {
    in_turn(
        &World::new(),
        &[
            "{ type: hash, key: \"t:{id}\", columns: [id, { v: a }] }",
            "{ type: hash, key: \"t:{id}\", columns: [{ id: v }, { v: b }] }",
            "{ type: hash, key: \"t:{id}\" }",
        ],
    );
}

#[test]
fn rows_that_live_for_ever_again() {
    in_turn(
        &World::new(),
        &[
            "{ type: hash, key: \"t:{id}\", ttl: 1h }",
            "{ type: hash, key: \"t:{id}\" }",
            "{ type: string, key: \"s:{id}\", ttl: 1h }",
            "{ type: string, key: \"s:{id}\" }",
        ],
    );
}

/// With RedisJSON, whose keys are of a type of its own.
#[test]
fn a_document_of_another_type() {
    let Some(world) = World::with_modules() else { return };
    in_turn(
        &world,
        &[
            "{ type: hash, key: \"t:{id}\" }",
            "{ type: json, key: \"t:{id}\", ttl: 1h }",
            "{ type: json, key: \"t:{id}\" }",
            "{ type: hash, key: \"t:{id}\" }",
        ],
    );
}
