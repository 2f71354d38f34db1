//! Values of every kind, with every option.

use serde::de::IgnoredAny;

use super::bounded;
use crate::plan::value::{Binary, Converter, Decimals, Kind, Nulls, Timestamps, ValueOptions};

const SCALARS: [Kind; 15] = [
    Kind::Boolean,
    Kind::Integer,
    Kind::Numeric,
    Kind::Float,
    Kind::Date,
    Kind::Time,
    Kind::TimeTz,
    Kind::Timestamp,
    Kind::TimestampTz,
    Kind::Interval,
    Kind::Bytea,
    Kind::Hstore,
    Kind::Vector,
    Kind::Text,
    // Last: its text is not looked at, so that it need not be JSON.
    Kind::Json,
];

/// A control character is six bytes as JSON; a short date has up to four times as many digits as a
/// number of microseconds.
const CONVERTED: usize = 16;

pub(super) fn values(data: &[u8]) {
    let Some((&[kind, options], input)) = data.split_first_chunk() else { return };
    let (scalar, dimensions) = (usize::from(kind) % SCALARS.len(), usize::from(kind) / SCALARS.len() % 3);
    let mut kind = SCALARS[scalar].clone();
    for _ in 0..dimensions {
        let delimiter = if options & 0x80 == 0 { b',' } else { b';' };
        kind = Kind::Array { element: Box::new(kind), delimiter };
    }
    let is_checked = SCALARS[scalar] != Kind::Json;
    let converter = Converter::new(kind, options_of(options));

    let mut scratch = b"of the value before".to_vec();
    let text = converter.text(input, &mut scratch).to_vec();
    assert!(text == input || !converter.is_verbatim(), "a verbatim kind was changed");
    assert_eq!(converter.text(input, &mut scratch), text, "the value before makes a difference");
    bounded("the text of a value", text.len() + scratch.capacity(), 2 * CONVERTED, input.len());

    let mut json = Vec::new();
    converter.json(input, &mut json);
    bounded("the JSON of a value", json.capacity(), 2 * CONVERTED, input.len());
    if is_checked {
        let read = serde_json::from_slice::<IgnoredAny>(&json);
        assert!(read.is_ok(), "not JSON: {}", json.escape_ascii());
    }
}

fn options_of(bits: u8) -> ValueOptions {
    ValueOptions {
        timestamps: match bits & 3 {
            0 => Timestamps::Iso,
            1 => Timestamps::EpochMs,
            2 => Timestamps::EpochUs,
            _ => Timestamps::EpochSeconds,
        },
        binary: match bits >> 2 & 3 {
            0 | 3 => Binary::Base64,
            1 => Binary::Hex,
            _ => Binary::Raw,
        },
        decimals: if bits & 0x10 == 0 { Decimals::String } else { Decimals::Number },
        nulls: if bits & 0x20 == 0 { Nulls::Omit } else { Nulls::Empty },
    }
}
