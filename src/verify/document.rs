//! Whether two JSON documents say the same.
//!
//! The order of members means nothing, and neither does the spelling of a number: RedisJSON holds
//! numbers that are no 64-bit integers as doubles and spells them its own way (`1.50` as `1.5`, `1e+20`
//! as `1e20`). Integers that it can hold must be the same to the last digit.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Deeper than RedisJSON nests; what is deeper must be spelled the same.
const DEEPEST: usize = 130;

/// The first place where two documents differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Differing {
    /// As a JSONPath.
    pub(super) path: String,
    /// `None` where the document has nothing there.
    pub(super) expected: Option<String>,
    pub(super) found: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Members<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, &'a RawValue>);

/// Where what Redis has differs from what the row has, first.
pub(super) fn difference(expected: &[u8], found: &[u8]) -> Option<Differing> {
    if expected == found {
        return None;
    }
    let text = |bytes| std::str::from_utf8(bytes).ok();
    match text(expected).zip(text(found)) {
        Some((expected, found)) => compare(expected.trim(), found.trim(), "$", DEEPEST),
        None => Some(differing("$", Some(&String::from_utf8_lossy(expected)), Some("no text"))),
    }
}

fn differing(path: &str, expected: Option<&str>, found: Option<&str>) -> Differing {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Differing { path: path.to_owned(), expected: owned(expected), found: owned(found) }
}

fn compare(expected: &str, found: &str, path: &str, depth: usize) -> Option<Differing> {
    if expected == found {
        return None;
    }
    let unequal = || Some(differing(path, Some(expected), Some(found)));
    let kinds = (kind(expected), kind(found));
    match kinds {
        _ if depth == 0 => unequal(),
        (b'{', b'{') => match (parse::<Members<'_>>(expected), parse::<Members<'_>>(found)) {
            (Some(expected), Some(found)) => compare_members(&expected, &found, path, depth - 1),
            _ => unequal(),
        },
        (b'[', b'[') => match (parse::<Vec<&RawValue>>(expected), parse::<Vec<&RawValue>>(found)) {
            (Some(wanted), Some(there)) if wanted.len() == there.len() => {
                wanted.iter().zip(there).enumerate().find_map(|(index, (wanted, there))| {
                    compare(wanted.get(), there.get(), &format!("{path}[{index}]"), depth - 1)
                })
            }
            _ => unequal(),
        },
        (b'"', b'"') => {
            let same = parse::<Cow<'_, str>>(expected)
                .zip(parse::<Cow<'_, str>>(found))
                .is_some_and(|(expected, found)| expected == found);
            if same { None } else { unequal() }
        }
        (b'0', b'0') if same_number(expected, found) => None,
        _ => unequal(),
    }
}

fn compare_members(
    expected: &Members<'_>,
    found: &Members<'_>,
    path: &str,
    depth: usize,
) -> Option<Differing> {
    let below = |name: &str| {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !name.is_empty();
        if plain { format!("{path}.{name}") } else { format!("{path}[{name:?}]") }
    };
    let missing = |(name, value): (&Cow<'_, str>, &&RawValue)| match found.0.get(name) {
        Some(there) => compare(value.get(), there.get(), &below(name), depth),
        None => Some(differing(&below(name), Some(value.get()), None)),
    };
    expected.0.iter().find_map(missing).or_else(|| {
        let surplus = found.0.iter().find(|(name, _)| !expected.0.contains_key(*name));
        surplus.map(|(name, value)| differing(&below(name), None, Some(value.get())))
    })
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// The first byte tells; all numbers are `0`.
fn kind(text: &str) -> u8 {
    match text.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => b'0',
        Some(byte) => *byte,
        None => 0,
    }
}

fn same_number(expected: &str, found: &str) -> bool {
    let exact = (integer(expected), integer(found));
    match exact {
        (Some(expected), Some(found)) => expected == found,
        // An integer that Redis has made a double of must have lost nothing.
        (Some(expected), None) => {
            const EXACT: u64 = 1 << 53;
            expected.unsigned_abs() <= u128::from(EXACT) && same_double(expected.to_string().as_str(), found)
        }
        _ => same_double(expected, found),
    }
}

/// An integer that fits 64 bits, with or without a sign.
fn integer(text: &str) -> Option<i128> {
    let number: i128 = text.parse().ok()?;
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&number).then_some(number)
}

