//! The keys of a table, recognised among those of a database, and told apart from those of others.

use serde::{Deserialize, Serialize};

/// What the keys of a template look like. The checkpoint remembers it, so that keys are still known
/// when the template has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyPattern {
    parts: Vec<PatternPart>,
    pub(crate) holds: Holds,
}

/// Whose the keys of a pattern are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Holds {
    /// A row each.
    Row,
    /// Members of a set or a sorted set, one for each row.
    Set,
    SortedSet,
    /// Events, which stay when their row goes.
    Events,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PatternPart {
    Text(String),
    Hole { hole: Hole, escaped: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Hole {
    Integer,
    Boolean,
    Any,
}

impl KeyPattern {
    pub(super) fn new(parts: Vec<PatternPart>, holds: Holds) -> KeyPattern {
        KeyPattern { parts, holds }
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.parts.shrink_to_fit();
    }

    pub(super) fn parts(&self) -> &[PatternPart] {
        &self.parts
    }

    /// The text that every key begins with.
    pub(crate) fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(PatternPart::Text(text)) => text,
            _ => "",
        }
    }

    /// Bytes that are the same in every key.
    pub(crate) fn fixed_bytes(&self) -> usize {
        let text = |part: &PatternPart| match part {
            PatternPart::Text(text) => text.len(),
            PatternPart::Hole { .. } => 0,
        };
        self.parts.iter().map(text).sum()
    }

    /// A glob for SCAN that finds at least the keys that this template can have produced.
    pub(crate) fn glob(&self) -> Vec<u8> {
        let mut glob = Vec::new();
        for part in &self.parts {
            match part {
                PatternPart::Hole { .. } => glob.push(b'*'),
                PatternPart::Text(text) => push_literal(text.as_bytes(), &mut glob),
            }
        }
        glob
    }

    /// A key that this template can produce.
    pub(crate) fn example(&self) -> String {
        let part = |part: &PatternPart| match part {
            PatternPart::Text(text) => text.clone(),
            PatternPart::Hole { hole: Hole::Integer, .. } => "0".to_owned(),
            PatternPart::Hole { hole: Hole::Boolean, .. } => "true".to_owned(),
            PatternPart::Hole { hole: Hole::Any, .. } => "x".to_owned(),
        };
        self.parts.iter().map(part).collect()
    }

    /// True when this template can have produced `key`.
    pub(crate) fn matches(&self, key: &[u8]) -> bool {
        matches(&self.parts, key)
    }
}

/// A glob for SCAN that finds the keys that begin so.
pub(super) fn glob_of_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut glob = Vec::new();
    push_literal(prefix, &mut glob);
    glob.push(b'*');
    glob
}

fn push_literal(text: &[u8], glob: &mut Vec<u8>) {
    for &byte in text {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
            glob.push(b'\\');
        }
        glob.push(byte);
    }
}

/// Text at the front is compared; behind the first hole all places are followed at once where the key
/// can have been written up to, so that the time does not multiply with the holes: whoever may write to
/// Redis chooses the keys that are found there.
fn matches(parts: &[PatternPart], key: &[u8]) -> bool {
    match parts {
        [] => key.is_empty(),
        [PatternPart::Text(text), rest @ ..] => {
            key.strip_prefix(text.as_bytes()).is_some_and(|key| matches(rest, key))
        }
        parts => {
            let mut places = vec![false; key.len() + 1];
            places[0] = true;
            for part in parts {
                places = match part {
                    PatternPart::Text(text) => after_text(text.as_bytes(), &places, key),
                    PatternPart::Hole { hole, escaped } => after_hole(*hole, *escaped, &places, key),
                };
            }
            places[key.len()]
        }
    }
}

/// Where a text can end that begins at one of `places`.
fn after_text(text: &[u8], places: &[bool], key: &[u8]) -> Vec<bool> {
    let mut after = vec![false; places.len()];
    for (start, _) in places.iter().enumerate().filter(|(_, place)| **place) {
        if key[start..].starts_with(text) {
            after[start + text.len()] = true;
        }
    }
    after
}

