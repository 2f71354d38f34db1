//! `check`: everything that would keep the connector from working, or make it lose something, found
//! before it hurts, with what mends it.
//!
//! ```text
//!   Config ──> contact ──> Server, Source   (PostgreSQL, read once, in few queries) ──┐
//!                     └──> Target           (Redis, likewise) ───────────────────────┴─> checks ─> Report
//! ```
//!
//! First everything is looked at, then judged. A check is a file with a function from what was seen to
//! what it means: it sends nothing, so it can be tested without a server, and what one could not see
//! stops no other. To add one, write the file and name it in [`CHECKS`], at the place where a person
//! would want to know it: whoever mends in this order never does anything twice.
//!
//! Nothing is changed, on either side: catalogs are read, and the rights in Redis are tried inside a
//! transaction that can't be carried out ([`rights`]). What `run` would refuse is refused with its own
//! words, since both call the same functions; [`start`] is the part that `run` performs itself.

mod contact;
mod nodes;
mod platform;
mod report;
mod rights;
mod secret_files;
mod seen;
mod server;
mod source;
pub(crate) mod start;
mod target;

use contact::Contact;
use nodes::Node;
use report::{Finding, Findings, Report};
use seen::{Source, Target};

use crate::config::Config;

/// One check.
#[derive(Debug)]
struct Check {
    /// Stands in the JSON document, and stays.
    name: &'static str,
    /// What is looked at, in words.
    about: &'static str,
    look: Look,
}

/// What a check judges.
#[derive(Debug, Clone, Copy)]
enum Look {
    Files(fn(&Config, &str, &mut Findings<'_>)),
    PostgresContact(fn(&Contact, &mut Findings<'_>)),
    Source(fn(&Source<'_>, &mut Findings<'_>)),
    RedisContact(fn(&Contact, &mut Findings<'_>)),
    Target(fn(&Target<'_>, &mut Findings<'_>)),
    /// Each server that holds data.
    Node(fn(&Target<'_>, &Node, &mut Findings<'_>)),
    Both(fn(&Source<'_>, &Target<'_>, &Node, &mut Findings<'_>)),
}

/// All checks, in the order in which they are best mended.
const CHECKS: &[Check] = &[
    secret_files::CHECK,
    contact::POSTGRES_REACH,
    contact::POSTGRES_TLS,
    contact::POSTGRES_LOGIN,
    source::version::CHECK,
    source::service::CHECK,
    source::wal_level::CHECK,
    source::replication_right::CHECK,
    source::replication_connection::CHECK,
    source::slots::CHECK,
    source::senders::CHECK,
    source::wal_limit::CHECK,
    source::other_slots::CHECK,
    source::long_transactions::CHECK,
    source::encoding::CHECK,
    source::clock::CHECK,
    source::tables::CHECK,
    source::not_tables::CHECK,
    source::keyless::CHECK,
    source::row_security::CHECK,
    source::mapping::CHECK,
    source::large_values::CHECK,
    source::generated_columns::CHECK,
    source::publication::CHECK,
    contact::REDIS_REACH,
    contact::REDIS_TLS,
    contact::REDIS_LOGIN,
    target::version::CHECK,
    target::topology::CHECK,
    target::modules::CHECK,
    target::rights::CHECK,
    target::eviction::CHECK,
    target::persistence::CHECK,
    target::memory::CHECK,
    target::clock::CHECK,
    target::foreign_keys::CHECK,
];

/// Looks at both servers and judges what is there.
pub(crate) async fn preflight(config: &Config, file: &str) -> Report {
    let (postgres, source) = seen::source(config, file).await;
    let (redis, target) = seen::target(config, source.as_ref()).await;
    let mut found: Vec<Finding> = Vec::new();
    let mut skipped = Vec::new();
    for check in CHECKS {
        let mut findings = Findings::of(check, &mut found);
        match (check.look, &source, &target) {
            (Look::Files(look), ..) => look(config, file, &mut findings),
            (Look::PostgresContact(look), ..) => look(&postgres, &mut findings),
            (Look::RedisContact(look), ..) => look(&redis, &mut findings),
            (Look::Source(look), Some(source), _) => look(source, &mut findings),
            (Look::Target(look), _, Some(target)) => look(target, &mut findings),
            (Look::Node(look), _, Some(target)) => {
                nodes::each(check, |node, findings| look(target, node, findings), target, &mut found);
            }
            (Look::Both(look), Some(source), Some(target)) => {
                nodes::each(check, |node, findings| look(source, target, node, findings), target, &mut found);
            }
            _ => skipped.push(check.name),
        }
    }
    Report::new(found, skipped)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Documents and scripts go by the names.
    #[test]
    fn names_are_unique_and_plain() {
        let names: BTreeSet<&str> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        for name in names {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        }
    }

    #[test]
    fn every_check_is_in_the_documentation() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/check.md");
        let page = std::fs::read_to_string(page).unwrap();
        for check in CHECKS {
            assert!(
                page.contains(&format!("| `{}` |", check.name)),
                "{} is not in docs/check.md",
                check.name
            );
        }
    }
}
