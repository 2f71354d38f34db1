//! The user may use the commands, on the keys, that will be used.

use crate::check::contact::user;
use crate::check::nodes::Node;
use crate::check::report::Findings;
use crate::check::rights;
use crate::check::seen::Target;
use crate::check::{Check, Look};

pub(in crate::check) const CHECK: Check =
    Check { name: "redis_rights", about: "rights of the user in Redis", look: Look::Node(look) };

fn look(target: &Target<'_>, node: &Node, findings: &mut Findings<'_>) {
    let name = user(&target.config.target.url);
    match &node.missing {
        Err(error) => findings.unseen(error, None),
        Ok(missing) => match rights::problem(missing, name) {
            Some(problem) => findings.not_ready(problem),
            None => findings.ok(format!("{name} may do what is needed")),
        },
    }
}
