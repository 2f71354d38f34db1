//! bytea, from PostgreSQL's hex format to base64, hex or the bytes themselves.
//!
//! The hex format is `\x` and two lower-case digits a byte.
//! <https://www.postgresql.org/docs/current/datatype-binary.html>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes decoded at a time, on the stack; a multiple of three, so that only the last block is padded.
const BLOCK: usize = 192;

/// The hex digits without PostgreSQL's prefix.
pub(super) fn hex(input: &[u8]) -> Option<&[u8]> {
    input.strip_prefix(b"\\x")
}

/// Appends the value in base64. None, with a part appended, when the text is not hex.
pub(super) fn base64(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    decode(input, |bytes| {
        let mut encoded = [0; BLOCK / 3 * 4];
        let length = STANDARD.encode_slice(bytes, &mut encoded).ok()?;
        out.extend_from_slice(encoded.get(..length)?);
        Some(())
    })
}

/// Appends the bytes. None, with a part appended, when the text is not hex.
pub(super) fn raw(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    decode(input, |bytes| {
        out.extend_from_slice(bytes);
        Some(())
    })
}

fn decode(input: &[u8], mut each: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
    let (pairs, []) = hex(input)?.as_chunks::<2>() else {
        return None;
    };
    for block in pairs.chunks(BLOCK) {
        let mut bytes = [0; BLOCK];
        let mut seen = 0;
        for (byte, [high, low]) in bytes.iter_mut().zip(block) {
            let (high, low) = (DIGIT[usize::from(*high)], DIGIT[usize::from(*low)]);
            *byte = high << 4 | low;
            seen |= high | low;
        }
        if seen == NO_DIGIT {
            return None;
        }
        each(bytes.get(..block.len())?)?;
    }
    Some(())
}

/// Has bits no digit has, so that one look at all digits of a block or-ed together tells.
const NO_DIGIT: u8 = 0xff;

/// The value of every byte as a hex digit.
static DIGIT: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut digit: u8 = 0;
    while digit < 16 {
        let letter = if digit < 10 { b'0' + digit } else { b'a' - 10 + digit };
        table[letter as usize] = digit;
        table[letter.to_ascii_uppercase() as usize] = digit;
        digit += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::super::{Binary, Kind, ValueOptions, check};
    use super::*;
    use proptest::prelude::*;

    const RAW: ValueOptions = ValueOptions {
        binary: Binary::Raw,
        timestamps: super::super::Timestamps::Iso,
        decimals: super::super::Decimals::String,
        nulls: super::super::Nulls::Omit,
    };

    #[test]
    fn base64_by_default() {
        check::table(
            &Kind::Bytea,
            ValueOptions::default(),
            &[
                [r"\x", "", r#""""#],
                [r"\xdeadbeef", "3q2+7w==", r#""3q2+7w==""#],
                [r"\xDEADBEEF", "3q2+7w==", r#""3q2+7w==""#],
                [r"\xdea", r"\xdea", r#""\\xdea""#],
                [r"\xzz", r"\xzz", r#""\\xzz""#],
                [r"a\000", r"a\000", r#""a\\000""#],
            ],
        );
    }

    #[test]
    fn hex_drops_the_prefix() {
        check::table(
            &Kind::Bytea,
            ValueOptions { binary: Binary::Hex, ..RAW },
            &[[r"\x", "", r#""""#], [r"\xdeadbeef", "deadbeef", r#""deadbeef""#]],
        );
    }

    #[test]
    fn raw_is_base64_in_json() {
        assert_eq!(check::text(&Kind::Bytea, RAW, br"\x00ff"), [0, 255]);
        assert_eq!(check::json(&Kind::Bytea, RAW, br"\x00ff"), br#""AP8=""#);
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..1000)) {
            let input = bytes.iter().fold(r"\x".to_owned(), |text, byte| format!("{text}{byte:02x}"));
            let (mut encoded, mut same) = (Vec::new(), Vec::new());
            base64(input.as_bytes(), &mut encoded).unwrap();
            raw(input.as_bytes(), &mut same).unwrap();
            prop_assert_eq!(encoded, STANDARD.encode(&bytes).into_bytes());
            prop_assert_eq!(same, bytes);
        }
    }
}
