//! Whole configurations: what they mean, what is wrong with them, and what never shows.

mod messages;
mod secrets;

use super::{
    Arguments, Batch, Binary, Columns, Config, Decimals, Format, Index, IndexType, Nulls, OutputKind,
    PostgresHost, Protocol, RedisHost, Secret, Snapshot, Structure, Template, Timestamps, Topology, Verify,
    from_arguments,
};
use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use std::time::Duration;

fn env(name: &str) -> Option<String> {
    match name {
        "PGUSER" => Some("me".to_owned()),
        "SECRET" => Some("hunter2: #{\n- x".to_owned()),
        "ROWS" => Some("500".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn parse(text: &str) -> Config {
    Config::parse(text, "hr.yaml", &env).unwrap()
}

fn password(secret: &Secret) -> Option<String> {
    let secret = secret.read().unwrap();
    secret.map(|text| text.expose_secret().to_owned())
}

const SMALLEST: &str = "source: { url: postgresql://h/hr }\ntarget: { url: redis://h }\n";

#[test]
fn the_smallest_configuration_and_its_defaults() {
    let config = parse(SMALLEST);
    assert_eq!(config.name, "hr");
    assert_eq!(config.source.slot, "redis_connect_hr");
    assert_eq!(config.source.publication, "redis_connect_hr");
    assert_eq!(config.source.retain, Duration::from_secs(60));
    assert!(matches!(config.source.password, Secret::None));
    assert!(matches!(config.target.password, Secret::None));
    assert_eq!(config.target.batch, Batch { rows: 10_000, bytes: 4_194_304 });
    assert_eq!(config.snapshot, Snapshot { workers: 2, range_rows: 200_000 });
    assert!(config.tables.is_empty());
}

#[test]
fn everything_that_can_be_written() {
    let config = parse(
        r#"
name: hr_2                      # a comment
source:
  url: postgresql://repl@db.example:5433/hr?sslmode=verify-full
  password: "${SECRET}"
  slot: my_slot
  publication: My Publication
  retain: 5m
target:
  url: rediss-sentinel://app@s1,s2:2/master/3?protocol=3
  password_file: /run/secrets/redis
  tls: { ca_file: /ca.pem, cert_file: /c.pem, key_file: /k.pem, server_name: redis.example, verify: ca }
  sentinel: { username: watch, password: "${SECRET}", tls: false }
  batch: { rows: "${ROWS}", bytes: 512KiB }
tables:
  public.emp: { type: hash }
  '"My.Schema"."T""x"':
    - type: hash
      key: "order:{id}"
      columns: [id, total, { cust: customer, 7: seven }, null_, "null", 007, on]
      ttl: 3600
      timestamps: epoch_ms
      binary: hex
      decimals: number
      nulls: empty
    - { type: hash, ttl: 1h }
  sales.*: { type: hash, exclude: [ssn] }
snapshot: { workers: 64, range_rows: 1_000_000 }
"#,
    );
    assert_eq!(config.name, "hr_2");
    assert_eq!(config.source.url.hosts, [PostgresHost::Tcp { host: "db.example".into(), port: 5433 }]);
    assert_eq!(password(&config.source.password).unwrap(), "hunter2: #{\n- x");
    assert_eq!(config.source.slot, "my_slot");
    assert_eq!(config.source.publication, "My Publication");
    assert_eq!(config.source.retain, Duration::from_secs(300));
    assert_eq!(config.target.url.topology, Topology::Sentinel { service: "master".into() });
    assert_eq!(config.target.url.hosts[1], RedisHost::Tcp { host: "s2".into(), port: 2 });
    assert!(matches!(&config.target.password, Secret::File(p) if p.ends_with("redis")));
    assert_eq!(config.target.url.protocol, Protocol::Resp3);
    let tls = &config.target.tls;
    assert_eq!(tls.ca_file.as_deref(), Some("/ca.pem".as_ref()));
    assert_eq!(tls.identity, Some(("/c.pem".into(), "/k.pem".into())));
    assert_eq!((tls.server_name.as_deref(), tls.verify), (Some("redis.example"), Verify::Ca));
    let sentinel = &config.target.sentinel;
    assert_eq!((sentinel.username.as_deref(), sentinel.tls), (Some("watch"), Some(false)));
    assert_eq!(password(&sentinel.password).unwrap(), "hunter2: #{\n- x");
    assert_eq!(config.target.batch, Batch { rows: 500, bytes: 524_288 });
    assert_eq!(config.snapshot, Snapshot { workers: 64, range_rows: 1_000_000 });

    let rules = &config.tables;
    let lines: Vec<u32> = rules.iter().map(|rule| rule.line).collect();
    assert_eq!(lines, [16, 17, 27]);
    assert_eq!(rules[1].pattern.exact(), Some(("My.Schema", "T\"x")));
    let [first, second] = &rules[1].outputs[..] else { panic!("two outputs") };
    assert_eq!((first.line, second.line), (18, 26));
    assert_eq!(first.structure.kind(), OutputKind::Hash);
    assert_eq!(first.key.to_string(), "order:{id}");
    let pairs = [
        ("id", "id"),
        ("total", "total"),
        ("cust", "customer"),
        ("7", "seven"),
        ("null_", "null_"),
        ("null", "null"),
        ("007", "007"),
        ("on", "on"),
    ];
    let pairs = pairs.map(|(source, target)| (source.to_owned(), target.to_owned()));
    assert_eq!(first.columns, Columns::Only(pairs.to_vec()));
    assert_eq!(first.ttl, Some(Duration::from_secs(3600)));
    assert_eq!(first.values.timestamps, Timestamps::EpochMs);
    assert_eq!(first.values.binary, Binary::Hex);
    assert_eq!(first.values.decimals, Decimals::Number);
    assert_eq!(first.values.nulls, Nulls::Empty);
    assert_eq!(second.key.to_string(), "{table}:{pk}");
    assert_eq!(second.columns, Columns::All);
    assert_eq!(second.ttl, Some(Duration::from_secs(3600)));
    assert_eq!(rules[2].outputs[0].columns, Columns::Except(vec!["ssn".to_owned()]));
    assert!(rules[2].pattern.matches("sales", "x"));
}

#[test]
fn values_are_the_text_that_was_typed() {
    for (typed, expected) in [
        ("007", "007"),
        ("1_000", "1_000"),
        ("1e999", "1e999"),
        ("0x1F", "0x1F"),
        ("true", "true"),
        ("yes", "yes"),
        (".inf", ".inf"),
        ("99999999999999999999999999999999999999999", "99999999999999999999999999999999999999999"),
        ("'${SECRET}x'", "hunter2: #{\n- xx"),
        ("${UNSET:-a b}", "a b"),
        ("$${X}", "${X}"),
        ("a#b", "a#b"),
        ("'it''s'", "it's"),
        ("\"a\\nb\"", "a\nb"),
        ("|\n    two\n    lines", "two\nlines\n"),
    ] {
        let text =
            format!("source:\n  url: postgresql://h/hr\n  password: {typed}\ntarget: {{ url: redis://h }}\n");
        assert_eq!(password(&parse(&text).source.password).unwrap(), expected, "{typed}");
        let text = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        assert_eq!(password(&parse(&text).source.password).unwrap(), expected, "{typed}");
    }
}

#[test]
fn aliases_and_merges() {
    let config = parse(&format!(
        "{SMALLEST}tables:\n  a: &a {{ type: hash, ttl: 060 }}\n  b: *a\n  c: {{ <<: *a, ttl: 5 }}\n"
    ));
    let ttl = |index: usize| config.tables[index].outputs[0].ttl.unwrap().as_secs();
    assert_eq!([ttl(0), ttl(1), ttl(2)], [60, 60, 5]);
}

#[test]
fn which_password_counts() {
    let read = |source: &str, pgpassword: &str| {
        let env = |name: &str| (name == "PGPASSWORD").then(|| pgpassword.to_owned());
        let text = format!("source: {{ {source} }}\ntarget: {{ url: 'redis://:t@h' }}\n");
        let config = Config::parse(&text, "f", &env).unwrap();
        assert_eq!(password(&config.target.password).unwrap(), "t");
        password(&config.source.password)
    };
    let with = "url: 'postgresql://u:url@h/hr'";
    let without = "url: 'postgresql://u@h/hr'";
    assert_eq!(read(&format!("{with}, password: own"), "env").unwrap(), "own");
    assert_eq!(read(with, "env").unwrap(), "url");
    assert_eq!(read(without, "env").unwrap(), "env");
    assert_eq!(read(without, ""), None);
    assert_eq!(read(&format!("{without}, password: \"${{X:-}}\""), "env").unwrap(), "env");
}

#[test]
fn the_name_comes_from_the_database() {
    for (database, name) in [
        ("hr", "hr"),
        ("HR-Prod", "hr_prod"),
        ("gr%C3%B6%C3%9Fe", "gr__e"),
        ("a%20b.c", "a_b_c"),
        ("a12345678901234567890123456789012345678901234567890", "a123456789012345678901234567890123456789"),
    ] {
        let config = parse(&SMALLEST.replace("/hr", &format!("/{database}")));
        assert_eq!(config.name, name);
        assert_eq!(config.source.slot, format!("redis_connect_{name}"));
    }
}

fn arguments(source: &str, target: &str, tables: &[&str], kind: Option<&str>) -> Arguments {
    Arguments {
        source: source.to_owned(),
        target: target.to_owned(),
        tables: tables.iter().map(|&t| t.to_owned()).collect(),
        kind: kind.map(str::to_owned),
    }
}

#[test]
fn without_a_file() {
    let typed = arguments("postgresql://u:p@h/HR", "redis://:t@h", &["emp", "sales.*"], Some("hash"));
    let config = from_arguments(&typed, &env).unwrap();
    assert_eq!(config.name, "hr");
    assert_eq!(config.source.slot, "redis_connect_hr");
    assert_eq!(password(&config.source.password).unwrap(), "p");
    assert_eq!(password(&config.target.password).unwrap(), "t");
    assert_eq!(config.tables.len(), 2);
    assert_eq!(config.tables[0].pattern.exact(), Some(("public", "emp")));
    assert_eq!(config.tables[0].outputs.len(), 1);
    assert_eq!(config.tables[0].line, 0);
    let all = arguments("postgresql://h/hr", "redis://h", &[], None);
    assert!(from_arguments(&all, &env).unwrap().tables.is_empty());
    let json = arguments("postgresql://h/hr", "redis://h", &[], Some("json"));
    assert_eq!(from_arguments(&json, &env).unwrap().plain.structure, Structure::Json { index: None });
}

#[test]
fn every_structure() {
    let config = parse(&format!(
        "{SMALLEST}tables:
  emp:
    - {{ type: json, key: 'e:{{id}}', index: true }}
    - {{ type: hash, index: [name, {{ age: numeric }}] }}
    - {{ type: string, key: 's:{{id}}', value: '{{name}}' }}
    - {{ type: set }}
    - {{ type: sorted_set, key: 'z:{{dept}}', member: '{{name}}', score: '{{age}}' }}
    - {{ type: stream, format: debezium, max_len: 1_000 }}
    - {{ type: json, key: 'j:{{id}}', index: false, nulls: omit }}
"
    ));
    let found: Vec<(Structure, String)> = config.tables[0]
        .outputs
        .iter()
        .map(|output| (output.structure.clone(), output.key.to_string()))
        .collect();
    let template = |text: &str| Template::parse(text).unwrap();
    let columns = vec![("name".to_owned(), None), ("age".to_owned(), Some(IndexType::Numeric))];
    let expected = [
        (Structure::Json { index: Some(Index::All) }, "e:{id}"),
        (Structure::Hash { index: Some(Index::Only(columns)) }, "{table}:{pk}"),
        (Structure::String { value: Some(template("{name}")) }, "s:{id}"),
        (Structure::Set { member: template("{pk}") }, "{table}"),
        (Structure::SortedSet { member: template("{name}"), score: template("{age}") }, "z:{dept}"),
        (Structure::Stream { format: Format::Debezium, max_len: Some(1000) }, "{table}:events"),
        (Structure::Json { index: None }, "j:{id}"),
    ];
    assert_eq!(found, expected.map(|(structure, key)| (structure, key.to_owned())));
    let nulls: Vec<Nulls> = config.tables[0].outputs.iter().map(|output| output.values.nulls).collect();
    assert_eq!(nulls[0..3], [Nulls::Empty, Nulls::Omit, Nulls::Empty]);
    assert_eq!(nulls[6], Nulls::Omit);
}

#[test]
fn errors_without_a_file() {
    let source = "postgresql://h";
    let target = "redis://h";
    for (typed, message) in [
        (
            arguments("postgresql://u:hunter2", target, &[], None),
            "--source: the port is not a number from 1 to 65535",
        ),
        (
            arguments(source, "redis://u:hun/ter2@h", &[], None),
            "--target: there is a `@` behind the host; in user name and password write `/`, `?`, `#` and `@` as %2F, %3F, %23 and %40",
        ),
        (
            arguments(source, target, &["a.b.c"], None),
            "--tables: a table pattern has at most two parts; write a name with a dot in double quotes",
        ),
        (
            arguments(source, target, &[], Some("list")),
            "--type: the type is not known; known types: hash, json, string, set, sorted_set, stream",
        ),
        (
            arguments(source, target, &[], Some("sorted_set")),
            "--type: sorted_set needs a score, which has no option; write a configuration file",
        ),
        (arguments(source, target, &[], Some("hsah")), "--type: the type is not known; did you mean `hash`?"),
    ] {
        let error = from_arguments(&typed, &env).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.line(), None);
    }
}

#[test]
fn files() {
    let path = std::env::temp_dir().join(format!("rcp-config-{}.yaml", std::process::id()));
    std::fs::write(&path, SMALLEST).unwrap();
    assert_eq!(Config::load(&path).unwrap().name, "hr");
    let shown = path.display().to_string();
    let message = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Config::load(&path).unwrap_err().to_string()
    };
    assert_eq!(message(b"name: \xff"), format!("{shown}: the file is not UTF-8"));
    assert_eq!(message(&vec![b'#'; 5 << 20]), format!("{shown}: the file is larger than 4 MiB"));
    assert!(message(b"nam: x").starts_with(&format!("{shown}:1:1: unknown key `nam`")));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        Config::load(&path).unwrap_err().to_string(),
        format!("{shown}: cannot read the configuration: No such file or directory (os error 2)")
    );
}

proptest! {
    #[test]
    fn any_text(text in "([ \\-:{}\\[\\]&*a,'\"|>#!%@`~?\n\t$0-9.]|source|url|tables|<<){0,60}|\\PC*") {
        let _ = Config::parse(&text, "f", &env);
    }

    #[test]
    fn any_damage(at in 0..400usize, length in 0..20usize, put in "[ \\-:{}\\[\\]&*a,'\"|>#!%\n\t$~]{0,4}") {
        let whole = format!(
            "name: hr\n{SMALLEST}tables:\n  public.emp: {{ type: hash, key: 'a:{{id}}', columns: [id, {{ a: b }}] }}\n  sales.*:\n  - type: hash\n    exclude: [ssn]\n    ttl: 5m\nsnapshot:\n  workers: 3\n"
        );
        let mut chars: Vec<char> = whole.chars().collect();
        let start = at.min(chars.len());
        let end = (start + length).min(chars.len());
        chars.splice(start..end, put.chars());
        let text: String = chars.into_iter().collect();
        let _ = Config::parse(&text, "f", &env);
    }
}
