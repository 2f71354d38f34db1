//! Sinks: one change in, commands out. One file for each structure of Redis.
//!
//! ```text
//!   keyed    a key for each row: hash, json, string        ─┐
//!   members  a member for each row: set, sorted_set         ├─> Commands
//!   stream   an entry for each change                      ─┘
//! ```
//!
//! A sink holds no state about rows and knows nothing of transactions; it is given a change and a
//! [`Workspace`] of buffers that are used again, and appends to the batch.
//!
//! Two things a change may not tell. A value that PostgreSQL did not send because it did not change;
//! sinks that can't leave it alone need the whole row ([`Needs::Whole`]). And, where rows in Redis are
//! newer than the stream or where two rows can swap their keys, whose the old key is by now
//! ([`Needs::Rows`]). [`crate::plan::Plan::needs`] asks all sinks before any of them writes.

pub(crate) mod event;
mod hash;
mod json;
mod keyed;
mod members;
mod set;
mod sorted_set;
mod stream;
mod string;

use std::collections::HashSet;
use std::rc::Rc;

use crate::config::{Config, Output, Structure};
use crate::interned::Interned;
use crate::plan::document::Member;
use crate::plan::key::KeyPattern;
use crate::plan::shape::Shape;
use crate::plan::{PlanError, Strictness};
use crate::redis::dump::Packing;
use crate::redis::resp::Commands;
use crate::row::{Change, Row};
use event::EventContext;
use keyed::Keyed;
use members::Members;

#[derive(Debug)]
pub(crate) enum Sink {
    Hash(Keyed<hash::Hash>),
    Json(Keyed<json::Json>),
    String(Keyed<string::Text>),
    Set(Members<set::Set>),
    SortedSet(Members<sorted_set::SortedSet>),
    Stream(Box<stream::Stream>),
}

/// What sinks of many tables have alike, see [`Sink::share`].
#[derive(Debug, Default)]
pub(crate) struct Alike {
    fields: Interned<[hash::Field]>,
    members: Interned<[Member]>,
    flat: Interned<[stream::Field]>,
}

/// Buffers and what the present transaction must remember.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) key: Vec<u8>,
    pub(crate) old_key: Vec<u8>,
    pub(crate) member: Vec<u8>,
    pub(crate) old_member: Vec<u8>,
    pub(crate) scratch: Vec<u8>,
    /// A value that is put together before its length is known.
    pub(crate) body: Vec<u8>,
    /// Where rows of this transaction have come to, where the table's key is deferrable: two rows can
    /// then swap theirs, and the second move must not remove what the first has just written. `None`
    /// outside the stream, where rows don't move.
    pub(crate) came_to: Option<HashSet<Vec<u8>>>,
    /// The table's rows are newer than the stream here: a move can't take fields along, since the old
    /// key may hold another row by now.
    pub(crate) converging: bool,
    /// Streams that have got the rows of a snapshot that saw the present transaction: for them its
    /// changes are no events.
    pub(crate) told: Vec<Rc<str>>,
    /// What entries of streams say of their transaction.
    pub(crate) event: EventContext,
    /// Rows are most likely not in Redis yet: small hashes may be restored instead of set.
    pub(crate) packing: Option<Packing>,
}

impl Workspace {
    /// For events of this pipeline.
    pub(crate) fn new(config: &Config) -> Workspace {
        let event = EventContext::new(&config.name, &config.source.url.dbname);
        Workspace { event, ..Workspace::default() }
    }
}

/// The change alone does not tell what to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needs {
    /// The values that were not sent: the row has to be read again by its key.
    Whole,
    /// Which rows have the old and the new key now.
    Rows,
}

/// A change that did not tell enough, with the rows that have its keys now. Where there is none, a
/// later change in the stream says what became of it.
#[derive(Debug)]
pub(crate) struct Again<'a> {
    pub(crate) old: Option<Row<'a>>,
    /// `None` for a DELETE.
    pub(crate) new: Option<Row<'a>>,
    pub(crate) at_old_key: Option<Row<'a>>,
    pub(crate) at_new_key: Option<Row<'a>>,
}

/// The same call for each sink.
macro_rules! each {
    ($sink:expr, $inner:ident => $call:expr) => {
        match $sink {
            Sink::Hash($inner) => $call,
            Sink::Json($inner) => $call,
            Sink::String($inner) => $call,
            Sink::Set($inner) => $call,
            Sink::SortedSet($inner) => $call,
            Sink::Stream($inner) => $call,
        }
    };
}

