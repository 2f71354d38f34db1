//! Which tables are to be read: those that are not in Redis yet, and those whose rows in Redis were written
//! as something else than they would be now.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::apply::{Overlap, Relation, Tracked};
use super::capture::Captured;
use super::checkpoint::TableState;
use super::retype::Retyped;
use super::session::{Session, only_grew};
use super::stream::Following;
use crate::config::OnGap;
use crate::error::{Error, SlotUse};
use crate::plan::shape::Shape;
use crate::plan::{Plan, stream_names};
use crate::postgres::catalog;
use crate::progress::TableProgress;
use crate::sink::Sink;

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) name: String,
    pub(super) captured: Arc<Captured>,
    pub(super) plan: Rc<Plan>,
    pub(super) state: Box<TableState>,
    /// All streams among its outputs.
    pub(super) streams: Vec<String>,
    pub(super) progress: Arc<TableProgress>,
}

/// Some of the tables that are not in Redis as they should be: very many at once would take much memory.
#[derive(Debug)]
pub(super) struct Due {
    /// Either none has been read, or all have.
    pub(super) tables: Vec<Reading>,
    /// All that are to be read, these included.
    pub(super) all: Vec<Arc<TableProgress>>,
}

impl Reading {
    /// One of its streams has got rows of a snapshot that was not read to its end.
    pub(super) fn has_begun(&self) -> bool {
        let streams = self.plan.sinks.iter().filter_map(Sink::stream);
        streams.map(|stream| stream.name()).any(|name| self.state.has_told(name))
    }
}

