//! Values that are stored outside the rows (TOAST): PostgreSQL does not send those that an UPDATE left
//! alone, and an output that is written as a whole has to read the row again.

use crate::check::report::{Findings, some_of};
use crate::check::seen::{Source, Tables};
use crate::check::{Check, Look};
use crate::config::Structure;
use crate::pipeline::capture::Captured;
use crate::postgres::pgoutput::ReplicaIdentity;

pub(in crate::check) const CHECK: Check = Check {
    name: "large_values",
    about: "large values (TOAST) in outputs of whole rows",
    look: Look::Source(look),
};

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    let (tables, relations) = match (&source.tables, &source.relations) {
        (Ok(tables), Ok(relations)) => (tables, relations),
        (Err(error), _) | (_, Err(error)) => return findings.unseen(error, None),
    };
    let large = relations.iter().filter(|relation| relation.toast_pages > 0);
    let affected: Vec<String> =
        large.filter_map(|relation| affected(tables, relation.oid)).map(Captured::name).collect();
    if affected.is_empty() {
        findings.ok("none that an UPDATE would have to read again");
        return;
    }
    findings.warn(
        format!(
            "{}: an UPDATE that leaves them alone makes the connector read the row again, and the event shows the row \
             as it is by then",
            some_of(&affected)
        ),
        "ALTER TABLE … REPLICA IDENTITY FULL sends them with each UPDATE (at the price of more WAL); or leave them out \
         (exclude)",
    );
}

fn affected(tables: &Tables, oid: u32) -> Option<&Captured> {
    let captured = tables.chosen.get(&oid)?;
    let whole = captured
        .outputs
        .iter()
        .any(|output| matches!(output.structure, Structure::String { .. } | Structure::Stream { .. }));
    (whole && captured.table.identity != ReplicaIdentity::Full).then_some(captured)
}