impl Sink {
    pub(crate) fn compile(shape: &Shape, output: &Output, strictness: Strictness) -> Result<Sink, PlanError> {
        let context = (shape, output, strictness);
        Ok(match &output.structure {
            Structure::Hash { .. } => Sink::Hash(hash::compile(context)?),
            Structure::Json { .. } => Sink::Json(json::compile(context)?),
            Structure::String { value } => Sink::String(string::compile(context, value.as_ref())?),
            Structure::Set { member } => Sink::Set(Members::compile(context, member, set::Set)?),
            Structure::SortedSet { member, score } => {
                let body = sorted_set::compile(context, score)?;
                Sink::SortedSet(Members::compile(context, member, body)?)
            }
            Structure::Stream { format, max_len } => {
                Sink::Stream(Box::new(stream::Stream::compile(context, *format, *max_len)?))
            }
        })
    }

    /// Appends the commands for one change. What [`Sink::needs`] asked for and could not be had is
    /// left out as a whole, never written with a hole.
    #[inline]
    pub(crate) fn write(&self, change: &Change<'_>, workspace: &mut Workspace, out: &mut Commands) {
        each!(self, sink => sink.write(change, workspace, out));
    }

    /// What must be known before the change can be written.
    pub(crate) fn needs(&self, change: &Change<'_>, workspace: &mut Workspace) -> Option<Needs> {
        each!(self, sink => sink.needs(change, workspace))
    }

    /// Writes what a change needed rows for. Streams take the change itself.
    pub(crate) fn write_again(&self, again: &Again<'_>, workspace: &mut Workspace, out: &mut Commands) {
        match self {
            Sink::Hash(sink) => sink.write_again(again, workspace, out),
            Sink::Json(sink) => sink.write_again(again, workspace, out),
            Sink::String(sink) => sink.write_again(again, workspace, out),
            Sink::Set(sink) => sink.write_again(again, workspace, out),
            Sink::SortedSet(sink) => sink.write_again(again, workspace, out),
            Sink::Stream(_) => {}
        }
    }

    /// Writes only the columns that `keep` keeps, where an output can be written partly.
    pub(crate) fn restrict(&mut self, keep: &impl Fn(usize) -> bool) {
        match self {
            Sink::Hash(sink) => sink.restrict(keep),
            Sink::Json(sink) => sink.restrict(keep),
            // An event tells the row as it was.
            Sink::String(_) | Sink::Set(_) | Sink::SortedSet(_) | Sink::Stream(_) => {}
        }
    }

    /// With what sinks of earlier tables have that is the same: names and conversions of columns.
    pub(crate) fn share(&mut self, alike: &mut Alike) {
        match self {
            Sink::Hash(sink) => sink.share(alike),
            Sink::Json(sink) => sink.share(alike),
            Sink::String(sink) => sink.share(alike),
            Sink::Stream(sink) => sink.share(alike),
            Sink::Set(_) | Sink::SortedSet(_) => {}
        }
    }

    /// The names of a hash's fields.
    pub(crate) fn field_names(&self) -> Vec<String> {
        match self {
            Sink::Hash(sink) => sink.names(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn retire(&mut self, names: &[String]) {
        if let Sink::Hash(sink) = self {
            sink.retire(names);
        }
    }

    /// What its keys look like, and what they hold.
    pub(crate) fn pattern(&self) -> KeyPattern {
        each!(self, sink => sink.pattern())
    }

    pub(crate) fn is_hash(&self) -> bool {
        matches!(self, Sink::Hash(_))
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Sink::Stream(_))
    }

    pub(crate) fn has_members(&self) -> bool {
        matches!(self, Sink::Set(_) | Sink::SortedSet(_))
    }

    pub(crate) fn stream(&self) -> Option<&stream::Stream> {
        match self {
            Sink::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// The columns that say where a row is.
    pub(crate) fn place_columns(&self) -> Vec<usize> {
        each!(self, sink => sink.place_columns())
    }

    /// Where a row is: its key, and a member in it. False when it is nowhere.
    pub(crate) fn place(&self, row: &Row<'_>, workspace: &mut Workspace) -> bool {
        workspace.member.clear();
        each!(self, sink => sink.place(row, workspace))
    }
}

/// What a sink is compiled from.
type Context<'a> = (&'a Shape, &'a Output, Strictness);

/// Seconds, as Redis takes them.
fn ttl(output: &Output) -> Option<Vec<u8>> {
    output.ttl.map(|ttl| ttl.as_secs().to_string().into_bytes())
}
