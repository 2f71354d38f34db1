//! PostgreSQL 12 or later; a standby from 16 on.

use crate::check::report::Findings;
use crate::check::seen::Source;
use crate::check::server::Server;
use crate::check::{Check, Look};
use crate::error::Problem;

pub(in crate::check) const CHECK: Check =
    Check { name: "postgres_version", about: "version of PostgreSQL", look: Look::Source(look) };

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    match problem(&source.server) {
        Some(problem) => findings.not_ready(problem),
        None if source.server.standby => findings.ok(format!("{}, a standby", source.server.version_name)),
        None => findings.ok(&source.server.version_name),
    }
}

/// `run` says the same, and waits for a standby to be promoted.
fn problem(server: &Server) -> Option<Problem> {
    let version = server.version;
    if version < 120_000 {
        return Some(Problem {
            found: format!("PostgreSQL {}.{} is too old", version / 10_000, version / 100 % 100),
            mend: "version 12 or later is needed".to_owned(),
        });
    }
    (server.standby && version < 160_000).then(|| Problem {
        found: format!(
            "it is a standby, and logical replication from a standby needs PostgreSQL 16 (this is {})",
            version / 10_000
        ),
        mend:
            "connect to the primary, or with several hosts in source.url add target_session_attrs=read-write"
                .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::server::tests::server;
    use super::problem;

    #[test]
    fn old_servers_and_standbys() {
        let said = |changes: &str| problem(&server(changes)).map(|problem| problem.to_string());
        assert_eq!(
            said(r#"{"version": 90624}"#).unwrap(),
            "PostgreSQL 9.6 is too old: version 12 or later is needed"
        );
        assert_eq!(said(r#"{"version": 120000}"#), None);
        assert!(said(r#"{"standby": true}"#).unwrap().contains("standby"));
        assert_eq!(said(r#"{"standby": true, "version": 160001}"#), None);
    }
}
