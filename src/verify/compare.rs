//! What Redis has at a place, against what should be there.
//!
//! [`ask`] appends the questions, as many for every place; [`judge`] reads their answers.

use super::document;
use super::expected::{Expected, Score, State, number};
use super::report::{Finding, Kind, shown};
use super::rows::Wanted;
use crate::redis;
use crate::redis::resp::{Commands, Reply};

/// A place of a row that is not as it should be.
#[derive(Debug)]
pub(super) struct Found {
    /// The row's number in its chunk.
    pub(super) row: usize,
    pub(super) sink: usize,
    pub(super) key: String,
    pub(super) finding: Finding,
}

/// What must be known about all of these places.
pub(super) fn questions(wanted: &[Wanted<'_>]) -> Commands {
    let mut asked = Commands::default();
    for place in wanted {
        ask(&place.expected, &mut asked);
    }
    asked
}

/// The places that are not as they should be, given the answers to [`questions`].
pub(super) fn answers(wanted: &[Wanted<'_>], replies: &[Reply]) -> Result<Vec<Found>, redis::Error> {
    let mut found = Vec::new();
    for (place, [state, ttl]) in wanted.iter().zip(replies.as_chunks::<QUESTIONS>().0) {
        let key = || shown(place.expected.key);
        match judge(&place.expected, state, ttl) {
            Ok(None) => {}
            Ok(Some(finding)) => {
                found.push(Found { row: place.row, sink: place.sink, key: key(), finding });
            }
            Err(Refused(reply)) => {
                return Err(redis::Error::Refused { doing: format!("looking at {}", key()), reply });
            }
        }
    }
    Ok(found)
}

/// Commands that [`ask`] appends.
const QUESTIONS: usize = 2;

fn ask(expected: &Expected<'_>, out: &mut Commands) {
    let key = expected.key;
    match &expected.state {
        State::Nothing => out.command(&[b"EXISTS", key]),
        State::Hash(_) => out.command(&[b"HGETALL", key]),
        State::Json(_) => out.command(&[b"JSON.GET", key]),
        State::Text(_) => out.command(&[b"GET", key]),
        State::Member(member) => out.command(&[b"SISMEMBER", key, member]),
        State::Scored(member, _) | State::NoMember(member) => out.command(&[b"ZSCORE", key, member]),
    }
    out.command(&[b"PTTL", key]);
}

/// How Redis refused an answer, other than by the type of the key.
#[derive(Debug, PartialEq, Eq)]
struct Refused(String);

/// `None`: it is as it should be.
fn judge(expected: &Expected<'_>, state: &Reply, ttl: &Reply) -> Result<Option<Finding>, Refused> {
    for reply in [state, ttl] {
        if let Reply::Error(error) = reply
            && !is_wrong_type(error)
        {
            return Err(Refused(error.clone()));
        }
    }
    let type_name = expected.state.type_name().as_bytes();
    Ok(match (&expected.state, state) {
        // Whatever it is, it is not in there.
        (State::NoMember(_), Reply::Error(_)) => None,
        (_, Reply::Error(_)) => Some(Finding::new(Kind::WrongType).expected(type_name)),
        (State::Nothing, Reply::Integer(0)) | (State::NoMember(_), Reply::Nil) => None,
        (State::Nothing, _) => Some(Finding::new(Kind::SurplusKey)),
        (State::NoMember(member), _) => Some(Finding::new(Kind::SurplusMember).part(member)),
        (State::Hash(wanted), Reply::Array(elements)) => {
            hash(wanted, elements).or_else(|| expiry(expected, ttl))
        }
        (State::Json(document), Reply::Text(found)) => {
            json(document, found).or_else(|| expiry(expected, ttl))
        }
        (State::Text(wanted), Reply::Text(found)) if wanted == found => expiry(expected, ttl),
        (State::Text(wanted), Reply::Text(found)) => {
            Some(Finding::new(Kind::WrongValue).expected(wanted).found(found))
        }
        (State::Member(_), Reply::Integer(1)) => expiry(expected, ttl),
        (State::Scored(member, wanted), Reply::Text(found)) => {
            score(member, *wanted, found).or_else(|| expiry(expected, ttl))
        }
        (State::Member(member) | State::Scored(member, _), _) => {
            Some(Finding::new(Kind::MissingMember).part(member))
        }
        (State::Hash(_) | State::Json(_) | State::Text(_), _) => Some(Finding::new(Kind::MissingKey)),
    })
}

/// RedisJSON has had words of its own for it.
pub(super) fn is_wrong_type(error: &str) -> bool {
    error.starts_with("WRONGTYPE") || error.contains("wrong Redis type")
}

fn expiry(expected: &Expected<'_>, ttl: &Reply) -> Option<Finding> {
    match (ttl, expected.expires) {
        (Reply::Integer(-1), true) => Some(Finding::new(Kind::MissingTtl)),
        (Reply::Integer(0..), false) => Some(Finding::new(Kind::SurplusTtl)),
        // It has expired since.
        (Reply::Integer(-2), true) => Some(Finding::new(Kind::MissingKey)),
        _ => None,
    }
}

fn score(member: &[u8], wanted: Score<'_>, found: &[u8]) -> Option<Finding> {
    if number(found) == Some(wanted.number) {
        return None;
    }
    Some(Finding::new(Kind::WrongScore).part(member).expected(wanted.text).found(found))
}

fn json(wanted: &[u8], found: &[u8]) -> Option<Finding> {
    let differing = document::difference(wanted, found)?;
    let mut finding = Finding::new(Kind::WrongDocument).part(differing.path.as_bytes());
    if let Some(expected) = differing.expected {
        finding = finding.expected(expected.as_bytes());
    }
    if let Some(found) = differing.found {
        finding = finding.found(found.as_bytes());
    }
    Some(finding)
}

fn hash(wanted: &[(&[u8], &[u8])], elements: &[Reply]) -> Option<Finding> {
    if elements.is_empty() {
        return Some(Finding::new(Kind::MissingKey));
    }
    let pairs = elements.as_chunks::<2>().0.iter().filter_map(|pair| match pair {
        [Reply::Text(name), Reply::Text(value)] => Some((name.as_slice(), value.as_slice())),
        _ => None,
    });
    let mut found: Vec<(&[u8], &[u8])> = pairs.collect();
    // As the sink writes them is how they mostly come back.
    if found == wanted {
        return None;
    }
    let mut wanted = wanted.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    let value = |fields: &[(&[u8], &[u8])], name: &[u8]| {
        let index = fields.binary_search_by(|field| field.0.cmp(name)).ok()?;
        fields.get(index).map(|field| field.1.to_vec())
    };
    let (mut wrong, mut missing, mut surplus) = (Vec::new(), Vec::new(), Vec::new());
    for &(name, expected) in &wanted {
        match value(&found, name) {
            Some(other) if other == expected => {}
            Some(other) => {
                wrong.push(Finding::new(Kind::WrongField).part(name).expected(expected).found(&other));
            }
            None => missing.push(Finding::new(Kind::MissingField).part(name).expected(expected)),
        }
    }
    for &(name, other) in &found {
        if value(&wanted, name).is_none() {
            surplus.push(Finding::new(Kind::SurplusField).part(name).found(other));
        }
    }
    let more = (wrong.len() + missing.len() + surplus.len()).saturating_sub(1);
    let first = wrong.into_iter().chain(missing).chain(surplus).next()?;
    Some(Finding { more, ..first })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Reply {
        Reply::Text(text.as_bytes().to_vec())
    }

    fn array(texts: &[&str]) -> Reply {
        Reply::Array(texts.iter().map(|t| text(t)).collect())
    }

    fn scored(number: f64) -> State<'static> {
        State::Scored(b"m", Score { number, text: b"text" })
    }

    const FOREVER: Reply = Reply::Integer(-1);

    fn kind(state: &State<'_>, reply: &Reply) -> Option<Kind> {
        let expected = Expected { key: b"k", state: state.clone(), expires: false };
        judge(&expected, reply, &FOREVER).unwrap().map(|finding| finding.kind)
    }

    #[test]
    fn every_place_has_as_many_questions() {
        for state in [
            State::Nothing,
            State::Hash(vec![]),
            State::Json(b"1"),
            State::Text(b"x"),
            State::Member(b"m"),
            scored(1.0),
            State::NoMember(b"m"),
        ] {
            let mut out = Commands::default();
            ask(&Expected { key: b"k", state, expires: false }, &mut out);
            assert_eq!(out.count(), QUESTIONS);
        }
    }

    #[test]
    fn hashes() {
        let state = State::Hash(vec![(b"b", b"2"), (b"a", b"1")]);
        for (found, expected) in [
            (&["b", "2", "a", "1"][..], None),
            (&["a", "1", "b", "2"], None),
            (&[], Some(Kind::MissingKey)),
            (&["a", "1", "b", "3"], Some(Kind::WrongField)),
            (&["a", "1"], Some(Kind::MissingField)),
            (&["a", "1", "b", "2", "c", "3"], Some(Kind::SurplusField)),
        ] {
            assert_eq!(kind(&state, &array(found)), expected, "{found:?}");
        }
        let expected = Expected { key: b"k", state, expires: false };
        let finding = judge(&expected, &array(&["a", "x", "c", "3"]), &FOREVER).unwrap().unwrap();
        assert_eq!(finding.part.as_deref(), Some("a"));
        assert_eq!((finding.expected.as_deref(), finding.found.as_deref()), (Some("1"), Some("x")));
        assert_eq!(finding.more, 2);
    }

    #[test]
    fn the_other_structures() {
        let nil = Reply::Nil;
        for (state, reply, expected) in [
            (State::Text(b"x"), text("x"), None),
            (State::Text(b"x"), text("y"), Some(Kind::WrongValue)),
            (State::Text(b"x"), nil.clone(), Some(Kind::MissingKey)),
            (State::Json(b"{\"a\":1.50}"), text("{\"a\":1.5}"), None),
            (State::Json(b"{\"a\":1}"), text("{\"a\":2}"), Some(Kind::WrongDocument)),
            (State::Json(b"{}"), nil.clone(), Some(Kind::MissingKey)),
            (State::Member(b"m"), Reply::Integer(1), None),
            (State::Member(b"m"), Reply::Integer(0), Some(Kind::MissingMember)),
            (scored(1.5), text("1.5"), None),
            (scored(f64::INFINITY), text("inf"), None),
            (scored(1.5), text("2"), Some(Kind::WrongScore)),
            (scored(1.5), nil.clone(), Some(Kind::MissingMember)),
            (State::NoMember(b"m"), nil, None),
            (State::NoMember(b"m"), text("1"), Some(Kind::SurplusMember)),
            (State::Nothing, Reply::Integer(0), None),
            (State::Nothing, Reply::Integer(1), Some(Kind::SurplusKey)),
        ] {
            assert_eq!(kind(&state, &reply), expected, "{state:?} {reply:?}");
        }
    }

    #[test]
    fn another_type() {
        for error in [
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "Existing key has wrong Redis type",
        ] {
            let reply = Reply::Error(error.to_owned());
            assert_eq!(kind(&State::Hash(vec![]), &reply), Some(Kind::WrongType));
            assert_eq!(kind(&State::NoMember(b"m"), &reply), None);
        }
        let expected = Expected { key: b"k", state: State::Text(b"x"), expires: false };
        let refused = Reply::Error("NOPERM no".to_owned());
        assert_eq!(judge(&expected, &refused, &FOREVER), Err(Refused("NOPERM no".to_owned())));
        assert_eq!(judge(&expected, &text("x"), &refused), Err(Refused("NOPERM no".to_owned())));
    }

    #[test]
    fn times_to_live() {
        for (expires, ttl, expected) in [
            (false, -1, None),
            (false, 10, Some(Kind::SurplusTtl)),
            (true, 10, None),
            (true, -1, Some(Kind::MissingTtl)),
            (true, -2, Some(Kind::MissingKey)),
        ] {
            for (state, reply) in [
                (State::Hash(vec![(b"a", b"1")]), array(&["a", "1"])),
                (State::Text(b"x"), text("x")),
                (State::Json(b"1"), text("1")),
                (State::Member(b"m"), Reply::Integer(1)),
                (scored(1.0), text("1")),
            ] {
                let place = Expected { key: b"k", state, expires };
                let found = judge(&place, &reply, &Reply::Integer(ttl)).unwrap();
                assert_eq!(found.map(|finding| finding.kind), expected, "{place:?} {ttl}");
            }
        }
    }
}
