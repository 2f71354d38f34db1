//! Keys: rendered from a row, and recognised among the keys of a database.
//!
//! Within a part of a composite key `%` and `:` are written `%25` and `%3A`, so that two different
//! rows never share a key; a NULL part (possible only where the whole row is the key) is `%00`,
//! which no value can be written as.

use serde::{Deserialize, Serialize};

use super::value::{Converter, Kind};
use crate::row::{Row, Value};

#[derive(Debug, Clone)]
enum KeyPart {
    Text(Vec<u8>),
    Column { index: usize, kind: Kind, converter: Converter, escaped: bool },
}

/// A compiled key template.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyPlan {
    parts: Vec<KeyPart>,
}

/// A column of the key is an unchanged TOASTed value, so the key can't be told from this row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownKey;

impl KeyPlan {
    pub(super) fn push_text(&mut self, text: &[u8]) {
        match self.parts.last_mut() {
            Some(KeyPart::Text(before)) => before.extend_from_slice(text),
            _ => self.parts.push(KeyPart::Text(text.to_vec())),
        }
    }

    pub(super) fn push_column(&mut self, index: usize, kind: Kind, converter: Converter, escaped: bool) {
        self.parts.push(KeyPart::Column { index, kind, converter, escaped });
    }

    /// Writes the key of `row` into `key`, which is cleared first.
    #[inline]
    pub(crate) fn render(
        &self,
        row: &Row<'_>,
        scratch: &mut Vec<u8>,
        key: &mut Vec<u8>,
    ) -> Result<(), UnknownKey> {
        key.clear();
        for part in &self.parts {
            match part {
                KeyPart::Text(text) => key.extend_from_slice(text),
                KeyPart::Column { index, converter, escaped, .. } => match row.get(*index) {
                    Value::Unchanged => return Err(UnknownKey),
                    Value::Null if *escaped => key.extend_from_slice(b"%00"),
                    Value::Null => {}
                    Value::Text(text) => {
                        let text = converter.text(text, scratch);
                        if *escaped { escape(text, key) } else { key.extend_from_slice(text) }
                    }
                },
            }
        }
        Ok(())
    }

    /// The key is made of this column, among others.
    pub(crate) fn needs(&self, column: usize) -> bool {
        self.parts.iter().any(|part| matches!(part, KeyPart::Column { index, .. } if *index == column))
    }

    /// What the keys of this template look like.
    pub(crate) fn pattern(&self) -> KeyPattern {
        let parts = self.parts.iter().map(|part| match part {
            KeyPart::Text(text) => PatternPart::Text(String::from_utf8_lossy(text).into_owned()),
            KeyPart::Column { kind, escaped, .. } => {
                let hole = match kind {
                    Kind::Integer => Hole::Integer,
                    Kind::Boolean => Hole::Boolean,
                    _ => Hole::Any,
                };
                PatternPart::Hole { hole, escaped: *escaped }
            }
        });
        KeyPattern(parts.collect())
    }
}

/// What the keys of a template look like. The checkpoint remembers it, so that keys are still known
/// when the template has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyPattern(Vec<PatternPart>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PatternPart {
    Text(String),
    Hole { hole: Hole, escaped: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Hole {
    Integer,
    Boolean,
    Any,
}

impl KeyPattern {
    /// A glob for SCAN that finds at least the keys that this template can have produced.
    pub(crate) fn glob(&self) -> Vec<u8> {
        let mut glob = Vec::new();
        for part in &self.0 {
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
        matches(&self.0, key)
    }
}

fn escape(text: &[u8], key: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(found) = memchr::memchr2(b'%', b':', rest) {
        key.extend_from_slice(&rest[..found]);
        key.extend_from_slice(if rest[found] == b'%' { b"%25" } else { b"%3A" });
        rest = &rest[found + 1..];
    }
    key.extend_from_slice(rest);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::value::ValueOptions;
    use crate::row::Cell;
    use proptest::prelude::*;

    fn plan(parts: &[(&str, Option<Kind>)], escaped: bool) -> KeyPlan {
        let mut plan = KeyPlan::default();
        for (index, (text, kind)) in parts.iter().enumerate() {
            plan.push_text(text.as_bytes());
            if let Some(kind) = kind {
                let converter = Converter::new(kind.clone(), ValueOptions::default());
                plan.push_column(index, kind.clone(), converter, escaped);
            }
        }
        plan
    }

    fn render(plan: &KeyPlan, values: &[&str]) -> String {
        let data = values.concat();
        let mut start = 0;
        let cells: Vec<Cell> = values
            .iter()
            .map(|value| {
                let cell = Cell::text(start, value.len());
                start += value.len();
                cell
            })
            .collect();
        let (mut scratch, mut key) = (Vec::new(), Vec::new());
        plan.render(&Row::new(data.as_bytes(), &cells), &mut scratch, &mut key).unwrap();
        String::from_utf8(key).unwrap()
    }

    #[test]
    fn composite_parts_are_escaped() {
        let key = plan(&[("t:", Some(Kind::Text)), (":", Some(Kind::Text))], true);
        assert_eq!(render(&key, &["a:b", "c"]), "t:a%3Ab:c");
        assert_eq!(render(&key, &["a", "b:c"]), "t:a:b%3Ac");
        assert_eq!(render(&key, &["a%3A", ""]), "t:a%253A:");
    }

    #[test]
    fn a_key_is_recognised_by_the_types_of_its_columns() {
        let emp = plan(&[("emp:", Some(Kind::Integer))], false);
        assert!(emp.pattern().matches(b"emp:-7"));
        assert!(!emp.pattern().matches(b"emp:7:address"));
        assert!(!emp.pattern().matches(b"emp:"));
        assert!(!emp.pattern().matches(b"employee:7"));
        assert_eq!(emp.pattern().glob(), b"emp:*");
        let pair = plan(&[("a*[", Some(Kind::Integer)), (":x:", Some(Kind::Text)), ("]", None)], true);
        assert!(pair.pattern().matches(b"a*[1:x:y]"));
        assert!(!pair.pattern().matches(b"a*[1:x:y:z]"));
        assert_eq!(pair.pattern().glob(), b"a\\*\\[*:x:*\\]");
    }

    proptest! {
        #[test]
        fn a_rendered_key_is_recognised_and_unique(a in "[a-z:%]{0,6}", b in "[a-z:%]{0,6}", c in "[a-z:%]{0,6}", d in "[a-z:%]{0,6}") {
            let key = plan(&[("t:", Some(Kind::Text)), (":", Some(Kind::Text))], true);
            let first = render(&key, &[&a, &b]);
            prop_assert!(key.pattern().matches(first.as_bytes()));
            prop_assert_eq!(first == render(&key, &[&c, &d]), (a, b) == (c, d));
        }
    }
}
