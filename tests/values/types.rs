//! Every type of the contract's table, in groups that make tables.

use super::columns::Column;
use super::random::{Rng, quoted};
use super::spelling::Spelling::{
    Boolean, Bytea, Composite, Float, Hstore, Integer, Json, Moment, Numeric, Text, Time,
};

/// Types that the columns below have and PostgreSQL has not.
pub(super) const OWN_TYPES: &str = r#"
    CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"', 'a,b', '', ' ', 'NULL', '🙂', 'back\slash', '{}', 't');
    CREATE TYPE "Odd Näme" AS ENUM ('t', 'f', '\xff', '2018-08-09 19:50:13');
    CREATE TYPE inner_type AS (n int, t text);
    CREATE TYPE outer_type AS (b boolean, t text, z timestamptz, y bytea, a int[], i inner_type,
                               n numeric(10, 2), p interval, j jsonb, d date, r double precision);
    CREATE TYPE textrange AS RANGE (subtype = text, collation = "C");
"#;

pub(super) fn numbers(version: u32) -> Vec<Column> {
    let integer = |name: &str, low: i64, high: i64| {
        let edges = [low.to_string(), high.to_string(), "0".to_owned(), "-1".to_owned()];
        let edges: Vec<&str> = edges.iter().map(String::as_str).filter(|e| low < 0 || *e != "-1").collect();
        Column::new(name, Integer, &edges, move |rng| rng.integer(low, high).to_string())
    };
    let numeric = |name: &str, edges: &[&str]| Column::new(name, Numeric, edges, Rng::decimal);
    let mut wide =
        vec!["0", "0.000", "-0", "NaN", "1e1000", "1e-1000", "-123456789012345678901234567890.1200", "1e5"];
    if version >= 14 {
        wide.extend(["Infinity", "-Infinity"]);
    }
    let floats = ["NaN", "Infinity", "-Infinity", "-0", "0", "0.1", "1e15", "1e16", "100000", "1e-4", "1e-5"];
    let mut columns = vec![
        integer("smallint", -32_768, 32_767),
        integer("integer", i32::MIN.into(), i32::MAX.into()),
        integer("bigint", i64::MIN, i64::MAX),
        integer("oid", 0, u32::MAX.into()),
        numeric("numeric", &wide),
        Column::new("numeric(14,4)", Numeric, &["0", "NaN", "-1.00005"], |rng| {
            format!("{}.{}", rng.between(-999_999_999, 999_999_999), rng.digits(1, 6))
        }),
        Column::new(
            "real",
            Float,
            &[&floats[..], &["1e-45", "3.4028235e38", "16777217"]].concat(),
            Rng::float4,
        ),
        Column::new(
            "double precision",
            Float,
            &[&floats[..], &["5e-324", "1.7976931348623157e308", "9007199254740993", "0.30000000000000004"]]
                .concat(),
            Rng::float8,
        ),
        Column::new("boolean", Boolean, &["t", "f"], |rng| rng.pick(&["true", "false"]).to_owned()),
    ];
    if version >= 15 {
        columns.push(Column::new("numeric(3,-2)", Numeric, &["0"], |rng| {
            rng.between(-99_900, 99_900).to_string()
        }));
    }
    columns
}

pub(super) fn texts() -> Vec<Column> {
    const EDGES: &[&str] = &[
        "",
        " ",
        "\\",
        "\\N",
        "\\.",
        "NULL",
        "null",
        "{}",
        "{NULL}",
        "\t",
        "\n",
        "\r",
        "\"",
        "'",
        "\\x00",
        "t",
        "infinity",
        "%3A",
        "(,)",
        "\u{10ffff}",
        "\x01\x02\x7f",
        "x  ",
    ];
    let clipped = |most: i64| {
        move |rng: &mut Rng| {
            rng.text_of(0, most).chars().take(usize::try_from(most).unwrap()).collect::<String>()
        }
    };
    let mut columns = vec![
        Column::new("text", Text, EDGES, Rng::text),
        Column::new("varchar", Text, EDGES, Rng::text),
        Column::new("varchar(12)", Text, EDGES, clipped(12)),
        Column::new("char(10)", Text, EDGES, clipped(10)),
        Column::new("bpchar", Text, EDGES, clipped(20)),
        Column::new("\"char\"", Text, &["", "a", "\\", "\"", "\t", "{"], |rng| {
            rng.text_of(0, 1).chars().filter(char::is_ascii).collect()
        }),
        // 63 bytes: whatever is more PostgreSQL cuts off.
        Column::new("name", Text, EDGES, clipped(70)),
        Column::new("mood", Text, &["sad", "", " ", "NULL", "{}", "t"], |rng| {
            rng.pick(&["it's \"ok\"", "a,b", "🙂", "back\\slash"]).to_owned()
        }),
        Column::new("\"Odd Näme\"", Text, &["t", "f", "\\xff"], |_| "2018-08-09 19:50:13".to_owned()),
        Column::new("uuid", Text, &["00000000-0000-0000-0000-000000000000"], |rng| rng.hex(16)),
        Column::new("xml", Text, &["", "<a/>", "<?xml version=\"1.1\"?><a/>", "&amp;"], Rng::xml),
    ];
    // Longer than a page, and not to be compressed.
    let long = "(SELECT string_agg(md5(n::text) || E'\\\\\\t\"', '') FROM generate_series(1, 400) n)";
    columns.push(Column::sql("text", Text, &[long, "repeat('🙂', 9000)"], |rng| {
        format!("repeat({}, {})", quoted(&rng.text_of(1, 20)), rng.between(1, 2_000))
    }));
    columns
}

