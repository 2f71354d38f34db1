//! Redis 6.2 or later, or Valkey, is what is tested.

use super::info::{self, Info};
use crate::check::nodes::Node;
use crate::check::report::Findings;
use crate::check::seen::Target;
use crate::check::{Check, Look};
use crate::error::Problem;

pub(in crate::check) const CHECK: Check =
    Check { name: "redis_version", about: "version of Redis", look: Look::Node(look) };

fn look(_: &Target<'_>, node: &Node, findings: &mut Findings<'_>) {
    let info = match &node.info {
        Ok(info) => info,
        Err(error) => return findings.unseen(error, Some(info::MEND)),
    };
    if let Some(problem) = problem(info) {
        return findings.not_ready(problem);
    }
    match (info.get("valkey_version"), info.get("redis_version"), version(info)) {
        (Some(valkey), ..) => findings.ok(format!("Valkey {valkey}")),
        (None, Some(name), Some(version)) if version < (6, 2) => {
            findings.warn(format!("{name} is older than what is tested"), "upgrade to Redis 6.2 or later");
        }
        (None, Some(name), _) => findings.ok(name),
        (None, None, _) => findings.unseen("Redis does not tell its version", None),
    }
}

/// Streams came with version 5; dead letters are one.
pub(in crate::check) fn problem(info: &Info) -> Option<Problem> {
    (version(info)? < (5, 0)).then(|| Problem {
        found: format!("Redis {} is too old", info.get("redis_version").unwrap_or_default()),
        mend: "version 6.2 or later is needed".to_owned(),
    })
}

fn version(info: &Info) -> Option<(u32, u32)> {
    let mut parts = info.get("redis_version")?.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions() {
        let of = |version: &str| problem(&Info::parse(&format!("# Server\r\nredis_version:{version}\r\n")));
        assert_eq!(
            of("4.0.14").unwrap().to_string(),
            "Redis 4.0.14 is too old: version 6.2 or later is needed"
        );
        assert_eq!(of("6.0.16"), None);
        assert_eq!(of("unknown"), None);
    }
}
