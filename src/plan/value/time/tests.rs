#![allow(clippy::unwrap_used, clippy::panic)]

use super::super::{Kind, ValueOptions, check};
use super::*;
use proptest::prelude::*;

fn options(timestamps: Timestamps) -> ValueOptions {
    ValueOptions { timestamps, ..ValueOptions::default() }
}

/// Checks rows of (input, ISO, milliseconds, microseconds) as text, and as JSON: the ISO form
/// quoted, the numbers not.
fn table(kind: &Kind, rows: &[[&str; 4]]) {
    for [input, iso, millis, micros] in rows {
        let quoted = format!("\"{iso}\"");
        check::table(kind, options(Timestamps::Iso), &[[input, iso, &quoted]]);
        check::table(kind, options(Timestamps::EpochMs), &[[input, millis, millis]]);
        check::table(kind, options(Timestamps::EpochUs), &[[input, micros, micros]]);
    }
}

/// Checks that words and odd texts pass through under all options.
fn unchanged(kind: &Kind, inputs: &[&str]) {
    for timestamps in [Timestamps::Iso, Timestamps::EpochMs, Timestamps::EpochUs] {
        for input in inputs {
            let quoted = format!("\"{input}\"");
            check::table(kind, options(timestamps), &[[input, input, &quoted]]);
        }
    }
}

#[test]
fn dates() {
    table(
        &Kind::Date,
        &[
            ["2024-02-29", "2024-02-29", "1709164800000", "1709164800000000"],
            ["1969-12-31", "1969-12-31", "-86400000", "-86400000000"],
            ["0001-01-01", "0001-01-01", "-62135596800000", "-62135596800000000"],
            ["0001-12-31 BC", "0000-12-31", "-62135683200000", "-62135683200000000"],
            ["0044-03-15 BC", "-0043-03-15", "-63517824000000", "-63517824000000000"],
            ["4713-01-01 BC", "-4712-01-01", "-210863520000000", "-210863520000000000"],
            ["10000-01-01", "+10000-01-01", "253402300800000", "253402300800000000"],
            ["12345-01-02", "+12345-01-02", "327403468800000", "327403468800000000"],
            ["5874897-12-31", "+5874897-12-31", "185331706992000000", "185331706992000000000"],
        ],
    );
    unchanged(
        &Kind::Date,
        &[
            "infinity",
            "-infinity",
            "",
            "0000-01-01",
            "2024-13-01",
            "2024-00-01",
            "2024-01-32",
            "24-01-01",
            "2024-1-01",
            "2024-01-0x",
            "2024-01-01 ",
            "12345678-01-01",
            "08/09/2018",
            "2024-01-01 00:00:00",
        ],
    );
}

#[test]
fn timestamps() {
    table(
        &Kind::Timestamp,
        &[
            ["2018-08-09 19:50:13", "2018-08-09T19:50:13", "1533844213000", "1533844213000000"],
            ["2018-08-09 19:50:13.1", "2018-08-09T19:50:13.1", "1533844213100", "1533844213100000"],
            ["1969-12-31 23:59:59.999999", "1969-12-31T23:59:59.999999", "-1", "-1"],
            ["1969-12-31 23:59:59.9985", "1969-12-31T23:59:59.9985", "-2", "-1500"],
            ["0044-03-15 13:00:00.5 BC", "-0043-03-15T13:00:00.5", "-63517777199500", "-63517777199500000"],
            [
                "0001-12-31 23:59:59.999999 BC",
                "0000-12-31T23:59:59.999999",
                "-62135596800001",
                "-62135596800000001",
            ],
            ["4714-11-24 00:00:00 BC", "-4713-11-24T00:00:00", "-210866803200000", "-210866803200000000"],
            ["12345-01-02 03:04:05", "+12345-01-02T03:04:05", "327403479845000", "327403479845000000"],
            [
                "294276-12-31 23:59:59.999999",
                "+294276-12-31T23:59:59.999999",
                "9224318015999999",
                "9224318015999999999",
            ],
        ],
    );
    unchanged(
        &Kind::Timestamp,
        &[
            "infinity",
            "-infinity",
            "2018-08-09",
            "2018-08-09T19:50:13",
            "2018-08-09 19:50",
            "2018-08-09 25:00:00",
            "2018-08-09 19:60:00",
            "2018-08-09 19:50:60",
            "2018-08-09 19:50:13.",
            "2018-08-09 19:50:13.1234567",
            "2018-08-09 19:50:13+00",
            "2018-08-09 19:50:13 AD",
        ],
    );
}

