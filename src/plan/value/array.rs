//! Arrays as JSON arrays.
//!
//! `array_out` writes `{1,NULL,"a b",{…}}`: braces for every dimension, the element type's
//! delimiter (a comma, a semicolon for `box`), a bare `NULL` for null. It quotes an element that is
//! empty, reads like NULL, or holds a brace, a quote, a backslash, the delimiter or white space, and
//! then puts a backslash before quotes and backslashes. If a lower bound is not 1, the bounds come
//! first: `[0:2]={1,2,3}`. They say nothing that JSON could hold, and are dropped.
//! <https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO>

use super::quoted::Quoted;
use super::{Kind, ValueOptions};

/// PostgreSQL's MAXDIM.
const MAX_DIMENSIONS: usize = 6;

/// Appends the array. None, with a part appended, when the text is not of that form.
pub(super) fn json(
    element: &Kind,
    delimiter: u8,
    options: ValueOptions,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    let mut rest = after_bounds(input)?;
    let mut depth = 0;
    let mut unescaped = Vec::new();
    loop {
        match rest {
            [b'{', after @ ..] => {
                depth += 1;
                if depth > MAX_DIMENSIONS {
                    return None;
                }
                out.push(b'[');
                rest = after;
                if !rest.starts_with(b"}") {
                    continue;
                }
            }
            _ if depth == 0 => return None,
            [b'"', quoted @ ..] => {
                let (quoted, after) = Quoted::read(quoted)?;
                quoted_element(element, options, quoted, &mut unescaped, out);
                rest = after;
            }
            _ => {
                let end = memchr::memchr2(delimiter, b'}', rest)?;
                let (text, after) = rest.split_at_checked(end)?;
                match text {
                    b"" => return None,
                    b"NULL" => out.extend_from_slice(b"null"),
                    text => super::json(element, options, text, out),
                }
                rest = after;
            }
        }
        // An element has ended, and with it as many dimensions as are closed here.
        while let [b'}', after @ ..] = rest {
            out.push(b']');
            rest = after;
            depth -= 1;
            if depth == 0 {
                return rest.is_empty().then_some(());
            }
        }
        let (&byte, after) = rest.split_first()?;
        if byte != delimiter {
            return None;
        }
        out.push(b',');
        rest = after;
    }
}

/// Appends a quoted element. Text and JSON are unescaped on the way out, and where the text lies in
/// the input in one piece there is nothing to unescape; what remains goes through `unescaped`.
fn quoted_element(
    element: &Kind,
    options: ValueOptions,
    quoted: Quoted<'_>,
    unescaped: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
    match (quoted.in_one_piece(), element) {
        (Some(text), _) => super::json(element, options, text, out),
        (None, Kind::Text) => quoted.json(out),
        (None, Kind::Json) => quoted.copy(out),
        (None, _) => {
            unescaped.clear();
            quoted.copy(unescaped);
            super::json(element, options, unescaped, out);
        }
    }
}

