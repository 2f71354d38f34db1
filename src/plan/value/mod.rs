//! One value, from PostgreSQL's spelling to ours.
//!
//! ```text
//!                           ┌── text ──> hash field, set member, stream field, key part
//!  text of one value ──> Converter
//!  (COPY or pgoutput)       └── json ──> member of a JSON document or array
//! ```
//!
//! What comes in is the output of the type's output function, as both COPY and pgoutput send it,
//! under `DateStyle=ISO,YMD`, `IntervalStyle=iso_8601`, `TimeZone=UTC`, `extra_float_digits=1`,
//! `bytea_output=hex` and UTF-8. NULL never comes here. What goes out is the table "Values" of the
//! design, and since both paths share the output function, a value has one spelling.
//!
//! The invariant: conversion cannot fail. Text which is not what PostgreSQL writes for its type
//! goes out as it came in, in JSON as a string. What [`Converter::json`] appends is one well-formed
//! JSON value for any input of any kind, with one exception: `json` and `jsonb` are copied without
//! a look, because PostgreSQL has checked them and a second check would cost more than the rest of
//! the row.
//!
//! This runs for every column of every row. Kinds whose text is taken over untouched cost nothing
//! ([`Converter::is_verbatim`]); the others write into a buffer of the caller's, and nothing is
//! allocated, save one buffer for an array of hstore, or of domains over arrays, with escapes in it.
//!
//! Spellings: <https://www.postgresql.org/docs/current/datatype.html>, the chapters of each type.

mod array;
mod bytea;
mod calendar;
mod hstore;
mod kind;
mod number;
pub(crate) mod options;
#[cfg(test)]
mod properties;
mod quoted;
mod string;
mod time;

pub(crate) use kind::Kind;
pub(crate) use options::{Binary, Decimals, Nulls, Timestamps, ValueOptions};
pub(crate) use string::json_string;

/// The conversion of one column: its kind and how its output wants it spelled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Converter {
    kind: Kind,
    options: ValueOptions,
}

impl Converter {
    pub(crate) fn new(kind: Kind, options: ValueOptions) -> Converter {
        Converter { kind, options }
    }

    /// For a score: dates and times as seconds since the epoch, unless another unit was asked for.
    pub(crate) fn score(kind: Kind, options: ValueOptions) -> Converter {
        let timestamps = match options.timestamps {
            Timestamps::Iso => Timestamps::EpochSeconds,
            asked => asked,
        };
        Converter::new(kind, ValueOptions { timestamps, ..options })
    }

    /// Whether [`Converter::text`] returns its input untouched, whatever the input, so that the
    /// caller can skip the call.
    pub(crate) fn is_verbatim(&self) -> bool {
        match self.kind {
            Kind::Integer
            | Kind::Numeric
            | Kind::Float
            | Kind::Time
            | Kind::Interval
            | Kind::Json
            | Kind::Vector
            | Kind::Text => true,
            Kind::Boolean
            | Kind::Date
            | Kind::TimeTz
            | Kind::Timestamp
            | Kind::TimestampTz
            | Kind::Bytea
            | Kind::Hstore
            | Kind::Array { .. } => false,
        }
    }

    /// What a hash field, set member or stream field holds. Borrows the input where nothing
    /// changes, otherwise writes into `scratch`, whose old content is dropped.
    pub(crate) fn text<'a>(&self, input: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let timestamps = self.options.timestamps;
        match &self.kind {
            Kind::Integer
            | Kind::Numeric
            | Kind::Float
            | Kind::Time
            | Kind::Interval
            | Kind::Json
            | Kind::Vector
            | Kind::Text => input,
            Kind::Boolean => boolean(input).unwrap_or(input),
            // Ten bytes are a date of the years 1 to 9999, which already is ISO 8601.
            Kind::Date if timestamps == Timestamps::Iso && input.len() == 10 => input,
            Kind::Date => or_input(input, scratch, |out| time::date(timestamps, input, out)),
            Kind::TimeTz => or_input(input, scratch, |out| time::timetz(input, out)),
            Kind::Timestamp => or_input(input, scratch, |out| time::timestamp(timestamps, input, out)),
            Kind::TimestampTz => or_input(input, scratch, |out| time::timestamptz(timestamps, input, out)),
            Kind::Bytea => match self.options.binary {
                Binary::Base64 => or_input(input, scratch, |out| bytea::base64(input, out)),
                Binary::Hex => bytea::hex(input).unwrap_or(input),
                Binary::Raw => or_input(input, scratch, |out| bytea::raw(input, out)),
            },
            Kind::Hstore => or_input(input, scratch, |out| hstore::json(input, out)),
            Kind::Array { element, delimiter } => {
                or_input(input, scratch, |out| array::json(element, *delimiter, self.options, input, out))
            }
        }
    }

    /// Appends the value as JSON.
    pub(crate) fn json(&self, input: &[u8], out: &mut Vec<u8>) {
        json(&self.kind, self.options, input, out);
    }
}

