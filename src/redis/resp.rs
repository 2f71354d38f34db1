//! RESP: writing commands, finding the end of replies.
//!
//! Replies of both versions are read, whichever was agreed upon. What version 3 adds means nothing more here: a map is
//! an array of its keys and values by turns, as version 2 has it, a set is an array, a double its text. Messages that
//! a server pushes between replies, and attributes, are passed over.

use std::io::Write;
use std::ops::Range;

use crate::divided::divide;

/// Commands as Redis reads them, one behind the other.
///
/// The number of arguments is given first and trusted: the encoders are few, and tests walk what
/// they wrote.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    bytes: Vec<u8>,
    count: usize,
    /// What the bytes begin with and `count` does not count.
    prefix: &'static [u8],
}

impl Commands {
    /// Commands that stand behind a MULTI.
    pub(crate) fn transaction() -> Commands {
        let prefix = b"*1\r\n$5\r\nMULTI\r\n";
        Commands { bytes: prefix.to_vec(), count: 0, prefix }
    }

    /// Everything as it is sent, MULTI included.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Walks over the commands, without MULTI.
    pub(crate) fn walk(&self) -> impl Iterator<Item = Vec<&[u8]>> {
        walk(self.bytes.get(self.prefix.len()..).unwrap_or_default())
    }

    /// Those that begin at byte `len` and behind it.
    pub(crate) fn walk_behind(&self, len: usize) -> impl Iterator<Item = Vec<&[u8]>> {
        walk(self.bytes.get(len..).unwrap_or_default())
    }

    /// Where each command stands in the bytes, and its first argument, which is the key.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let mut at = self.prefix.len();
        std::iter::from_fn(move || {
            let bytes = &self.bytes;
            let mut rest = bytes.get(at..)?;
            let count = header(&mut rest, b'*')?;
            let mut key = at..at;
            for place in 0..count {
                let length = header(&mut rest, b'$')?;
                if place == 1 {
                    let start = bytes.len() - rest.len();
                    key = start..start + length;
                }
                rest = rest.get(length + 2..)?;
            }
            let start = std::mem::replace(&mut at, bytes.len() - rest.len());
            Some((start..at, key))
        })
    }

    /// Appends a command as it stands in other bytes.
    pub(crate) fn copy(&mut self, command: &[u8]) {
        self.bytes.extend_from_slice(command);
        self.count += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Commands that belong to no count: EXEC and what follows it.
    pub(crate) fn trailer(&mut self, encoded: &[u8]) {
        self.bytes.extend_from_slice(encoded);
    }

    /// Number of commands.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(self.prefix);
        self.count = 0;
    }

    /// Begins a command of `arguments` arguments, its name included.
    #[inline]
    pub(crate) fn begin(&mut self, arguments: usize) {
        self.count += 1;
        self.number(b'*', arguments);
    }

    #[inline]
    pub(crate) fn argument(&mut self, argument: &[u8]) {
        self.number(b'$', argument.len());
        self.bytes.extend_from_slice(argument);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// An argument that was encoded before (see [`encoded`]).
    #[inline]
    pub(crate) fn encoded_argument(&mut self, argument: &[u8]) {
        self.bytes.extend_from_slice(argument);
    }

    pub(crate) fn command(&mut self, arguments: &[&[u8]]) {
        self.begin(arguments.len());
        self.command_arguments(arguments);
    }

    /// Arguments of a command that has begun.
    pub(crate) fn command_arguments(&mut self, arguments: &[&[u8]]) {
        for argument in arguments {
            self.argument(argument);
        }
    }

    #[inline]
    fn number(&mut self, kind: u8, number: usize) {
        let digit = |number: usize| b'0' + (number % 10) as u8;
        match number {
            // Most arguments are short. Pieces whose size is known are stored, not copied.
            0..10 => self.bytes.extend_from_slice(&[kind, digit(number), b'\r', b'\n']),
            10..100 => {
                self.bytes.extend_from_slice(&[kind, digit(number / 10), digit(number), b'\r', b'\n']);
            }
            _ => {
                self.bytes.push(kind);
                self.bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
                self.bytes.extend_from_slice(b"\r\n");
            }
        }
    }

    /// How many bytes there are without any command.
    pub(crate) fn empty_len(&self) -> usize {
        self.prefix.len()
    }

    /// Takes out those that `keep` does not keep, of the commands behind the first `count`, which end at
    /// byte `len`.
    pub(crate) fn retain_behind(
        &mut self,
        (len, count): (usize, usize),
        mut keep: impl FnMut(&[&[u8]]) -> bool,
    ) {
        let mut unwanted = Vec::new();
        let mut rest = self.bytes.get(len..).unwrap_or_default();
        let mut start = len;
        while let Some(command) = next(&mut rest) {
            let end = self.bytes.len() - rest.len();
            if !keep(&command) {
                unwanted.push(start..end);
            }
            start = end;
        }
        self.count = self.count.saturating_sub(unwanted.len()).max(count);
        for range in unwanted.into_iter().rev() {
            self.bytes.drain(range);
        }
    }

    /// Moves everything behind the first `count` commands, which end at byte `len`, to the end of
    /// `rest`.
    pub(crate) fn split_off(&mut self, len: usize, count: usize, rest: &mut Commands) {
        divide(&mut self.bytes, len, &mut rest.bytes);
        rest.count += self.count.saturating_sub(count);
        self.count = count;
    }

    /// Moves the commands of `other` to the end of these.
    pub(crate) fn append(&mut self, other: &mut Commands) {
        self.bytes.extend_from_slice(other.bytes.get(other.prefix.len()..).unwrap_or_default());
        self.count += other.count;
        other.clear();
    }

    /// Gives memory back that a few huge rows took.
    pub(crate) fn shrink_to(&mut self, capacity: usize) {
        self.bytes.shrink_to(capacity);
    }
}

