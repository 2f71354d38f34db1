//! What users write: configuration files, templates and patterns; and key patterns, which the
//! checkpoint holds as JSON.

use super::bounded;
use super::rows::shape;
use crate::config::{Config, Output, TablePattern, Template};
use crate::plan::columns::{Purpose, template};
use crate::plan::key::{Holds, KeyPattern};
use crate::plan::overlap::overlap;
use crate::plan::template::{Rendered, TemplatePlan};
use crate::row::{Cell, Row};

/// What variables hold that are secret; no message may quote it.
const SECRET: &str = "Hunter2Hunter2";

/// Aliases and variables can make a small file a large configuration, up to the limits of
/// `config::raw`: 16 MiB of values, and the keys of 4,000 replayed events.
const LARGEST_CONFIG: usize = 32 << 20;

pub(super) fn config(data: &[u8]) {
    let (text, value) = match data.iter().position(|byte| *byte == 0) {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &b""[..]),
    };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let value = String::from_utf8_lossy(value);
    let env = |name: &str| match name {
        "VALUE" => Some(value.clone().into_owned()),
        "SECRET" | "PGPASSWORD" => Some(SECRET.to_owned()),
        _ => None,
    };
    match Config::parse(text, "fuzz.yaml", &env) {
        Ok(config) => {
            let size = format!("{config:?}").len();
            assert!(size <= LARGEST_CONFIG, "a configuration of {size} bytes from {}", text.len());
        }
        Err(error) => {
            let message = error.to_string();
            bounded("a message", message.len(), 8, text.len());
            // Unless it quotes the file, or what another variable holds.
            let typed = text.contains(SECRET) || value.contains(SECRET);
            assert!(typed || !message.contains(SECRET), "a message quotes a secret: {message}");
        }
    }
}

pub(super) fn templates(data: &[u8]) {
    let mut texts = data.split(|byte| *byte == 0xff);
    let mut next = || texts.next().unwrap_or_default();
    let patterns = [key_pattern(next()), key_pattern(next())];
    let recorded = serde_json::from_slice::<KeyPattern>(next()).ok();
    table_pattern(next(), next(), next());
    let key = next();

    let patterns: Vec<KeyPattern> = patterns.into_iter().flatten().chain(recorded).collect();
    for a in &patterns {
        a.matches(key);
        bounded("a glob", a.glob().capacity(), 4, data.len());
        for b in &patterns {
            assert_eq!(overlap(a, b), overlap(b, a), "whether keys overlap depends on the order");
        }
        assert!(overlap(a, a), "a pattern does not overlap with itself");
    }
}

/// Parts of a template times bytes of a key: the steps that matching takes at most. Nobody types thousands of holes,
/// and a key of so many values of this length is of tens of megabytes.
const STEPS: usize = 1 << 24;

/// The pattern of a template, and what every template must keep to.
fn key_pattern(text: &[u8]) -> Option<KeyPattern> {
    let text = std::str::from_utf8(text).ok()?;
    let parsed = Template::parse(text).ok()?;
    assert_eq!(parsed.to_string(), text, "a template is not what was typed");
    bounded("a template", size_of_val(parsed.parts()), 32, text.len());
    let plan = template(shape(), &Output::hash(), &parsed, Purpose::Content("value")).ok()?;
    let pattern = plan.pattern(Holds::Row);
    let fixed = plan.prefix().len();
    for value in [text.as_bytes(), b"a:b%", b""] {
        let key = rendered(&plan, value);
        bounded("a key", key.capacity(), 8, text.len() * (value.len() + 3));
        let is_known = || parsed.parts().len() * key.len() > STEPS || pattern.matches(&key);
        assert!(key.len() >= fixed && is_known(), "a key is not known: {}", key.escape_ascii());
    }
    Some(pattern)
}

/// The text for a row in which every column that can hold any text holds `value`.
fn rendered(plan: &TemplatePlan, value: &[u8]) -> Vec<u8> {
    let mut data = b"-7t".to_vec();
    data.extend_from_slice(value);
    let cells: Vec<Cell> = shape()
        .columns
        .iter()
        .map(|column| match column.name.as_str() {
            "id" => Cell::text(0, 2),
            "yes" => Cell::text(2, 1),
            _ => Cell::text(3, value.len()),
        })
        .collect();
    let (mut scratch, mut key) = (Vec::new(), Vec::new());
    let rendered = plan.render(&Row::new(&data, &cells), &mut scratch, &mut key);
    assert_eq!(rendered, Rendered::Complete);
    key
}

fn table_pattern(typed: &[u8], schema: &[u8], table: &[u8]) {
    let [typed, schema, table] = [typed, schema, table].map(String::from_utf8_lossy);
    let Ok(pattern) = TablePattern::parse(&typed) else { return };
    assert_eq!(pattern.to_string(), typed, "a pattern is not what was typed");
    pattern.matches(&schema, &table);
    if let Some((schema, table)) = pattern.exact() {
        assert!(pattern.matches(schema, table), "a name does not match itself");
    }
}
