//! The server's clock against ours: commit times and lag are told by it.

use crate::check::report::Findings;
use crate::check::seen::Source;
use crate::check::{Check, Look};

pub(in crate::check) const CHECK: Check =
    Check { name: "postgres_clock", about: "clock of PostgreSQL", look: Look::Source(look) };

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    compare(source.server.now - source.now, "the lag that is shown is wrong by as much", findings);
}

/// More than a slow answer explains.
const MUCH: f64 = 2_000.0;

/// `ahead` is how many ms the server's clock is ahead of ours.
pub(in crate::check) fn compare(ahead: f64, consequence: &str, findings: &mut Findings<'_>) {
    let seconds = ahead.abs() / 1000.0;
    let side = if ahead > 0.0 { "ahead of" } else { "behind" };
    if ahead.abs() > MUCH {
        let found = format!("{seconds:.0} s {side} the one here; {consequence}");
        findings.warn(found, "let all machines set their clocks by NTP");
    } else {
        findings.ok("agrees with the one here, within two seconds");
    }
}
