//! Which keys and members the stream writes, while it has to be known: for [`super::sweep`].

use std::collections::HashSet;

use super::places::{Share, fingerprint};
use crate::plan::key::Holds;
use crate::plan::patterns::Patterns;

/// Fingerprints that are remembered.
const MOST: usize = 500_000;

#[derive(Debug)]
pub(super) struct Recorder {
    patterns: Patterns,
    share: Share,
    written: HashSet<u64>,
    /// There were more than are remembered.
    pub(super) overflowed: bool,
}

impl Recorder {
    /// Of the places that keys of these patterns are, those of this share.
    pub(super) fn new(patterns: Patterns, share: Share) -> Recorder {
        Recorder { patterns, share, written: HashSet::new(), overflowed: false }
    }

    pub(super) fn has_written(&self, key: &[u8], member: &[u8]) -> bool {
        self.written.contains(&fingerprint(key, member))
    }

    /// Notes what a command can write. What is not written after all does no harm.
    pub(super) fn note(&mut self, command: &[&[u8]]) {
        let (keys, arguments): (&[&[u8]], &[&[u8]]) = match command {
            [b"UNLINK" | b"DEL" | b"SREM" | b"ZREM" | b"XADD", ..] => return,
            [b"RENAME", _, to] => (std::slice::from_ref(to), &[]),
            [_, key, arguments @ ..] => (std::slice::from_ref(key), arguments),
            _ => return,
        };
        for key in keys {
            let (mut has_row, mut has_members) = (false, false);
            for pattern in self.patterns.of_key(key) {
                match pattern.holds {
                    Holds::Row => has_row = true,
                    Holds::Set | Holds::SortedSet | Holds::Events => has_members = true,
                }
            }
            if has_row {
                self.keep(key, b"");
            }
            if has_members {
                // The scores among them are no members.
                arguments.iter().for_each(|member| self.keep(key, member));
            }
        }
    }

    fn keep(&mut self, key: &[u8], member: &[u8]) {
        let fingerprint = fingerprint(key, member);
        if self.share.has(fingerprint) {
            self.overflowed |= self.written.len() >= MOST;
            if !self.overflowed {
                self.written.insert(fingerprint);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::places::Places;
    use crate::plan::key::KeyPattern;

    fn pattern(text: &str, holds: &str) -> KeyPattern {
        let part = format!(
            r#"{{"parts":[{{"text":"{text}"}},{{"hole":{{"hole":"any","escaped":false}}}}],"holds":"{holds}"}}"#
        );
        serde_json::from_str(&part).unwrap()
    }

    #[test]
    fn what_commands_write() {
        let patterns = [pattern("t:", "row"), pattern("s:", "sorted_set")].into_iter().collect();
        let mut recorder = Recorder::new(patterns, Places::default().share());
        for command in [
            &[&b"HSET"[..], b"t:1", b"a", b"1"][..],
            &[b"RENAME", b"t:2", b"t:3"],
            &[b"UNLINK", b"t:4"],
            &[b"ZADD", b"s:1", b"2.5", b"m"],
            &[b"SET", b"other:5", b"x"],
        ] {
            recorder.note(command);
        }
        let keys = ["t:1", "t:2", "t:3", "t:4", "other:5"];
        let written = keys.map(|key| recorder.has_written(key.as_bytes(), b""));
        assert_eq!(written, [true, false, true, false, false]);
        assert!(recorder.has_written(b"s:1", b"m") && !recorder.has_written(b"s:1", b"n"));
    }

    #[test]
    fn more_than_are_remembered() {
        let mut recorder =
            Recorder::new([pattern("t:", "row")].into_iter().collect(), Places::default().share());
        for i in 0..=MOST {
            recorder.note(&[b"SET", format!("t:{i}").as_bytes(), b"x"]);
        }
        assert!(recorder.overflowed);
    }
}
