//! What should be in Redis for a row: what the commands of the sinks would leave behind.
//!
//! ```text
//!   HSET k a 1, HDEL k b, EXPIRE k 60  ──>  k: hash {a: 1}, expires
//!   ZADD k 2.5 m                       ──>  k: m has the score 2.5
//!   UNLINK k                           ──>  k: nothing
//! ```
//!
//! The sinks are asked, not the mapping, so there is one definition of what is right.

/// What should be at one place.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State<'a> {
    /// No key.
    Nothing,
    /// Fields and their values.
    Hash(Vec<(&'a [u8], &'a [u8])>),
    Json(&'a [u8]),
    Text(&'a [u8]),
    /// Of a set.
    Member(&'a [u8]),
    /// Of a sorted set, with its score.
    Scored(&'a [u8], Score<'a>),
    /// Of a sorted set that it must not be in: its score is none.
    NoMember(&'a [u8]),
}

/// A number, and how the row spells it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Score<'a> {
    pub(super) number: f64,
    pub(super) text: &'a [u8],
}

impl State<'_> {
    /// The type of the key, for people.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            State::Nothing => "key",
            State::Hash(_) => "hash",
            State::Json(_) => "JSON document",
            State::Text(_) => "string",
            State::Member(_) => "set",
            State::Scored(..) | State::NoMember(_) => "sorted set",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expected<'a> {
    pub(super) key: &'a [u8],
    pub(super) state: State<'a>,
    /// The key has a time to live.
    pub(super) expires: bool,
}

/// What one sink's commands for one whole row leave behind. `None`: nothing that can be told from
/// the row alone. That a row without a score is no member is seen by looking for members without rows.
pub(super) fn interpret<'a>(commands: &[Vec<&'a [u8]>]) -> Option<Expected<'a>> {
    let mut key = None;
    let mut state = None;
    let mut expires = false;
    // The sink takes the member out first where Redis will refuse the score.
    let mut refused = false;
    for command in commands {
        let [name, place, arguments @ ..] = command.as_slice() else { continue };
        key = Some(*place);
        match (*name, arguments) {
            (b"HSET", pairs) => {
                state = Some(State::Hash(
                    pairs.as_chunks::<2>().0.iter().map(|[name, value]| (*name, *value)).collect(),
                ));
            }
            (b"HDEL", _) => {
                state.get_or_insert(State::Nothing);
            }
            (b"JSON.SET", [_, document, ..]) => state = Some(State::Json(document)),
            (b"SET", [value, options @ ..]) => {
                state = Some(State::Text(value));
                expires |= options.first() == Some(&&b"EX"[..]);
            }
            (b"SADD", [member]) => state = Some(State::Member(member)),
            (b"ZADD", [score, member]) => {
                state = match number(score).filter(|_| !refused) {
                    Some(number) => Some(State::Scored(member, Score { number, text: score })),
                    None => Some(State::NoMember(member)),
                };
            }
            (b"ZREM", _) => refused = true,
            (b"UNLINK", _) => state = Some(State::Nothing),
            (b"EXPIRE", _) => expires = true,
            _ => {}
        }
    }
    let (key, state) = key.zip(state)?;
    let expires = expires && state != State::Nothing;
    Some(Expected { key, state, expires })
}

/// A score as Redis spells and reads it.
pub(super) fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|number: &f64| !number.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let commands: Vec<Vec<&[u8]>> =
            text.split(", ").map(|command| command.split(' ').map(str::as_bytes).collect()).collect();
        let Some(expected) = interpret(&commands) else { return "unknown".to_owned() };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let state = match &expected.state {
            State::Hash(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|(n, v)| format!("{}={}", text(n), text(v))).collect();
                fields.join(" ")
            }
            State::Nothing => "nothing".to_owned(),
            State::Json(value) | State::Text(value) | State::Member(value) => text(value),
            State::Scored(member, score) => format!("{} at {}", text(member), score.number),
            State::NoMember(member) => format!("not {}", text(member)),
        };
        let expires = if expected.expires { ", expires" } else { "" };
        format!("{} {} {state}{expires}", text(expected.key), expected.state.type_name())
    }

    #[test]
    fn commands_as_sinks_write_them() {
        for (commands, state) in [
            ("HSET t:1 a 1 b 2", "t:1 hash a=1 b=2"),
            ("HSET t:1 a 1, HDEL t:1 b", "t:1 hash a=1"),
            ("HSET t:1 a 1, HDEL t:1 b, EXPIRE t:1 60", "t:1 hash a=1, expires"),
            ("HDEL t:1 a b", "t:1 key nothing"),
            ("JSON.SET t:1 $ {}", "t:1 JSON document {}"),
            ("JSON.SET t:1 $ {}, EXPIRE t:1 60", "t:1 JSON document {}, expires"),
            ("SET t:1 x", "t:1 string x"),
            ("SET t:1 x EX 60", "t:1 string x, expires"),
            ("UNLINK t:1", "t:1 key nothing"),
            ("SADD t m", "t set m"),
            ("SADD t m, EXPIRE t 5", "t set m, expires"),
            ("ZADD t 1.50 m", "t sorted set m at 1.5"),
            ("ZADD t -inf m", "t sorted set m at -inf"),
            ("ZREM t m, ZADD t abc m", "t sorted set not m"),
            ("ZREM t m, ZADD t NaN m", "t sorted set not m"),
            ("ZREM t m", "unknown"),
        ] {
            assert_eq!(told(commands), state, "{commands}");
        }
        assert_eq!(interpret(&[]), None);
    }
}
