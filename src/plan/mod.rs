//! The compiled mapping of one table: what its rows become in Redis.
//!
//! ```text
//!   Shape (catalog or Relation message) + Output (configuration) ──compile──> Plan ──> sinks
//! ```
//!
//! Compiled once for each definition of a table, so that a row costs no look-up: columns are indexes,
//! field names are encoded, every column has its converter. Everything that can be wrong with a
//! mapping is found here and not at the row.

pub(crate) mod columns;
pub(crate) mod document;
pub(crate) mod key;
pub(crate) mod overlap;
pub(crate) mod patterns;
pub(crate) mod search;
pub(crate) mod shape;
pub(crate) mod template;
pub(crate) mod value;

use crate::config::{Columns, Output, Structure};
use crate::row::Change;
use crate::sink::{self, Needs, Sink, Workspace};
use key::KeyPattern;
use search::SearchIndex;
use shape::{ColumnRecord, Known, Shape};

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
    /// The search index over the keys of one of the outputs.
    pub(crate) index: Option<SearchIndex>,
}

/// What plans of many tables have alike, see [`Plan::sharing`].
#[derive(Debug, Default)]
pub(crate) struct Alike {
    shapes: Known,
    sinks: sink::Alike,
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
        let mut sinks = Vec::new();
        let mut index = None;
        for output in outputs {
            let sink = Sink::compile(&shape, output, strictness)?;
            if output.structure.index().is_some() {
                if index.is_some() {
                    let what = format!(
                        "only one output of a table can have an index, idx:{}",
                        shape.template_name()
                    );
                    return Err(columns::mistake(&shape, output, what));
                }
                index = Some(SearchIndex::compile(&shape, output, strictness)?);
            }
            sinks.push(sink);
        }
        Ok(Plan { shape, sinks, index })
    }

    /// The same, with what plans of earlier tables have that is the same.
    pub(crate) fn sharing(self, alike: &mut Alike) -> Plan {
        let Plan { shape, mut sinks, index } = self;
        sinks.iter_mut().for_each(|sink| sink.share(&mut alike.sinks));
        sinks.shrink_to_fit();
        Plan { shape: shape.sharing(&mut alike.shapes), sinks, index }
    }

    /// What must be known before a change can be written, if the change alone does not tell enough. To
    /// be asked before any sink is given the change, so that none has written it twice.
    #[inline]
    pub(crate) fn needs(&self, change: &Change<'_>, workspace: &mut Workspace) -> Option<Needs> {
        let careful = self.shape.deferrable || workspace.converging;
        match change {
            Change::Whole { .. } => None,
            Change::Update { new, .. } if !careful && !new.has_unchanged() => None,
            Change::Delete { .. } if !careful => None,
            _ => self.needs_more(change, workspace),
        }
    }

    fn needs_more(&self, change: &Change<'_>, workspace: &mut Workspace) -> Option<Needs> {
        let needs: Vec<Needs> = self.sinks.iter().filter_map(|sink| sink.needs(change, workspace)).collect();
        needs.into_iter().max()
    }

    /// Leaves out every column that `keep` does not keep, in all outputs that can be written without;
    /// keys stay.
    pub(crate) fn restrict(&mut self, keep: impl Fn(usize) -> bool) {
        self.sinks.iter_mut().for_each(|sink| sink.restrict(&keep));
    }

    /// There are rows in Redis, and not only events.
    pub(crate) fn keeps_rows(&self) -> bool {
        !self.sinks.iter().all(Sink::is_stream)
    }

    /// What the keys look like that rows of this table get, events aside.
    pub(crate) fn key_patterns(&self) -> Vec<KeyPattern> {
        self.sinks.iter().filter(|sink| !sink.is_stream()).map(Sink::pattern).collect()
    }

    pub(crate) fn has_streams(&self) -> bool {
        self.sinks.iter().any(Sink::is_stream)
    }

    /// Leaves out the streams that have got the table's rows before.
    pub(crate) fn without_streams(&mut self, announced: &[String]) {
        self.sinks
            .retain(|sink| sink.stream().is_none_or(|stream| !announced.iter().any(|n| n == stream.name())));
    }

    /// The outputs whose members several rows can be: when one of these rows goes, the member does.
    pub(crate) fn shared_members<'a>(&'a self, outputs: &'a [Output]) -> impl Iterator<Item = &'a Output> {
        let shared = |sink: &Sink| {
            let place = sink.place_columns();
            let has = |columns: &[usize]| columns.iter().all(|column| place.contains(column));
            let apart = (!self.shape.key.is_empty() && has(&self.shape.key))
                || self.shape.unique.iter().any(|u| has(u));
            sink.has_members() && !apart
        };
        self.sinks.iter().zip(outputs).filter(move |(sink, _)| shared(sink)).map(|(_, output)| output)
    }

    /// A row can be elsewhere under this definition than under one with these columns.
    pub(crate) fn has_moved_rows(&self, former: &[ColumnRecord]) -> bool {
        let record = self.shape.record();
        let same = |column: usize| record.get(column).is_some_and(|column| former.contains(column));
        self.sinks.iter().flat_map(Sink::place_columns).any(|column| !same(column))
    }

    /// Fields of hashes that are not named as a column is.
    pub(crate) fn other_fields(&self) -> Vec<String> {
        let mut names: Vec<String> = self.sinks.iter().flat_map(Sink::field_names).collect();
        names.retain(|name| self.shape.index_of(name).is_none());
        names.sort();
        names.dedup();
        names
    }

    /// Fields of a former definition of the table are deleted with every row that is written.
    pub(crate) fn retire(&mut self, names: &[String]) {
        for sink in &mut self.sinks {
            sink.retire(names);
        }
    }
}

/// The streams among the outputs, named so that each is known again.
pub(crate) fn stream_names(outputs: &[Output]) -> Vec<String> {
    outputs.iter().filter_map(stream_name).collect()
}

pub(crate) fn stream_name(output: &Output) -> Option<String> {
    match &output.structure {
        Structure::Stream { format, .. } => Some(format!("{format:?} {}", output.key)),
        _ => None,
    }
}

/// What of the configuration decides how rows are written, as text that is the same as long as it
/// means the same: the checkpoint remembers it, to notice a change.
pub(crate) fn fingerprint(outputs: &[Output]) -> String {
    let one = |output: &Output| {
        let kind = output.structure.kind().name();
        let own = match &output.structure {
            Structure::Hash { .. } | Structure::Json { .. } | Structure::String { value: None } => {
                String::new()
            }
            Structure::String { value: Some(value) } => format!(" value={value}"),
            Structure::Set { member } => format!(" member={member}"),
            Structure::SortedSet { member, score } => format!(" member={member} score={score}"),
            // How long the stream may get changes nothing that is in it.
            Structure::Stream { format, .. } => format!(" format={format:?}"),
        };
        // An index makes some columns be written differently.
        let index = match output.structure.index() {
            Some(index) => format!(" index={index:?}"),
            None => String::new(),
        };
        let columns = match &output.columns {
            Columns::All => "all".to_owned(),
            Columns::Only(names) => format!("only {names:?}"),
            Columns::Except(names) => format!("except {names:?}"),
        };
        let ttl = output.ttl.map_or(0, |ttl| ttl.as_secs());
        format!("{kind}{own} key={} columns={columns} ttl={ttl} {:?}{index}", output.key, output.values)
    };
    outputs.iter().map(one).collect::<Vec<_>>().join("; ")
}
