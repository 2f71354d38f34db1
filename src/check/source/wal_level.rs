//! `wal_level` must be `logical`, which takes effect with a restart.

use crate::check::report::Findings;
use crate::check::seen::Source;
use crate::check::server::Server;
use crate::check::{Check, Look};
use crate::error::Problem;

pub(in crate::check) const CHECK: Check =
    Check { name: "wal_level", about: "wal_level", look: Look::Source(look) };

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    match problem(&source.server) {
        Some(problem) => findings.not_ready(problem),
        None => findings.ok("logical"),
    }
}

pub(in crate::check) fn problem(server: &Server) -> Option<Problem> {
    let level = server.setting("wal_level").unwrap_or("unknown");
    if level == "logical" {
        return None;
    }
    let platform = server.platform();
    let found = format!("wal_level is {level}, logical replication needs logical");
    Some(if server.wal_level_pending || platform.is_switched_on(server) {
        Problem {
            found: format!("{found}; the setting was changed, and waits for a restart"),
            mend: platform.restart().to_owned(),
        }
    } else {
        Problem { found, mend: platform.logical_wal().to_owned() }
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::server::tests::server;
    use super::problem;

    fn said(changes: &str) -> String {
        problem(&server(changes)).unwrap().to_string()
    }

    #[test]
    fn each_service_in_its_own_words() {
        assert!(problem(&server("{}")).is_none());
        assert_eq!(
            said(r#"{"settings": {"wal_level": "replica"}}"#),
            "wal_level is replica, logical replication needs logical: ALTER SYSTEM SET wal_level = 'logical', then \
             restart PostgreSQL"
        );
        let rds = said(r#"{"settings": {"wal_level": "replica", "rds.logical_replication": "off"}}"#);
        assert!(rds.contains("rds.logical_replication to 1 in the DB parameter group"), "{rds}");
        assert!(rds.contains("can't be set directly") && rds.contains("maintenance window"), "{rds}");
        let cloud = said(r#"{"settings": {"wal_level": "replica", "cloudsql.logical_decoding": "off"}}"#);
        assert!(cloud.contains("cloudsql.logical_decoding"), "{cloud}");
        let azure = said(r#"{"settings": {"wal_level": "replica"}, "roles": {"azure_pg_admin": false}}"#);
        assert!(azure.contains("server parameter wal_level"), "{azure}");
    }

    #[test]
    fn a_restart_is_all_that_is_missing() {
        let pending = said(r#"{"settings": {"wal_level": "replica"}, "wal_level_pending": true}"#);
        assert!(pending.ends_with("waits for a restart: restart PostgreSQL"), "{pending}");
        let rds = said(r#"{"settings": {"wal_level": "replica", "rds.logical_replication": "on"}}"#);
        assert!(
            rds.ends_with("waits for a restart: reboot the instance, by hand or in its maintenance window")
        );
    }
}
