//! A row as a member of a sorted set: ZADD with its score, ZREM.
//!
//! A score that is no number is still sent, after the member was removed: Redis refuses it, and the
//! refusal becomes a dead letter like that of any other row that can't be written.

use super::members::{Belongs, Body};
use super::{Context, Workspace};
use crate::config::Template;
use crate::plan::PlanError;
use crate::plan::columns::{Purpose, template};
use crate::plan::key::Holds;
use crate::plan::template::{Rendered, TemplatePlan};
use crate::redis::resp::Commands;
use crate::row::Row;

#[derive(Debug)]
pub(crate) struct SortedSet {
    score: TemplatePlan,
}

pub(super) fn compile((shape, output, _): Context<'_>, score: &Template) -> Result<SortedSet, PlanError> {
    Ok(SortedSet { score: template(shape, output, score, Purpose::Content("score"))? })
}

/// A double, as Redis reads it; NaN is none.
fn is_score(text: &[u8]) -> bool {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    number.is_some_and(|number| !number.is_nan())
}

impl Body for SortedSet {
    const HOLDS: Holds = Holds::SortedSet;
    const REMOVE: &'static [u8] = b"ZREM";

    /// Leaves the score in `workspace.body`.
    fn belongs(&self, row: &Row<'_>, workspace: &mut Workspace) -> Belongs {
        match self.score.render(row, &mut workspace.scratch, &mut workspace.body) {
            Rendered::Complete => Belongs::Yes,
            Rendered::WithNull => Belongs::No,
            Rendered::Unknown => Belongs::Unknown,
        }
    }

    fn add(&self, workspace: &mut Workspace, out: &mut Commands) {
        let Workspace { key, member, body, .. } = workspace;
        if !is_score(body) {
            out.command(&[b"ZREM", key, member]);
        }
        out.command(&[b"ZADD", key, body, member]);
    }
}
