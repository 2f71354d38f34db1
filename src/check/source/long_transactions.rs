//! Transactions that delay the slot: its creation waits until all that have written are at an end.

use crate::check::report::{Findings, counted};
use crate::check::seen::{Source, Transaction};
use crate::check::{Check, Look};
use crate::postgres::literal;

pub(in crate::check) const CHECK: Check = Check {
    name: "long_transactions",
    about: "transactions that the slot would wait for",
    look: Look::Source(look),
};

/// Longer than this is noticed by whoever waits.
const LONG: f64 = 10.0;

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    let transactions = match &source.transactions {
        Ok(transactions) => transactions,
        Err(error) => return findings.unseen(error, None),
    };
    if matches!(source.slot, Ok(Some(_))) {
        return findings.ok("none: the slot exists");
    }
    let mut hidden = 0;
    let mut long = 0;
    for transaction in transactions {
        match (transaction.seconds, end(transaction)) {
            (Some(seconds), end) if seconds > LONG => {
                let role = transaction.role.as_deref().unwrap_or("somebody");
                findings.warn(format!("one of {role} has been open for {seconds:.0} s"), end);
                long += 1;
            }
            (Some(_), _) => {}
            (None, _) => hidden += 1,
        }
    }
    if hidden > 0 {
        let found =
            format!("{} have written, and how long they are open is hidden", counted(hidden, "transaction"));
        findings.unseen(found, Some("GRANT pg_read_all_stats to the role, to see it"));
    } else if long == 0 {
        findings.ok("none that is open for long");
    }
}

fn end(transaction: &Transaction) -> String {
    match (&transaction.pid, &transaction.gid) {
        (_, Some(gid)) => {
            let gid = literal(gid);
            format!("it is prepared: COMMIT PREPARED {gid}, or ROLLBACK PREPARED {gid}")
        }
        (pid, None) => {
            let pid = pid.unwrap_or_default();
            format!("let it end, or SELECT pg_terminate_backend({pid})")
        }
    }
}
