//! What stands behind the URL can be written to. That it is what the URL says, one server or a cluster, is
//! seen to when the connection is made.

use super::info;
use crate::check::report::{Findings, counted};
use crate::check::seen::Target;
use crate::check::{Check, Look};
use crate::error::Problem;
use crate::redis::Spread;

pub(in crate::check) const CHECK: Check =
    Check { name: "redis_topology", about: "what stands behind the URL", look: Look::Target(look) };

fn look(target: &Target<'_>, findings: &mut Findings<'_>) {
    // A cluster is written to at its masters, whichever node answers first.
    if target.spread == Spread::Cluster {
        return findings.ok(format!("a cluster with {}", counted(target.nodes.len(), "master")));
    }
    let Some(node) = target.nodes.first() else { return };
    let info = match &node.info {
        Ok(info) => info,
        Err(error) => return findings.unseen(error, Some(info::MEND)),
    };
    match info.get("role") {
        Some("slave") => {
            let host = info.get("master_host").unwrap_or("?");
            let port = info.get("master_port").unwrap_or("?");
            findings.not_ready(Problem {
                found: "this is a replica, which takes no writes".to_owned(),
                mend: format!(
                    "name its master in target.url, {host}:{port}; or the sentinels, with redis-sentinel://"
                ),
            });
        }
        _ => match target.spread {
            Spread::Endpoint => findings.ok("one address for several shards"),
            Spread::Cluster | Spread::Whole => findings.ok("a master"),
        },
    }
}
