//! What is depended on, against `deny.toml`: licences, sources and bans.
//!
//! cargo-deny does the same and more (advisories), but building it takes longer than all tests; CI runs it
//! where it is installed. This needs nothing but Cargo.

use std::process::Command;

use serde_json::Value;

#[test]
fn licences_sources_and_bans() {
    let rules = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml")).unwrap();
    let allowed = list(&rules, "[licenses]", "allow");
    let banned = list(&rules, "[bans]", "deny");
    let registry = format!("registry+{}", list(&rules, "[sources]", "allow-registry")[0]);
    assert!(allowed.contains(&"MIT".to_owned()) && banned.contains(&"openssl-sys".to_owned()));
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50);
    for package in packages {
        let (name, licence) = (package["name"].as_str().unwrap(), package["license"].as_str());
        assert!(!banned.iter().any(|banned| banned == name), "{name} is banned in deny.toml");
        // Without a source it is a part of this workspace.
        let Some(source) = package["source"].as_str() else { continue };
        assert_eq!(source, registry, "{name}");
        let licence = licence.unwrap_or_else(|| panic!("{name} names no licence"));
        assert!(permits(licence, &allowed), "{name}: `{licence}` is not allowed by deny.toml");
    }
}

/// The quoted texts of a list in a section.
fn list(rules: &str, section: &str, key: &str) -> Vec<String> {
    let (_, rest) = rules.split_once(section).unwrap();
    let (_, rest) = rest.split_once(&format!("\n{key} = [")).unwrap();
    let (items, _) = rest.split_once(']').unwrap();
    items.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// An SPDX expression: OR binds less than AND; `/` is how OR was written once.
fn permits(expression: &str, allowed: &[String]) -> bool {
    let expression =
        expression.replace(" / ", " OR ").replace('/', " OR ").replace('(', "( ").replace(')', " )");
    let mut words = expression.split_whitespace().peekable();
    let result = any(&mut words, allowed);
    assert_eq!(words.next(), None, "not an SPDX expression: {expression}");
    result
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut result = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        result |= all(words, allowed);
    }
    result
}

fn all(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut result = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        result &= one(words, allowed);
    }
    result
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let result = any(words, allowed);
        assert_eq!(words.next(), Some(")"));
        return result;
    }
    let mut licence = words.next().unwrap().to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next().unwrap());
    }
    allowed.contains(&licence)
}

#[test]
fn expressions() {
    let allowed = ["MIT".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned(), "ISC".to_owned()];
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("MIT AND ISC", true),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("(GPL-3.0 OR MIT) AND Zlib", false),
        ("MIT AND GPL-3.0 OR ISC", true),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("Apache-2.0", false),
    ] {
        assert_eq!(permits(expression, &allowed), expected, "{expression}");
    }
}
