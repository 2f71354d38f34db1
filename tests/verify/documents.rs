//! JSON documents, in a Redis that has them.

use super::{contents, finds, is_equal, is_mended};
use crate::harness::World;

/// Whatever RedisJSON makes of numbers is no difference; what is one is found in its place.
#[test]
fn every_difference_of_a_document() {
    let Some(world) = World::with_modules() else { return };
    world.sql(
        r#"CREATE TABLE t (id int PRIMARY KEY, i bigint, n numeric, f float8, j jsonb, a int[], s text);
           INSERT INTO t SELECT g, 9007199254740993, 1.50 + g, 1e20 * g, '{"b": 1.500, "a": [1, {"c": null}]}',
                                '{1,2}', E'"\\/\u00e9\n' FROM generate_series(1, 8) g;
           INSERT INTO t VALUES (9); INSERT INTO t VALUES (10, 9223372036854775807, 'NaN', '-inf', '[]', '{}', '');
           INSERT INTO t SELECT g + 100, g, random() * 1e9, random() * 10 ^ (random() * 600 - 300), 'null'
             FROM generate_series(1, 3000) g"#,
    );
    world.config(
        r#"
        public.t:
          - { type: json }
          - { type: json, key: "number:{id}", decimals: number, columns: [id, n, f] }
          - { type: json, key: "short:{id}", ttl: 1h, columns: [id] }
        "#,
    );
    world.once();
    is_equal(&world);
    let before = contents(&world);
    for command in [
        &["JSON.SET", "t:1", "$.i", "9007199254740992"][..],
        &["JSON.SET", "t:2", "$.j.a[1].c", "1"],
        &["JSON.DEL", "t:3", "$.s"],
        &["JSON.SET", "t:4", "$.more", "1"],
        &["DEL", "t:5"],
        &["DEL", "t:6"],
        &["HSET", "t:6", "id", "6"],
        &["EXPIRE", "t:7", "1000"],
        &["JSON.SET", "t:9", "$.i", "0"],
        &["JSON.SET", "number:1", "$.n", "2.51"],
        &["JSON.SET", "number:0", "$", "{}"],
        &["PERSIST", "short:1"],
    ] {
        world.redis::<redis::Value>(command);
    }
    finds(
        &world,
        &[
            "t:1: $.i is `9007199254740992`, the row has `9007199254740993`",
            "t:2: $.j.a[1].c is `1`, the row has `null`",
            r#"t:3: $.s is missing, the row has `"\"\\/é\n"`"#,
            "t:4: has $.more that the row has not",
            "t:5: the key is missing",
            "t:6: is no JSON document",
            "t:7: expires, although the output has no ttl",
            "t:9: $.i is `0`, the row has `null`",
            "number:1: $.n is `2.51`, the row has `2.50`",
            "number:0: a key of public.t that no row has",
            "short:1: does not expire, although the output has a ttl",
        ],
    );
    is_mended(&world, &before, contents);
}
