//! What holds for every kind, whatever comes in.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use proptest::prelude::*;

fn scalars() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![
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
    ])
}

/// All kinds but JSON, which is not looked at.
fn kinds() -> impl Strategy<Value = Kind> {
    scalars().prop_recursive(2, 3, 1, |element| {
        (element, prop_oneof![3 => Just(b','), 1 => Just(b';')])
            .prop_map(|(element, delimiter)| Kind::Array { element: Box::new(element), delimiter })
    })
}

fn options() -> impl Strategy<Value = ValueOptions> {
    (
        prop::sample::select(vec![Timestamps::Iso, Timestamps::EpochMs, Timestamps::EpochUs]),
        prop::sample::select(vec![Binary::Base64, Binary::Hex, Binary::Raw]),
        prop::sample::select(vec![Decimals::String, Decimals::Number]),
        prop::sample::select(vec![Nulls::Omit, Nulls::Empty]),
    )
        .prop_map(|(timestamps, binary, decimals, nulls)| ValueOptions {
            timestamps,
            binary,
            decimals,
            nulls,
        })
}

/// Arbitrary bytes, and text that is nearly right.
fn inputs() -> impl Strategy<Value = Vec<u8>> {
    let near = prop_oneof![
        r#"[tf]|NULL|-?infinity|NaN"#,
        r#"[0-9]{0,8}-?[0-9]{1,2}-[0-9]{1,2}( [0-9]{1,2}:[0-9]{2}:[0-9]{2}(\.[0-9]{0,7})?)?([+-][0-9:]{2,8})?( BC)?"#,
        r#"[0-2][0-9]:[0-9]{2}:[0-9]{2}(\.[0-9]{0,7})?[+-][0-9:]{2,8}"#,
        r#"-?[0-9]{0,3}\.?[0-9]{0,3}([eE][+-]?[0-9]{0,3})?"#,
        r#"\\\\x[0-9a-fA-Fx]{0,40}"#,
        r#"(\[[0-9:]{3}\]=)?[{}",;NUL\\0-9a=>\[\]\. -]{0,30}"#,
        r#"\{("[^"]{0,5}"|[0-9]{1,2}|NULL|,|\{|\}){0,6}\}"#,
        r#"("[^"\\]{0,3}"=>("[^"\\]{0,3}"|NULL)(, )?){0,3}"#,
    ];
    prop_oneof![
        1 => any::<Vec<u8>>(),
        1 => "(?s).*".prop_map(String::into_bytes),
        4 => near.prop_map(String::into_bytes),
        1 => (near_array(), any::<u8>(), any::<prop::sample::Index>()).prop_map(|(mut text, byte, at)| {
            let at = at.index(text.len());
            text.splice(at..=at, [byte]);
            text
        }),
    ]
}

fn near_array() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        r#"{"2018-08-09 19:50:13.1+00",infinity,"0044-03-15 00:00:00 BC",NULL}"#,
        r#"{"\\xdeadbeef","\\x",NULL}"#,
        r#"{"\"a\"=>\"1\", \"b\"=>\"x\\\"y\"",""}"#,
        "[-1:0][2:3]={{1,2},{3,4}}",
        r#""a"=>"1", "b\"\\"=>NULL"#,
        "[1,2.5,-3e-05]",
    ])
    .prop_map(|text| text.as_bytes().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn json_is_well_formed(kind in kinds(), options in options(), input in inputs()) {
        let converter = Converter::new(kind, options);
        let mut out = b"before".to_vec();
        converter.json(&input, &mut out);
        let json = std::str::from_utf8(out.strip_prefix(b"before").unwrap()).unwrap();
        // Not a Value: numbers beyond a double are JSON, too.
        serde_json::from_str::<serde::de::IgnoredAny>(json).unwrap();
    }

    #[test]
    fn text_is_verbatim_where_it_says_so(kind in kinds(), options in options(), input in inputs()) {
        let converter = Converter::new(kind, options);
        let mut scratch = b"before".to_vec();
        let text = converter.text(&input, &mut scratch).to_vec();
        prop_assert!(!converter.is_verbatim() || text == input);
        // What is there from the last value makes no difference.
        prop_assert_eq!(converter.text(&input, &mut scratch), text);
    }

    #[test]
    fn json_and_its_arrays_do_not_panic(input in inputs(), options in options()) {
        let array = Kind::Array { element: Box::new(Kind::Json), delimiter: b',' };
        for kind in [Kind::Json, array] {
            let converter = Converter::new(kind, options);
            converter.json(&input, &mut Vec::new());
            converter.text(&input, &mut Vec::new());
        }
    }
}
