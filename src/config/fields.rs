//! Reading typed values out of what was typed, with messages that say where and what to write.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::{Fault, Place};
use super::nearest::{advice, is_name};
use super::raw::{Key, Node, Value};
use super::units;

/// The entries of a mapping whose keys are all known.
pub(super) struct Fields<'a> {
    what: String,
    place: Place,
    entries: &'a [(Key, Node)],
}

impl<'a> Fields<'a> {
    /// Takes a mapping without looking at its keys. `what` names it in messages.
    pub(super) fn open(node: &'a Node, what: &str) -> Result<Fields<'a>, Fault> {
        match &node.value {
            Value::Map(entries) => Ok(Fields { what: what.to_owned(), place: node.place, entries }),
            _ => Err(node.unlike(what, "a mapping of `key: value`")),
        }
    }

    /// Refuses keys that are not known.
    pub(super) fn only(self, known: &[&str]) -> Result<Fields<'a>, Fault> {
        for (key, _) in self.entries {
            if !known.contains(&key.text.as_str()) {
                let what = &self.what;
                let advice = advice(&key.text, "known keys", known);
                let message = if is_name(&key.text) {
                    format!("unknown key `{}` in {what}; {advice}", key.text)
                } else {
                    format!(
                        "a key in {what} has characters that no key has; write `key: value` with a space; {advice}"
                    )
                };
                return Err(Fault::at(key.place, message));
            }
        }
        Ok(self)
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        let found = self.entries.iter().find(|(k, _)| k.text == key);
        found.map(|(_, node)| node)
    }

    /// Where a key stands, if it is there.
    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        self.entries.iter().find(|(k, _)| k.text == key).map(|(k, _)| k.place)
    }

    /// A fault of the mapping as a whole.
    pub(super) fn fault(&self, message: String) -> Fault {
        Fault::at(self.place, message)
    }

    pub(super) fn need(&self, key: &str) -> Result<&'a Node, Fault> {
        self.get(key).ok_or_else(|| {
            let message = format!("`{key}` is missing in {}", self.what);
            Fault::at(self.place, message)
        })
    }
}

impl Node {
    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::at(self.place, message)
    }

    /// "`what` must be …, not …".
    pub(super) fn unlike(&self, what: &str, wanted: &str) -> Fault {
        let found = match &self.value {
            Value::Null if wanted == "a text" => return self.fault(format!("{what} has no value")),
            Value::Null => return self.fault(format!("{what} has no value; it must be {wanted}")),
            Value::Text { .. } => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        };
        self.fault(format!("{what} must be {wanted}, not {found}"))
    }

    pub(super) fn text(&self, what: &str) -> Result<&str, Fault> {
        match &self.value {
            Value::Text { text, .. } => Ok(text),
            _ => Err(self.unlike(what, "a text")),
        }
    }

    /// The text for a message: only if it is shaped like a name and did not come from a variable.
    pub(super) fn quotable(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, from_env } if !from_env && is_name(text) => Some(text),
            _ => None,
        }
    }

    /// A text that is not empty.
    pub(super) fn filled(&self, what: &str) -> Result<&str, Fault> {
        match self.text(what)? {
            "" => Err(self.fault(format!("{what} is empty"))),
            text => Ok(text),
        }
    }

    pub(super) fn integer(&self, what: &str, range: RangeInclusive<u64>) -> Result<u64, Fault> {
        let number = units::integer(self.text(what)?);
        self.within(what, number, range, "a whole number")
    }

    /// Bytes.
    pub(super) fn size(&self, what: &str, range: RangeInclusive<u64>) -> Result<u64, Fault> {
        let number = units::size(self.text(what)?);
        self.within(what, number, range, "a size such as 512KiB or 4MiB, in bytes")
    }

    pub(super) fn duration(&self, what: &str) -> Result<Duration, Fault> {
        units::duration(self.text(what)?).ok_or_else(|| {
            self.fault(format!("{what} must be a duration: seconds, or a number with ms, s, m or h"))
        })
    }

    fn within(
        &self,
        what: &str,
        number: Option<u64>,
        range: RangeInclusive<u64>,
        kind: &str,
    ) -> Result<u64, Fault> {
        number.filter(|n| range.contains(n)).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            self.fault(format!("{what} must be {kind} from {least} to {most}"))
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, what: &str, words: &[(&str, T)]) -> Result<T, Fault> {
        let text = self.text(what)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*meaning);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let advice = advice(text, "known", &known);
        Err(self.fault(match self.quotable() {
            Some(text) => format!("{what} cannot be `{text}`; {advice}"),
            None => format!("{what} is not a known word; {advice}"),
        }))
    }
}
