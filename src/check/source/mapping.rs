//! What is configured fits the tables: columns exist, replica identities carry what deletes need, and no
//! two outputs write the same keys.

use std::collections::BTreeMap;

use crate::check::report::Findings;
use crate::check::seen::Source;
use crate::check::{Check, Look};
use crate::error::Error;
use crate::pipeline::territory::Territories;

pub(in crate::check) const CHECK: Check = Check {
    name: "mapping",
    about: "outputs against columns, replica identities and each other",
    look: Look::Source(look),
};

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    let tables = match &source.tables {
        Ok(tables) => tables,
        Err(error) => return findings.unseen(error, None),
    };
    let mut territories = Territories::default();
    let mut refused = 0;
    // The same mistake in many tables that one pattern fits is told for the first.
    let mut told: BTreeMap<u32, ()> = BTreeMap::new();
    for (oid, plan) in &tables.plans {
        let Some(captured) = tables.chosen.get(oid) else { continue };
        let result = match plan {
            Ok(plan) => territories.claim(captured, plan, source.file),
            Err(_) => captured.plan(source.file).map(|_| ()),
        };
        let Err(error) = result else { continue };
        refused += 1;
        let line = captured.outputs.first().map_or(0, |output| output.line);
        if line == 0 || matches!(error, Error::Plan { .. }) || told.insert(line, ()).is_none() {
            findings.refuse(error);
        }
    }
    if refused == 0 && !tables.plans.is_empty() {
        findings.ok("they fit");
    }
}
