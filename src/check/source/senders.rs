//! A walsender is free: the process that sends the log to one reader.

use crate::check::report::{Findings, counted};
use crate::check::seen::Source;
use crate::check::server::Server;
use crate::check::{Check, Look};
use crate::error::Problem;

pub(in crate::check) const CHECK: Check =
    Check { name: "wal_senders", about: "a WAL sender", look: Look::Source(look) };

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    // An instance that runs has its own.
    let runs = matches!(&source.slot, Ok(Some(slot)) if slot.active_pid.is_some());
    match (problem(&source.server), source.server.number("max_wal_senders")) {
        (Some(problem), _) if !runs => findings.not_ready(problem),
        (_, Some(all)) => {
            let free = all.saturating_sub(source.server.senders);
            findings.ok(format!("{} free", counted(free as usize, "sender")));
        }
        (_, None) => findings.unseen("PostgreSQL does not tell max_wal_senders", None),
    }
}

pub(in crate::check) fn problem(server: &Server) -> Option<Problem> {
    let most = server.number("max_wal_senders")?;
    (server.senders >= most).then(|| Problem {
        found: format!("all {most} WAL senders are at work (max_wal_senders)"),
        mend: server.platform().change("max_wal_senders", &(most + 5).to_string(), true),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::server::tests::server;
    use super::problem;

    #[test]
    fn one_is_enough() {
        assert!(problem(&server(r#"{"senders": 9}"#)).is_none());
        assert!(
            problem(&server(r#"{"senders": 10}"#)).unwrap().to_string().contains("max_wal_senders = '15'")
        );
    }
}