/// Types for whose text PostgreSQL alone answers.
pub(super) fn others(version: u32) -> Vec<Column> {
    let v4 = |rng: &mut Rng| {
        format!("{}.{}.{}.{}", rng.below(256), rng.below(256), rng.below(256), rng.below(256))
    };
    let v6 =
        |rng: &mut Rng| format!("{:x}:{:x}::{:x}", rng.below(65_536), rng.below(65_536), rng.below(65_536));
    let inet = move |rng: &mut Rng| match rng.below(4) {
        0 => v4(rng),
        1 => format!("{}/{}", v4(rng), rng.below(33)),
        2 => v6(rng),
        _ => format!("{}/{}", v6(rng), rng.below(129)),
    };
    let cidr = move |rng: &mut Rng| format!("network({}::inet)", quoted(&inet(rng)));
    let float = |rng: &mut Rng| {
        if rng.one_in(6) { rng.pick(&["NaN", "-0", "Infinity", "1e300"]).to_owned() } else { rng.float4() }
    };
    let point = move |rng: &mut Rng| format!("({},{})", float(rng), float(rng));
    let points = move |rng: &mut Rng| rng.repeat(1, 4, point).join(",");
    let mut columns = vec![
        Column::new("inet", Text, &["0.0.0.0/0", "::1", "::/0", "10.1.2.3/32", "::ffff:1.2.3.4"], inet),
        Column::sql("cidr", Text, &["'10.0.0.0/8'", "'::/0'", "'10.1.2.3'"], cidr),
        Column::new("macaddr", Text, &["00:00:00:00:00:00"], |rng| rng.hex(6)),
        Column::new("macaddr8", Text, &["ff:ff:ff:ff:ff:ff:ff:ff"], |rng| rng.hex(8)),
        Column::new("bit", Text, &["0", "1"], |rng| rng.bits(1, 1)),
        Column::new("bit(11)", Text, &["00000000000"], |rng| rng.bits(11, 11)),
        Column::new("varbit", Text, &["", "1"], |rng| rng.bits(0, 80)),
        Column::sql("money", Text, &["'-92233720368547758.08'", "'92233720368547758.07'", "0"], |rng| {
            format!("{}.{}::numeric", rng.integer(-99_999_999, 99_999_999), rng.digits(2, 2))
        }),
        Column::new("tsvector", Text, &["", "'''' 'a b':1A '\\\\'"], Rng::tsvector),
        Column::new("tsquery", Text, &["", "'a b':*A & !'c'"], |rng| rng.tsquery(3)),
        Column::new("point", Text, &["(0,-0)", "(NaN,Infinity)"], point),
        Column::new("line", Text, &["{1,-1,0}"], |rng| {
            format!("{{{},{},{}}}", rng.between(1, 9), rng.between(-9, 9), rng.float4().replace("NaN", "0"))
        }),
        Column::new("lseg", Text, &["[(0,0),(1,1)]"], move |rng| format!("[{},{}]", point(rng), point(rng))),
        Column::new("box", Text, &["(1,1),(0,0)"], move |rng| format!("{},{}", point(rng), point(rng))),
        Column::new("path", Text, &["[(0,0)]", "((0,0))"], move |rng| {
            let points = points(rng);
            if rng.one_in(2) { format!("[{points}]") } else { format!("({points})") }
        }),
        Column::new("polygon", Text, &["((0,0))"], move |rng| format!("({})", points(rng))),
        Column::new("circle", Text, &["<(0,0),0>"], move |rng| {
            format!("<{},{}>", point(rng), rng.below(100))
        }),
        Column::sql(
            "inner_type",
            Composite,
            &["ROW(NULL, NULL)", "ROW(1, '')", "ROW(NULL, 'NULL')"],
            |rng| format!("ROW({}, {})", rng.integer(-9, 9), quoted(&rng.text())),
        ),
        Column::sql(
            "outer_type",
            Composite,
            &["ROW(NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL)"],
            composite,
        ),
        Column::new("jsonpath", Text, &["$", "strict $.\"a b\"[*] ? (@ > 1.50)"], |rng| {
            format!("$.a[{}]", rng.below(9))
        }),
        Column::new("pg_lsn", Text, &["0/0", "FFFFFFFF/FFFFFFFF"], |rng| {
            format!("{:X}/{:X}", rng.below(99), rng.below(1 << 32))
        }),
        Column::new("xid", Text, &["0", "4294967295"], |rng| rng.below(1 << 32).to_string()),
        Column::new("cid", Text, &["0", "4294967295"], |rng| rng.below(1 << 32).to_string()),
        Column::new("tid", Text, &["(0,0)", "(4294967295,65535)"], |rng| {
            format!("({},{})", rng.below(99), rng.below(99))
        }),
        Column::new("txid_snapshot", Text, &["10:20:10,14,15"], |rng| format!("1:{}:", rng.between(1, 99))),
        Column::new("refcursor", Text, &["", "a\"b"], Rng::text),
        Column::new("int2vector", Text, &["", "1 -2 3"], |rng| {
            rng.repeat(1, 5, |rng| rng.below(99).to_string()).join(" ")
        }),
        Column::new("oidvector", Text, &["", "1 2 3"], |rng| {
            rng.repeat(1, 5, |rng| rng.below(99).to_string()).join(" ")
        }),
        Column::new("aclitem", Text, &["=r/postgres"], |_| "postgres=arwdDxt/postgres".to_owned()),
    ];
    if version >= 13 {
        columns.push(Column::new("xid8", Text, &["0", "18446744073709551615"], |rng| rng.next().to_string()));
        columns.push(Column::new("pg_snapshot", Text, &["10:20:10,14,15"], |rng| {
            format!("1:{}:", rng.between(1, 99))
        }));
    }
    columns
}