/// What follows the bounds, `[1:2][-1:0]=`, if there are any.
fn after_bounds(input: &[u8]) -> Option<&[u8]> {
    if !input.starts_with(b"[") {
        return Some(input);
    }
    let end = memchr::memchr(b'=', input)?;
    let (bounds, rest) = input.split_at_checked(end)?;
    let sound = bounds.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'[' | b']' | b':' | b'-' | b'+'));
    sound.then(|| rest.get(1..))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::super::{Binary, Decimals, Kind, Timestamps, ValueOptions, check};
    use proptest::prelude::*;
    use serde_json::Value;

    fn array(element: Kind) -> Kind {
        Kind::Array { element: Box::new(element), delimiter: b',' }
    }

    /// Rows whose text is the JSON.
    fn table(element: Kind, options: ValueOptions, rows: &[[&str; 2]]) {
        let rows: Vec<_> = rows.iter().map(|[input, json]| [*input, *json, *json]).collect();
        check::table(&array(element), options, &rows);
    }

    #[test]
    fn shapes() {
        table(
            Kind::Integer,
            ValueOptions::default(),
            &[
                ["{}", "[]"],
                ["{1}", "[1]"],
                ["{{1,2},{3,NULL}}", "[[1,2],[3,null]]"],
                ["[0:2]={1,2,3}", "[1,2,3]"],
                ["[-1:0][2:3]={{1,2},{3,4}}", "[[1,2],[3,4]]"],
                ["{{{{{{1,1}}}}}}", "[[[[[[1,1]]]]]]"],
            ],
        );
    }

    #[test]
    fn texts() {
        table(
            Kind::Text,
            ValueOptions::default(),
            &[
                [
                    r#"{"NULL",NULL,"null","Null",""," ","a b","a,b","{","}","\"","\\",a'b,é,a;b}"#,
                    r#"["NULL",null,"null","Null",""," ","a b","a,b","{","}","\"","\\","a'b","é","a;b"]"#,
                ],
                ["{\"a\nb\",\"\t\",\"x\\\\\ny\\\"\"}", r#"["a\nb","\t","x\\\ny\""]"#],
                [r#"{"a  ","b  "}"#, r#"["a  ","b  "]"#],
                [r#"{"(1,\"a b\")"}"#, r#"["(1,\"a b\")"]"#],
                [r#"{"[1,3)"}"#, r#"["[1,3)"]"#],
            ],
        );
    }

    #[test]
    fn boxes_are_separated_by_semicolons() {
        check::table(
            &Kind::builtin(1020).unwrap(),
            ValueOptions::default(),
            &[[
                "{(3,4),(1,2);(1,1),(0,0)}",
                r#"["(3,4),(1,2)","(1,1),(0,0)"]"#,
                r#"["(3,4),(1,2)","(1,1),(0,0)"]"#,
            ]],
        );
    }

    #[test]
    fn elements_follow_their_kind() {
        let options = ValueOptions::default();
        table(Kind::Boolean, options, &[["{t,f,NULL}", "[true,false,null]"]]);
        table(Kind::Float, options, &[["{1.5,NaN,1e+20}", r#"[1.5,"NaN",1e+20]"#]]);
        table(Kind::Numeric, options, &[["{1.50,NaN}", r#"["1.50","NaN"]"#]]);
        table(Kind::Interval, options, &[["{P1D}", r#"["P1D"]"#]]);
        table(Kind::TimeTz, options, &[["{12:00:00+02}", r#"["12:00:00+02:00"]"#]]);
        table(
            Kind::Timestamp,
            options,
            &[[
                r#"{"2018-08-09 19:50:13.1",infinity,"0044-03-15 00:00:00 BC",NULL}"#,
                r#"["2018-08-09T19:50:13.1","infinity","-0043-03-15T00:00:00",null]"#,
            ]],
        );
        table(Kind::Bytea, options, &[[r#"{"\\xdeadbeef","\\x",NULL}"#, r#"["3q2+7w==","",null]"#]]);
        table(
            Kind::Json,
            options,
            &[
                [
                    r#"{"{\"a\": 1}","[1, 2]","\"x\\\"y\"","null",1.0,NULL}"#,
                    r#"[{"a": 1},[1, 2],"x\"y",null,1.0,null]"#,
                ],
                [r#"{"{\"a\" : 1}","null"}"#, r#"[{"a" : 1},null]"#],
            ],
        );
        table(
            Kind::Hstore,
            options,
            &[[r#"{"\"a\"=>\"1\", \"b\"=>\"x\\\"y\"",""}"#, r#"[{"a":"1","b":"x\"y"},{}]"#]],
        );
        // Elements of a domain over an array.
        table(array(Kind::Integer), options, &[[r#"{"{1,2}","{}",NULL}"#, "[[1,2],[],null]"]]);
        table(array(Kind::Text), options, &[[r#"{"{\"a b\",c}"}"#, r#"[["a b","c"]]"#]]);
    }

    #[test]
    fn options_apply_to_elements() {
        let options = ValueOptions {
            timestamps: Timestamps::EpochMs,
            binary: Binary::Hex,
            decimals: Decimals::Number,
            ..ValueOptions::default()
        };
        table(Kind::Date, options, &[["{1970-01-02,infinity}", r#"[86400000,"infinity"]"#]]);
        table(Kind::Numeric, options, &[["{1.50,NaN}", r#"[1.50,"NaN"]"#]]);
        table(Kind::Bytea, options, &[[r#"{"\\xdead"}"#, r#"["dead"]"#]]);
        let raw = ValueOptions { binary: Binary::Raw, ..options };
        table(Kind::Bytea, raw, &[[r#"{"\\xdead"}"#, r#"["3q0="]"#]]);
    }

    #[test]
    fn other_text_passes_through() {
        for input in [
            "",
            "1",
            "{",
            "}",
            "{1",
            "{1,",
            "{1,}",
            "{,1}",
            "{1}2",
            "{1}}",
            "{1;2",
            "{{1}",
            "[",
            "[0:2]",
            "[0:2]1",
            "[0=x]={1}",
            "{{{{{{{1}}}}}}}",
            "{\"a}",
            "{\"a\"b}",
            "{\"a\\",
        ] {
            let (kind, options) = (array(Kind::Text), ValueOptions::default());
            assert_eq!(check::text(&kind, options, input.as_bytes()), input.as_bytes());
            let json = check::json(&kind, options, input.as_bytes());
            assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), input);
        }
    }

    /// Renders as `array_out` does.
    fn render(value: &Value, out: &mut String) {
        match value {
            Value::Array(values) => {
                out.push('{');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    render(value, out);
                }
                out.push('}');
            }
            Value::String(text) => {
                let special = |c: char| "{}\",\\ \t\n\r\x0b\x0c".contains(c);
                if text.is_empty() || text.eq_ignore_ascii_case("null") || text.contains(special) {
                    let escaped = text.replace('\\', r"\\").replace('"', "\\\"");
                    out.push_str(&format!("\"{escaped}\""));
                } else {
                    out.push_str(text);
                }
            }
            _ => out.push_str("NULL"),
        }
    }

    fn elements() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["(?s).*", "[\\\\\"{}, nulNUL;\\[\\]=]*"];
        prop_oneof![9 => text.prop_map(Value::String), 1 => Just(Value::Null)].prop_recursive(
            5,
            64,
            6,
            |inner| prop::collection::vec(inner, 1..6).prop_map(Value::Array),
        )
    }

    proptest! {
        #[test]
        fn nested_arrays_come_back(
            values in prop::collection::vec(elements(), 0..6),
            bounds in prop_oneof![Just(""), Just("[-1:7]="), Just("[0:1][2:3]=")],
        ) {
            let value = Value::Array(values);
            let mut input = bounds.to_owned();
            render(&value, &mut input);
            let json = check::json(&array(Kind::Text), ValueOptions::default(), input.as_bytes());
            prop_assert_eq!(serde_json::from_slice::<Value>(&json).unwrap(), value);
        }

        /// Elements that need the buffer: what comes out is what the element alone gives.
        #[test]
        fn elements_are_what_they_are_alone(texts: Vec<String>) {
            for kind in [Kind::Hstore, array(Kind::Text), Kind::TimestampTz, Kind::Bytea, Kind::Float] {
                let mut input = String::new();
                render(&Value::from(texts.clone()), &mut input);
                let options = ValueOptions::default();
                let json = check::json(&array(kind.clone()), options, input.as_bytes());
                let alone = texts.iter().map(|text| check::json(&kind, options, text.as_bytes()));
                let expected = [b"[", alone.collect::<Vec<_>>().join(&b","[..]).as_slice(), b"]"].concat();
                prop_assert_eq!(json, expected);
            }
        }
    }
}