/// Where a value of this kind can end that begins at one of `places`. Where its spelling is not easily
/// told, it can be anything.
fn after_hole(hole: Hole, escaped: bool, places: &[bool], key: &[u8]) -> Vec<bool> {
    let mut after = vec![false; places.len()];
    let mut inside = false;
    for (start, place) in places.iter().enumerate() {
        let rest = &key[start..];
        if hole == Hole::Any {
            inside |= place;
            after[start] = inside;
            // An escaped value has no colon, and so ends before it.
            inside &= !(escaped && rest.starts_with(b":"));
        } else if *place {
            let words: &[&[u8]] = if hole == Hole::Boolean { &[b"true", b"false"] } else { &[] };
            let null: &[&[u8]] = if escaped { &[b"%00"] } else { &[] };
            for word in words.iter().chain(null).filter(|word| rest.starts_with(word)) {
                after[start + word.len()] = true;
            }
            if hole == Hole::Integer {
                let sign = usize::from(rest.starts_with(b"-"));
                let digits = rest[sign..].iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
                after[start + sign..][1..=digits].fill(true);
            }
        }
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a hole can hold, tried one by one.
    fn defined(parts: &[PatternPart], key: &[u8]) -> bool {
        let possible = |hole, escaped, text: &[u8]| {
            let spelled = std::str::from_utf8(text).unwrap();
            (escaped && spelled == "%00")
                || !(escaped && spelled.contains(':'))
                    && match hole {
                        Hole::Integer => {
                            let digits = spelled.strip_prefix('-').unwrap_or(spelled);
                            (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
                        }
                        Hole::Boolean => matches!(spelled, "true" | "false"),
                        Hole::Any => true,
                    }
        };
        match parts {
            [] => key.is_empty(),
            [PatternPart::Text(text), rest @ ..] => {
                key.strip_prefix(text.as_bytes()).is_some_and(|key| defined(rest, key))
            }
            [PatternPart::Hole { hole, escaped }, rest @ ..] => (0..=key.len())
                .any(|end| possible(*hole, *escaped, &key[..end]) && defined(rest, &key[end..])),
        }
    }

    fn part() -> impl Strategy<Value = PatternPart> {
        let hole = prop::sample::select(vec![Hole::Integer, Hole::Boolean, Hole::Any]);
        prop_oneof![
            "[a:7]{0,2}".prop_map(PatternPart::Text),
            (hole, any::<bool>()).prop_map(|(hole, escaped)| PatternPart::Hole { hole, escaped }),
        ]
    }

    proptest! {
        #[test]
        fn matches_agree_with_the_definition(
            parts in prop::collection::vec(part(), 0..5),
            key in "(a|:|-|7|77|true|false|%00|[0-9]{19,21}){0,5}",
        ) {
            prop_assert_eq!(matches(&parts, key.as_bytes()), defined(&parts, key.as_bytes()));
        }

        #[test]
        fn examples_are_among_the_keys(parts in prop::collection::vec(part(), 0..5)) {
            let pattern = KeyPattern::new(parts, Holds::Row);
            prop_assert!(pattern.matches(pattern.example().as_bytes()));
        }
    }

    /// A text that begins again inside itself: here the value before it is `x:`.
    #[test]
    fn a_separator_that_overlaps_itself() {
        let any = PatternPart::Hole { hole: Hole::Any, escaped: false };
        let integer = PatternPart::Hole { hole: Hole::Integer, escaped: false };
        let pattern = KeyPattern::new(vec![any, PatternPart::Text("::".to_owned()), integer], Holds::Row);
        assert!(pattern.matches(b"x:::7"));
    }

    /// Trying the holes one after the other would take longer than anybody waits.
    #[test]
    fn many_holes_take_no_time() {
        let hole = PatternPart::Hole { hole: Hole::Any, escaped: false };
        let parts = (0..40).flat_map(|_| [hole.clone(), PatternPart::Text("a".to_owned())]);
        let pattern = KeyPattern::new(parts.collect(), Holds::Row);
        assert!(pattern.matches(&b"a".repeat(1000)));
        assert!(!pattern.matches(&[&b"a".repeat(1000)[..], b"b"].concat()));
    }
}