fn composite(rng: &mut Rng) -> String {
    let fields = [
        rng.pick(&["true", "false"]).to_owned(),
        quoted(&rng.text()),
        quoted(&rng.timestamptz()),
        quoted(&rng.bytes()),
        "'{1,NULL,-3}'".to_owned(),
        format!("ROW({}, {})::inner_type", rng.below(9), quoted(&rng.text())),
        "'12.5'".to_owned(),
        quoted(&rng.interval()),
        quoted(&rng.json(1)),
        "'infinity'".to_owned(),
        quoted(&rng.float8()),
    ];
    let fields = fields.map(|field| if rng.one_in(6) { "NULL".to_owned() } else { field });
    format!("ROW({})", fields.join(", "))
}

pub(super) fn ranges(version: u32) -> Vec<Column> {
    let whole = |rng: &mut Rng| rng.integer(-2_000_000_000, 2_000_000_000).to_string();
    let date = |rng: &mut Rng| {
        let (date, era) = rng.date(5_874_896);
        quoted(&format!("{date}{era}")) + "::date"
    };
    // Only these have a next value, and with it one spelling for all bounds.
    let discrete: &[&str] = &["[)"];
    let continuous: &[&str] = &["[)", "(]", "[]", "()"];
    type Bound = Box<dyn Fn(&mut Rng) -> String>;
    let kinds: [(&str, &str, &[&str], Bound); 7] = [
        ("int4range", "int4multirange", discrete, Box::new(whole)),
        ("int8range", "int8multirange", discrete, Box::new(whole)),
        ("numrange", "nummultirange", continuous, Box::new(|rng| quoted(&rng.decimal()) + "::numeric")),
        ("daterange", "datemultirange", discrete, Box::new(date)),
        ("tsrange", "tsmultirange", continuous, Box::new(|rng| quoted(&rng.timestamp()) + "::timestamp")),
        (
            "tstzrange",
            "tstzmultirange",
            continuous,
            Box::new(|rng| quoted(&rng.timestamptz()) + "::timestamptz"),
        ),
        (
            "textrange",
            "textmultirange",
            continuous,
            Box::new(|rng| quoted(&rng.text_of(0, 6)) + " COLLATE \"C\""),
        ),
    ];
    let mut columns = Vec::new();
    for (range, multirange, bounds, value) in kinds {
        let value = std::rc::Rc::new(value);
        let one = move |rng: &mut Rng| {
            let (a, b, kind) = (value(rng), value(rng), quoted(rng.pick(bounds)));
            match rng.below(6) {
                0 => format!("{range}(NULL, {a}, {kind})"),
                1 => format!("{range}({a}, NULL, {kind})"),
                _ => format!("{range}(least({a}, {b}), greatest({a}, {b}), {kind})"),
            }
        };
        columns.push(Column::sql(range, Text, &["'empty'", "'(,)'"], one.clone()));
        if version >= 14 {
            columns.push(Column::sql(multirange, Text, &["'{}'", "'{(,)}'"], move |rng| {
                format!("{multirange}({})", rng.repeat(1, 3, &one).join(", "))
            }));
        }
    }
    columns
}

