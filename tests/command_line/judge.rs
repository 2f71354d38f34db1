//! As much of JSON Schema (draft 2020-12) as the schema of the configuration uses.
//!
//! A keyword that is not known here fails the test: a rule that nobody carries out would look like one that holds.

use regex::Regex;
use serde_json::Value;

pub(super) struct Judge<'a>(pub(super) &'a Value);

/// What describes and does not judge.
const WORDS: [&str; 5] = ["$schema", "$defs", "title", "description", "default"];

impl Judge<'_> {
    pub(super) fn is_valid(&self, value: &Value) -> bool {
        self.faults(value).is_empty()
    }

    /// What is wrong with it, each with its place.
    pub(super) fn faults(&self, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.judge(self.0, value, "", &mut faults);
        faults
    }

    fn accepts(&self, schema: &Value, value: &Value) -> bool {
        let mut faults = Vec::new();
        self.judge(schema, value, "", &mut faults);
        faults.is_empty()
    }

    fn judge(&self, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
        let Some(rules) = schema.as_object() else {
            match schema {
                Value::Bool(true) => {}
                Value::Bool(false) => faults.push(format!("{place}: not allowed here")),
                other => panic!("no schema: {other}"),
            }
            return;
        };
        for (keyword, rule) in rules {
            if !self.keyword(rules, (keyword, rule), value, (place, faults)) {
                faults.push(format!("{place}: {value} breaks {keyword} {rule}"));
            }
        }
    }

    /// Whether the value keeps to the rule; what is wrong below it is told in `faults`.
    fn keyword(
        &self,
        rules: &serde_json::Map<String, Value>,
        (keyword, rule): (&str, &Value),
        value: &Value,
        (place, faults): (&str, &mut Vec<String>),
    ) -> bool {
        let (text, list, mapping) = (value.as_str(), value.as_array(), value.as_object());
        let size = |rule: &Value| usize::try_from(rule.as_u64().unwrap()).unwrap();
        let rule_list = || rule.as_array().unwrap().iter();
        let entries = || rule.as_object().unwrap().iter();
        match keyword {
            "$ref" => {
                let reference = rule.as_str().unwrap().strip_prefix('#').unwrap();
                self.judge(self.0.pointer(reference).unwrap(), value, place, faults);
            }
            "type" => return rule_list_or_one(rule).iter().any(|kind| is_a(value, kind)),
            "enum" => return rule_list().any(|word| word == value),
            "const" => return rule == value,
            "minimum" => return value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => return value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "minLength" => return text.is_none_or(|text| text.chars().count() >= size(rule)),
            "pattern" => return text.is_none_or(|text| pattern(rule.as_str().unwrap()).is_match(text)),
            "minItems" => return list.is_none_or(|list| list.len() >= size(rule)),
            "items" => {
                for (index, item) in list.into_iter().flatten().enumerate() {
                    self.judge(rule, item, &format!("{place}/{index}"), faults);
                }
            }
            "minProperties" => return mapping.is_none_or(|mapping| mapping.len() >= size(rule)),
            "required" => {
                return mapping.is_none_or(|mapping| {
                    rule_list().all(|key| mapping.contains_key(key.as_str().unwrap()))
                });
            }
            "properties" => {
                for (key, below) in entries() {
                    if let Some(value) = mapping.and_then(|mapping| mapping.get(key)) {
                        self.judge(below, value, &format!("{place}/{key}"), faults);
                    }
                }
            }
            "additionalProperties" => {
                let named = |key: &str| rules.get("properties").is_some_and(|named| named.get(key).is_some());
                for (key, value) in mapping.into_iter().flatten().filter(|(key, _)| !named(key)) {
                    self.judge(rule, value, &format!("{place}/{key}"), faults);
                }
            }
            "propertyNames" => {
                let mut names = mapping.into_iter().flatten().map(|(key, _)| Value::from(key.as_str()));
                return names.all(|name| self.accepts(rule, &name));
            }
            "dependentRequired" => {
                return mapping.is_none_or(|mapping| {
                    entries().filter(|(key, _)| mapping.contains_key(*key)).all(|(_, others)| {
                        others
                            .as_array()
                            .unwrap()
                            .iter()
                            .all(|key| mapping.contains_key(key.as_str().unwrap()))
                    })
                });
            }
            "dependentSchemas" => {
                for (_, below) in entries().filter(|(key, _)| mapping.is_some_and(|m| m.contains_key(*key))) {
                    self.judge(below, value, place, faults);
                }
            }
            "allOf" => rule_list().for_each(|below| self.judge(below, value, place, faults)),
            "anyOf" => return rule_list().any(|below| self.accepts(below, value)),
            "not" => return !self.accepts(rule, value),
            "if" => {
                let branch = if self.accepts(rule, value) { "then" } else { "else" };
                if let Some(below) = rules.get(branch) {
                    self.judge(below, value, place, faults);
                }
            }
            "then" | "else" => {}
            word if WORDS.contains(&word) => {}
            other => panic!("the test does not know `{other}`"),
        }
        true
    }
}

fn rule_list_or_one(rule: &Value) -> Vec<&str> {
    match rule {
        Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
        one => vec![one.as_str().unwrap()],
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type: {other}"),
    }
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}
