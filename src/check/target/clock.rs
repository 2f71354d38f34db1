//! Redis' clock against ours: keys with a `ttl` go by it.

use super::info;
use crate::check::nodes::Node;
use crate::check::report::Findings;
use crate::check::seen::Target;
use crate::check::source::clock::compare;
use crate::check::{Check, Look};

pub(in crate::check) const CHECK: Check =
    Check { name: "redis_clock", about: "clock of Redis", look: Look::Node(look) };

fn look(_: &Target<'_>, node: &Node, findings: &mut Findings<'_>) {
    match &node.info {
        Err(error) => findings.unseen(error, Some(info::MEND)),
        Ok(info) => match info.number("server_time_usec") {
            Some(now) => compare(now as f64 / 1000.0 - node.now, "keys expire by that clock", findings),
            None => findings.unseen("Redis tells it from version 6.2 on", None),
        },
    }
}