pub(super) fn times(version: u32) -> Vec<Column> {
    let dates: &[&str] = &[
        "2024-02-29",
        "1970-01-01",
        "1969-12-31",
        "0001-01-01",
        "0001-12-31 BC",
        "0002-01-01 BC",
        "4714-11-24 BC",
        "9999-12-31",
        "10000-01-01",
        "5874897-12-31",
        "infinity",
        "-infinity",
        "epoch",
    ];
    let stamps: &[&str] = &[
        "2018-08-09 19:50:13",
        "2018-08-09 19:50:13.100",
        "1969-12-31 23:59:59.999999",
        "1970-01-01 00:00:00",
        "0001-01-01 00:00:00",
        "0001-12-31 23:59:59.999999 BC",
        "4714-11-24 00:00:00 BC",
        "9999-12-31 23:59:59.999999",
        "10000-01-01 00:00:00",
        "294276-12-31 23:59:59.999999",
        "infinity",
        "-infinity",
        "1969-12-31 23:59:59.9985",
    ];
    // The offset comes before the era.
    let zoned: Vec<String> = stamps.iter().map(|s| s.replacen(" BC", "+00 BC", 1)).collect();
    let zoned: Vec<&str> =
        zoned.iter().map(|s| s.as_str()).chain(["2018-08-09 19:50:13.123456+05:30"]).collect();
    let mut intervals = vec![
        "0",
        "1 year 2 months 3 days 4:05:06.78",
        "-1 year -2 months -3 days -4:05:06.78",
        "-0.000001 seconds",
        "0.5 seconds",
        "1 month -1 day",
        "-1 month +1 day -0.5 seconds",
        "178000000 years",
        "-178000000 years",
        "2147483647 days",
        "2147483647 hours 59 minutes 59.999999 seconds",
        "-11 months",
        "1 day -1 microsecond",
        "100 hours",
        "12 months",
    ];
    if version >= 17 {
        intervals.extend(["infinity", "-infinity"]);
    }
    let last = if version >= 14 { 5_874_896 } else { 294_275 };
    let timetz = |rng: &mut Rng| format!("{}{}", rng.clock(), rng.offset());
    vec![
        Column::new("date", Moment, if version >= 14 { dates } else { &dates[..9] }, move |rng| {
            let (date, era) = rng.date(last);
            format!("{date}{era}")
        }),
        Column::new(
            "time",
            Time,
            &["00:00:00", "24:00:00", "13:51:30.123456", "23:59:59.999999"],
            Rng::clock,
        ),
        Column::new("time(2)", Time, &["24:00:00"], Rng::clock),
        Column::new(
            "timetz",
            Time,
            &[
                "24:00:00+00",
                "13:51:30.123456+02",
                "00:00:00+15:59:59",
                "00:00:00-15:59:59",
                "01:02:03-00:00:30",
            ],
            timetz,
        ),
        Column::new("timetz(0)", Time, &["00:00:00-00:30"], timetz),
        Column::new("timestamp", Moment, stamps, Rng::timestamp),
        Column::new("timestamp(0)", Moment, &["infinity"], Rng::timestamp),
        Column::new("timestamptz", Moment, &zoned, Rng::timestamptz),
        Column::new("timestamptz(3)", Moment, &["infinity"], Rng::timestamptz),
        Column::new("interval", Time, &intervals, Rng::interval),
        Column::new("interval(2)", Time, &["1.006 seconds"], Rng::interval),
        Column::new("interval year to month", Time, &["0"], Rng::interval),
    ]
}

