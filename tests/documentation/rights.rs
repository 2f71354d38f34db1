//! The rights that docs/redis.md names, given to a user.

use std::fs;
use std::path::PathBuf;

use crate::harness::World;

/// Makes a user with the rights that every pipeline needs, and those for the types that are configured;
/// returns its name and password as a URL has them.
pub(super) fn grant(tables: &str, world: &World) -> &'static str {
    let mut commands = needed(tables);
    // What only tests need: the rows that tell that everything has arrived.
    commands.push("(+hset +hdel +unlink +rename ~marker:*)".to_owned());
    let mut user = vec!["ACL", "SETUSER", "app", "on", ">secret", "~*"];
    user.extend(commands.iter().map(String::as_str));
    world.redis::<()>(&user);
    "app:secret"
}

pub(super) fn grant_all_but_restore(world: &World) -> &'static str {
    world.redis::<()>(&["ACL", "SETUSER", "plain", "on", ">secret", "~*", "&*", "+@all", "-restore"]);
    "plain:secret"
}

/// The rights that the page names for these tables, as ACL SETUSER wants them.
pub(crate) fn needed(tables: &str) -> Vec<String> {
    let page: PathBuf = [env!("CARGO_MANIFEST_DIR"), "docs", "redis.md"].iter().collect();
    let page = fs::read_to_string(page).unwrap();
    let (_, block) = page.split_once("ACL SETUSER").unwrap();
    let (always, rest) = block.split_once("```").unwrap();
    let mut commands = named(always);
    let row = |title: &str| {
        let row = rest.lines().find(|line| line.starts_with(&format!("| {title}")));
        named(row.unwrap_or_else(|| panic!("docs/redis.md has no row for {title}")))
    };
    for (word, title) in [
        ("type: hash", "[hash]"),
        ("type: json", "[json]"),
        ("type: string", "[string]"),
        ("type: set", "[set]"),
        ("type: sorted_set", "[sorted set]"),
        ("type: stream", "[stream]"),
        ("index:", "[search index]"),
        ("ttl:", "any with a `ttl`"),
    ] {
        if tables.contains(word) {
            commands.extend(row(title));
        }
    }
    commands.sort();
    commands.dedup();
    commands
}

/// Words that begin with a plus sign.
fn named(text: &str) -> Vec<String> {
    let words = text.split(|c: char| c.is_whitespace() || "`,;".contains(c));
    words.filter(|word| word.starts_with('+')).map(str::to_owned).collect()
}
