//! The tables that the configuration asks for are there, and may be read.

use crate::check::report::{Findings, some_of};
use crate::check::seen::Source;
use crate::check::{Check, Look};
use crate::error::Error;
use crate::pipeline::capture;

pub(in crate::check) const CHECK: Check =
    Check { name: "tables", about: "tables to capture", look: Look::Source(look) };

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    let tables = match &source.tables {
        Ok(tables) => tables,
        Err(error) => return findings.unseen(error, None),
    };
    for error in &tables.misnamed {
        match error {
            Error::Unready(problem) => findings.not_ready(problem.clone()),
            other => findings.refuse(Error::Setting(other.to_string())),
        }
    }
    for problem in
        tables.unreadable.iter().filter_map(|table| capture::unreadable(table, &source.server.role))
    {
        findings.warn(format!("{}, so it is not captured", problem.found), problem.mend);
    }
    if tables.chosen.is_empty() {
        if tables.misnamed.is_empty() {
            findings.not_ready(capture::nothing_to_capture(source.config));
        }
        return;
    }
    let names: Vec<String> = tables.chosen.values().map(capture::Captured::name).collect();
    findings.ok(format!("{}: {}", names.len(), some_of(&names)));
}
