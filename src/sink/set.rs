//! A row as a member of a set: SADD, SREM.

use super::Workspace;
use super::members::{Belongs, Body};
use crate::plan::key::Holds;
use crate::redis::resp::Commands;
use crate::row::Row;

#[derive(Debug)]
pub(crate) struct Set;

impl Body for Set {
    const HOLDS: Holds = Holds::Set;
    const REMOVE: &'static [u8] = b"SREM";

    fn belongs(&self, _: &Row<'_>, _: &mut Workspace) -> Belongs {
        Belongs::Yes
    }

    fn add(&self, workspace: &mut Workspace, out: &mut Commands) {
        out.command(&[b"SADD", &workspace.key, &workspace.member]);
    }
}