/// An argument as it stands in a command, for names that are written again and again.
pub(crate) fn encoded(argument: &[u8]) -> Vec<u8> {
    let mut commands = Commands::default();
    commands.argument(argument);
    commands.bytes
}

/// Walks over encoded commands. Stops at anything unexpected.
fn walk(bytes: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let mut rest = bytes;
    std::iter::from_fn(move || next(&mut rest))
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let count = header(rest, b'*')?;
    (0..count)
        .map(|_| {
            let length = header(rest, b'$')?;
            let (argument, tail) = rest.split_at_checked(length)?;
            *rest = tail.strip_prefix(b"\r\n")?;
            Some(argument)
        })
        .collect()
}

fn header(rest: &mut &[u8], kind: u8) -> Option<usize> {
    let tail = rest.strip_prefix(&[kind])?;
    let end = memchr::memchr(b'\r', tail)?;
    let number = std::str::from_utf8(&tail[..end]).ok()?.parse().ok()?;
    *rest = tail.get(end + 2..)?;
    Some(number)
}

/// A reply, owned: for the few commands whose answer matters beside "no error".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(Vec<u8>),
    Error(String),
    Integer(i64),
    Nil,
    Array(Vec<Reply>),
}

impl Reply {
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Reply::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Reply::Integer(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// What a reply buffer begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element<'a> {
    /// A simple string, an integer or a bulk string.
    Text(&'a [u8]),
    Integer(i64),
    Error(&'a [u8]),
    Nil,
    /// Its elements follow.
    Array(usize),
}

/// Why there is no element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// More must be received; this many bytes in all, as far as is known.
    Incomplete(usize),
    Nonsense,
}

/// Redis' own limit for a bulk string by default (`proto-max-bulk-len`).
const LONGEST: usize = 512 << 20;

/// The first element of `bytes` and its length, with what is passed over before it.
#[inline]
pub(crate) fn element(bytes: &[u8]) -> Result<(Element<'_>, usize), Unread> {
    match bytes.first() {
        Some(b'>' | b'|') => behind_what_was_not_asked_for(bytes),
        _ => whole_element(bytes),
    }
}

/// What a push or an attribute may consist of: nobody has asked for any.
const MOST_PUSHED: usize = 1024;

#[cold]
fn behind_what_was_not_asked_for(bytes: &[u8]) -> Result<(Element<'_>, usize), Unread> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let beyond = |e: Unread| match e {
            Unread::Incomplete(wanted) => Unread::Incomplete(at + wanted),
            Unread::Nonsense => Unread::Nonsense,
        };
        if !matches!(rest.first(), Some(b'>' | b'|')) {
            return whole_element(rest).map(|(found, length)| (found, at + length)).map_err(beyond);
        }
        let (Element::Array(mut left), mut length) = whole_element(rest).map_err(beyond)? else {
            return Err(Unread::Nonsense);
        };
        while left > 0 {
            if left > MOST_PUSHED {
                return Err(Unread::Nonsense);
            }
            let within = |e: Unread| match e {
                Unread::Incomplete(wanted) => Unread::Incomplete(at + length + wanted),
                Unread::Nonsense => Unread::Nonsense,
            };
            let (found, taken) = whole_element(rest.get(length..).unwrap_or_default()).map_err(within)?;
            length += taken;
            left -= 1;
            if let Element::Array(more) = found {
                left = left.saturating_add(more);
            }
        }
        at += length;
    }
}

