//! Whether two templates can produce the same key.
//!
//! Both patterns are read as automata over bytes, and their product is searched for a word that both
//! accept. The question is whether two templates are meant for the same keys, not whether some text of
//! some row could be chosen so: a hole for texts meets the holes of others, but not their literal
//! texts. So `user:{name}` and `user:{id}` are the same, and `user:{name}` and `user:events` are not,
//! although somebody could be called "events".

use super::key::{Hole, KeyPattern, PatternPart};

/// Which bytes a place of a key can have.
#[derive(Debug, Clone, Copy)]
enum Class {
    Byte(u8),
    Digit,
    Letter,
    /// A text.
    Any,
}

/// A place of a key: exactly one byte, or any number of them.
#[derive(Debug, Clone, Copy)]
struct Place {
    class: Class,
    repeats: bool,
}

impl Class {
    fn has(self, byte: u8) -> bool {
        match self {
            Class::Byte(own) => own == byte,
            Class::Digit => byte.is_ascii_digit() || byte == b'-',
            Class::Letter => byte.is_ascii_lowercase(),
            Class::Any => false,
        }
    }

    fn meets(self, other: Class) -> bool {
        match (self, other) {
            (Class::Byte(byte), class) | (class, Class::Byte(byte)) => class.has(byte),
            (Class::Digit, Class::Letter) | (Class::Letter, Class::Digit) => false,
            _ => true,
        }
    }
}

fn places(pattern: &KeyPattern) -> Vec<Place> {
    let mut places = Vec::new();
    for part in pattern.parts() {
        match part {
            PatternPart::Text(text) => {
                places.extend(text.bytes().map(|b| Place { class: Class::Byte(b), repeats: false }));
            }
            PatternPart::Hole { hole, .. } => {
                let class = match hole {
                    Hole::Integer => Class::Digit,
                    Hole::Boolean => Class::Letter,
                    Hole::Any => Class::Any,
                };
                places.extend([false, true].map(|repeats| Place { class, repeats }));
            }
        }
    }
    places
}

/// True when some key fits both.
///
/// A word never leads back, so the product is searched place by place of `a`, with the places of `b` that
/// go with it: two long templates cost time, but no memory.
pub(crate) fn overlap(a: &KeyPattern, b: &KeyPattern) -> bool {
    let (a, b) = (places(a), places(b));
    // For each place of `b` whether it is to be looked at with the present place of `a`, and with the next one.
    let mut open = vec![false; b.len() + 1];
    let mut next = open.clone();
    open[0] = true;
    for i in 0..=a.len() {
        let x = a.get(i);
        for j in 0..=b.len() {
            if !open[j] {
                continue;
            }
            let y = b.get(j);
            if x.is_none() && y.is_none() {
                return true;
            }
            if x.is_some_and(|x| x.repeats) {
                next[j] = true;
            }
            if y.is_some_and(|y| y.repeats) {
                open[j + 1] = true;
            }
            if let (Some(x), Some(y)) = (x, y)
                && x.class.meets(y.class)
            {
                match (x.repeats, y.repeats) {
                    // Nothing new: both stay where they are.
                    (true, true) => {}
                    (true, false) => open[j + 1] = true,
                    (false, true) => next[j] = true,
                    (false, false) => next[j + 1] = true,
                }
            }
        }
        std::mem::swap(&mut open, &mut next);
        next.fill(false);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::key::Holds;

    /// `#` is an integer, `?` a boolean, `*` anything.
    fn pattern(text: &str) -> KeyPattern {
        let part = |c: char| match c {
            '#' => PatternPart::Hole { hole: Hole::Integer, escaped: false },
            '?' => PatternPart::Hole { hole: Hole::Boolean, escaped: false },
            '*' => PatternPart::Hole { hole: Hole::Any, escaped: false },
            c => PatternPart::Text(c.to_string()),
        };
        KeyPattern::new(text.chars().map(part).collect(), Holds::Row)
    }

    #[test]
    fn keys_that_can_be_the_same() {
        for (a, b, same) in [
            ("emp:#", "emp:#", true),
            ("emp:#", "dept:#", false),
            ("emp:#", "emp:*", true),
            ("emp:#", "emp:?", false),
            ("emp:#", "emp:7", true),
            ("emp:#", "emp:", false),
            ("emp:#", "emp:events", false),
            ("emp:*", "emp:events", false),
            ("user:*", "user:#", true),
            ("user:*", "user:#:orders", false),
            ("user:*", "user:by_name:*", false),
            ("a*", "*b", false),
            ("a:*", "a:*:*", false),
            ("a*c", "a#b", false),
            ("#:#", "*:*", true),
            ("a:*", "a:*:b", false),
            ("#:#", "*", false),
            ("leaders", "leaders", true),
        ] {
            assert_eq!(overlap(&pattern(a), &pattern(b)), same, "{a} {b}");
            assert_eq!(overlap(&pattern(b), &pattern(a)), same, "{b} {a}");
        }
    }
}