#[test]
fn timestamps_with_time_zone() {
    table(
        &Kind::TimestampTz,
        &[
            ["2018-08-09 19:50:13+00", "2018-08-09T19:50:13Z", "1533844213000", "1533844213000000"],
            ["2018-08-09 19:50:13.5+00", "2018-08-09T19:50:13.5Z", "1533844213500", "1533844213500000"],
            ["2018-08-09 19:50:13.5+00:00", "2018-08-09T19:50:13.5Z", "1533844213500", "1533844213500000"],
            ["2018-08-10 01:20:13.5+05:30", "2018-08-09T19:50:13.5Z", "1533844213500", "1533844213500000"],
            [
                "2018-08-09 15:50:13.000001-04",
                "2018-08-09T19:50:13.000001Z",
                "1533844213000",
                "1533844213000001",
            ],
            ["1800-01-01 00:00:00-04:56:02", "1800-01-01T04:56:02Z", "-5364644638000", "-5364644638000000"],
            ["1900-01-01 00:00:00+00:19:32", "1899-12-31T23:40:28Z", "-2208989972000", "-2208989972000000"],
            [
                "0044-03-15 13:00:00.5+00 BC",
                "-0043-03-15T13:00:00.5Z",
                "-63517777199500",
                "-63517777199500000",
            ],
            [
                "0044-03-15 13:00:00.5+00:19:32 BC",
                "-0043-03-15T12:40:28.5Z",
                "-63517778371500",
                "-63517778371500000",
            ],
            ["0001-01-01 00:00:00+01", "0000-12-31T23:00:00Z", "-62135600400000", "-62135600400000000"],
            ["10000-01-01 01:00:00+02", "9999-12-31T23:00:00Z", "253402297200000", "253402297200000000"],
            ["9999-12-31 23:00:00-02", "+10000-01-01T01:00:00Z", "253402304400000", "253402304400000000"],
            [
                "294276-12-31 23:59:59.999999+00",
                "+294276-12-31T23:59:59.999999Z",
                "9224318015999999",
                "9224318015999999999",
            ],
        ],
    );
    unchanged(
        &Kind::TimestampTz,
        &[
            "infinity",
            "-infinity",
            "2018-08-09 19:50:13",
            "2018-08-09 19:50:13Z",
            "2018-08-09 19:50:13+0",
            "2018-08-09 19:50:13 00",
            "2018-08-09 19:50:13+00:0",
            "2018-08-09 19:50:13+00 AD",
        ],
    );
}

#[test]
fn times_with_time_zone() {
    for timestamps in [Timestamps::Iso, Timestamps::EpochMs] {
        let rows = [
            ["13:51:30.123456+02", "13:51:30.123456+02:00"],
            ["24:00:00+00", "24:00:00+00:00"],
            ["00:00:00.1-05:30", "00:00:00.1-05:30"],
            ["01:02:03-15:59", "01:02:03-15:59"],
            ["01:02:03+15:59:59", "01:02:03+15:59:59"],
            ["01:02:03-00:00:30", "01:02:03-00:00:30"],
            ["01:02:03", "01:02:03"],
            ["1:02:03+02", "1:02:03+02"],
            ["+02", "+02"],
        ];
        for [input, iso] in rows {
            let quoted = format!("\"{iso}\"");
            check::table(&Kind::TimeTz, options(timestamps), &[[input, iso, &quoted]]);
        }
    }
}

proptest! {
    /// PostgreSQL's spelling of an instant at an offset, against jiff's idea of it.
    #[test]
    fn instants_agree_with_jiff(
        micros in -377_705_023_201_000_000i64..253_402_207_200_000_000,
        offset in prop_oneof![Just(0), -57_599..57_600i32],
    ) {
        let instant = jiff::Timestamp::from_microsecond(micros).unwrap();
        let local = jiff::tz::Offset::from_seconds(offset).unwrap().to_datetime(instant);
        let (year, bc) = match local.year() {
            year @ 1.. => (year, ""),
            year => (1 - year, " BC"),
        };
        let fraction = match local.subsec_nanosecond() / 1_000 {
            0 => String::new(),
            micros => format!(".{micros:06}").trim_end_matches('0').to_owned(),
        };
        let date = format!("{year:04}-{:02}-{:02}", local.month(), local.day());
        let clock = format!("{:02}:{:02}:{:02}{fraction}", local.hour(), local.minute(), local.second());
        let (sign, seconds) = (if offset < 0 { '-' } else { '+' }, offset.abs());
        let mut zone = format!("{sign}{:02}", seconds / 3600);
        if seconds % 3600 != 0 {
            zone += &format!(":{:02}", seconds / 60 % 60);
        }
        if seconds % 60 != 0 {
            zone += &format!(":{:02}", seconds % 60);
        }
        let zoned = format!("{date} {clock}{zone}{bc}");

        let text = |kind: &Kind, timestamps, input: &str| {
            String::from_utf8(check::text(kind, options(timestamps), input.as_bytes())).unwrap()
        };
        let millis = micros.div_euclid(1_000).to_string();
        prop_assert_eq!(text(&Kind::TimestampTz, Timestamps::EpochUs, &zoned), micros.to_string());
        prop_assert_eq!(text(&Kind::TimestampTz, Timestamps::EpochMs, &zoned), millis);
        // jiff writes six digits for a negative year, where four are enough.
        let iso = text(&Kind::TimestampTz, Timestamps::Iso, &zoned);
        let iso = match iso.strip_prefix('-') {
            Some(positive) => format!("-00{positive}"),
            None => iso,
        };
        prop_assert_eq!(iso.parse::<jiff::Timestamp>().unwrap(), instant);

        let wall = i128::from(micros) + i128::from(offset) * 1_000_000;
        let plain = format!("{date} {clock}{bc}");
        prop_assert_eq!(text(&Kind::Timestamp, Timestamps::EpochUs, &plain), wall.to_string());
        let midnight = wall.div_euclid(86_400_000_000) * 86_400_000;
        let day = format!("{date}{bc}");
        prop_assert_eq!(text(&Kind::Date, Timestamps::EpochMs, &day), midnight.to_string());
    }
}

#[test]
fn seconds_for_scores() {
    let options = ValueOptions { timestamps: Timestamps::EpochSeconds, ..ValueOptions::default() };
    for (kind, input, expected) in [
        (Kind::Timestamp, "1970-01-01 00:00:01", "1"),
        (Kind::Timestamp, "1970-01-01 00:00:01.5", "1.5"),
        (Kind::TimestampTz, "1969-12-31 23:59:59.75+00", "-0.25"),
        (Kind::TimestampTz, "2018-08-09 19:50:13.000001+00", "1533844213.000001"),
        (Kind::Date, "1970-01-02", "86400"),
        (Kind::Date, "infinity", "infinity"),
    ] {
        assert_eq!(check::text(&kind, options, input.as_bytes()), expected.as_bytes(), "{input}");
    }
}
