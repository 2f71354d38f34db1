//! A replication slot is ours already, or there is room for one.

use crate::check::report::{Findings, counted};
use crate::check::seen::Source;
use crate::check::server::Server;
use crate::check::{Check, Look};
use crate::error::Problem;
use crate::pipeline::begin;
use crate::postgres::slot::Loss;

pub(in crate::check) const CHECK: Check =
    Check { name: "replication_slots", about: "a replication slot", look: Look::Source(look) };

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    let name = &source.config.source.slot;
    match &source.slot {
        Err(error) => findings.unseen(error, None),
        Ok(Some(slot)) => match begin::foreign_slot(slot, &source.config.source) {
            Some(problem) => findings.not_ready(problem),
            None if slot.lost.is_some() => findings.warn(
                format!("{name} is invalidated: {}", slot.lost.map(Loss::words).unwrap_or_default()),
                "the next run reads all tables again (on_gap: resnapshot) or stops (on_gap: fail)",
            ),
            None => match slot.active_pid {
                Some(pid) => findings.ok(format!("{name} exists, and process {pid} of an instance reads it")),
                None => findings.ok(format!("{name} exists")),
            },
        },
        Ok(None) => match problem(&source.server) {
            Some(problem) => findings.not_ready(problem),
            None => {
                let free = source.server.number("max_replication_slots").map(|all| all - source.server.slots);
                findings.ok(match free {
                    Some(free) => format!("{} free; {name} will be made", counted(free as usize, "slot")),
                    None => format!("{name} will be made"),
                });
            }
        },
    }
}

/// There is no room for a slot, and none of ours.
pub(in crate::check) fn problem(server: &Server) -> Option<Problem> {
    let most = server.number("max_replication_slots")?;
    (!server.slot_exists && server.slots >= most).then(|| Problem {
        found: format!("all {most} replication slots are taken (max_replication_slots)"),
        mend: format!(
            "{}; or drop one that nobody needs: SELECT pg_drop_replication_slot(slot_name) FROM \
             pg_replication_slots WHERE slot_name = …",
            server.platform().change("max_replication_slots", &(most + 5).to_string(), true)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::server::tests::server;
    use super::problem;

    #[test]
    fn room_for_one() {
        assert!(problem(&server(r#"{"slots": 9}"#)).is_none());
        assert!(problem(&server(r#"{"slots": 10, "slot_exists": true}"#)).is_none());
        let said = problem(&server(r#"{"slots": 10}"#)).unwrap().to_string();
        assert!(said.contains("ALTER SYSTEM SET max_replication_slots = '15', then restart"), "{said}");
    }
}
