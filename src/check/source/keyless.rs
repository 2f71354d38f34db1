//! Tables without a key: published, PostgreSQL would reject the application's own UPDATE and DELETE.

use crate::check::report::Findings;
use crate::check::seen::Source;
use crate::check::{Check, Look};
use crate::pipeline::capture;

pub(in crate::check) const CHECK: Check =
    Check { name: "table_keys", about: "primary keys and replica identities", look: Look::Source(look) };

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    let tables = match &source.tables {
        Ok(tables) => tables,
        Err(error) => return findings.unseen(error, None),
    };
    for table in &tables.keyless {
        let problem = capture::keyless(table);
        findings.warn(format!("{} is {}", table.display_name(), problem.found), problem.mend);
    }
    let chosen = tables.chosen.values();
    let mut refused = 0;
    for problem in chosen.filter_map(|captured| capture::unpublishable(&captured.table)) {
        refused += 1;
        findings.not_ready(problem);
    }
    if refused == 0 && !tables.chosen.is_empty() {
        findings.ok("every table to capture has one");
    }
}
