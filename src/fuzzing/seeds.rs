//! What fuzzing begins with: one valid input of each kind, in the spelling of the servers.

use super::rows::CONFIG;

/// What is run, and inputs to begin with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    /// As cargo-fuzz knows it.
    pub(super) name: &'static str,
    /// Panics where an invariant does not hold.
    pub(super) run: fn(&[u8]),
    /// Valid inputs.
    pub(super) seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub(super) fn targets() -> [Target; 6] {
    [
        Target { name: "pgoutput", run: super::pgoutput, seeds: pgoutput },
        Target { name: "copy", run: super::copy, seeds: copy },
        Target { name: "replies", run: super::replies, seeds: replies },
        Target { name: "config", run: super::config, seeds: config },
        Target { name: "templates", run: super::templates, seeds: templates },
        Target { name: "values", run: super::values, seeds: values },
    ]
}

const BEGIN: &[u8] = b"B\0\0\0\0\x01\x6b\x3a\x28\0\x02\xc3\x5e\x47\x8e\x1a\x40\0\0\x02\xf1";
/// At the end of all times.
const LAST_BEGIN: &[u8] = b"B\0\0\0\0\x01\x6b\x3a\x28\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\x02\xf1";
const COMMIT: &[u8] = b"C\0\0\0\0\0\x01\x6b\x3a\x28\0\0\0\0\x01\x6b\x3a\x58\0\x02\xc3\x5e\x47\x8e\x1a\x40";
const RELATION: &[u8] = b"R\0\0\0\x01public\0full\0f\0\x05\
      \x01id\0\0\0\0\x14\xff\xff\xff\xff\x01name\0\0\0\0\x19\xff\xff\xff\xff\x01at\0\0\0\x04\xa0\xff\xff\xff\xff\
      \x01texts\0\0\0\x03\xf1\xff\xff\xff\xff\x01v\0\0\0\x04\x13\0\0\0\x24";

/// The columns of [`super::rows`], as PostgreSQL spells them.
const ROW: [&[u8]; 13] = [
    b"-7",
    b"Grace \"Amazing\" Hopper: 100%",
    b"12345.6700",
    b"1e-05",
    b"0044-03-15 BC",
    b"2018-08-09 19:50:13.5+02",
    b"13:51:30.123456-07",
    b"\\xdeadbeef",
    b"{\"a\": [1, null, \"\\u00e9\"]}",
    b"(13.4,52.5)",
    b"{NULL,\"a b\",\"\\\"\\\\\",\"{}\"}",
    b"{\"2018-08-09 19:50:13+00\",infinity,NULL}",
    b"t",
];

fn pgoutput() -> Vec<Vec<u8>> {
    let whole: Vec<Option<&[u8]>> = ROW.into_iter().map(Some).collect();
    let moved: Vec<Option<&[u8]>> = whole.iter().skip(1).fold(vec![Some(&b"8"[..])], |mut row, cell| {
        row.push(*cell);
        row
    });
    let key: Vec<Option<&[u8]>> = (0..ROW.len()).map(|i| ROW.get(i).copied().filter(|_| i < 2)).collect();
    let insert = [b"I\0\0\0\0N", tuple(&whole).as_slice()].concat();
    let mut toasted = tuple(&whole);
    // The last column, `t`, was not sent.
    toasted.truncate(toasted.len() - 6);
    toasted.push(b'u');
    let mut transactions = Vec::new();
    for oid in 0..3_u8 {
        let head = |kind: u8| [kind, 0, 0, 0, oid];
        let update = [&head(b'U')[..], b"N", &toasted].concat();
        let by_key = [&head(b'U')[..], b"K", &tuple(&key), b"N", &toasted].concat();
        let by_row = [&head(b'U')[..], b"O", &tuple(&whole), b"N", &tuple(&moved)].concat();
        let delete = [&head(b'D')[..], b"K", &tuple(&key)].concat();
        let old = [&head(b'D')[..], b"O", &tuple(&whole)].concat();
        transactions.push(messages(&[BEGIN, &insert, &update, &by_key, &by_row, &delete, &old, COMMIT]));
    }
    let short = [b"I\0\0\0\x01N", tuple(&whole[..5]).as_slice()].concat();
    transactions.push(messages(&[
        BEGIN,
        RELATION,
        &short,
        b"T\0\0\0\x02\x03\0\0\0\x01\0\0\0\x02",
        b"M\x01\0\0\0\0\x01\x6b\x3a\x28redis-connect\0\0\0\0\x02hi",
        b"O\0\0\0\0\x01\x6b\x3a\x28origin\0",
        b"Y\0\0\x40\x01public\0mood\0",
        COMMIT,
    ]));
    transactions.push(messages(&[LAST_BEGIN, &insert, COMMIT]));
    transactions
}

