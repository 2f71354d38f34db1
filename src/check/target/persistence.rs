//! How much Redis can forget, against how far back PostgreSQL can send again (`source.retain`).

use std::time::Duration;

use super::info;
use crate::check::report::{Findings, counted};
use crate::check::seen::{Seen, Target};
use crate::check::{Check, Look};

pub(in crate::check) const CHECK: Check =
    Check { name: "persistence", about: "persistence and replicas of Redis", look: Look::Target(look) };

fn look(target: &Target<'_>, findings: &mut Findings<'_>) {
    let info = match &target.info {
        Ok(info) => info,
        Err(error) => return findings.unseen(error, Some(info::MEND)),
    };
    let disk =
        [("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "write to the append-only file")];
    for (field, what) in disk {
        if info.get(field) == Some("err") {
            findings.warn(
                format!("the last {what} failed, so Redis may refuse to write (MISCONF)"),
                "see its log; most often the disk is full, or the directory can't be written",
            );
        }
    }
    let retain = target.config.source.retain;
    let replicas = counted(info.number("connected_slaves").unwrap_or(0) as usize, "replica");
    if info.get("aof_enabled") == Some("1") {
        return findings.ok(format!("an append-only file, {replicas}"));
    }
    match interval(&target.save) {
        Interval::Never if info.number("connected_slaves").unwrap_or(0) == 0 => findings.warn(
            "none: after a restart of Redis all tables are read again",
            "CONFIG SET appendonly yes (and CONFIG REWRITE), if that takes too long",
        ),
        Interval::Never => findings.warn(
            format!("none, but {replicas}: after a failover all is well, after a restart all tables are read again"),
            "CONFIG SET appendonly yes (and CONFIG REWRITE), if that takes too long",
        ),
        Interval::Within(longest) if longest > retain => findings.warn(
            format!(
                "snapshots only, and one can be {} s old, more than source.retain ({} s): if Redis restarts, all \
                 tables are read again",
                longest.as_secs(),
                retain.as_secs()
            ),
            format!("CONFIG SET appendonly yes (and CONFIG REWRITE); or source.retain: {}s", longest.as_secs()),
        ),
        Interval::Within(longest) => {
            findings.ok(format!("snapshots, at least every {} s, {replicas}", longest.as_secs()));
        }
        Interval::Unknown => findings.unseen(
            format!("no append-only file, {replicas}; how often snapshots are taken is hidden"),
            Some("+config|get for the user lets it be seen"),
        ),
    }
}

enum Interval {
    Never,
    /// A change is in a snapshot after this time.
    Within(Duration),
    Unknown,
}

/// `save` is pairs of seconds and changes; a single change waits for the longest of them.
fn interval(save: &Seen<String>) -> Interval {
    let Ok(save) = save else { return Interval::Unknown };
    let seconds = save.split_whitespace().step_by(2).filter_map(|seconds| seconds.parse().ok());
    seconds.max().map_or(Interval::Never, |longest| Interval::Within(Duration::from_secs(longest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        let of = |save: &str| interval(&Ok(save.to_owned()));
        assert!(matches!(of(""), Interval::Never));
        assert!(matches!(of("60 10000 3600 1"), Interval::Within(d) if d.as_secs() == 3600));
        assert!(matches!(interval(&Err("no".to_owned())), Interval::Unknown));
        assert_eq!(super::info::Info::parse("a:1\r\n").number("a"), Some(1));
    }
}