/// Appends a value of `kind` as JSON. Recursion follows the kind, not the input: an array's
/// elements are of a smaller kind than the array.
fn json(kind: &Kind, options: ValueOptions, input: &[u8], out: &mut Vec<u8>) {
    let timestamps = options.timestamps;
    match kind {
        Kind::Boolean => match boolean(input) {
            Some(word) => out.extend_from_slice(word),
            None => json_string(input, out),
        },
        Kind::Integer | Kind::Float => number::json(input, out),
        Kind::Numeric => match options.decimals {
            Decimals::String => json_string(input, out),
            Decimals::Number => number::json(input, out),
        },
        Kind::Text | Kind::Time | Kind::Interval => json_string(input, out),
        Kind::Date => stamp(timestamps, input, out, time::date),
        Kind::Timestamp => stamp(timestamps, input, out, time::timestamp),
        Kind::TimestampTz => stamp(timestamps, input, out, time::timestamptz),
        Kind::TimeTz => or_string(input, out, |out| {
            out.push(b'"');
            time::timetz(input, out)?;
            out.push(b'"');
            Some(())
        }),
        Kind::Bytea => match options.binary {
            Binary::Hex => json_string(bytea::hex(input).unwrap_or(input), out),
            Binary::Base64 | Binary::Raw => or_string(input, out, |out| {
                out.push(b'"');
                bytea::base64(input, out)?;
                out.push(b'"');
                Some(())
            }),
        },
        // An empty text is the one thing that is no JSON at a glance.
        Kind::Json if input.is_empty() => json_string(input, out),
        Kind::Json => out.extend_from_slice(input),
        Kind::Vector if number::is_vector(input) => out.extend_from_slice(input),
        Kind::Vector => json_string(input, out),
        Kind::Hstore => or_string(input, out, |out| hstore::json(input, out)),
        Kind::Array { element, delimiter } => {
            or_string(input, out, |out| array::json(element, *delimiter, options, input, out))
        }
    }
}

/// `boolout` writes `t` and `f`; only the cast to text writes the words.
fn boolean(input: &[u8]) -> Option<&'static [u8]> {
    match input {
        b"t" => Some(b"true"),
        b"f" => Some(b"false"),
        _ => None,
    }
}

/// A date or timestamp: a string in ISO form, a number in epoch form.
fn stamp(
    timestamps: Timestamps,
    input: &[u8],
    out: &mut Vec<u8>,
    write: fn(Timestamps, &[u8], &mut Vec<u8>) -> Option<()>,
) {
    or_string(input, out, |out| {
        if timestamps != Timestamps::Iso {
            return write(timestamps, input, out);
        }
        out.push(b'"');
        write(timestamps, input, out)?;
        out.push(b'"');
        Some(())
    });
}

/// What `write` put into `scratch`, or the input if it is not of the expected form.
fn or_input<'a>(
    input: &'a [u8],
    scratch: &'a mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) -> &'a [u8] {
    scratch.clear();
    match write(scratch) {
        Some(()) => scratch,
        None => input,
    }
}

/// Appends what `write` appends, or the input as a string if it is not of the expected form.
fn or_string(input: &[u8], out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) {
    let start = out.len();
    if write(out).is_none() {
        out.truncate(start);
        json_string(input, out);
    }
}

#[cfg(test)]
mod check {
    //! The table-driven tests of this directory: what goes in, the text and the JSON that come out.
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    pub(super) fn text(kind: &Kind, options: ValueOptions, input: &[u8]) -> Vec<u8> {
        let mut scratch = b"left over from the last value".to_vec();
        Converter::new(kind.clone(), options).text(input, &mut scratch).to_vec()
    }

    pub(super) fn json(kind: &Kind, options: ValueOptions, input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Converter::new(kind.clone(), options).json(input, &mut out);
        out
    }

    /// Checks rows of (input, text, JSON).
    pub(super) fn table(kind: &Kind, options: ValueOptions, rows: &[[&str; 3]]) {
        for [input, as_text, as_json] in rows {
            let got = String::from_utf8(text(kind, options, input.as_bytes())).unwrap();
            assert_eq!(got, *as_text, "text of {kind:?} {input:?}");
            let got = String::from_utf8(json(kind, options, input.as_bytes())).unwrap();
            assert_eq!(got, *as_json, "JSON of {kind:?} {input:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        check::table(
            &Kind::Boolean,
            ValueOptions::default(),
            &[["t", "true", "true"], ["f", "false", "false"], ["maybe", "maybe", r#""maybe""#]],
        );
    }

    #[test]
    fn text_and_all_that_is_written_like_it() {
        for kind in [Kind::Text, Kind::Interval, Kind::Time] {
            check::table(
                &kind,
                ValueOptions::default(),
                &[
                    ["", "", r#""""#],
                    ["a  ", "a  ", r#""a  ""#],
                    ["13:51:30.123456", "13:51:30.123456", r#""13:51:30.123456""#],
                    ["24:00:00", "24:00:00", r#""24:00:00""#],
                    ["P1Y2M3DT4H5M6.78S", "P1Y2M3DT4H5M6.78S", r#""P1Y2M3DT4H5M6.78S""#],
                    ["P1Y-1DT1.5S", "P1Y-1DT1.5S", r#""P1Y-1DT1.5S""#],
                    [r#"("a b",2)"#, r#"("a b",2)"#, r#""(\"a b\",2)""#],
                ],
            );
        }
    }

    #[test]
    fn json_keeps_its_text() {
        check::table(
            &Kind::Json,
            ValueOptions::default(),
            &[
                [r#"{"a" : 1.00}"#, r#"{"a" : 1.00}"#, r#"{"a" : 1.00}"#],
                ["null", "null", "null"],
                ["", "", r#""""#],
            ],
        );
    }

    #[test]
    fn json_is_appended() {
        for kind in [Kind::Boolean, Kind::Date, Kind::Bytea, Kind::Hstore] {
            let mut out = b"[1,".to_vec();
            Converter::new(kind, ValueOptions::default()).json(b"odd", &mut out);
            assert_eq!(out, br#"[1,"odd""#);
        }
    }
}