fn tuple(cells: &[Option<&[u8]>]) -> Vec<u8> {
    let mut tuple = (cells.len() as u16).to_be_bytes().to_vec();
    for cell in cells {
        match cell {
            Some(text) => {
                tuple.push(b't');
                tuple.extend_from_slice(&(text.len() as u32).to_be_bytes());
                tuple.extend_from_slice(text);
            }
            None => tuple.push(b'n'),
        }
    }
    tuple
}

/// Each message behind its length, as the target takes them.
fn messages(messages: &[&[u8]]) -> Vec<u8> {
    let one = |message: &&[u8]| [&(message.len() as u16).to_be_bytes()[..], message].concat();
    messages.iter().flat_map(one).collect()
}

fn copy() -> Vec<Vec<u8>> {
    let line = |row: &[u8]| frame(b'd', row);
    let row: Vec<Vec<u8>> = ROW.iter().map(|cell| cell.escape_copy()).collect();
    let whole = [line(&[row.join(&b'\t').as_slice(), b"\n"].concat()), frame(b'c', b"")].concat();
    let error = b"SERROR\0VERROR\0C57014\0Mcanceling statement due to user request\0\0";
    vec![
        whole,
        [frame(b'H', b"\0\0\x02\0\0\0\0"), line(b"1\t\\N\n"), line(b"2\ta\\tb\\\\\\n\n"), line(b"\n")]
            .concat(),
        [line(b"3\t\\N\t1.5\n"), frame(b'E', error), frame(b'Z', b"I")].concat(),
    ]
}

trait EscapeCopy {
    fn escape_copy(&self) -> Vec<u8>;
}

