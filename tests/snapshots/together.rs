//! Many tables that are read again together: keys without a row are looked for once, not for each of them.

use crate::harness::World;

const TABLES: usize = 40;
const RULES: &str = "public.h*: { type: hash, key: \"{table}:{id}\" }
public.s*: { type: set, key: \"set:{table}:{v}\", member: \"{table}:{id}\" }
public.z*: { type: sorted_set, key: \"z:{table}\", member: \"{id}\", score: \"{id}\" }";

/// What is without a row is removed, of each structure; what another table or nobody wrote stays.
#[test]
fn swept_together() {
    let world = World::new();
    let names: Vec<String> = (0..TABLES).map(|n| format!("{}{n}", ["h", "s", "z"][n % 3])).collect();
    let each =
        |statements: &str| names.iter().map(|name| statements.replace("NAME", name)).collect::<String>();
    world.sql(&each(
        "CREATE TABLE NAME (id int PRIMARY KEY, v text); ALTER TABLE NAME REPLICA IDENTITY FULL;
         INSERT INTO NAME SELECT i, 'v' || mod(i, 2) FROM generate_series(1, 20) i;",
    ));
    world.config(RULES);
    world.run_until_caught_up();
    let (code, reset) = world.finish(&["reset", "-c", &world.config_file().to_string_lossy(), "--yes"]);
    assert_eq!(code, Some(0), "{}", reset.stdout());
    // Nobody tells of this.
    world.sql(&each("DELETE FROM NAME WHERE id > 5;"));
    for key in ["h3x:1", "h3:x", "hash", "x"] {
        world.redis::<()>(&["SET", key, "somebody else's"]);
    }
    world.redis::<()>(&["SADD", "set:s1:v7", "left"]);
    let again = world.run_until_caught_up();
    let (code, verify) = world.finish(&["verify", "-c", &world.config_file().to_string_lossy()]);
    assert_eq!(code, Some(0), "{}\n{}", verify.stdout(), world.story());
    // 14 of the tables are hashes. `set:s1:v7` looks like a key of a row.
    assert_eq!(world.keys("h*").len(), 14 * 5 + 3, "{}", again.story());
    assert_eq!(world.keys("x").len(), 1);
    assert!(world.keys("set:s1:v7").is_empty(), "{}", again.story());
    let (log, looked) = (again.log(), "looking for keys without a row");
    assert!(log.contains(&format!("{looked} table=\"{TABLES} tables\"")), "{log}");
    assert_eq!(log.matches(looked).count(), 1, "{log}");
}
