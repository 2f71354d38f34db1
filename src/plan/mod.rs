//! The compiled mapping of one table: what its rows become in Redis.
//!
//! ```text
//!   Shape (catalog or Relation message) + Output (configuration) ──compile──> Plan ──> sinks
//! ```
//!
//! Compiled once for each definition of a table, so that a row costs no look-up: columns are indexes,
//! field names are encoded, every column has its converter. Everything that can be wrong with a
//! mapping is found here and not at the row.

pub(crate) mod key;
pub(crate) mod shape;
pub(crate) mod value;

use crate::config::{Columns, Output, OutputKind, Part, nearest};
use crate::sink::{Sink, hash::HashSink};
use key::{KeyPattern, KeyPlan};
use shape::Shape;
use value::{Converter, ValueOptions};

/// A mapping that can't be used, and what mends it.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The configuration names something that the table does not have.
    #[error("{place}: {what}")]
    Configuration {
        /// File and line, or the table.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// The table's replica identity does not carry what the mapping needs.
    #[error("{place}: {what}; ALTER TABLE {table} REPLICA IDENTITY FULL")]
    Identity {
        /// File and line, or the table.
        place: String,
        /// What is missing.
        what: String,
        /// The table, quoted for SQL.
        table: String,
    },
}

/// What the rows of one table become.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) shape: Shape,
    pub(crate) sinks: Vec<Sink>,
}

/// How much a mapping may miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// At the start: a column that does not exist is a mistake of the configuration.
    Start,
    /// While streaming: it was dropped or renamed, and the others go on.
    Streaming,
}

impl Plan {
    pub(crate) fn compile(
        shape: Shape,
        outputs: &[Output],
        strictness: Strictness,
    ) -> Result<Plan, PlanError> {
        let sinks = outputs
            .iter()
            .map(|output| match output.kind {
                OutputKind::Hash => HashSink::compile(&shape, output, strictness).map(Sink::Hash),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Plan { shape, sinks })
    }
}

impl Plan {
    /// Leaves out every column that `keep` does not keep, in all outputs; keys stay.
    pub(crate) fn restrict(&mut self, keep: impl Fn(usize) -> bool) {
        for sink in &mut self.sinks {
            match sink {
                Sink::Hash(hash) => hash.restrict(&keep),
            }
        }
    }

    /// What the keys look like that rows of this table get.
    pub(crate) fn key_patterns(&self) -> Vec<KeyPattern> {
        self.sinks
            .iter()
            .map(|sink| match sink {
                Sink::Hash(hash) => hash.key().pattern(),
            })
            .collect()
    }

    /// Fields of a former definition of the table are deleted with every row that is written.
    pub(crate) fn retire(&mut self, names: &[String]) {
        for sink in &mut self.sinks {
            match sink {
                Sink::Hash(hash) => hash.retire(names),
            }
        }
    }
}

/// What of the configuration decides how rows are written, as text that is the same as long as it
/// means the same: the checkpoint remembers it, to notice a change.
pub(crate) fn fingerprint(outputs: &[Output]) -> String {
    let one = |output: &Output| {
        let kind = match output.kind {
            OutputKind::Hash => "hash",
        };
        let key = output.key.as_ref().map_or("default".to_owned(), ToString::to_string);
        let columns = match &output.columns {
            Columns::All => "all".to_owned(),
            Columns::Only(names) => format!("only {names:?}"),
            Columns::Except(names) => format!("except {names:?}"),
        };
        let ttl = output.ttl.map_or(0, |ttl| ttl.as_secs());
        format!("{kind} key={key} columns={columns} ttl={ttl} {:?}", output.values)
    };
    outputs.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn place(shape: &Shape, output: &Output) -> String {
    match output.line {
        0 => format!("table {}", shape.display_name()),
        line => format!("line {line}, table {}", shape.display_name()),
    }
}

fn unknown_column(shape: &Shape, output: &Output, name: &str, where_: &str) -> PlanError {
    let names = shape.columns.iter().map(|column| column.name.as_str());
    let hint = match nearest(name, names) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    };
    PlanError::Configuration {
        place: place(shape, output),
        what: format!("{where_} names the column `{name}`, which the table does not have{hint}"),
    }
}

/// The columns that an output writes, and under which names.
pub(crate) fn selected_columns(
    shape: &Shape,
    output: &Output,
    strictness: Strictness,
) -> Result<Vec<(usize, String)>, PlanError> {
    let find = |name: &str, what: &str| match (shape.index_of(name), strictness) {
        (Some(index), _) => Ok(Some(index)),
        (None, Strictness::Streaming) => Ok(None),
        (None, Strictness::Start) => Err(unknown_column(shape, output, name, what)),
    };
    match &output.columns {
        Columns::All => {
            Ok(shape.columns.iter().enumerate().map(|(i, column)| (i, column.name.clone())).collect())
        }
        Columns::Only(wanted) => {
            let mut columns = Vec::new();
            for (source, target) in wanted {
                if let Some(index) = find(source, "`columns`")? {
                    columns.push((index, target.clone()));
                }
            }
            Ok(columns)
        }
        Columns::Except(unwanted) => {
            for name in unwanted {
                find(name, "`exclude`")?;
            }
            let columns = shape.columns.iter().enumerate();
            Ok(columns
                .filter(|(_, column)| !unwanted.contains(&column.name))
                .map(|(i, column)| (i, column.name.clone()))
                .collect())
        }
    }
}

/// Compiles an output's key; every column in it must be known for UPDATE and DELETE too.
pub(crate) fn compile_key(shape: &Shape, output: &Output) -> Result<KeyPlan, PlanError> {
    let default = [Part::Table, Part::Text(":".to_owned()), Part::PrimaryKey];
    let parts = output.key.as_ref().map_or(&default[..], |template| template.parts());
    let mut plan = KeyPlan::default();
    for part in parts {
        match part {
            Part::Text(text) => plan.push_text(text.as_bytes()),
            Part::Table => plan.push_text(shape.template_name().as_bytes()),
            Part::Column(name) => {
                let index =
                    shape.index_of(name).ok_or_else(|| unknown_column(shape, output, name, "`key`"))?;
                let column = &shape.columns[index];
                if !column.identity {
                    return Err(PlanError::Identity {
                        place: place(shape, output),
                        what: format!(
                            "the key needs the column `{name}`, whose old value an UPDATE or DELETE does not carry"
                        ),
                        table: shape.sql_name(),
                    });
                }
                plan.push_column(
                    index,
                    column.kind.clone(),
                    Converter::new(column.kind.clone(), output.values),
                    false,
                );
            }
            Part::PrimaryKey => {
                if shape.key.is_empty() {
                    return Err(PlanError::Identity {
                        place: place(shape, output),
                        what: "the table has no primary key and no replica identity, so `{pk}` is nothing \
                               (ALTER TABLE … ADD PRIMARY KEY is the better way)"
                            .to_owned(),
                        table: shape.sql_name(),
                    });
                }
                let composite = shape.key.len() > 1;
                for (place, &index) in shape.key.iter().enumerate() {
                    if place > 0 {
                        plan.push_text(b":");
                    }
                    let kind = shape.columns[index].kind.clone();
                    // Whatever the options: two rows must not share a key because milliseconds were asked for.
                    let converter = Converter::new(kind.clone(), ValueOptions::default());
                    plan.push_column(index, kind, converter, composite);
                }
            }
        }
    }
    Ok(plan)
}
