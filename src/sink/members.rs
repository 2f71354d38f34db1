//! A member for each row, of a set or a sorted set that rows share.
//!
//! A row whose key or member changes is taken out where it was and put in where it is; a NULL in either
//! means that the row is nowhere. Key and member are made of columns whose old values every UPDATE and
//! DELETE carries, so both are always known.

use std::collections::HashSet;

use super::{Again, Context, Needs, Workspace, ttl};
use crate::config::Template;
use crate::plan::PlanError;
use crate::plan::columns::{Purpose, template};
use crate::plan::key::{Holds, KeyPattern};
use crate::plan::template::{Rendered, TemplatePlan};
use crate::redis::resp::Commands;
use crate::row::{Change, Row};

/// Whether a row is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belongs {
    Yes,
    /// A NULL says no.
    No,
    /// A value that decides it was not sent.
    Unknown,
}

/// How members are written.
pub(crate) trait Body {
    const HOLDS: Holds;
    const REMOVE: &'static [u8];

    /// Whether the row is a member, as far as more than key and member decide it.
    fn belongs(&self, row: &Row<'_>, workspace: &mut Workspace) -> Belongs;

    /// Puts `workspace.member` into `workspace.key`.
    fn add(&self, workspace: &mut Workspace, out: &mut Commands);
}

#[derive(Debug)]
pub(crate) struct Members<B> {
    key: TemplatePlan,
    member: TemplatePlan,
    ttl: Option<Vec<u8>>,
    deferrable: bool,
    body: B,
}

impl<B: Body> Members<B> {
    pub(super) fn compile(context: Context<'_>, member: &Template, body: B) -> Result<Members<B>, PlanError> {
        let (shape, output, _) = context;
        Ok(Members {
            key: template(shape, output, &output.key, Purpose::Place("key"))?,
            member: template(shape, output, member, Purpose::Place("member"))?,
            ttl: ttl(output),
            deferrable: shape.deferrable,
            body,
        })
    }

    pub(super) fn pattern(&self) -> KeyPattern {
        self.key.pattern(B::HOLDS)
    }

    pub(super) fn place_columns(&self) -> Vec<usize> {
        self.key.columns().chain(self.member.columns()).collect()
    }

    pub(super) fn place(&self, row: &Row<'_>, workspace: &mut Workspace) -> bool {
        self.render(row, workspace) == Belongs::Yes && self.body.belongs(row, workspace) == Belongs::Yes
    }

    #[inline]
    pub(super) fn write(&self, change: &Change<'_>, workspace: &mut Workspace, out: &mut Commands) {
        match change {
            Change::Whole { new } => {
                if self.render(new, workspace) == Belongs::Yes {
                    self.came(workspace);
                    self.put(new, workspace, out);
                }
            }
            Change::Update { old, new } => {
                let belongs = self.render(new, workspace);
                if let Some(old) = old
                    && self.render_old(old, workspace) == Belongs::Yes
                    && (belongs != Belongs::Yes || moved(workspace))
                {
                    out.command(&[B::REMOVE, &workspace.old_key, &workspace.old_member]);
                }
                if belongs == Belongs::Yes {
                    if old.is_some() {
                        self.came(workspace);
                    }
                    self.put(new, workspace, out);
                }
            }
            Change::Delete { old } => {
                if self.render_old(old, workspace) == Belongs::Yes {
                    out.command(&[B::REMOVE, &workspace.old_key, &workspace.old_member]);
                }
            }
        }
    }

    pub(super) fn needs(&self, change: &Change<'_>, workspace: &mut Workspace) -> Option<Needs> {
        match change {
            Change::Whole { .. } => None,
            Change::Delete { old } => {
                let swapped = self.render_old(old, workspace) == Belongs::Yes && self.has_come(workspace);
                swapped.then_some(Needs::Rows)
            }
            Change::Update { old, new } => {
                let belongs = self.render(new, workspace);
                let moves = old.as_ref().is_some_and(|old| {
                    self.render_old(old, workspace) == Belongs::Yes
                        && (belongs != Belongs::Yes || moved(workspace))
                });
                if moves && self.has_come(workspace) {
                    return Some(Needs::Rows);
                }
                // What was not sent is right where it is, as long as the member stays. But a key that
                // expires may not have it any more.
                let elsewhere = old.is_some() && (moves || self.deferrable) || self.ttl.is_some();
                let unknown = belongs == Belongs::Unknown
                    || (elsewhere && self.body.belongs(new, workspace) == Belongs::Unknown);
                unknown.then_some(Needs::Whole)
            }
        }
    }

    pub(super) fn write_again(&self, again: &Again<'_>, workspace: &mut Workspace, out: &mut Commands) {
        if let Some(old) = &again.old
            && self.render_old(old, workspace) == Belongs::Yes
        {
            out.command(&[B::REMOVE, &workspace.old_key, &workspace.old_member]);
        }
        if let Some(new) = &again.new
            && self.render(new, workspace) == Belongs::Yes
        {
            self.came(workspace);
        }
        for row in [again.at_old_key, again.at_new_key].into_iter().flatten() {
            if self.render(&row, workspace) == Belongs::Yes {
                self.put(&row, workspace, out);
            }
        }
    }

    fn put(&self, row: &Row<'_>, workspace: &mut Workspace, out: &mut Commands) {
        match self.body.belongs(row, workspace) {
            Belongs::Yes => {
                self.body.add(workspace, out);
                if let Some(ttl) = &self.ttl {
                    out.command(&[b"EXPIRE", &workspace.key, ttl]);
                }
            }
            Belongs::No => out.command(&[B::REMOVE, &workspace.key, &workspace.member]),
            Belongs::Unknown => {}
        }
    }

    #[inline]
    fn render(&self, row: &Row<'_>, workspace: &mut Workspace) -> Belongs {
        let Workspace { key, member, scratch, .. } = workspace;
        both(self.key.render(row, scratch, key), self.member.render(row, scratch, member))
    }

    fn render_old(&self, row: &Row<'_>, workspace: &mut Workspace) -> Belongs {
        let Workspace { old_key, old_member, scratch, .. } = workspace;
        both(self.key.render(row, scratch, old_key), self.member.render(row, scratch, old_member))
    }

    /// A row has become this member.
    fn came(&self, workspace: &mut Workspace) {
        if self.deferrable {
            let place = place(&workspace.key, &workspace.member);
            if let Some(places) = &mut workspace.came_to {
                places.insert(place);
            }
        }
    }

    fn has_come(&self, workspace: &Workspace) -> bool {
        let place = || place(&workspace.old_key, &workspace.old_member);
        let has = |places: &HashSet<Vec<u8>>| places.contains(&place());
        self.deferrable && workspace.came_to.as_ref().is_some_and(has)
    }
}

fn both(key: Rendered, member: Rendered) -> Belongs {
    match (key, member) {
        (Rendered::Unknown, _) | (_, Rendered::Unknown) => Belongs::Unknown,
        (Rendered::Complete, Rendered::Complete) => Belongs::Yes,
        _ => Belongs::No,
    }
}

fn moved(workspace: &Workspace) -> bool {
    workspace.old_key != workspace.key || workspace.old_member != workspace.member
}

/// A key and a member, told apart from any key of a row.
fn place(key: &[u8], member: &[u8]) -> Vec<u8> {
    let mut place = (key.len() as u64).to_be_bytes().to_vec();
    place.extend_from_slice(key);
    place.extend_from_slice(member);
    place
}