pub(super) fn bytes() -> Vec<Column> {
    let all: String = (0..=255).map(|byte| format!("{byte:02x}")).collect();
    let all = format!("\\x{all}");
    vec![Column::new(
        "bytea",
        Bytea,
        &["\\x", "\\x00", "\\xff", "\\x0d0a", "\\xc3", "\\x5c78", &all],
        Rng::bytes,
    )]
}

pub(super) fn documents() -> Vec<Column> {
    const EDGES: &[&str] = &[
        "null",
        "\"\"",
        "{}",
        "[]",
        "true",
        "1.00",
        "-0",
        " {\"a\" : 1.50, \"a\" : [ ] } ",
        "\"\\u00e9\\n\"",
        "12345678901234567890.123",
        "{\"\":{\"b\":[null,{\"c\":\"\\\\\"}]}}",
        "1e400",
    ];
    vec![
        Column::new("json", Json, EDGES, |rng| rng.json(3)),
        Column::new("jsonb", Json, EDGES, |rng| rng.json(3)),
    ]
}

/// Types of PostgreSQL's own extensions, by the extension.
pub(super) fn extension(name: &str) -> Vec<Column> {
    match name {
        "hstore" => vec![Column::sql(
            "hstore",
            Hstore,
            &["''", "'a=>NULL'", "'\"\"=>\"\"'", "'\"a b\"=>\"NULL\", \"\\\"\"=>\"\\\\\"'"],
            |rng| {
                let pair = |rng: &mut Rng| {
                    let value = if rng.one_in(5) { "NULL".to_owned() } else { quoted(&rng.text_of(0, 9)) };
                    format!("hstore({}, {value})", quoted(&rng.text_of(0, 5)))
                };
                rng.repeat(1, 5, pair).join(" || ")
            },
        )],
        "citext" => vec![Column::new("citext", Text, &["", "NULL", "Aa"], Rng::text)],
        "ltree" => vec![
            Column::new("ltree", Text, &["", "A.b_1"], |rng| {
                rng.repeat(1, 5, |rng| format!("L_{}", rng.below(99))).join(".")
            }),
            Column::new("lquery", Text, &["*", "a.*{1,2}.!b@|c*"], |rng| format!("a.{}*@", rng.below(9))),
            Column::new("ltxtquery", Text, &["a & !b*@"], |rng| format!("a{} | b", rng.below(9))),
        ],
        "cube" => vec![Column::new("cube", Text, &["(1,2),(3,4.5)", "()"], |rng| {
            format!("({},{})", rng.between(-99, 99), rng.between(-99, 99))
        })],
        "seg" => vec![Column::new("seg", Text, &["1.50 .. 3", "~1.0", "<2 .. >5"], |rng| {
            format!("{}.50", rng.below(99))
        })],
        "isn" => vec![Column::new("isbn", Text, &["0-19-853453-1", "9780198534532"], |_| {
            "978-0-393-04002-9".to_owned()
        })],
        // A domain over oid.
        "lo" => vec![Column::new("lo", Integer, &["0", "4294967295"], |rng| rng.below(1 << 32).to_string())],
        _ => vec![Column::new("vector", Json, &["[1,2.5,-3e-05]"], |rng| {
            format!("[{}]", rng.repeat(1, 9, |rng| rng.between(-99, 99).to_string()).join(","))
        })],
    }
}

/// Names of things, which depend on the search path.
pub(super) fn names() -> Vec<Column> {
    [
        ("regclass", &["0", "hidden.thing", "pg_class", "public.\"Öd d\"", "4294967295"][..]),
        ("regtype", &["0", "hidden.kind", "int[]", "mood", "character varying"]),
        ("regproc", &["0", "hidden.work", "now"]),
        ("regprocedure", &["0", "hidden.work(integer)", "abs(integer)"]),
        ("regoper", &["0", "||/"]),
        ("regoperator", &["0", "+(integer,integer)"]),
        ("regnamespace", &["hidden", "pg_catalog"]),
        ("regrole", &["postgres"]),
        ("regconfig", &["simple"]),
        ("regdictionary", &["simple"]),
    ]
    .map(|(name, edges)| {
        let values: Vec<String> = edges.iter().map(|&e| e.to_owned()).collect();
        Column::new(name, Text, edges, move |rng| {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            rng.pick(&values).to_owned()
        })
    })
    .into()
}
