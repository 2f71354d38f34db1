//! What a type means to us, and which of PostgreSQL's own types mean it.

/// The kind of a column's type, after domains are resolved to their base.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Boolean,
    /// `smallint`, `integer`, `bigint`, `oid`.
    Integer,
    Numeric,
    /// `real`, `double precision`.
    Float,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Bytea,
    /// `json`, `jsonb`.
    Json,
    Hstore,
    /// pgvector's `vector` and `halfvec`, whose text is a JSON array already.
    Vector,
    /// `delimiter` is what `typdelim` of the element's type says: `;` for `box`, else `,`.
    Array {
        element: Box<Kind>,
        delimiter: u8,
    },
    /// Everything else: PostgreSQL's text.
    Text,
}

impl Kind {
    /// The types that every PostgreSQL has, and arrays of them, by the OIDs that `pg_type.dat`
    /// fixes for ever. None: ask the catalog.
    pub(crate) fn builtin(oid: u32) -> Option<Kind> {
        scalar(oid).or_else(|| {
            Some(Kind::Array {
                element: Box::new(scalar(element(oid)?)?),
                delimiter: if oid == BOX_ARRAY { b';' } else { b',' },
            })
        })
    }
}

const BOX_ARRAY: u32 = 1020;

fn scalar(oid: u32) -> Option<Kind> {
    Some(match oid {
        16 => Kind::Boolean,
        // int8, int2, int4, oid
        20 | 21 | 23 | 26 => Kind::Integer,
        1700 => Kind::Numeric,
        // float4, float8
        700 | 701 => Kind::Float,
        1082 => Kind::Date,
        1083 => Kind::Time,
        1266 => Kind::TimeTz,
        1114 => Kind::Timestamp,
        1184 => Kind::TimestampTz,
        1186 => Kind::Interval,
        17 => Kind::Bytea,
        // json, jsonb
        114 | 3802 => Kind::Json,
        // "char", name, int2vector, regproc, text, tid, xid, cid, oidvector, xml, pg_node_tree
        18 | 19 | 22 | 24 | 25 | 27..=30 | 142 | 194
        // point, lseg, path, box, polygon, line, circle, money
        | 600..=604 | 628 | 718 | 790
        // cidr, macaddr8, macaddr, inet, aclitem
        | 650 | 774 | 829 | 869 | 1033
        // bpchar, varchar, bit, varbit, refcursor
        | 1042 | 1043 | 1560 | 1562 | 1790
        // regprocedure, regoper, regoperator, regclass, regtype
        | 2202..=2206
        // uuid, txid_snapshot, pg_lsn
        | 2950 | 2970 | 3220
        // tsvector, tsquery, gtsvector, regconfig, regdictionary
        | 3614 | 3615 | 3642 | 3734 | 3769
        // ranges of int4, numeric, timestamp, timestamptz, date, int8; jsonpath
        | 3904 | 3906 | 3908 | 3910 | 3912 | 3926 | 4072
        // regnamespace, regrole, regcollation
        | 4089 | 4096 | 4191
        // multiranges in the order of the ranges
        | 4451 | 4532..=4536
        // pg_snapshot, xid8
        | 5038 | 5069 => Kind::Text,
        _ => return None,
    })
}

