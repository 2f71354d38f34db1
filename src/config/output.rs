//! Which tables are captured, and what each becomes in Redis.

use std::time::Duration;

use crate::plan::value::options::{Binary, Decimals, Nulls, Timestamps, ValueOptions};

use super::error::Fault;
use super::fields::Fields;
use super::nearest::is_name;
use super::pattern::TablePattern;
use super::raw::{Node, Value};
use super::structure::{KINDS, OutputKind, Structure, all_options, kind_names};
use super::template::Template;

/// What the tables that fit a pattern become. Of several rules that fit, the first counts.
#[derive(Debug, Clone)]
pub struct TableRule {
    /// Which tables.
    pub pattern: TablePattern,
    /// What is written for each row; one or more.
    pub outputs: Vec<Output>,
    /// Where the rule stands in the configuration file, from 1; 0 if it came from the command line.
    pub line: u32,
}

/// One data structure that rows are written to.
#[derive(Debug, Clone)]
pub struct Output {
    /// The data structure.
    pub structure: Structure,
    /// The key; where none is configured the default of the kind, for hashes `{table}:{pk}`.
    pub key: Template,
    /// The columns that are written, and under which names.
    pub columns: Columns,
    /// How long the key lives after each write; whole seconds, at least one. `None`: for ever.
    pub ttl: Option<Duration>,
    /// How values are spelled.
    pub values: ValueOptions,
    /// Where the output stands in the configuration file, from 1; 0 if it came from the command
    /// line.
    pub line: u32,
}

/// A choice of columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Columns {
    /// Every column under its own name.
    #[default]
    All,
    /// These, each with the name it gets in Redis; one or more, no two with one name.
    Only(Vec<(String, String)>),
    /// Every column but these.
    Except(Vec<String>),
}

impl Output {
    /// A hash with nothing else configured.
    pub fn hash() -> Output {
        Output::of(Structure::Hash { index: None })
    }

    /// The output of a kind with nothing else configured; `None` where something must be.
    pub fn plain(kind: OutputKind) -> Option<Output> {
        Structure::plain(kind).map(Output::of)
    }

    fn of(structure: Structure) -> Output {
        Output {
            key: structure.kind().default_key(),
            columns: Columns::default(),
            ttl: None,
            values: ValueOptions { nulls: structure.default_nulls(), ..ValueOptions::default() },
            structure,
            line: 0,
        }
    }
}

/// A hundred years; Redis refuses what its clock cannot hold.
const LONGEST_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

pub(super) const TIMESTAMPS: &[(&str, Timestamps)] =
    &[("iso", Timestamps::Iso), ("epoch_ms", Timestamps::EpochMs), ("epoch_us", Timestamps::EpochUs)];
pub(super) const BINARY: &[(&str, Binary)] =
    &[("base64", Binary::Base64), ("hex", Binary::Hex), ("raw", Binary::Raw)];
pub(super) const DECIMALS: &[(&str, Decimals)] =
    &[("string", Decimals::String), ("number", Decimals::Number)];
pub(super) const NULLS: &[(&str, Nulls)] = &[("omit", Nulls::Omit), ("empty", Nulls::Empty)];

/// Reads `tables`.
pub(super) fn rules(node: &Node) -> Result<Vec<TableRule>, Fault> {
    let entries = match &node.value {
        Value::Map(entries) if !entries.is_empty() => entries,
        Value::Map(_) | Value::Null => {
            return Err(node.fault("tables is empty; leave it out to capture every table"));
        }
        _ => return Err(node.unlike("tables", "a mapping of tables to outputs")),
    };
    let mut rules: Vec<TableRule> = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        if key.text.contains("${") {
            let message = "variables are replaced in values, not in keys";
            return Err(Fault::at(key.place, message));
        }
        let pattern = TablePattern::parse(&key.text)
            .map_err(|error| Fault::at(key.place, format!("in tables: {error}")))?;
        if let Some(first) = rules.iter().find(|rule| rule.pattern == pattern) {
            let message = format!("this table already has a rule in line {}", first.line);
            return Err(Fault::at(key.place, message));
        }
        let table = match is_name(&key.text) {
            true => format!("`{pattern}`"),
            false => format!("the table in line {}", key.place.line),
        };
        rules.push(TableRule { outputs: outputs(node, &table)?, pattern, line: key.place.line });
    }
    Ok(rules)
}

/// One output, or a list of them.
fn outputs(node: &Node, table: &str) -> Result<Vec<Output>, Fault> {
    let items = match &node.value {
        Value::Map(_) => std::slice::from_ref(node),
        Value::List(items) if items.is_empty() => {
            return Err(
                node.fault(format!("the list of outputs of {table} is empty; write `{{ type: hash }}`"))
            );
        }
        Value::List(items) => items,
        _ => {
            let what = format!("the output of {table}");
            return Err(node.unlike(&what, "a mapping such as `{ type: hash }`, or a list of them"));
        }
    };
    let mut outputs: Vec<Output> = Vec::with_capacity(items.len());
    for item in items {
        let next = output(item, table)?;
        if outputs.iter().any(|first| first.key == next.key) {
            return Err(item.fault(format!(
                "this output of {table} writes the same key as one before it; give it another `key`"
            )));
        }
        outputs.push(next);
    }
    Ok(outputs)
}

