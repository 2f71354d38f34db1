//! The replication protocol is spoken: a pooler in between, or a line of `pg_hba.conf`, can be in its way
//! although queries pass.

use super::replication_right;
use crate::check::report::Findings;
use crate::check::seen::Source;
use crate::check::{Check, Look};
use crate::error::Problem;

pub(in crate::check) const CHECK: Check =
    Check { name: "replication_connection", about: "a connection for replication", look: Look::Source(look) };

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    match &source.replication {
        Ok(()) => findings.ok("it can be made"),
        // That is told already.
        Err(_) if replication_right::problem(&source.server).is_some() => {
            findings.unseen("needs the right to replicate", None);
        }
        Err(error) => findings.not_ready(Problem {
            found: error.clone(),
            mend: "connect to PostgreSQL itself and not to a pooler; pg_hba.conf must let the role into the database"
                .to_owned(),
        }),
    }
}