impl EscapeCopy for &[u8] {
    fn escape_copy(&self) -> Vec<u8> {
        self.iter().flat_map(|byte| if *byte == b'\\' { vec![b'\\'; 2] } else { vec![*byte] }).collect()
    }
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

fn replies() -> Vec<Vec<u8>> {
    let all: [&[u8]; 12] = [
        // Two commands, in pieces of five bytes.
        b"\x22+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n*2\r\n*1\r\n:1\r\n+x\r\n+OK\r\n$1\r\n7\r\n",
        b"\x02+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n-WRONGTYPE no\r\n+OK\r\n$1\r\n7\r\n",
        b"\x02+OK\r\n-OOM no\r\n+QUEUED\r\n-EXECABORT x\r\n+OK\r\n$1\r\n7\r\n",
        b"\x02+OK\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n+OK\r\n$1\r\n8\r\n",
        b"\0+OK\r\n*0\r\n+OK\r\n$-1\r\n",
        b"\0-NOPERM no\r\n-EXECABORT x\r\n-NOAUTH\r\n-NOAUTH\r\n",
        b"\x01*2\r\n$1\r\n0\r\n*2\r\n$2\r\na\n\r\n$0\r\n\r\n",
        b"\x01*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:-9223372036854775808\r\n",
        b"\x01$536870912\r\n*2147483647\r\n",
        b"\x02+OK\r\n+QUEUED\r\n>2\r\n+invalidate\r\n*1\r\n+k\r\n+QUEUED\r\n*2\r\n,1.5\r\n%1\r\n+a\r\n~1\r\n#t\r\n+OK\r\n$1\r\n7\r\n",
        b"\x02+OK\r\n+QUEUED\r\n+QUEUED\r\n_\r\n+OK\r\n_\r\n",
        b"\0|1\r\n+ttl\r\n:3\r\n=7\r\ntxt:abc\r\n!5\r\nERR x\r\n(12345678901234567890\r\n",
    ];
    all.map(<[u8]>::to_vec).to_vec()
}

fn config() -> Vec<Vec<u8>> {
    let all = [
        CONFIG,
        "source: {url: postgres://h/db}\ntarget: {url: redis://h}\n",
        "name: a\nsource:\n  url: postgresql://me@a:1,[::1]/db?sslmode=verify-full&application_name=x\n  \
         password: ${SECRET}\n  retain: 5m\ntarget:\n  url: rediss://u:p%41@h:6380/2\n  password: ${VALUE:-x}\n  \
         batch: { rows: 1_000, bytes: 1MiB }\nsnapshot: { workers: 2, range_rows: 5000 }\n\0it's: #{ a secret",
        "source: &a {url: \"postgres:///db?host=/tmp\", password_file: /x}\ntarget: *a\n",
        "source: {url: postgres://h/$${x}${VALUE}}\ntables:\n  \"a.b\": {type: set, member: '{a}'}\n  c.*: [{type: \
         json, index: [a, {b: tag}], columns: [x, {y: z}]}]\n\0db",
        "a: !!binary aGk=\nb: 0x1F\nc: .nan\nd: 2018-08-09\ne: |\n  text\n   more\nf: >-\n  folded\n? complex\n: 1\n",
    ];
    all.map(|text| text.as_bytes().to_vec()).to_vec()
}

fn templates() -> Vec<Vec<u8>> {
    let all: [&[&str]; 4] = [
        &["{table}:{pk}", "emp:{id}", "", "hr.*", "hr", "emp", "keyed:-7:a%3Ab"],
        &["{{{id}}}", "{yes}:{id}:{name}", "", "\"My.Schema\".\"T\"\"x\"", "My.Schema", "T\"x", "true:1:x"],
        &[
            "a{name}b{name}c",
            "*[?]\\{n}",
            r#"{"parts":[{"text":"t:"},{"hole":{"hole":"integer","escaped":true}},{"text":":"},{"hole":{"hole":"any","escaped":true}}],"holds":"row"}"#,
            "p.a*b?c",
            "p",
            "axbyc",
            "t:%00:x",
        ],
        &[
            "größe",
            "{d}{at}{b}",
            r#"{"parts":[{"hole":{"hole":"boolean","escaped":false}}],"holds":"sorted_set"}"#,
            "?",
            "public",
            "é",
            "false",
        ],
    ];
    let bytes = |texts: &&[&str]| {
        let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
        texts.join(&0xff)
    };
    all.iter().map(bytes).collect()
}

/// Values of each kind, in the order of the kinds, and arrays of some.
fn values() -> Vec<Vec<u8>> {
    let all: [(u8, u8, &[u8]); 24] = [
        (0, 0, b"t"),
        (1, 0, b"-9223372036854775808"),
        (2, 0x10, b"-123.4500"),
        (3, 0, b"-1.5e-05"),
        (4, 1, b"5874897-12-31"),
        (5, 0, b"24:00:00"),
        (6, 0, b"13:51:30.123456-07:30"),
        (7, 2, b"4714-11-24 00:00:00 BC"),
        (8, 0, b"294276-12-31 23:59:59.999999+15:59:59"),
        (8, 3, b"0001-01-01 00:00:00.5+00 BC"),
        (9, 0, b"P1Y2M3DT4H5M6.78S"),
        (10, 0, b"\\xdeadbeef"),
        (10, 8, b"\\x00ff"),
        (11, 0, br#""a"=>"1", "b\"\\"=>NULL"#),
        (12, 0, b"[1,2.5,-3e-05]"),
        (13, 0, b"a\"\\\n\x01\xc3\xa9"),
        (14, 0, br#"{"a": 1}"#),
        (16, 0, b"[-1:0][2:3]={{1,2},{3,NULL}}"),
        (23, 1, br#"{"2018-08-09 19:50:13.1+00",infinity}"#),
        (25, 0, br#"{"\\xdeadbeef",NULL}"#),
        (26, 0, br#"{"\"a\"=>\"1\", \"b\"=>\"x\\\"y\"",""}"#),
        (28, 0x80, b"{a;\"b;c\"}"),
        (29, 0, br#"{"{\"a\": 1}",null}"#),
        (43, 0, br#"{"{1,\"\\\"\"}","{}",NULL}"#),
    ];
    all.map(|(kind, options, text)| [&[kind, options], text].concat()).to_vec()
}