#[inline]
fn whole_element(bytes: &[u8]) -> Result<(Element<'_>, usize), Unread> {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        // No header line is longer; an error reply quotes arguments at some length.
        return Err(if bytes.len() > 64 * 1024 {
            Unread::Nonsense
        } else {
            Unread::Incomplete(bytes.len() + 1)
        });
    };
    let total = end + 1;
    let (Some(kind), Some(line)) = (bytes.first(), bytes.get(1..end.saturating_sub(1))) else {
        return Err(Unread::Nonsense);
    };
    let number = || std::str::from_utf8(line).ok()?.parse::<i64>().ok();
    match kind {
        b'+' => Ok((Element::Text(line), total)),
        b'-' => Ok((Element::Error(line), total)),
        b':' => number().map(|n| (Element::Integer(n), total)).ok_or(Unread::Nonsense),
        b'$' => match number() {
            Some(-1) => Ok((Element::Nil, total)),
            length => bulk(bytes, total, length).map(|(text, length)| (Element::Text(text), length)),
        },
        b'*' => match number() {
            Some(-1) => Ok((Element::Nil, total)),
            Some(count @ 0..) => Ok((Element::Array(count as usize), total)),
            _ => Err(Unread::Nonsense),
        },
        _ => element_of_version_3(*kind, line, (bytes, total)),
    }
}

/// What stands behind a header that ends at `total`, and where it ends.
#[inline]
fn bulk(bytes: &[u8], total: usize, length: Option<i64>) -> Result<(&[u8], usize), Unread> {
    match length {
        Some(length @ 0..) if length as usize <= LONGEST => {
            let length = length as usize;
            match bytes.get(total..total + length) {
                Some(text) if bytes.len() >= total + length + 2 => Ok((text, total + length + 2)),
                _ => Err(Unread::Incomplete(total + length + 2)),
            }
        }
        _ => Err(Unread::Nonsense),
    }
}

/// An element that version 2 does not have, whose header is the line.
#[cold]
fn element_of_version_3<'a>(
    kind: u8,
    line: &'a [u8],
    (bytes, total): (&'a [u8], usize),
) -> Result<(Element<'a>, usize), Unread> {
    let number = std::str::from_utf8(line).ok().and_then(|text| text.parse::<i64>().ok());
    let count = number.and_then(|number| usize::try_from(number).ok());
    let array =
        |count: Option<usize>| count.map(|count| (Element::Array(count), total)).ok_or(Unread::Nonsense);
    match (kind, line) {
        (b'_', b"") => Ok((Element::Nil, total)),
        (b'#', b"t") => Ok((Element::Integer(1), total)),
        (b'#', b"f") => Ok((Element::Integer(0), total)),
        // A double, and an integer of any size.
        (b',' | b'(', text) if !text.is_empty() => Ok((Element::Text(text), total)),
        (b'!', _) => bulk(bytes, total, number).map(|(text, length)| (Element::Error(text), length)),
        (b'=', _) => {
            let (text, length) = bulk(bytes, total, number)?;
            // `txt:` or `mkd:` stands before the text.
            text.get(4..).map(|text| (Element::Text(text), length)).ok_or(Unread::Nonsense)
        }
        (b'~' | b'>', _) => array(count),
        (b'%' | b'|', _) => array(count.and_then(|count| count.checked_mul(2))),
        _ => Err(Unread::Nonsense),
    }
}

