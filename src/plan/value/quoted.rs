//! Text between double quotes in which a backslash escapes the next character, as array and hstore
//! output have it.

use super::string::escape;

/// The inside of a quoted text, still escaped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quoted<'a> {
    inside: &'a [u8],
    escapes: bool,
}

impl<'a> Quoted<'a> {
    /// Reads up to the closing quote; `rest` begins after the opening one. Returns what follows.
    pub(super) fn read(rest: &'a [u8]) -> Option<(Quoted<'a>, &'a [u8])> {
        let mut end = 0;
        let mut escapes = false;
        loop {
            end += memchr::memchr2(b'"', b'\\', rest.get(end..)?)?;
            let (inside, after) = rest.split_at_checked(end)?;
            if let [b'"', after @ ..] = after {
                return Some((Quoted { inside, escapes }, after));
            }
            escapes = true;
            end += 2;
        }
    }

    /// The text, if it lies in the input in one piece. That is so without escapes, and when the
    /// first character is the only one escaped, as in every array element of `bytea`: `\\xdead`.
    pub(super) fn in_one_piece(self) -> Option<&'a [u8]> {
        if !self.escapes {
            return Some(self.inside);
        }
        let text = self.inside.strip_prefix(b"\\")?;
        memchr::memchr(b'\\', text.get(1..)?).is_none().then_some(text)
    }

    /// Appends the text.
    pub(super) fn copy(self, out: &mut Vec<u8>) {
        self.pieces(|piece| out.extend_from_slice(piece));
    }

    /// Appends the text as a JSON string.
    pub(super) fn json(self, out: &mut Vec<u8>) {
        out.push(b'"');
        self.pieces(|piece| escape(piece, out));
        out.push(b'"');
    }

    /// The stretches between the escaping backslashes. Each begins with a character, so that they
    /// can be escaped one by one.
    fn pieces(self, mut each: impl FnMut(&[u8])) {
        let mut rest = self.inside;
        // The character after a backslash stands for itself, even if it is a backslash.
        let mut literal = 0;
        while let Some(found) = rest.get(literal..).and_then(|text| memchr::memchr(b'\\', text)) {
            let Some((piece, after)) = rest.split_at_checked(literal + found) else {
                break;
            };
            each(piece);
            rest = after.get(1..).unwrap_or_default();
            literal = 1;
        }
        each(rest);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn reads_to_the_closing_quote() {
        for (input, text, after, in_one_piece) in [
            (r#"","#, "", ",", true),
            (r#"a b"}"#, "a b", "}", true),
            (r#"\\xdead",1"#, r"\xdead", ",1", true),
            (r#"\"""#, "\"", "", true),
            (r#"\\\\""#, r"\\", "", false),
            (r#"a\\b""#, r"a\b", "", false),
            (r#"\é\"\\ü""#, "é\"\\ü", "", false),
        ] {
            let (quoted, rest) = Quoted::read(input.as_bytes()).unwrap();
            assert_eq!(rest, after.as_bytes());
            let mut copy = Vec::new();
            quoted.copy(&mut copy);
            assert_eq!(copy, text.as_bytes());
            let expected = in_one_piece.then_some(text.as_bytes());
            assert_eq!(quoted.in_one_piece(), expected, "{input}");
            let mut json = Vec::new();
            quoted.json(&mut json);
            assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn an_open_end_is_refused() {
        for input in ["", "a", r"\", r#"\""#, r#"a\"b"#] {
            assert!(Quoted::read(input.as_bytes()).is_none(), "{input}");
        }
    }
}