/// The element's type of a built-in array type.
fn element(array: u32) -> Option<u32> {
    Some(match array {
        1000..=1003 => array - 984,                 // bool, bytea, "char", name
        1005..=1008 => array - 984,                 // int2, int2vector, int4, regproc
        1009 => 25,                                 // text
        1010..=1013 => array - 983,                 // tid, xid, cid, oidvector
        1014 => 1042,                               // bpchar
        1015 => 1043,                               // varchar
        1016 => 20,                                 // int8
        1017..=1019 => array - 417,                 // point, lseg, path
        BOX_ARRAY => 603,                           // box
        1021 | 1022 => array - 321,                 // float4, float8
        1027 => 604,                                // polygon
        1028 => 26,                                 // oid
        1034 => 1033,                               // aclitem
        1040 => 829,                                // macaddr
        1041 => 869,                                // inet
        143 => 142,                                 // xml
        199 => 114,                                 // json
        271 => 5069,                                // xid8
        629 => 628,                                 // line
        651 => 650,                                 // cidr
        719 => 718,                                 // circle
        775 => 774,                                 // macaddr8
        791 => 790,                                 // money
        1115 => 1114,                               // timestamp
        1182 | 1183 => array - 100,                 // date, time
        1185 => 1184,                               // timestamptz
        1187 => 1186,                               // interval
        1231 => 1700,                               // numeric
        1270 => 1266,                               // timetz
        1561 | 1563 => array - 1,                   // bit, varbit
        2201 => 1790,                               // refcursor
        2207..=2211 => array - 5,                   // regprocedure to regtype
        2949 => 2970,                               // txid_snapshot
        2951 => 2950,                               // uuid
        3221 => 3220,                               // pg_lsn
        3643 => 3614,                               // tsvector
        3644 => 3642,                               // gtsvector
        3645 => 3615,                               // tsquery
        3735 | 3770 => array - 1,                   // regconfig, regdictionary
        3807 => 3802,                               // jsonb
        3905..=3927 if array % 2 == 1 => array - 1, // ranges
        4073 | 4090 | 4097 | 4192 => array - 1,     // jsonpath, regnamespace, regrole, regcollation
        5039 => 5038,                               // pg_snapshot
        6150 => 4451,                               // int4multirange
        6151..=6153 => array - 1619,                // multiranges of numeric, timestamp, timestamptz
        6155 => 4535,                               // datemultirange
        6157 => 4536,                               // int8multirange
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `select typname, oid, typarray, typdelim from pg_type`, the kinds added by hand.
    const CATALOG: &[(&str, u32, u32, u8, Kind)] = &[
        ("bool", 16, 1000, b',', Kind::Boolean),
        ("bytea", 17, 1001, b',', Kind::Bytea),
        ("char", 18, 1002, b',', Kind::Text),
        ("name", 19, 1003, b',', Kind::Text),
        ("int8", 20, 1016, b',', Kind::Integer),
        ("int2", 21, 1005, b',', Kind::Integer),
        ("int2vector", 22, 1006, b',', Kind::Text),
        ("int4", 23, 1007, b',', Kind::Integer),
        ("regproc", 24, 1008, b',', Kind::Text),
        ("text", 25, 1009, b',', Kind::Text),
        ("oid", 26, 1028, b',', Kind::Integer),
        ("tid", 27, 1010, b',', Kind::Text),
        ("xid", 28, 1011, b',', Kind::Text),
        ("cid", 29, 1012, b',', Kind::Text),
        ("oidvector", 30, 1013, b',', Kind::Text),
        ("json", 114, 199, b',', Kind::Json),
        ("xml", 142, 143, b',', Kind::Text),
        ("pg_node_tree", 194, 0, b',', Kind::Text),
        ("point", 600, 1017, b',', Kind::Text),
        ("lseg", 601, 1018, b',', Kind::Text),
        ("path", 602, 1019, b',', Kind::Text),
        ("box", 603, 1020, b';', Kind::Text),
        ("polygon", 604, 1027, b',', Kind::Text),
        ("line", 628, 629, b',', Kind::Text),
        ("cidr", 650, 651, b',', Kind::Text),
        ("float4", 700, 1021, b',', Kind::Float),
        ("float8", 701, 1022, b',', Kind::Float),
        ("circle", 718, 719, b',', Kind::Text),
        ("macaddr8", 774, 775, b',', Kind::Text),
        ("money", 790, 791, b',', Kind::Text),
        ("macaddr", 829, 1040, b',', Kind::Text),
        ("inet", 869, 1041, b',', Kind::Text),
        ("aclitem", 1033, 1034, b',', Kind::Text),
        ("bpchar", 1042, 1014, b',', Kind::Text),
        ("varchar", 1043, 1015, b',', Kind::Text),
        ("date", 1082, 1182, b',', Kind::Date),
        ("time", 1083, 1183, b',', Kind::Time),
        ("timestamp", 1114, 1115, b',', Kind::Timestamp),
        ("timestamptz", 1184, 1185, b',', Kind::TimestampTz),
        ("interval", 1186, 1187, b',', Kind::Interval),
        ("timetz", 1266, 1270, b',', Kind::TimeTz),
        ("bit", 1560, 1561, b',', Kind::Text),
        ("varbit", 1562, 1563, b',', Kind::Text),
        ("numeric", 1700, 1231, b',', Kind::Numeric),
        ("refcursor", 1790, 2201, b',', Kind::Text),
        ("regprocedure", 2202, 2207, b',', Kind::Text),
        ("regoper", 2203, 2208, b',', Kind::Text),
        ("regoperator", 2204, 2209, b',', Kind::Text),
        ("regclass", 2205, 2210, b',', Kind::Text),
        ("regtype", 2206, 2211, b',', Kind::Text),
        ("uuid", 2950, 2951, b',', Kind::Text),
        ("txid_snapshot", 2970, 2949, b',', Kind::Text),
        ("pg_lsn", 3220, 3221, b',', Kind::Text),
        ("tsvector", 3614, 3643, b',', Kind::Text),
        ("tsquery", 3615, 3645, b',', Kind::Text),
        ("gtsvector", 3642, 3644, b',', Kind::Text),
        ("regconfig", 3734, 3735, b',', Kind::Text),
        ("regdictionary", 3769, 3770, b',', Kind::Text),
        ("jsonb", 3802, 3807, b',', Kind::Json),
        ("int4range", 3904, 3905, b',', Kind::Text),
        ("numrange", 3906, 3907, b',', Kind::Text),
        ("tsrange", 3908, 3909, b',', Kind::Text),
        ("tstzrange", 3910, 3911, b',', Kind::Text),
        ("daterange", 3912, 3913, b',', Kind::Text),
        ("int8range", 3926, 3927, b',', Kind::Text),
        ("jsonpath", 4072, 4073, b',', Kind::Text),
        ("regnamespace", 4089, 4090, b',', Kind::Text),
        ("regrole", 4096, 4097, b',', Kind::Text),
        ("regcollation", 4191, 4192, b',', Kind::Text),
        ("int4multirange", 4451, 6150, b',', Kind::Text),
        ("nummultirange", 4532, 6151, b',', Kind::Text),
        ("tsmultirange", 4533, 6152, b',', Kind::Text),
        ("tstzmultirange", 4534, 6153, b',', Kind::Text),
        ("datemultirange", 4535, 6155, b',', Kind::Text),
        ("int8multirange", 4536, 6157, b',', Kind::Text),
        ("pg_snapshot", 5038, 5039, b',', Kind::Text),
        ("xid8", 5069, 271, b',', Kind::Text),
    ];

    #[test]
    fn every_builtin_type_and_its_array() {
        for (name, oid, array, delimiter, kind) in CATALOG {
            assert_eq!(Kind::builtin(*oid).as_ref(), Some(kind), "{name}");
            if *array != 0 {
                let expected = Kind::Array { element: Box::new(kind.clone()), delimiter: *delimiter };
                assert_eq!(Kind::builtin(*array), Some(expected), "{name}[]");
            }
        }
    }

    #[test]
    fn nothing_else() {
        let known = CATALOG.iter().flat_map(|&(_, oid, array, ..)| [oid, array]);
        let known: std::collections::BTreeSet<u32> = known.collect();
        for oid in (0..20_000).filter(|oid| !known.contains(oid)) {
            assert_eq!(Kind::builtin(oid), None, "{oid}");
        }
        assert_eq!(Kind::builtin(u32::MAX), None);
    }
}