fn output(node: &Node, table: &str) -> Result<Output, Fault> {
    let what = format!("the output of {table}");
    let fields = Fields::open(node, &what)?;
    let Some(kind) = fields.get("type") else {
        // A misspelled `type` explains more than a missing one.
        fields.only(&all_options())?;
        return Err(
            node.fault(format!("`type` is missing in {what}; known types: {}", kind_names().join(", ")))
        );
    };
    let kind = kind.choice(&format!("the type of {what}"), KINDS)?;
    let fields = kind.only_own(fields, &what)?;
    let named = |key: &str| format!("{key} in {what}");
    let structure = Structure::read(kind, &fields, &what)?;
    let mut values = ValueOptions { nulls: structure.default_nulls(), ..ValueOptions::default() };
    if let Some(node) = fields.get("timestamps") {
        values.timestamps = node.choice(&named("timestamps"), TIMESTAMPS)?;
    }
    if let Some(node) = fields.get("binary") {
        values.binary = node.choice(&named("binary"), BINARY)?;
    }
    if let Some(node) = fields.get("decimals") {
        values.decimals = node.choice(&named("decimals"), DECIMALS)?;
    }
    if let Some(node) = fields.get("nulls") {
        values.nulls = node.choice(&named("nulls"), NULLS)?;
    }
    let columns = match (fields.get("columns"), fields.get("exclude")) {
        (Some(_), Some(exclude)) => {
            return Err(exclude.fault(format!("{what} has both columns and exclude; leave one out")));
        }
        (Some(columns), None) => Columns::Only(only(columns, &named("columns"))?),
        (None, Some(exclude)) => Columns::Except(except(exclude, &named("exclude"))?),
        (None, None) => Columns::All,
    };
    Ok(Output {
        structure,
        key: match fields.get("key") {
            Some(node) => key(node, kind, &what)?,
            None => kind.default_key(),
        },
        columns,
        ttl: fields.get("ttl").map(|node| ttl(node, &named("ttl"))).transpose()?,
        values,
        line: node.place.line,
    })
}

fn key(node: &Node, kind: OutputKind, what: &str) -> Result<Template, Fault> {
    let template = template(node, "key", what)?;
    if kind.has_row_keys() && !template.varies_by_row() {
        return Err(node.fault(format!(
            "key in {what} is the same for every row; add a column, such as `{{id}}`, or `{{pk}}`"
        )));
    }
    Ok(template)
}

pub(super) fn template(node: &Node, option: &str, what: &str) -> Result<Template, Fault> {
    let named = format!("{option} in {what}");
    Template::parse(node.text(&named)?).map_err(|error| node.fault(format!("{named}: {error}")))
}

fn ttl(node: &Node, what: &str) -> Result<Duration, Fault> {
    let ttl = node.duration(what)?;
    if ttl.subsec_nanos() != 0 || ttl.is_zero() || ttl > LONGEST_TTL {
        return Err(
            node.fault(format!("{what} must be whole seconds, at least one and at most a hundred years"))
        );
    }
    Ok(ttl)
}

fn only(node: &Node, what: &str) -> Result<Vec<(String, String)>, Fault> {
    let mut columns: Vec<(String, String)> = Vec::new();
    let mut add = |source: &str, target: &str, at: &Node| {
        if source.is_empty() || target.is_empty() {
            return Err(at.fault(format!("a name in {what} is empty")));
        }
        if columns.iter().any(|(_, taken)| taken == target) {
            let name = at.quotable().map_or("a name".to_owned(), |n| format!("`{n}`"));
            return Err(at.fault(format!("{what}: {name} is written twice")));
        }
        columns.push((source.to_owned(), target.to_owned()));
        Ok(())
    };
    for item in list(node, what)? {
        match &item.value {
            Value::Text { text, .. } => add(text, text, item)?,
            Value::Map(entries) if !entries.is_empty() => {
                for (source, target) in entries {
                    add(&source.text, target.text(what)?, target)?;
                }
            }
            _ => {
                return Err(item.unlike(&format!("an item of {what}"), "a column, or `{ column: new_name }`"));
            }
        }
    }
    Ok(columns)
}

fn except(node: &Node, what: &str) -> Result<Vec<String>, Fault> {
    list(node, what)?
        .iter()
        .map(|item| {
            let column = item.filled(&format!("an item of {what}"))?;
            Ok(column.to_owned())
        })
        .collect()
}

fn list<'a>(node: &'a Node, what: &str) -> Result<&'a [Node], Fault> {
    match &node.value {
        Value::List(items) if items.is_empty() => {
            Err(node.fault(format!("{what} is empty; name a column, or leave it out")))
        }
        Value::List(items) => Ok(items),
        _ => Err(node.unlike(what, "a list of columns")),
    }
}
