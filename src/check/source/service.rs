//! Who runs the server; the other checks say what to do in that service's words.

use crate::check::platform::Platform;
use crate::check::report::Findings;
use crate::check::seen::Source;
use crate::check::{Check, Look};

pub(in crate::check) const CHECK: Check =
    Check { name: "postgres_service", about: "who runs PostgreSQL", look: Look::Source(look) };

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    let platform = source.server.platform();
    findings.ok(match platform {
        Platform::SelfHosted => format!("no managed service that is known; see {}", platform.page()),
        _ => format!("{}; see {}", platform.name(), platform.page()),
    });
}
