//! Numbers in JSON.
//!
//! PostgreSQL's integers, numerics and shortest floats are JSON numbers as they stand (`1e+20` and
//! `1e-05` included: an exponent may have a plus and leading zeros). NaN and the infinities are not.
//! <https://www.rfc-editor.org/rfc/rfc8259#section-6>,
//! <https://www.postgresql.org/docs/current/datatype-numeric.html>

use super::json_string;

/// Appends the text as it is when it is a JSON number, otherwise as a string.
pub(super) fn json(input: &[u8], out: &mut Vec<u8>) {
    if is_number(input) {
        out.extend_from_slice(input);
    } else {
        json_string(input, out);
    }
}

/// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
fn is_number(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let mut rest = match unsigned {
        [b'0', rest @ ..] => rest,
        [b'1'..=b'9', rest @ ..] => skip_digits(rest),
        _ => return false,
    };
    if let [b'.', fraction @ ..] = rest {
        rest = skip_digits(fraction);
        if rest.len() == fraction.len() {
            return false;
        }
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let digits = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        rest = skip_digits(digits);
        if rest.len() == digits.len() {
            return false;
        }
    }
    rest.is_empty()
}

fn skip_digits(mut text: &[u8]) -> &[u8] {
    while let [b'0'..=b'9', rest @ ..] = text {
        text = rest;
    }
    text
}

/// Whether the text is what pgvector writes for `vector` and `halfvec`, `[1,2.5,-3e-05]`, which is
/// a JSON array already. <https://github.com/pgvector/pgvector#vector-type>
pub(super) fn is_vector(text: &[u8]) -> bool {
    match text {
        [b'[', numbers @ .., b']'] => numbers.split(|&byte| byte == b',').all(is_number),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Decimals, Kind, ValueOptions, check};

    const DEFAULT: ValueOptions = ValueOptions {
        timestamps: super::super::Timestamps::Iso,
        binary: super::super::Binary::Base64,
        decimals: Decimals::String,
        nulls: super::super::Nulls::Omit,
    };

    /// Rows whose text is the input.
    fn verbatim(kind: &Kind, options: ValueOptions, rows: &[[&str; 2]]) {
        let rows: Vec<_> = rows.iter().map(|[input, json]| [*input, *input, *json]).collect();
        check::table(kind, options, &rows);
    }

    #[test]
    fn integers() {
        verbatim(
            &Kind::Integer,
            DEFAULT,
            &[
                ["0", "0"],
                ["-9223372036854775808", "-9223372036854775808"],
                ["4294967295", "4294967295"],
                ["", r#""""#],
                ["-", r#""-""#],
                ["007", r#""007""#],
                ["1 2", r#""1 2""#],
            ],
        );
    }

    #[test]
    fn floats() {
        verbatim(
            &Kind::Float,
            DEFAULT,
            &[
                ["-0", "-0"],
                ["1.5", "1.5"],
                ["1e+300", "1e+300"],
                ["1e-05", "1e-05"],
                ["5e-324", "5e-324"],
                ["NaN", r#""NaN""#],
                ["Infinity", r#""Infinity""#],
                ["-Infinity", r#""-Infinity""#],
                ["1.", r#""1.""#],
                [".5", r#"".5""#],
                ["1e", r#""1e""#],
                ["1e+", r#""1e+""#],
                ["+1", r#""+1""#],
            ],
        );
    }

    #[test]
    fn numerics() {
        verbatim(
            &Kind::Numeric,
            DEFAULT,
            &[["1.500", r#""1.500""#], ["0.0000", r#""0.0000""#], ["NaN", r#""NaN""#]],
        );
        let number = ValueOptions { decimals: Decimals::Number, ..DEFAULT };
        verbatim(
            &Kind::Numeric,
            number,
            &[
                ["1.500", "1.500"],
                ["-0.5", "-0.5"],
                ["0.00000000000000000001", "0.00000000000000000001"],
                ["1000000000000000000000000000000", "1000000000000000000000000000000"],
                ["NaN", r#""NaN""#],
                ["-Infinity", r#""-Infinity""#],
            ],
        );
    }

    #[test]
    fn vectors() {
        verbatim(
            &Kind::Vector,
            DEFAULT,
            &[
                ["[1,2.5,-3e-05]", "[1,2.5,-3e-05]"],
                ["[1,]", r#""[1,]""#],
                ["[]", r#""[]""#],
                ["[", r#""[""#],
                ["[1,NaN]", r#""[1,NaN]""#],
            ],
        );
    }
}
