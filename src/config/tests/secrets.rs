//! `hunter2` is the password everywhere here, and must show nowhere.

use super::super::{Config, from_arguments};
use super::{SMALLEST, arguments, env};
use proptest::prelude::*;

/// The `Debug` form of the configuration, or the error.
fn shown(text: &str) -> String {
    let env = |name: &str| match name {
        "PGPASSWORD" | "SECRET" => Some("hunter2".to_owned()),
        _ => env(name),
    };
    match Config::parse(text, "f", &env) {
        Ok(config) => format!("{config:?}{}{}", config.source.url, config.target.url),
        Err(error) => format!("{error}{error:?}"),
    }
}

#[test]
fn debug_of_a_configuration() {
    let text = "source: { url: 'postgresql://u:hunter2@h/hr' }\ntarget: { url: 'redis://:hunter2@h', password: hunter2 }\n";
    let shown = shown(text);
    assert!(shown.contains("REDACTED") && !shown.contains("hunter2"), "{shown}");
    let typed = arguments("postgresql://u:hunter2@h", "redis://:hunter2@h", &[], None);
    assert!(!format!("{typed:?}").contains("hunter2"));
    let config = from_arguments(&typed, &env).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn passwords_in_the_wrong_place() {
    for source in [
        "password:hunter2",
        "{password:hunter2}",
        "{ url: postgresql://h, password:hunter2 }",
        "hunter2",
        "[hunter2]",
        "{ url: hunter2 }",
        "{ url: 'postgres://hunter2' , password: [hunter2] }",
        "{ url: 'postgres://h' , password: {hunter2: } }",
        "{ url: 'postgres://h' , password: hunter2, password_file: hunter2 }",
        "{ url: 'postgres://h' , retain: hunter2 }",
        "{ url: 'postgres://h' , slot: \"hunter2 !\" }",
        "{ url: 'postgres://h' , publication: 'hunter2hunter2hunter2hunter2hunter2hunter2hunter2hunter2hunter2hunter2' }",
        "{ url: 'postgres://h' , password: *hunter2 }",
        "{ url: 'postgres://h' , password: !hunter2 x }",
        "{ url: 'postgres://h' , password: &hunter2 }",
        "{ url: 'postgres://h' , password: %hunter2 }",
        "{ url: 'postgres://h' , password: 'x${hunter2' }",
        "{ url: 'postgres://h' , password: 'x${hunter2!}' }",
        "{ url: 'postgres://h' , password: \"\\hunter2\" }",
        "{ url: 'postgres://h' , password: 'hunter2",
        "{ url: 'postgres://h' , slot: '${SECRET}!' }",
    ] {
        let text = format!("source: {source}\ntarget: {{ url: redis://h }}\n");
        let shown = shown(&text);
        assert!(!shown.contains("hunter2"), "{text}{shown}");
    }
    for (key, value) in [
        ("type", "hash"),
        ("type", "${SECRET}"),
        ("nulls", "${SECRET}"),
        ("ttl", "${SECRET}"),
        ("key", "${SECRET}{"),
        ("key", "${SECRET}"),
        ("columns", "${SECRET}"),
    ] {
        let text = format!("{SMALLEST}tables:\n  a:\n    type: hash\n    {key}: \"{value}\"\n");
        assert!(!shown(&text).contains("hunter2"), "{text}");
    }
    for top in ["name: \"${SECRET}!\"", "snapshot: { workers: \"${SECRET}\" }"] {
        assert!(!shown(&format!("{SMALLEST}{top}\n")).contains("hunter2"), "{top}");
    }
}

proptest! {
    /// Whatever stands around a password that somebody forgot to quote.
    #[test]
    fn unquoted_passwords(before in "[!-~]{0,3}", after in "[!-9;-z|~]{0,5}") {
        let text = format!(
            "source:\n  url: postgresql://u@h/hr\n  password: {before}hunter2{after}\ntarget: {{ url: redis://h }}\n"
        );
        let shown = shown(&text);
        prop_assert!(!shown.contains("hunter2"), "{}{}", text, shown);
    }

    /// Also where the password breaks the URL.
    #[test]
    fn unquoted_urls(before in "[!-~]{0,3}", after in "[!-~]{0,5}") {
        let text = format!(
            "source:\n  url: postgresql://u:{before}hunter2{after}@h/hr\ntarget:\n  url: redis://:{before}hunter2{after}@h\n"
        );
        let shown = shown(&text);
        prop_assert!(!shown.contains("hunter2"), "{}{}", text, shown);
    }
}
