//! Text as a JSON string.
//!
//! <https://www.rfc-editor.org/rfc/rfc8259#section-7>: quotation mark, reverse solidus and the
//! control characters below U+0020 are escaped, everything else may stand as it is.

/// Appends `text` as a JSON string, quoted and escaped. PostgreSQL sends UTF-8; bytes that are not
/// become U+FFFD, so that the result is well formed whatever comes in.
pub(crate) fn json_string(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    escape(text, out);
    out.push(b'"');
}

/// Appends a part of a string, escaped but not quoted. A text may be cut into parts wherever a
/// character begins.
pub(super) fn escape(text: &[u8], out: &mut Vec<u8>) {
    // By far the most texts: nothing to escape, and nothing that could be wrong UTF-8.
    if is_plain(text) {
        out.extend_from_slice(text);
        return;
    }
    match std::str::from_utf8(text) {
        Ok(_) => escape_utf8(text, out),
        Err(_) => {
            for chunk in text.utf8_chunks() {
                escape_utf8(chunk.valid().as_bytes(), out);
                if !chunk.invalid().is_empty() {
                    out.extend_from_slice("\u{fffd}".as_bytes());
                }
            }
        }
    }
}

/// ASCII of which nothing must be escaped.
fn is_plain(text: &[u8]) -> bool {
    let plain = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        word & HIGH == 0 && special_in(word).is_none()
    };
    let (words, tail) = text.as_chunks::<8>();
    match text.last_chunk() {
        // The last word overlaps the one before it, so that no byte is looked at alone.
        Some(last) => words.iter().all(plain) && plain(last),
        None => tail.iter().all(|&byte| byte.is_ascii() && !is_special(byte)),
    }
}

fn escape_utf8(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some((plain, special, rest)) = split_special(text) {
        out.extend_from_slice(plain);
        match special {
            b'"' => out.extend_from_slice(br#"\""#),
            b'\\' => out.extend_from_slice(br"\\"),
            b'\n' => out.extend_from_slice(br"\n"),
            b'\r' => out.extend_from_slice(br"\r"),
            b'\t' => out.extend_from_slice(br"\t"),
            0x08 => out.extend_from_slice(br"\b"),
            0x0c => out.extend_from_slice(br"\f"),
            control => {
                let low = control & 0x0f;
                let digit = if low < 10 { b'0' + low } else { b'a' - 10 + low };
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (control >> 4), digit]);
            }
        }
        text = rest;
    }
    out.extend_from_slice(text);
}

/// Cuts `text` around the first byte that must be escaped.
fn split_special(text: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let (words, tail) = text.as_chunks::<8>();
    let at = words
        .iter()
        .enumerate()
        .find_map(|(index, word)| special_in(u64::from_le_bytes(*word)).map(|within| index * 8 + within))
        .or_else(|| tail.iter().position(|&byte| is_special(byte)).map(|within| words.len() * 8 + within))?;
    let (plain, rest) = text.split_at_checked(at)?;
    let (&special, rest) = rest.split_first()?;
    Some((plain, special, rest))
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

/// The index of the first byte to escape among the eight of `word`: the well-known test for a zero
/// byte, on all eight at once. Subtracting can carry into the bytes after a hit, never before it.
fn special_in(word: u64) -> Option<usize> {
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGH;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let hits = below(word, 0x20) | equal(b'"') | equal(b'\\');
    (hits != 0).then(|| hits.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn string(text: &[u8]) -> String {
        let mut out = Vec::new();
        json_string(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes() {
        assert_eq!(string(b""), r#""""#);
        assert_eq!(string(b"a\"b\\c"), r#""a\"b\\c""#);
        assert_eq!(string(b"\n\r\t\x08\x0c"), r#""\n\r\t\b\f""#);
        assert_eq!(string(b"\0\x1f\x0b\x7f"), "\"\\u0000\\u001f\\u000b\x7f\"");
        assert_eq!(string("é😀\u{2028}".as_bytes()), "\"é😀\u{2028}\"");
        assert_eq!(string(b"12345678\"12345678\""), r#""12345678\"12345678\"""#);
    }

    #[test]
    fn every_byte_at_every_place_of_a_word() {
        for byte in 0..128u8 {
            for place in 0..17 {
                let mut text = [0xc3, 0xa9].repeat(9);
                text.splice(place & !1..place & !1, [byte]);
                let back: String = serde_json::from_str(&string(&text)).unwrap();
                assert_eq!(back.as_bytes(), text);
            }
        }
    }

    #[test]
    fn every_byte_at_every_place_of_plain_text() {
        for byte in 0..=255u8 {
            for (length, place) in (1..20).flat_map(|length| (0..length).map(move |place| (length, place))) {
                let mut text = vec![b'x'; length];
                text[place] = byte;
                let back: String = serde_json::from_str(&string(&text)).unwrap();
                assert_eq!(back, String::from_utf8_lossy(&text));
            }
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        assert_eq!(string(b"a\xff\"b"), "\"a\u{fffd}\\\"b\"");
        assert_eq!(string(b"\xe2\x82"), "\"\u{fffd}\"");
    }

    proptest! {
        #[test]
        fn text_comes_back(text in "(?s).*") {
            let back: String = serde_json::from_str(&string(text.as_bytes())).unwrap();
            prop_assert_eq!(back, text);
        }

        #[test]
        fn bytes_come_back_lossily(bytes: Vec<u8>) {
            let back: String = serde_json::from_str(&string(&bytes)).unwrap();
            prop_assert_eq!(back, String::from_utf8_lossy(&bytes));
        }
    }
}
