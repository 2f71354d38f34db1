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

    /// A glob for SCAN that finds at least the keys that this template can have produced.
    pub(crate) fn glob(&self) -> Vec<u8> {
        let mut glob = Vec::new();
        for part in &self.parts {
            match part {
                PatternPart::Hole { .. } => glob.push(b'*'),
                PatternPart::Text(text) => {
                    for &byte in text.as_bytes() {
                        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
                            glob.push(b'\\');
                        }
                        glob.push(byte);
                    }
                }
            }
        }
        glob
    }

    /// True when this template can have produced `key`.
    pub(crate) fn matches(&self, key: &[u8]) -> bool {
        matches(&self.parts, key)
    }
}

fn matches(parts: &[PatternPart], key: &[u8]) -> bool {
    match parts {
        [] => key.is_empty(),
        [PatternPart::Text(text), rest @ ..] => {
            key.strip_prefix(text.as_bytes()).is_some_and(|key| matches(rest, key))
        }
        [PatternPart::Hole { hole, escaped }] => possible(*hole, *escaped, key),
        // Text follows: only where it is found can the value end.
        [PatternPart::Hole { hole, escaped }, PatternPart::Text(text), rest @ ..] => {
            memchr::memmem::find_iter(key, text)
                .any(|end| possible(*hole, *escaped, &key[..end]) && matches(rest, &key[end + text.len()..]))
        }
        [PatternPart::Hole { hole, escaped }, rest @ ..] => {
            (0..=key.len()).any(|end| possible(*hole, *escaped, &key[..end]) && matches(rest, &key[end..]))
        }
    }
}

/// Some value of this kind is spelled so. Where that is not easily told, the answer is yes.
fn possible(hole: Hole, escaped: bool, text: &[u8]) -> bool {
    if escaped && text == b"%00" {
        return true;
    }
    if escaped && memchr::memchr(b':', text).is_some() {
        return false;
    }
    match hole {
        Hole::Integer => {
            let digits = text.strip_prefix(b"-").unwrap_or(text);
            !digits.is_empty() && digits.len() <= 20 && digits.iter().all(u8::is_ascii_digit)
        }
        Hole::Boolean => matches!(text, b"true" | b"false"),
        Hole::Any => true,
    }
}
