//! The modules that outputs need.

use crate::check::nodes::Node;
use crate::check::report::Findings;
use crate::check::seen::Target;
use crate::check::{Check, Look};

pub(in crate::check) const CHECK: Check =
    Check { name: "redis_modules", about: "modules that the outputs need", look: Look::Node(look) };

fn look(_: &Target<'_>, node: &Node, findings: &mut Findings<'_>) {
    match &node.modules {
        Ok(missing) if missing.is_empty() => findings.ok("none is missing"),
        Ok(missing) => missing.iter().for_each(|problem| findings.not_ready(problem.clone())),
        Err(error) => findings.unseen(error, Some("+command|info for the user lets it be seen")),
    }
}
