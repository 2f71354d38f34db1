//! The JSON Schema that `schema` prints, held against the parser: neither knows a key, a word or a limit that the
//! other does not.
//!
//! ```text
//!   schema ── each key, with a document around it ──> values ──> accepted by the schema?
//!                                                       └──────> accepted by the parser?
//! ```

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use redis_connect_postgres::config::Config;
use serde_json::{Map, Value, json};

use super::judge::Judge;
use crate::documentation::yaml_blocks;
use crate::harness::Connector;

/// Templates, names and URLs have rules that a schema can't tell; there it may accept what the parser does not.
const LENIENT: &[&str] = &["url", "key", "value", "member", "score", "publication", "server_name", "listen"];

fn printed() -> Value {
    let mut command = Connector::command();
    command.arg("schema");
    let connector = Connector::spawn(command);
    assert!(connector.wait(Duration::from_secs(10)).success(), "{}", connector.story());
    serde_json::from_str(&connector.stdout()).unwrap()
}

/// JSON is YAML too.
fn parse(text: &str) -> Result<Config, String> {
    let variable = |name: &str| text.contains(&format!("${{{name}")).then(|| "7".to_owned());
    Config::parse(text, "test", &variable).map_err(|error| error.to_string())
}

/// A mapping of the configuration: where it stands, and what the schema says of it.
struct Section<'a> {
    path: Vec<String>,
    schema: &'a Value,
}

impl Section<'_> {
    /// A document with nothing but what is needed, and these entries in this section.
    fn document(&self, entries: &[(&str, Value)]) -> Value {
        let mut document = json!({
            "source": { "url": "postgresql://db/hr" },
            "target": { "url": "rediss-sentinel://redis/main" },
        });
        let mut place = &mut document;
        for key in &self.path {
            let mapping = place.as_object_mut().unwrap();
            place = mapping.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
        }
        for (key, value) in entries {
            place.as_object_mut().unwrap().insert((*key).to_owned(), value.clone());
        }
        for (section, key, value) in [
            ("/http", "listen", "127.0.0.1:8080"),
            ("/http/tls", "cert_file", "cert.pem"),
            ("/http/tls", "key_file", "key.pem"),
        ] {
            if let Some(section) = document.pointer_mut(section).and_then(Value::as_object_mut) {
                section.entry(key).or_insert_with(|| value.into());
            }
        }
        document
    }

    /// Of an output: what else its type needs.
    fn typed(&self, kind: &str, entries: &[(&str, Value)]) -> Value {
        let mut all = vec![("type", json!(kind))];
        if kind == "sorted_set" && entries.iter().all(|(key, _)| *key != "score") {
            all.push(("score", json!("{id}")));
        }
        all.extend_from_slice(entries);
        self.document(&all)
    }

    fn is_output(&self) -> bool {
        self.path.first().is_some_and(|first| first == "tables") && self.path.len() == 2
    }

    fn keys(&self) -> BTreeSet<&str> {
        self.schema["properties"].as_object().unwrap().keys().map(String::as_str).collect()
    }
}

fn followed<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) if schema.get("properties").is_none() => {
            root.pointer(reference.strip_prefix('#').unwrap()).unwrap()
        }
        _ => schema,
    }
}

/// Every mapping with keys of its own.
fn sections(root: &Value) -> Vec<Section<'_>> {
    let mut found = vec![Section { path: Vec::new(), schema: root }];
    let mut next = 0;
    while next < found.len() {
        let (path, schema) = (found[next].path.clone(), found[next].schema);
        for (key, below) in schema["properties"].as_object().unwrap() {
            let below = followed(root, below);
            if below.get("properties").is_some() {
                found.push(Section { path: [&path[..], std::slice::from_ref(key)].concat(), schema: below });
            }
        }
        next += 1;
    }
    let output = root.pointer("/$defs/output").unwrap();
    found.push(Section { path: vec!["tables".into(), "t".into()], schema: output });
    found
}