impl Session<'_> {
    /// Finds the tables whose rows in Redis were written as something else than they would be now.
    pub(super) async fn compare_states(&mut self) -> Result<(), Error> {
        self.note_rewritten(None).await?;
        let reached = self.writer.accepted().lsn;
        let mut retyped = Vec::new();
        for captured in self.captured.values() {
            let name = captured.name();
            let Some(state) = self.states.get_mut(&name) else { continue };
            // Nothing was read yet, or it is to be read again already.
            let is_unread = state.columns.is_empty();
            let shape = &captured.shape;
            if !state.outputs.is_empty() && *state.outputs != *captured.fingerprint {
                retyped.push(Retyped::of(state, captured));
            }
            if !state.published.is_empty() && state.published != captured.published {
                let reason = format!(
                    "the publication {} was made anew or changed, or {name} was taken out of it: changes in between \
                     can be missing",
                    self.pipeline.config.source.publication
                );
                if self.pipeline.config.on_gap == OnGap::Fail {
                    return Err(Error::gap(reason, SlotUse::Usable));
                }
                tracing::warn!(
                    event = "resnapshot",
                    table = name,
                    "{reason}. It is read again (on_gap: resnapshot)"
                );
                state.read_again(true);
                state.forget_streams();
                state.gap.get_or_insert(reason);
            } else if is_unread {
                if !is_of_another(state, captured) {
                    continue;
                }
            } else if *state.outputs != *captured.fingerprint {
                tracing::info!(
                    event = "resnapshot",
                    table = name,
                    "its configuration changed: it is read again"
                );
                state.is_reconfigured(&captured.fingerprint);
            } else if state.oid != captured.table.oid || state.key != shape.key_names() {
                tracing::info!(
                    event = "resnapshot",
                    table = name,
                    "it was made anew, or its key changed: it is read again"
                );
                state.read_again(true);
                if state.oid != captured.table.oid {
                    state.forget_streams();
                    state.gap = Some(format!("{name} was dropped and made anew: its former rows are gone"));
                }
            } else if state.columns == *shape.record()
                && !(state.again && Overlap::of(state).is_past(reached))
            {
                // If it is to be read again, then when the stream has passed what it is read again for.
                continue;
            } else if state.complete && !state.again && only_grew(state, captured) {
                state.columns = Arc::clone(shape.record());
            } else {
                tracing::info!(
                    event = "resnapshot",
                    table = name,
                    "its definition changed, or its rows were written anew: it is read again"
                );
                let moved = captured.plan(&self.pipeline.file)?.has_moved_rows(&state.columns);
                state.read_again(moved || state.rewritten);
            }
            self.writer.extra().table(&name, state);
        }
        self.make_way(retyped).await?;
        let names: HashSet<String> = self.captured.values().map(|captured| captured.name()).collect();
        for (name, state) in &mut self.states {
            // Should it be captured again one day, it will have missed changes.
            if !names.contains(name) && state.oid != 0 {
                tracing::warn!(
                    event = "table_gone",
                    table = name,
                    "not captured any more; its keys stay in Redis"
                );
                state.read_again(true);
                state.forget_streams();
                state.gap =
                    Some(format!("{name} was not captured for a while: changes in between are missing"));
                self.writer.extra().table(name, state);
            }
        }
        Ok(())
    }

    /// Takes note of the definition of a table that is going to be read. What is written until then is written
    /// again when it is; there only must not be fields or keys that nobody would know of.
    pub(super) async fn describe_unread(
        &mut self,
        following: &mut Following,
        (captured, shape): (Arc<Captured>, Shape),
    ) -> Result<(), Error> {
        let (name, oid) = (captured.name(), captured.table.oid);
        let (record, told) = (captured.shape.record(), Arc::clone(shape.record()));
        if told != *record || shape.key_names() != captured.shape.key_names() {
            // The stream is behind the definition that the table is read by, or this one has just changed.
            let transaction = following.transaction.map(|transaction| transaction.xid);
            self.wait_until_visible(transaction.as_slice()).await?;
        }
        let now = catalog::table(&mut self.control, oid).await?;
        if now.is_none_or(|now| !now.is_defined_as(&captured.table)) {
            self.leave().await?;
            return Err(Error::Restart(format!("the definition of {name} changed before it was read")));
        }
        let mut streaming = Captured::clone(&captured);
        streaming.shape = shape;
        let mut plan = streaming.streaming_plan(&self.pipeline.file)?;
        if told != *record {
            plan.restrict(|index| told.get(index).is_some_and(|column| record.contains(column)));
        }
        let state = self.states.entry(name.clone()).or_default();
        if state.write_as(&plan) {
            note_whose(state, &captured);
            self.writer.extra().table(&name, state);
        }
        let overlap = Overlap::before_it_is_read(state, stream_names(&captured.outputs));
        let progress = self.progress.table(&name);
        let table = Tracked { name, plan: following.applier.keep(plan), overlap, progress };
        following.applier.set(oid, Relation { table: Some(Rc::new(table)) });
        Ok(())
    }

    /// The tables that are read next, or, where all of them have been read, swept next.
    pub(super) fn due(&mut self) -> Result<Due, Error> {
        let (mut unread, mut read) = (Vec::new(), Vec::new());
        for captured in self.captured.values() {
            let (name, mut list) = (captured.name(), &mut unread);
            if let Some(state) = self.states.get(&name) {
                if state.complete {
                    continue;
                }
                if state.is_read() {
                    list = &mut read;
                }
            }
            list.push((name, Arc::clone(captured)));
        }
        let mut due = Due { tables: Vec::new(), all: Vec::new() };
        for (name, captured) in &unread {
            let progress = self.progress.table(name);
            progress.expected.store(captured.table.estimated_rows, Relaxed);
            let rows = self.states.get(name).map_or(0, |state| state.rows);
            progress.set_snapshot(rows, false);
            due.all.push(progress);
        }
        for list in [unread, read] {
            let mut list = list.into_iter();
            while due.tables.len() < self.tables_at_once
                && let Some((name, captured)) = list.next()
            {
                due.tables.extend(self.reading(name, captured)?);
            }
            if !due.tables.is_empty() {
                break;
            }
        }
        Ok(due)
    }

    /// `None` when there is nothing to read.
    fn reading(&mut self, name: String, captured: Arc<Captured>) -> Result<Option<Reading>, Error> {
        let mut state = self.states.get(&name).cloned().unwrap_or_default();
        let streams = stream_names(&captured.outputs);
        let mut plan = captured.plan(&self.pipeline.file)?;
        plan.retire(&state.retired);
        plan.without_streams(&state.announced);
        if plan.sinks.is_empty() && state.stale_keys.is_empty() {
            // Its streams have the rows already, and there is nothing else.
            note_definition(&mut state, &captured);
            state.completed(&streams);
            self.writer.extra().table(&name, &state);
            self.states.insert(name, state);
            return Ok(None);
        }
        let progress = self.progress.table(&name);
        progress.set_snapshot(state.rows, state.is_read());
        Ok(Some(Reading { name, captured, plan: Rc::new(plan), state, streams, progress }))
    }
}

/// Of a table that is still to be read: what the stream has written meanwhile is of another table, or was written for
/// other outputs. Its keys are removed then, where no row has them.
fn is_of_another(state: &mut TableState, captured: &Captured) -> bool {
    let remade = state.oid != 0 && state.oid != captured.table.oid;
    let reconfigured = !state.outputs.is_empty() && *state.outputs != *captured.fingerprint;
    if !remade && !reconfigured {
        return false;
    }
    state.is_reconfigured(&captured.fingerprint);
    if remade {
        state.forget_streams();
        let name = captured.name();
        state
            .gap
            .get_or_insert_with(|| format!("{name} was dropped and made anew: its former rows are gone"));
    }
    note_whose(state, captured);
    true
}

/// Which table and which outputs rows are written for, also before it is read.
fn note_whose(state: &mut TableState, captured: &Captured) {
    state.oid = captured.table.oid;
    state.outputs = Arc::clone(&captured.fingerprint);
    state.published.clone_from(&captured.published);
}

/// What the rows are written as from now on.
pub(super) fn note_definition(state: &mut TableState, captured: &Captured) {
    note_whose(state, captured);
    state.columns = Arc::clone(captured.shape.record());
    state.key = captured.shape.key_names();
    state.files.clone_from(&captured.table.files);
    state.columns_as_of.clone_from(&captured.table.columns_as_of);
}
