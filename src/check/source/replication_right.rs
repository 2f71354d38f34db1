//! The role may make a slot and read it.

use crate::check::report::Findings;
use crate::check::seen::Source;
use crate::check::server::Server;
use crate::check::{Check, Look};
use crate::error::Problem;

pub(in crate::check) const CHECK: Check =
    Check { name: "replication_right", about: "the role's right to replicate", look: Look::Source(look) };

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    let server = &source.server;
    match problem(server) {
        Some(problem) => findings.not_ready(problem),
        None if server.superuser => findings.warn(
            format!("{} is a superuser, which is more than the connector needs", server.role),
            "CREATE ROLE … LOGIN REPLICATION, and GRANT SELECT on the captured tables (docs/postgres/)",
        ),
        None => findings.ok(format!("{} has it", server.role)),
    }
}

pub(in crate::check) fn problem(server: &Server) -> Option<Problem> {
    let platform = server.platform();
    (!platform.may_replicate(server)).then(|| Problem {
        found: format!("the role {} has no right of REPLICATION", server.role),
        mend: platform.let_replicate(&server.role),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::server::tests::server;
    use super::problem;

    #[test]
    fn each_service_in_its_own_words() {
        let said = |changes: &str| problem(&server(changes)).unwrap().to_string();
        assert!(problem(&server("{}")).is_none());
        assert_eq!(
            said(r#"{"replication": false}"#),
            "the role repl has no right of REPLICATION: let a superuser run: ALTER ROLE \"repl\" REPLICATION"
        );
        assert!(
            said(r#"{"replication": false, "roles": {"rds_superuser": false}}"#)
                .ends_with("GRANT rds_replication TO \"repl\"")
        );
    }
}