/// RedisJSON reads numbers with serde_json, which can miss the nearest double by a bit; so either
/// reading will do.
fn same_double(expected: &str, found: &str) -> bool {
    let exact = |text: &str| text.parse::<f64>().ok();
    let Some(there) = exact(found) else { return false };
    exact(expected) == Some(there) || parse::<f64>(expected) == Some(there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(expected: &str, found: &str) -> String {
        match difference(expected.as_bytes(), found.as_bytes()) {
            None => "same".to_owned(),
            Some(Differing { path, expected, found }) => {
                let text = |side: Option<String>| side.unwrap_or_else(|| "-".to_owned());
                format!("{path} {} {}", text(expected), text(found))
            }
        }
    }

    #[test]
    fn documents() {
        for (expected, found, difference) in [
            (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#, "same"),
            (r#"{"a":1.50}"#, r#"{"a":1.5}"#, "same"),
            (r#"{"a":1e+20}"#, r#"{"a":1e20}"#, "same"),
            (r#"{"a":1e+20}"#, r#"{"a":100000000000000000000.0}"#, "same"),
            (r#"{"a":1e+18}"#, r#"{"a":1000000000000000000}"#, "same"),
            (r#"{"a":1.000}"#, r#"{"a":1.0}"#, "same"),
            (r#"{"a":-0}"#, r#"{"a":0}"#, "same"),
            (r#"{"a":7}"#, r#"{"a":7.0}"#, "same"),
            (r#"{"a":9007199254740993}"#, r#"{"a":9007199254740993}"#, "same"),
            (
                r#"{"a":9007199254740993}"#,
                r#"{"a":9007199254740992}"#,
                "$.a 9007199254740993 9007199254740992",
            ),
            (
                r#"{"a":9007199254740993}"#,
                r#"{"a":9007199254740992.0}"#,
                "$.a 9007199254740993 9007199254740992.0",
            ),
            (
                r#"{"a":18446744073709551615}"#,
                r#"{"a":18446744073709551614}"#,
                "$.a 18446744073709551615 18446744073709551614",
            ),
            // What no 64 bits hold is a double in RedisJSON.
            (r#"{"a":1180591620717411303425}"#, r#"{"a":1.1805916207174113e21}"#, "same"),
            (r#"{"a":0.12345678901234567890123}"#, r#"{"a":0.12345678901234568}"#, "same"),
            (r#"{"a":1.5}"#, r#"{"a":1.6}"#, "$.a 1.5 1.6"),
            (r#"{"a":1}"#, r#"{"a":"1"}"#, r#"$.a 1 "1""#),
            (r#"{"a":null}"#, r#"{}"#, "$.a null -"),
            (r#"{}"#, r#"{"a b":null}"#, r#"$["a b"] - null"#),
            (r#"{"a":{"b":[1,{"c":2}]}}"#, r#"{"a":{"b":[1,{"c":3}]}}"#, "$.a.b[1].c 2 3"),
            (r#"{"a":[1,2]}"#, r#"{"a":[1]}"#, "$.a [1,2] [1]"),
            (r#"{"a":"\u00e9\/"}"#, "{\"a\":\"é/\"}", "same"),
            (r#"{"a":"x"}"#, r#"{"a":"y"}"#, r#"$.a "x" "y""#),
            (r#"{"a":true}"#, r#"{"a":false}"#, "$.a true false"),
            // The last of several members of one name counts.
            (r#"{"a":{"x":1,"x":2}}"#, r#"{"a":{"x":2}}"#, "same"),
            ("[1, 2]", "[1,2]", "same"),
            ("1", "{}", "$ 1 {}"),
        ] {
            assert_eq!(told(expected, found), difference, "{expected} {found}");
        }
    }

    #[test]
    fn deep_documents_end() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(told(&deep("1"), &deep("1")), "same");
        assert_ne!(told(&deep("1"), &deep("2")), "same");
    }

    proptest! {
        #[test]
        fn any_texts_are_compared(a in "[\\[\\]{}\":,0-9eE+.a-]{0,24}", b in "[\\[\\]{}\":,0-9eE+.a-]{0,24}") {
            let _ = difference(a.as_bytes(), b.as_bytes());
        }

        #[test]
        fn doubles_in_any_spelling(number in prop::num::f64::NORMAL) {
            // The row has the one with an exponent: the other can be an integer, which must be exact.
            let (plain, exponent) = (format!("{number}"), format!("{number:e}"));
            prop_assert_eq!(told(&exponent, &plain), "same");
        }
    }
}
