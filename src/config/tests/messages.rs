//! Every message, word for word.

use super::super::Config;
use super::{SMALLEST, env};

fn message(text: &str) -> String {
    match Config::parse(text, "hr.yaml", &env) {
        Ok(_) => panic!("this is no error:\n{text}"),
        Err(error) => error.to_string(),
    }
}

fn check(cases: &[(&str, &str)], around: impl Fn(&str) -> String) {
    let mut wrong = String::new();
    for (typed, expected) in cases {
        let found = message(&around(typed));
        if found != *expected {
            wrong += &format!("{typed:?}\n  {found:?}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_document() {
    check(
        &[
            ("", "hr.yaml:1:1: the file is empty; it needs at least source.url and target.url"),
            ("hr", "hr.yaml:1:1: the configuration must be a mapping of `key: value`, not a text"),
            ("[a]", "hr.yaml:1:1: the configuration must be a mapping of `key: value`, not a list"),
            ("# nothing\n", "hr.yaml:2:1: the file is empty; it needs at least source.url and target.url"),
            ("nam: x", "hr.yaml:1:1: unknown key `nam` in the configuration; did you mean `name`?"),
            ("source: {}", "hr.yaml:1:1: `target` is missing in the configuration"),
            ("source: { url: postgresql://h }", "hr.yaml:1:1: `target` is missing in the configuration"),
            ("target: { url: redis://h }", "hr.yaml:1:1: `source` is missing in the configuration"),
            (
                "zzz: 1",
                "hr.yaml:1:1: unknown key `zzz` in the configuration; known keys: name, source, target, tables, snapshot, durability, on_gap, dlq, http",
            ),
            (
                "password:hunter2",
                "hr.yaml:1:1: the configuration must be a mapping of `key: value`, not a text",
            ),
            (
                "{password:hunter2}",
                "hr.yaml:1:2: a key in the configuration has characters that no key has; write `key: value` with a space; known keys: name, source, target, tables, snapshot, durability, on_gap, dlq, http",
            ),
            ("a: 1\na: 2", "hr.yaml:2:1: the key `a` is here a second time"),
            ("? [a]\n: b", "hr.yaml:1:3: a key must be a text"),
            ("~: 1", "hr.yaml:1:1: a key must be a text"),
            (
                "a: b: c",
                "hr.yaml:1:5: not YAML: mapping values are not allowed in this context; write a value that contains `: ` in quotes",
            ),
            ("a: {b", "hr.yaml:1:4: not YAML: unclosed bracket '{'"),
            (
                "a: *b",
                "hr.yaml:1:4: this begins with `*` but is no known alias; write a text that begins with `*` in quotes",
            ),
            ("a: !b c", "hr.yaml:1:7: tags are not used here; write a text that begins with `!` in quotes"),
            ("a: @b", "hr.yaml:1:4: a value cannot begin with this character; write the value in quotes"),
            ("a: 'b", "hr.yaml:1:4: not YAML: unclosed quote"),
            ("a: 1\n---\nb: 1", "hr.yaml:3:1: a second document begins; the configuration is one document"),
            ("a: &a [*a]", "hr.yaml:1:8: an alias contains itself"),
            (
                "a: { b: ${X} }",
                r#"hr.yaml:1:10: not YAML: while parsing a flow mapping, did not find expected ',' or '}'; within { } or [ ] write a variable in quotes: "${NAME}""#,
            ),
            (
                r#""\q""#,
                "hr.yaml:1:1: not YAML: while parsing a quoted scalar, found unknown escape character",
            ),
            (
                "a: ${PGPASSWORD}",
                "hr.yaml:1:4: the environment variable `PGPASSWORD` is not set; set it, or give a default: `${PGPASSWORD:-default}`",
            ),
            (
                "x:\n  - ${A B}",
                "hr.yaml:2:5: a variable must be written `${NAME}` or `${NAME:-default}`; write `$${` for a literal `${`",
            ),
            ("a: !!int x", "hr.yaml:1:10: not YAML: a value does not fit its place or its tag"),
        ],
        str::to_owned,
    );
}

#[test]
fn the_source() {
    check(
        &[
            ("", "hr.yaml:1:7: source has no value; it must be a mapping of `key: value`"),
            ("text", "hr.yaml:1:9: source must be a mapping of `key: value`, not a text"),
            ("{}", "hr.yaml:1:9: `url` is missing in source"),
            ("{ pasword: x }", "hr.yaml:1:11: unknown key `pasword` in source; did you mean `password`?"),
            ("{ url: }", "hr.yaml:1:14: source.url has no value"),
            ("{ url: [] }", "hr.yaml:1:16: source.url must be a text, not a list"),
            (r#"{ url: "" }"#, "hr.yaml:1:16: source.url is empty"),
            (
                "{ url: mysql://h }",
                "hr.yaml:1:16: source.url: it does not begin with postgresql:// or postgres://",
            ),
            (
                "{ url: 'postgresql://h:x' }",
                "hr.yaml:1:16: source.url: the port is not a number from 1 to 65535",
            ),
            (
                "{ url: postgresql://h, password: a, password_file: b }",
                "hr.yaml:1:60: source has both password and password_file; leave one out",
            ),
            (
                "{ url: postgresql://h, password: [a] }",
                "hr.yaml:1:42: source.password must be a text, not a list",
            ),
            ("{ url: postgresql://h, password: }", "hr.yaml:1:40: source.password has no value"),
            ("{ url: postgresql://h, password_file: '' }", "hr.yaml:1:47: source.password_file is empty"),
            (
                "{ url: postgresql://h, slot: My-Slot }",
                "hr.yaml:1:38: source.slot must be a-z, 0-9 and _, at most 63 of them; PostgreSQL allows no other slot names",
            ),
            ("{ url: postgresql://h, slot: '' }", "hr.yaml:1:38: source.slot is empty"),
            (
                "{ url: postgresql://h, publication: 'pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp' }",
                "hr.yaml:1:45: source.publication must be at most 63 bytes; PostgreSQL would cut it",
            ),
            (
                "{ url: postgresql://h, retain: soon }",
                "hr.yaml:1:40: source.retain must be a duration: seconds, or a number with ms, s, m or h",
            ),
            ("{ url: postgresql://h, retain: }", "hr.yaml:1:38: source.retain has no value"),
        ],
        |source| format!("source: {source}\ntarget: {{ url: redis://h }}\n"),
    );
}

#[test]
fn the_target() {
    check(
        &[
            ("{ batch: {} }", "hr.yaml:2:9: `url` is missing in target"),
            (
                "{ url: http://h }",
                "hr.yaml:2:16: target.url: it does not begin with redis://, rediss://, redis-cluster://, rediss-cluster://, redis-sentinel://, rediss-sentinel:// or redis+unix://",
            ),
            (
                "{ url: redis://h, batch: 5 }",
                "hr.yaml:2:34: target.batch must be a mapping of `key: value`, not a text",
            ),
            (
                "{ url: redis://h, batch: { row: 5 } }",
                "hr.yaml:2:36: unknown key `row` in target.batch; did you mean `rows`?",
            ),
            (
                "{ url: redis://h, batch: { rows: 0 } }",
                "hr.yaml:2:42: target.batch.rows must be a whole number from 1 to 1000000",
            ),
            (
                "{ url: redis://h, batch: { rows: many } }",
                "hr.yaml:2:42: target.batch.rows must be a whole number from 1 to 1000000",
            ),
            (
                "{ url: redis://h, batch: { bytes: 1TB } }",
                "hr.yaml:2:43: target.batch.bytes must be a size such as 512KiB or 4MiB, in bytes from 1024 to 268435456",
            ),
            (
                "{ url: redis://h, batch: { bytes: 1 } }",
                "hr.yaml:2:43: target.batch.bytes must be a size such as 512KiB or 4MiB, in bytes from 1024 to 268435456",
            ),
            (
                "{ url: redis://h, password: a, password_file: b }",
                "hr.yaml:2:55: target has both password and password_file; leave one out",
            ),
            (
                "{ url: redis://h, slot: b }",
                "hr.yaml:2:27: unknown key `slot` in target; known keys: url, password, password_file, tls, sentinel, batch",
            ),
            (
                "{ url: redis://h, tls: { verify: full } }",
                "hr.yaml:2:32: target.tls is given, but target.url is one without TLS; begin it with rediss://, or leave tls out",
            ),
            (
                "{ url: redis-sentinel://h/m, tls: {} }",
                "hr.yaml:2:43: target.tls is given, but target.url is one without TLS; begin it with rediss-sentinel://, or leave tls out",
            ),
            (
                "{ url: unix:///s, tls: {} }",
                "hr.yaml:2:32: target.tls is given, and a socket has no TLS; leave it out",
            ),
            (
                "{ url: rediss://h, tls: { ca: x } }",
                "hr.yaml:2:35: unknown key `ca` in target.tls; known keys: ca_file, cert_file, key_file, server_name, verify",
            ),
            (
                "{ url: rediss://h, tls: { verify: fulll } }",
                "hr.yaml:2:43: target.tls.verify cannot be `fulll`; did you mean `full`?",
            ),
            (
                "{ url: rediss://h, tls: { verify: none, ca_file: x } }",
                "hr.yaml:2:58: target.tls.ca_file has no meaning with verify: none; leave it out, or write verify: full",
            ),
            (
                "{ url: rediss://h, tls: { cert_file: x } }",
                "hr.yaml:2:46: target.tls.cert_file needs key_file too; give both or none",
            ),
            (
                "{ url: rediss://h, tls: { key_file: x } }",
                "hr.yaml:2:45: target.tls.key_file needs cert_file too; give both or none",
            ),
            (
                "{ url: rediss://h, tls: { server_name: 'a b' } }",
                "hr.yaml:2:48: target.tls.server_name must be a host name or an address, as a certificate has it",
            ),
            (
                "{ url: redis://h, sentinel: { password: x } }",
                "hr.yaml:2:37: target.sentinel is given, but target.url names no sentinels; write redis-sentinel://host:26379/service, or leave it out",
            ),
            (
                "{ url: redis-sentinel://h/m, sentinel: { password: x, password_file: y } }",
                "hr.yaml:2:78: target.sentinel has both password and password_file; leave one out",
            ),
            (
                "{ url: redis-sentinel://h/m, sentinel: { tls: yes } }",
                "hr.yaml:2:55: target.sentinel.tls cannot be `yes`; known: true, false",
            ),
        ],
        |target| format!("source: {{ url: postgresql://h }}\ntarget: {target}\n"),
    );
}

#[test]
fn the_rest() {
    check(
        &[
            ("name: HR-1", "hr.yaml:3:7: name must be a-z, 0-9 and _, at most 40 of them, such as `hr_1`"),
            ("name: ''", "hr.yaml:3:7: name is empty"),
            (
                "name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "hr.yaml:3:7: name must be a-z, 0-9 and _, at most 40 of them, such as `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`",
            ),
            ("name: 'a b'", "hr.yaml:3:7: name must be a-z, 0-9 and _, at most 40 of them"),
            ("name: [a]", "hr.yaml:3:7: name must be a text, not a list"),
            (
                "snapshot: { workers: 65 }",
                "hr.yaml:3:22: snapshot.workers must be a whole number from 1 to 64",
            ),
            (
                "snapshot: { range_rows: 1 }",
                "hr.yaml:3:25: snapshot.range_rows must be a whole number from 1000 to 1000000000",
            ),
            (
                "snapshot: { worker: 1 }",
                "hr.yaml:3:13: unknown key `worker` in snapshot; did you mean `workers`?",
            ),
            ("snapshot:", "hr.yaml:3:9: snapshot has no value; it must be a mapping of `key: value`"),
            ("tables:", "hr.yaml:3:7: tables is empty; leave it out to capture every table"),
            ("tables: {}", "hr.yaml:3:9: tables is empty; leave it out to capture every table"),
            ("tables: []", "hr.yaml:3:9: tables must be a mapping of tables to outputs, not a list"),
            (
                "tables: { a.b.c: { type: hash } }",
                "hr.yaml:3:11: in tables: a table pattern has at most two parts; write a name with a dot in double quotes",
            ),
            (
                "tables: { '': { type: hash } }",
                "hr.yaml:3:11: in tables: a table pattern is `schema.table` or `table`, and neither part may be empty",
            ),
            (
                r#"tables: { '"a': { type: hash } }"#,
                r#"hr.yaml:3:11: in tables: a `"` is not closed; write a quote within a quoted name twice"#,
            ),
            (
                "tables:\n  a: { type: hash }\n  public.a: { type: hash }",
                "hr.yaml:5:3: this table already has a rule in line 4",
            ),
            (
                "tables: { '${X}': { type: hash } }",
                "hr.yaml:3:11: variables are replaced in values, not in keys",
            ),
        ],
        |rest| format!("{SMALLEST}{rest}\n"),
    );
}

#[test]
fn outputs() {
    check(
        &[
            (
                "",
                "hr.yaml:4:6: the output of `emp` has no value; it must be a mapping such as `{ type: hash }`, or a list of them",
            ),
            (
                "hash",
                "hr.yaml:4:8: the output of `emp` must be a mapping such as `{ type: hash }`, or a list of them, not a text",
            ),
            ("[]", "hr.yaml:4:8: the list of outputs of `emp` is empty; write `{ type: hash }`"),
            ("[hash]", "hr.yaml:4:9: the output of `emp` must be a mapping of `key: value`, not a text"),
            (
                "{}",
                "hr.yaml:4:8: `type` is missing in the output of `emp`; known types: hash, json, string, set, sorted_set, stream",
            ),
            (
                "{ tpye: hash }",
                "hr.yaml:4:10: unknown key `tpye` in the output of `emp`; did you mean `type`?",
            ),
            (
                "{ type: list }",
                "hr.yaml:4:16: the type of the output of `emp` cannot be `list`; known: hash, json, string, set, sorted_set, stream",
            ),
            (
                "{ type: hsah }",
                "hr.yaml:4:16: the type of the output of `emp` cannot be `hsah`; did you mean `hash`?",
            ),
            ("{ type: [hash] }", "hr.yaml:4:16: the type of the output of `emp` must be a text, not a list"),
            (
                "{ type: hash, kye: x }",
                "hr.yaml:4:22: unknown key `kye` in the output of `emp`; did you mean `key`?",
            ),
            (
                "{ type: hash, member: x }",
                "hr.yaml:4:22: `member` in the output of `emp` is for set, sorted_set only; its type is hash",
            ),
            (
                "{ type: stream, score: x }",
                "hr.yaml:4:24: `score` in the output of `emp` is for sorted_set only; its type is stream",
            ),
            (
                "{ type: set, columns: [a] }",
                "hr.yaml:4:21: `columns` in the output of `emp` is for hash, json, string, stream only; its type is set",
            ),
            (
                "{ type: set, size: 3 }",
                "hr.yaml:4:21: unknown key `size` in the output of `emp`; known keys: type, key, ttl, timestamps, binary, decimals, member",
            ),
            (
                "{ type: sorted_set }",
                "hr.yaml:4:8: `score` is missing in the output of `emp`; such as `score: \"{total}\"`",
            ),
            (
                "{ type: sorted_set, score: '{a' }",
                "hr.yaml:4:35: score in the output of `emp`: the hole that opens at character 1 is not closed; close it with `}`, or write `{{` for a literal brace",
            ),
            (
                "{ type: string, value: '{a}', exclude: [b] }",
                "hr.yaml:4:38: the output of `emp` has a `value`, so its columns are those in it; leave this out",
            ),
            (
                "{ type: stream, format: plain }",
                "hr.yaml:4:32: format in the output of `emp` cannot be `plain`; known: event, flat, debezium",
            ),
            (
                "{ type: stream, max_len: 0 }",
                "hr.yaml:4:33: max_len in the output of `emp` must be a whole number from 1 to 1099511627776",
            ),
            (
                "{ type: hash, index: yes please }",
                "hr.yaml:4:29: index in the output of `emp` must be true, false or a list of columns, not a text",
            ),
            (
                "{ type: hash, index: [] }",
                "hr.yaml:4:29: index in the output of `emp` is empty; name a column, or write true",
            ),
            (
                "{ type: hash, index: [a, a] }",
                "hr.yaml:4:33: index in the output of `emp`: a column is named twice",
            ),
            (
                "{ type: hash, index: [a: txt] }",
                "hr.yaml:4:33: a type in index in the output of `emp` cannot be `txt`; did you mean `text`?",
            ),
            ("{ type: hash, key: '' }", "hr.yaml:4:27: key in the output of `emp`: the template is empty"),
            (
                "{ type: hash, key: 'a:{id' }",
                "hr.yaml:4:27: key in the output of `emp`: the hole that opens at character 3 is not closed; close it with `}`, or write `{{` for a literal brace",
            ),
            (
                "{ type: hash, key: 'a:{}' }",
                "hr.yaml:4:27: key in the output of `emp`: the hole at character 3 is empty; name a column, `pk` or `table`",
            ),
            (
                "{ type: hash, key: 'a:{table}' }",
                "hr.yaml:4:27: key in the output of `emp` is the same for every row; add a column, such as `{id}`, or `{pk}`",
            ),
            (
                "{ type: hash, key: [a] }",
                "hr.yaml:4:27: key in the output of `emp` must be a text, not a list",
            ),
            (
                "{ type: hash, columns: [a], exclude: [b] }",
                "hr.yaml:4:45: the output of `emp` has both columns and exclude; leave one out",
            ),
            (
                "{ type: hash, columns: [] }",
                "hr.yaml:4:31: columns in the output of `emp` is empty; name a column, or leave it out",
            ),
            (
                "{ type: hash, columns: a }",
                "hr.yaml:4:31: columns in the output of `emp` must be a list of columns, not a text",
            ),
            (
                "{ type: hash, columns: [[a]] }",
                "hr.yaml:4:32: an item of columns in the output of `emp` must be a column, or `{ column: new_name }`, not a list",
            ),
            (
                "{ type: hash, columns: [{}] }",
                "hr.yaml:4:32: an item of columns in the output of `emp` must be a column, or `{ column: new_name }`, not a mapping",
            ),
            (
                "{ type: hash, columns: [''] }",
                "hr.yaml:4:32: a name in columns in the output of `emp` is empty",
            ),
            (
                "{ type: hash, columns: [a, { b: a }] }",
                "hr.yaml:4:40: columns in the output of `emp`: `a` is written twice",
            ),
            (
                "{ type: hash, columns: [{ b: }] }",
                "hr.yaml:4:35: columns in the output of `emp` has no value",
            ),
            (
                "{ type: hash, exclude: [] }",
                "hr.yaml:4:31: exclude in the output of `emp` is empty; name a column, or leave it out",
            ),
            (
                "{ type: hash, exclude: [a: b] }",
                "hr.yaml:4:32: an item of exclude in the output of `emp` must be a text, not a mapping",
            ),
            (
                "{ type: hash, exclude: [''] }",
                "hr.yaml:4:32: an item of exclude in the output of `emp` is empty",
            ),
            (
                "{ type: hash, ttl: 0 }",
                "hr.yaml:4:27: ttl in the output of `emp` must be whole seconds, at least one and at most a hundred years",
            ),
            (
                "{ type: hash, ttl: 1500ms }",
                "hr.yaml:4:27: ttl in the output of `emp` must be whole seconds, at least one and at most a hundred years",
            ),
            (
                "{ type: hash, ttl: -1 }",
                "hr.yaml:4:27: ttl in the output of `emp` must be a duration: seconds, or a number with ms, s, m or h",
            ),
            (
                "{ type: hash, ttl: 877000h }",
                "hr.yaml:4:27: ttl in the output of `emp` must be a duration: seconds, or a number with ms, s, m or h",
            ),
            (
                "{ type: hash, timestamps: is }",
                "hr.yaml:4:34: timestamps in the output of `emp` cannot be `is`; did you mean `iso`?",
            ),
            (
                "{ type: hash, timestamps: unix }",
                "hr.yaml:4:34: timestamps in the output of `emp` cannot be `unix`; known: iso, epoch_ms, epoch_us",
            ),
            (
                "{ type: hash, binary: bas64 }",
                "hr.yaml:4:30: binary in the output of `emp` cannot be `bas64`; did you mean `base64`?",
            ),
            (
                "{ type: hash, decimals: float }",
                "hr.yaml:4:32: decimals in the output of `emp` cannot be `float`; known: string, number",
            ),
            (
                "{ type: hash, nulls: keep it }",
                "hr.yaml:4:29: nulls in the output of `emp` is not a known word; known: omit, empty",
            ),
            ("{ type: hash, type: hash }", "hr.yaml:4:22: the key `type` is here a second time"),
            (
                "[{ type: hash }, { type: hash }]",
                "hr.yaml:4:25: this output of `emp` writes the same key as one before it; give it another `key`",
            ),
            (
                "[{ type: hash, key: 'a:{id}' }, { type: hash }, { type: hash, key: 'a:{id}' }]",
                "hr.yaml:4:56: this output of `emp` writes the same key as one before it; give it another `key`",
            ),
        ],
        |output| format!("{SMALLEST}tables:\n  emp: {output}\n"),
    );
}

#[test]
fn files_that_are_too_large() {
    let large = "#".repeat((4 << 20) + 1);
    assert_eq!(message(&large), "hr.yaml: the file is larger than 4 MiB");
    let bomb = "\
a: &a [x, x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]
e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]
";
    let deep = "[".repeat(100_000);
    let wide = "[],".repeat(300_000);
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a,".repeat(900));
    for text in [bomb, &format!("a: {deep}"), &format!("a: [{wide}]"), &long] {
        let message = message(text);
        assert!(
            message.contains("nested too deeply")
                || message.contains("larger than 16 MiB")
                || message.contains("recursion"),
            "{message}"
        );
    }
}
