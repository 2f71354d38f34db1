//! Redis' clock against ours: keys with a `ttl` go by it.

use super::info;
use crate::check::report::Findings;
use crate::check::seen::Target;
use crate::check::source::clock::compare;
use crate::check::{Check, Look};

pub(in crate::check) const CHECK: Check =
    Check { name: "redis_clock", about: "clock of Redis", look: Look::Target(look) };

fn look(target: &Target<'_>, findings: &mut Findings<'_>) {
    match &target.info {
        Err(error) => findings.unseen(error, Some(info::MEND)),
        Ok(info) => match info.number("server_time_usec") {
            Some(now) => compare(now as f64 / 1000.0 - target.now, "keys expire by that clock", findings),
            None => findings.unseen("Redis tells it from version 6.2 on", None),
        },
    }
}
