//! Row-level security would hide rows from the snapshot, which the stream then brings.

use crate::check::report::Findings;
use crate::check::seen::Source;
use crate::check::{Check, Look};
use crate::error::Problem;
use crate::postgres::catalog::Table;
use crate::postgres::identifier;

pub(in crate::check) const CHECK: Check =
    Check { name: "row_security", about: "row-level security", look: Look::Source(look) };

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    let tables = match &source.tables {
        Ok(tables) => tables,
        Err(error) => return findings.unseen(error, None),
    };
    let chosen = tables.chosen.values();
    let hidden: Vec<Problem> =
        chosen.filter_map(|captured| problem(&captured.table, &source.server.role)).collect();
    if hidden.is_empty() {
        findings.ok("hides no rows from the role");
    }
    for problem in hidden {
        findings.not_ready(problem);
    }
}

pub(in crate::check) fn problem(table: &Table, role: &str) -> Option<Problem> {
    let quoted = identifier(role);
    table.hides_rows.then(|| Problem {
        found: format!("row-level security of {} hides rows from the role {role}", table.display_name()),
        mend: format!("let a superuser run: ALTER ROLE {quoted} BYPASSRLS; or let the table's owner run: ALTER TABLE {} \
                       DISABLE ROW LEVEL SECURITY", table.sql_name()),
    })
}
