//! A key for each row: what hashes, JSON documents and strings have in common.
//!
//! Every write of a row says all that is known of it, so that a row written over an older state of it
//! ends right. A row whose key changes takes its old key's place with it: by RENAME where values were
//! not sent and are still under the old key, else by UNLINK.
//!
//! A key with a TTL can have expired: what was not sent is then nowhere, so such rows must be whole.

use std::collections::HashSet;

use super::{Again, Context, Needs, Workspace, ttl};
use crate::plan::PlanError;
use crate::plan::columns::row_key;
use crate::plan::key::{Holds, KeyPattern};
use crate::plan::template::{Rendered, TemplatePlan};
use crate::redis::resp::Commands;
use crate::row::{Change, Row};

/// How a row is written under its key.
pub(crate) trait Body {
    /// Values that were not sent can be left alone in Redis.
    fn leaves_alone(&self) -> bool;

    /// Writes what is known of the row to `workspace.key`. False when nothing was, so that there is
    /// nothing to expire.
    fn set(&self, row: &Row<'_>, ttl: Option<&[u8]>, workspace: &mut Workspace, out: &mut Commands);

    /// Some value was not sent.
    fn is_partial(&self, row: &Row<'_>) -> bool;
}

#[derive(Debug)]
pub(crate) struct Keyed<B> {
    key: TemplatePlan,
    ttl: Option<Vec<u8>>,
    /// Two rows can have the same key inside a transaction (a DEFERRABLE primary key).
    deferrable: bool,
    body: B,
}

impl<B: Body> Keyed<B> {
    pub(super) fn compile((shape, output, strictness): Context<'_>, body: B) -> Result<Keyed<B>, PlanError> {
        Ok(Keyed {
            key: row_key(shape, output, strictness)?,
            ttl: ttl(output),
            deferrable: shape.deferrable,
            body,
        })
    }

    pub(super) fn body(&mut self) -> &mut B {
        &mut self.body
    }

    pub(super) fn shown(&self) -> &B {
        &self.body
    }

    fn needs_whole(&self) -> bool {
        !self.body.leaves_alone() || self.ttl.is_some()
    }

    pub(super) fn pattern(&self) -> KeyPattern {
        self.key.pattern(Holds::Row)
    }

    pub(super) fn place_columns(&self) -> Vec<usize> {
        self.key.columns().collect()
    }

    pub(super) fn place(&self, row: &Row<'_>, workspace: &mut Workspace) -> bool {
        self.render(row, workspace)
    }

    #[inline]
    pub(super) fn write(&self, change: &Change<'_>, workspace: &mut Workspace, out: &mut Commands) {
        match change {
            Change::Whole { new } => {
                if self.render(new, workspace) {
                    self.came(workspace);
                    self.set(new, workspace, out);
                }
            }
            Change::Update { old, new } => {
                if !self.render(new, workspace) {
                    return;
                }
                if let Some(old) = old
                    && self.render_old(old, workspace)
                    && workspace.old_key != workspace.key
                {
                    self.move_key(new, workspace, out);
                }
                self.set(new, workspace, out);
            }
            Change::Delete { old } => {
                if self.render_old(old, workspace) {
                    out.command(&[b"UNLINK", &workspace.old_key]);
                }
            }
        }
    }

    pub(super) fn needs(&self, change: &Change<'_>, workspace: &mut Workspace) -> Option<Needs> {
        match change {
            Change::Whole { .. } => None,
            Change::Delete { old } => {
                let swapped = self.render_old(old, workspace) && self.has_come(workspace);
                swapped.then_some(Needs::Rows)
            }
            Change::Update { old, new } => {
                let partial = self.body.is_partial(new);
                let known = self.render(new, workspace);
                if let Some(old) = old
                    && self.render_old(old, workspace)
                    && workspace.old_key != workspace.key
                    && (self.has_come(workspace) || (partial && workspace.converging))
                {
                    return Some(Needs::Rows);
                }
                (!known || (partial && self.needs_whole())).then_some(Needs::Whole)
            }
        }
    }

    pub(super) fn write_again(&self, again: &Again<'_>, workspace: &mut Workspace, out: &mut Commands) {
        let moved = match (&again.old, &again.new) {
            (Some(old), Some(new)) => {
                self.render_old(old, workspace)
                    && self.render(new, workspace)
                    && workspace.old_key != workspace.key
            }
            (Some(old), None) => self.render_old(old, workspace),
            (None, _) => false,
        };
        if moved {
            out.command(&[b"UNLINK", &workspace.old_key]);
        }
        if again.new.is_some() {
            self.came(workspace);
        }
        let at_old_key = again.at_old_key.filter(|_| moved);
        for row in [at_old_key, again.at_new_key].into_iter().flatten() {
            if self.render(&row, workspace) {
                self.set(&row, workspace, out);
            }
        }
    }

    /// False when a column of the key was not sent.
    #[inline]
    fn render(&self, row: &Row<'_>, workspace: &mut Workspace) -> bool {
        self.key.render(row, &mut workspace.scratch, &mut workspace.key) != Rendered::Unknown
    }

    fn render_old(&self, row: &Row<'_>, workspace: &mut Workspace) -> bool {
        self.key.render(row, &mut workspace.scratch, &mut workspace.old_key) != Rendered::Unknown
    }

    /// A row has come to `workspace.key`.
    #[inline]
    fn came(&self, workspace: &mut Workspace) {
        if self.deferrable
            && let Some(keys) = &mut workspace.came_to
        {
            keys.insert(workspace.key.clone());
        }
    }

    /// Another row has come to `workspace.old_key` in this transaction. When a row leaves it now, which
    /// of them leaves can't be told.
    fn has_come(&self, workspace: &Workspace) -> bool {
        let has = |keys: &HashSet<Vec<u8>>| keys.contains(&workspace.old_key);
        self.deferrable && workspace.came_to.as_ref().is_some_and(has)
    }

    /// The row's key changed. Values that the UPDATE did not send go along by RENAME.
    fn move_key(&self, new: &Row<'_>, workspace: &mut Workspace, out: &mut Commands) {
        self.came(workspace);
        if !self.needs_whole() && self.body.is_partial(new) {
            out.command(&[b"RENAME", &workspace.old_key, &workspace.key]);
        } else {
            out.command(&[b"UNLINK", &workspace.old_key]);
        }
    }

    #[inline]
    fn set(&self, row: &Row<'_>, workspace: &mut Workspace, out: &mut Commands) {
        if !self.needs_whole() || !self.body.is_partial(row) {
            self.body.set(row, self.ttl.as_deref(), workspace, out);
        }
    }
}
