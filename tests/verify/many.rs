//! More than is remembered: counted, and said so.

use super::{report, verify};
use crate::harness::World;

#[test]
fn what_is_beyond_the_second_look_is_counted() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 15000) g");
    world.config("public.t: { type: hash }");
    world.once();
    world.redis::<()>(&["FLUSHALL"]);
    for id in 20_001..20_020 {
        world.redis::<i64>(&["HSET", &format!("t:{id}"), "v", "1"]);
    }
    let (code, found) = report(&world, &[]);
    assert_eq!((code, &found["different"]), (1, &15_019.into()), "{found:#}");
    let table = &found["tables"][0];
    let unseen = table["not_looked_at_again"].as_u64().unwrap();
    assert!((1..=5000).contains(&unseen), "{found:#}");
    assert_eq!(found["first"].as_array().unwrap().len(), 20);
    assert!(found["notes"].to_string().contains("looked at again"), "{found:#}");
    // Each repair mends what it remembers; what is left is found by the next one.
    let (code, output) = verify(&world, &["--repair"]);
    assert_eq!(code, 1, "{output}");
    let (code, output) = verify(&world, &["--repair"]);
    assert_eq!(code, 0, "{output}");
    world.assert_equal(&["t"]);
}
