//! How much Redis can forget, against how far back PostgreSQL can send again (`source.retain`).

use std::time::Duration;

use super::info::{self, Info};
use crate::check::nodes::Node;
use crate::check::report::{Findings, counted};
use crate::check::seen::{Seen, Target};
use crate::check::{Check, Look};
use crate::config::Durability;

pub(in crate::check) const CHECK: Check =
    Check { name: "persistence", about: "persistence and replicas of Redis", look: Look::Node(look) };

fn look(target: &Target<'_>, node: &Node, findings: &mut Findings<'_>) {
    let info = match &node.info {
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
    let durability = target.config.target.durability;
    for (found, mend) in too_little(durability, info) {
        findings.warn(found, mend);
    }
    let retain = target.config.source.retain;
    let replicas = counted(info.number("connected_slaves").unwrap_or(0) as usize, "replica");
    if info.get("aof_enabled") == Some("1") {
        return findings.ok(format!("an append-only file, {replicas}"));
    }
    match interval(&node.save) {
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

/// What `durability` waits for and there is not: then nothing is confirmed to PostgreSQL.
fn too_little(durability: Durability, info: &Info) -> Vec<(String, &'static str)> {
    let replicas = |wanted: u32, setting: &str| {
        let found = info.number("connected_slaves")?;
        let words =
            format!("{setting} asks for {}, and there are {found}", counted(wanted as usize, "replica"));
        (found < wanted.into()).then_some((words, "start as many replicas, or ask for fewer"))
    };
    match durability {
        Durability::Memory => Vec::new(),
        Durability::Replicas(wanted) => replicas(wanted, "durability.wait").into_iter().collect(),
        Durability::AppendOnly(wanted) => {
            let without = info.get("aof_enabled") == Some("0");
            let file = without.then(|| {
                let words = "durability.waitaof asks for an append-only file, and there is none";
                (words.to_owned(), "CONFIG SET appendonly yes (and CONFIG REWRITE)")
            });
            file.into_iter().chain(replicas(wanted, "durability.waitaof")).collect()
        }
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

    #[test]
    fn durability_against_what_there_is() {
        let info = Info::parse("connected_slaves:1\naof_enabled:0\n");
        let found = |durability| too_little(durability, &info).len();
        assert_eq!(
            [Durability::Memory, Durability::Replicas(1), Durability::Replicas(2)].map(found),
            [0, 0, 1]
        );
        assert_eq!([Durability::AppendOnly(1), Durability::AppendOnly(2)].map(found), [1, 2]);
    }
}
