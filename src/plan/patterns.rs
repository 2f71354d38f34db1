//! What keys of many tables look like, found by what a key begins with: the time that a key takes does not grow with the
//! number of tables.

use std::collections::{BTreeSet, HashMap};

use super::key::{Holds, KeyPattern};

/// Key patterns, each once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patterns {
    /// By the text that their keys begin with.
    by_prefix: HashMap<Vec<u8>, Vec<KeyPattern>>,
    /// How long these texts are.
    lengths: BTreeSet<usize>,
}

/// More patterns than this are looked for together: then Redis goes through its keys once, and tells of more of them.
const EACH_ALONE: usize = 4;

impl FromIterator<KeyPattern> for Patterns {
    fn from_iter<T: IntoIterator<Item = KeyPattern>>(patterns: T) -> Patterns {
        let mut all = Patterns::default();
        for pattern in patterns {
            let prefix = pattern.prefix().as_bytes();
            all.lengths.insert(prefix.len());
            let alike = all.by_prefix.entry(prefix.to_vec()).or_default();
            if !alike.contains(&pattern) {
                alike.push(pattern);
            }
        }
        all
    }
}

impl Patterns {
    fn all(&self) -> impl Iterator<Item = &KeyPattern> {
        self.by_prefix.values().flatten()
    }

    /// Those whose keys hold this.
    pub(crate) fn holding(&self, holds: Holds) -> Patterns {
        self.all().filter(|pattern| pattern.holds == holds).cloned().collect()
    }

    /// Those that can have made the key.
    pub(crate) fn of_key<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a KeyPattern> {
        let prefixes = self.lengths.iter().map_while(|&length| key.get(..length));
        let alike = prefixes.filter_map(|prefix| self.by_prefix.get(prefix)).flatten();
        alike.filter(|pattern| pattern.matches(key))
    }

    pub(crate) fn matches(&self, key: &[u8]) -> bool {
        self.of_key(key).next().is_some()
    }

    /// Globs for SCAN, which together find at least the keys of all.
    pub(crate) fn globs(&self) -> Vec<Vec<u8>> {
        if self.all().count() <= EACH_ALONE {
            return self.all().map(KeyPattern::glob).collect();
        }
        let mut prefixes = self.by_prefix.keys();
        let first = prefixes.next().map_or(&[][..], Vec::as_slice);
        let common = prefixes.fold(first.len(), |common, prefix| {
            first[..common].iter().zip(prefix).take_while(|(one, other)| one == other).count()
        });
        vec![super::key::glob_of_prefix(&first[..common])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::key::{Hole, PatternPart};

    fn pattern(text: &str, holds: Holds) -> KeyPattern {
        let hole = PatternPart::Hole { hole: Hole::Integer, escaped: false };
        KeyPattern::new(vec![PatternPart::Text(text.to_owned()), hole], holds)
    }

    #[test]
    fn found_by_what_keys_begin_with() {
        let texts = ["", "t:", "t:x:", "u:", "t:"];
        let patterns: Patterns = texts.map(|text| pattern(text, Holds::Row)).into_iter().collect();
        let of_key = |key: &str| {
            let found = patterns.of_key(key.as_bytes());
            found.map(|pattern| pattern.prefix().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of_key("7"), [""]);
        assert_eq!(of_key("t:7"), ["t:"]);
        assert_eq!(of_key("t:x:7"), ["t:x:"]);
        assert!(!patterns.matches(b"t:x:") && !patterns.matches(b"") && !patterns.matches(b"v:7"));
        assert!(patterns.holding(Holds::Set).all().next().is_none());
    }

    #[test]
    fn few_are_looked_for_one_by_one_and_many_together() {
        let globs = |texts: &[&str]| {
            let patterns: Patterns = texts.iter().map(|text| pattern(text, Holds::Row)).collect();
            let mut globs = patterns.globs();
            globs.sort();
            globs.into_iter().map(|glob| String::from_utf8(glob).unwrap()).collect::<Vec<_>>()
        };
        assert!(globs(&[]).is_empty());
        assert_eq!(globs(&["t[1]:", "u:"]), ["t\\[1\\]:*", "u:*"]);
        assert_eq!(globs(&["t[1]:", "t[2]:", "t[10]:", "t[x", "t[y"]), ["t\\[*"]);
        assert_eq!(globs(&["a", "b", "c", "d", "e"]), ["*"]);
        assert_eq!(globs(&["a", "ab", "abc", "", "e"]), ["*"]);
    }
}