/// How deep replies nest: EXEC around SCAN around keys is three.
const DEEPEST: usize = 8;

/// The first whole reply of `bytes` and its length.
pub(crate) fn reply(bytes: &[u8]) -> Result<(Reply, usize), Unread> {
    nested(bytes, DEEPEST)
}

fn nested(bytes: &[u8], depth: usize) -> Result<(Reply, usize), Unread> {
    let (found, mut length) = element(bytes)?;
    let reply = match found {
        Element::Text(text) => Reply::Text(text.to_vec()),
        Element::Integer(number) => Reply::Integer(number),
        Element::Error(text) => Reply::Error(String::from_utf8_lossy(text).into_owned()),
        Element::Nil => Reply::Nil,
        Element::Array(_) if depth == 0 => return Err(Unread::Nonsense),
        Element::Array(count) => {
            let mut elements = Vec::new();
            for _ in 0..count {
                let (found, taken) =
                    nested(bytes.get(length..).unwrap_or_default(), depth - 1).map_err(|e| match e {
                        Unread::Incomplete(wanted) => Unread::Incomplete(length + wanted),
                        Unread::Nonsense => Unread::Nonsense,
                    })?;
                elements.push(found);
                length += taken;
            }
            Reply::Array(elements)
        }
    };
    Ok((reply, length))
}

