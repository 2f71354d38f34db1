//! Message framing: one byte of type, four of length, the body.

use std::ops::Range;

/// A whole message in the receive buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    /// Where the body lies in the unread bytes.
    pub(crate) body: Range<usize>,
}

/// Bytes before the body.
const HEADER: usize = 5;

/// PostgreSQL builds messages in a StringInfo of at most 1 GiB.
const LONGEST: usize = 1 << 30;

/// What the unread bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Whole(Frame),
    /// The message needs this many bytes in all, as far as is known.
    Incomplete(usize),
    /// Not a message of this protocol.
    Nonsense,
}

#[inline]
pub(crate) fn frame(unread: &[u8]) -> Framing {
    let Some(&[kind, a, b, c, d]) = unread.first_chunk::<HEADER>() else {
        return Framing::Incomplete(HEADER);
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if !(4..=LONGEST).contains(&length) || !kind.is_ascii_alphanumeric() {
        return Framing::Nonsense;
    }
    let total = length + 1;
    if unread.len() < total {
        Framing::Incomplete(total)
    } else {
        Framing::Whole(Frame { kind, body: HEADER..total })
    }
}

/// Reads big-endian fields off the front of a message; `None` where it ends too early.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    whole: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(whole: &'a [u8]) -> Fields<'a> {
        Fields { whole, at: 0 }
    }

    /// Offset of the next field in the message.
    #[inline]
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    #[inline]
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let bytes = self.whole.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let found = *self.whole.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(found)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A string that ends with a zero byte.
    pub(crate) fn string(&mut self) -> Option<&'a str> {
        let rest = self.whole.get(self.at..)?;
        let end = memchr::memchr(0, rest)?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames() {
        assert_eq!(frame(b"Z\0\0\0\x05I"), Framing::Whole(Frame { kind: b'Z', body: 5..6 }));
        assert_eq!(frame(b"Z\0\0\0"), Framing::Incomplete(5));
        assert_eq!(frame(b"D\0\0\0\x0aab"), Framing::Incomplete(11));
        assert_eq!(frame(b"D\0\0\0\x03"), Framing::Nonsense);
        assert_eq!(frame(b"D\xff\0\0\x03"), Framing::Nonsense);
    }

    proptest! {
        #[test]
        fn any_bytes_are_framed_or_refused(bytes: Vec<u8>) {
            if let Framing::Whole(found) = frame(&bytes) {
                prop_assert!(bytes.get(found.body).is_some());
            }
        }
    }
}