fn kinds(output: &Section<'_>) -> Vec<String> {
    let words = output.schema["properties"]["type"]["anyOf"][0]["enum"].as_array().unwrap();
    words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// The names at the end of a message: `known keys: a, b`.
#[track_caller]
fn listed(message: &str, what: &str) -> BTreeSet<String> {
    let (_, list) = message.split_once(what).unwrap_or_else(|| panic!("no `{what}` in: {message}"));
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_key_is_in_both() {
    const UNKNOWN: &str = "qqqqqqqqqqqqqqqq";
    let root = printed();
    let schema = Judge(&root);
    let sections = sections(&root);
    assert!(sections.len() >= 10, "sections are not found any more");
    for section in &sections {
        let kinds = if section.is_output() { kinds(section) } else { vec![String::new()] };
        for kind in kinds {
            let document = |entries: &[(&str, Value)]| {
                if kind.is_empty() { section.document(entries) } else { section.typed(&kind, entries) }
            };
            let message = parse(&document(&[(UNKNOWN, json!(1))]).to_string()).unwrap_err();
            let parser = listed(&message, "known keys: ");
            // Those that no document with this type can have.
            let forbidden = |key: &str| {
                let faults = schema.faults(&document(&[(key, json!(UNKNOWN))]));
                faults.iter().any(|fault| fault.ends_with(&format!("/{key}: not allowed here")))
            };
            let known: BTreeSet<String> =
                section.keys().into_iter().filter(|key| !forbidden(key)).map(str::to_owned).collect();
            assert_eq!(known, parser, "{} {kind}", section.path.join("."));
            assert!(!schema.is_valid(&document(&[(UNKNOWN, json!(1))])));
        }
    }
}

/// Values of every sort under every key that has a single value.
#[test]
fn values_are_judged_the_same() {
    let root = printed();
    let schema = Judge(&root);
    let mut differences = String::new();
    let mut compared = 0;
    for section in &sections(&root) {
        for (key, described) in section.schema["properties"].as_object().unwrap() {
            let resolved = followed(&root, described);
            if resolved.get("properties").is_some() || ["tables", "type"].contains(&key.as_str()) {
                continue;
            }
            let mut values = samples();
            for limit in ["minimum", "maximum"] {
                if let Some(limit) = described[limit].as_i64() {
                    values.extend([limit - 1, limit, limit + 1].map(Value::from));
                }
            }
            let words = described["anyOf"][0]["enum"].as_array();
            values.extend(words.into_iter().flatten().cloned());
            let kinds = if section.is_output() { kinds(section) } else { vec![String::new()] };
            for kind in kinds {
                for value in &values {
                    let entry = [(key.as_str(), value.clone())];
                    let document =
                        if kind.is_empty() { section.document(&entry) } else { section.typed(&kind, &entry) };
                    let by_schema = schema.is_valid(&document);
                    let by_parser = parse(&document.to_string());
                    compared += 1;
                    // What a variable holds is not known, nor how large a number with a unit is.
                    let limited = described.get("minimum").or(described.get("maximum")).is_some();
                    let open = |text: &str| text.contains("${") || limited;
                    let lenient =
                        by_schema && (LENIENT.contains(&key.as_str()) || value.as_str().is_some_and(open));
                    if by_schema != by_parser.is_ok() && !lenient {
                        writeln!(
                            differences,
                            "{} {kind} {key}: {value}: schema {by_schema}, parser {:?}",
                            section.path.join("."),
                            by_parser.err()
                        )
                        .unwrap();
                    }
                }
            }
        }
    }
    assert!(compared > 2_000, "{compared}");
    assert!(differences.is_empty(), "{differences}");
}

fn samples() -> Vec<Value> {
    let mut samples =
        vec![json!(null), json!([]), json!({}), json!(["a"]), json!([{ "a": "b" }]), json!([[]])];
    samples.extend([json!(["a", ""]), json!([{ "a": "tag" }]), json!([{}]), json!([{ "": "tag" }])]);
    samples.extend([0, 1, 5, 60, -1].map(Value::from));
    samples.extend([json!(true), json!(false), json!(1.5)]);
    let texts = [
        "",
        "a",
        "A b",
        "7",
        "1_000",
        "_1",
        "1_",
        "-1",
        "500ms",
        "5 m",
        "1h",
        "1d",
        "1.5s",
        "4MiB",
        "4 kb",
        "1M",
        "512B",
        "true",
        "yes",
        "on",
        "hash",
        "${NAME}",
        "${NAME:-5}",
        "x{id}",
    ];
    samples.extend(texts.map(Value::from));
    samples
}

#[test]
fn defaults_are_what_the_parser_takes() {
    let root = printed();
    let documented = std::fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let mut seen = 0;
    for section in &sections(&root) {
        for (key, described) in section.schema["properties"].as_object().unwrap() {
            let Some(default) = described.get("default") else { continue };
            let document = if section.is_output() {
                let kinds = kinds(section);
                let mut documents = kinds.iter().map(|kind| section.typed(kind, &[(key, default.clone())]));
                documents.find(|document| parse(&document.to_string()).is_ok())
            } else {
                Some(section.document(&[(key, default.clone())]))
            };
            let document = document.unwrap_or_else(|| panic!("no type has {key}"));
            parse(&document.to_string()).unwrap();
            let text = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            let rows =
                documented.lines().filter(|line| line.starts_with('|') && line.contains(&format!("{key}`")));
            assert!(
                rows.clone().any(|row| row.contains(&format!("`{text}`"))),
                "{key}: {text} is not documented"
            );
            seen += 1;
        }
    }
    assert!(seen > 10);
}

const SIDES: &str = "source: { url: postgresql://db/hr }\ntarget: { url: redis://redis }\n";

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn is_valid(schema: &Judge<'_>, yaml: &str) -> Result<(), String> {
    let document: Value = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    let faults = schema.faults(&document);
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// What the documentation shows.
#[test]
fn documented_configurations_are_valid() {
    let root = printed();
    let schema = Judge(&root);
    let read = |page: &str| std::fs::read_to_string(repository().join(page)).unwrap();
    let mut seen = 0;
    for page in ["README.md", "docs/configuration.md"] {
        for yaml in yaml_blocks(&read(page)) {
            is_valid(&schema, &yaml).unwrap_or_else(|errors| panic!("{page}: {errors}\n{yaml}"));
            seen += 1;
        }
    }
    for entry in std::fs::read_dir(repository().join("docs/structures")).unwrap() {
        let page = entry.unwrap().path();
        for tables in yaml_blocks(&std::fs::read_to_string(&page).unwrap()) {
            let tables: String = tables.lines().map(|line| format!("  {line}\n")).collect();
            let yaml = format!("{SIDES}tables:\n{tables}");
            is_valid(&schema, &yaml).unwrap_or_else(|errors| panic!("{}: {errors}\n{yaml}", page.display()));
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn typical_mistakes_are_found_by_both() {
    let root = printed();
    let schema = Judge(&root);
    assert_eq!(is_valid(&schema, SIDES), Ok(()));
    for mistake in [
        "tabels: { t: { type: hash } }",
        "tables: {}",
        "tables: { t: hash }",
        "tables: { t: [] }",
        "tables: { t: { typ: hash } }",
        "tables: { t: { type: hsh } }",
        "tables: { t: { type: sorted_set } }",
        "tables: { t: { type: hash, score: '{a}' } }",
        "tables: { t: { type: set, columns: [a] } }",
        "tables: { t: { type: hash, columns: [a], exclude: [b] } }",
        "tables: { t: { type: hash, columns: a } }",
        "tables: { t: { type: string, value: '{a}', nulls: omit } }",
        "tables: { t: { type: stream, format: avro } }",
        "tables: { t: { type: hash, ttl: 0 } }",
        "tables: { t: { type: json, index: [{ a: fulltext }] } }",
        "tables: { t: [{ type: hash }, { type: stream, max_len: 0 }] }",
        "snapshot: { workers: 0 }",
        "snapshot: { workers: many }",
        "durability: { wait: 1, waitaof: 1 }",
        "on_gap: ignore",
        "dlq: 5",
        "name: My Name",
        "http: {}",
        "http: { listen: 8080, tls: { cert_file: a } }",
        "http: { listen: 8080, token: a, token_file: b }",
        "http: { listen: 8080, maxlag: 5 }",
    ] {
        let yaml = format!("{SIDES}{mistake}\n");
        assert!(is_valid(&schema, &yaml).is_err(), "the schema accepts {mistake}");
        assert!(parse(&yaml).is_err(), "the parser accepts {mistake}");
    }
    for sides in [
        "source: { url: postgresql://db/hr }",
        "source: {}\ntarget: { url: redis://redis }",
        "source: { url: postgresql://db/hr, password: a, password_file: b }\ntarget: { url: redis://redis }",
        "source: { url: postgresql://db/hr, retain: soon }\ntarget: { url: redis://redis }",
        "source: { url: postgresql://db/hr, slot: My-Slot }\ntarget: { url: redis://redis }",
        "source: { url: postgresql://db/hr }\ntarget: { url: rediss://redis, tls: { cert_file: a } }",
        "source: { url: postgresql://db/hr }\ntarget: { url: rediss://redis, tls: { ca_file: a, verify: none } }",
        "source: { url: postgresql://db/hr }\ntarget: { url: redis://redis, batch: { bytes: 1 } }",
    ] {
        assert!(is_valid(&schema, sides).is_err(), "the schema accepts {sides}");
        assert!(parse(sides).is_err(), "the parser accepts {sides}");
    }
    // What YAML takes for something else is a text here.
    let odd = "name: 1234\nsource: { url: postgresql://db/hr, password: 0123, retain: 1_0 }\n\
               target: { url: redis://redis, batch: { rows: '${ROWS}' } }\ntables: { t: { type: hash, columns: [no, 1] } }\n";
    is_valid(&schema, odd).unwrap();
    parse(odd).unwrap();
}