/// A readable form of a command: its name and its first argument, which is the key.
pub(crate) fn describe(arguments: &[&[u8]]) -> String {
    let mut text = Vec::new();
    for (i, argument) in arguments.iter().take(2).enumerate() {
        if i > 0 {
            text.push(b' ');
        }
        let shown = argument.get(..200).unwrap_or(argument);
        let _ = text.write_all(shown);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_command_is_written_and_walked() {
        let mut commands = Commands::default();
        commands.command(&[b"HSET", b"k", b"f", b""]);
        commands.begin(2);
        commands.argument(b"UNLINK");
        commands.encoded_argument(&encoded(b"k"));
        assert_eq!(
            commands.bytes(),
            b"*4\r\n$4\r\nHSET\r\n$1\r\nk\r\n$1\r\nf\r\n$0\r\n\r\n*2\r\n$6\r\nUNLINK\r\n$1\r\nk\r\n"
        );
        let walked: Vec<_> = commands.walk().collect();
        assert_eq!(walked, [vec![&b"HSET"[..], b"k", b"f", b""], vec![b"UNLINK", b"k"]]);
        assert_eq!(describe(&walked[1]), "UNLINK k");
        let spans: Vec<_> = commands.spans().collect();
        assert_eq!(spans, [(0..34, 18..19), (34..57, 54..55)]);
    }

    #[test]
    fn commands_are_taken_out() {
        let mut commands = Commands::transaction();
        commands.command(&[b"SET", b"a", b"long"]);
        let (len, count) = (commands.len(), commands.count());
        for value in [&b"long"[..], b"x", b"longer", b""] {
            commands.command(&[b"SET", b"b", value]);
        }
        commands.retain_behind((len, count), |command| command[2].len() < 2);
        let values: Vec<Vec<u8>> = commands.walk().map(|command| command[2].to_vec()).collect();
        assert_eq!(values, [&b"long"[..], b"x", b""]);
        assert_eq!(commands.count(), 3);
    }

    #[test]
    fn replies() {
        let bytes = b"*3\r\n:1\r\n$2\r\nab\r\n*-1\r\n+OK\r\n";
        let (found, length) = reply(bytes).unwrap();
        assert_eq!(found, Reply::Array(vec![Reply::Integer(1), Reply::Text(b"ab".to_vec()), Reply::Nil]));
        assert_eq!(reply(&bytes[length..]).unwrap().0, Reply::Text(b"OK".to_vec()));
        assert_eq!(reply(b"$5\r\nab"), Err(Unread::Incomplete(11)));
        assert_eq!(reply(b"HTTP/1.1 400 Bad Request\r\n"), Err(Unread::Nonsense));
        assert_eq!(reply(b"$99999999999\r\n"), Err(Unread::Nonsense));
    }

    #[test]
    fn replies_of_version_3() {
        let text = |text: &str| Reply::Text(text.as_bytes().to_vec());
        for (bytes, expected) in [
            (
                "%2\r\n$1\r\na\r\n:1\r\n+b\r\n_\r\n",
                Reply::Array(vec![text("a"), Reply::Integer(1), text("b"), Reply::Nil]),
            ),
            ("~2\r\n+a\r\n#t\r\n", Reply::Array(vec![text("a"), Reply::Integer(1)])),
            (",1.5\r\n", text("1.5")),
            (",-inf\r\n", text("-inf")),
            ("(12345678901234567890\r\n", text("12345678901234567890")),
            ("=7\r\ntxt:abc\r\n", text("abc")),
            ("!5\r\nERR x\r\n", Reply::Error("ERR x".to_owned())),
            ("#f\r\n", Reply::Integer(0)),
            (">2\r\n+invalidate\r\n*1\r\n+k\r\n:7\r\n", Reply::Integer(7)),
            (">0\r\n|1\r\n+ttl\r\n:3\r\n>1\r\n%1\r\n+a\r\n+b\r\n+OK\r\n", text("OK")),
            ("*2\r\n|1\r\n+ttl\r\n:3\r\n+a\r\n+b\r\n", Reply::Array(vec![text("a"), text("b")])),
        ] {
            assert_eq!(reply(bytes.as_bytes()), Ok((expected, bytes.len())), "{bytes}");
            for end in 0..bytes.len() {
                let wanted = reply(&bytes.as_bytes()[..end]);
                assert!(
                    matches!(wanted, Err(Unread::Incomplete(wanted)) if wanted > end),
                    "{bytes} {end} {wanted:?}"
                );
            }
        }
        for bytes in ["#x\r\n", "_x\r\n", ",\r\n", "=3\r\ntxt\r\n", "%-1\r\n", ">9999\r\n", "$?\r\n"] {
            assert_eq!(reply(bytes.as_bytes()), Err(Unread::Nonsense), "{bytes}");
        }
    }

    #[test]
    fn lengths_of_any_number_of_digits() {
        for length in [0, 1, 9, 10, 11, 19, 90, 99, 100, 101, 999, 1000, 10_000] {
            let argument = vec![b'x'; length];
            assert_eq!(encoded(&argument), format!("${length}\r\n{}\r\n", "x".repeat(length)).into_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok((_, length)) = reply(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }

        #[test]
        fn nested_arrays_end(depth in 0_usize..1000) {
            let bytes = b"*1\r\n".repeat(depth);
            prop_assert!(reply(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_walked(bytes: Vec<u8>) {
            walk(&bytes).count();
        }

        #[test]
        fn what_is_written_is_walked(commands in prop::collection::vec(prop::collection::vec(any::<Vec<u8>>(), 1..5), 0..5)) {
            let mut written = Commands::default();
            for command in &commands {
                let arguments: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
                written.command(&arguments);
            }
            prop_assert_eq!(written.count(), commands.len());
            let walked: Vec<Vec<Vec<u8>>> =
                walk(written.bytes()).map(|c| c.into_iter().map(<[u8]>::to_vec).collect()).collect();
            prop_assert_eq!(walked, commands);
        }
    }
}
