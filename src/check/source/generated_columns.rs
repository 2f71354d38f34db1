//! Generated columns are not in the stream.

use crate::check::report::Findings;
use crate::check::seen::Source;
use crate::check::{Check, Look};

pub(in crate::check) const CHECK: Check =
    Check { name: "generated_columns", about: "generated columns", look: Look::Source(look) };

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    let (tables, relations) = match (&source.tables, &source.relations) {
        (Ok(tables), Ok(relations)) => (tables, relations),
        (Err(error), _) | (_, Err(error)) => return findings.unseen(error, None),
    };
    let mut found = false;
    let captured = relations.iter().filter(|relation| tables.chosen.contains_key(&relation.oid));
    for relation in captured.filter(|relation| !relation.generated.is_empty()) {
        found = true;
        findings.warn(
            format!(
                "{}.{}: {} are not captured, since PostgreSQL does not send them",
                relation.schema,
                relation.name,
                relation.generated.join(", ")
            ),
            "compute them where they are read, or let a trigger fill ordinary columns",
        );
    }
    if !found {
        findings.ok("none in the tables to capture");
    }
}
