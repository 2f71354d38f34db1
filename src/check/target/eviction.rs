//! `maxmemory-policy`: what Redis does when it is full. Evicting keys loses rows without a word.

use super::info::{self, Info};
use crate::check::nodes::Node;
use crate::check::report::Findings;
use crate::check::seen::Target;
use crate::check::{Check, Look};
use crate::error::Problem;

pub(in crate::check) const CHECK: Check = Check {
    name: "eviction",
    about: "what Redis does when it is full (maxmemory-policy)",
    look: Look::Node(look),
};

fn look(_: &Target<'_>, node: &Node, findings: &mut Findings<'_>) {
    let info = match &node.info {
        Ok(info) => info,
        Err(error) => return findings.unseen(error, Some(info::MEND)),
    };
    match (problem(info), info.get("maxmemory_policy")) {
        (Some(problem), _) => findings.warn(problem.found, problem.mend),
        (None, Some(policy)) => findings.ok(policy),
        (None, None) => findings.unseen("Redis does not tell maxmemory-policy", None),
    }
}

/// A policy that loses rows. Without a limit it may not happen for long, and then it does.
pub(in crate::check) fn problem(info: &Info) -> Option<Problem> {
    let policy = info.get("maxmemory_policy")?;
    policy.starts_with("allkeys-").then(|| Problem {
        found: format!("{policy}: a full Redis removes rows, and can remove the checkpoint"),
        mend: "CONFIG SET maxmemory-policy noeviction, or a volatile- policy (docs/redis.md)".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let of = |policy: &str| problem(&Info::parse(&format!("maxmemory_policy:{policy}\n")));
        assert!(of("allkeys-lru").is_some());
        assert_eq!(of("volatile-ttl"), None);
        assert_eq!(of("noeviction"), None);
    }
}
