//! The servers that hold the data, each looked at by itself: the only one, or all masters of a cluster.
//!
//! Users, settings, modules and versions are a matter of each server: a cluster does not hand them round. What is
//! found at some of the masters only is told with their names, and what is the same everywhere is told once.

use std::collections::BTreeSet;

use super::Check;
use super::contact::{Contact, stage_of_redis};
use super::report::{Finding, Findings, Outcome, some_of};
use super::rights::Missing;
use super::seen::{Seen, Target};
use super::target::info::Info;
use crate::config::RedisHost;
use crate::error::Problem;
use crate::redis::{Client, Spread};

/// A server that holds data.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) host: RedisHost,
    /// What part of the hash slots it has: all of them, where there is only one.
    pub(super) share: f64,
    pub(super) info: Seen<Info>,
    /// Our clock, in ms since 1970, when the server told its own.
    pub(super) now: f64,
    pub(super) modules: Seen<Vec<Problem>>,
    pub(super) missing: Seen<BTreeSet<Missing>>,
    /// The setting `save`.
    pub(super) save: Seen<String>,
}

/// The servers that answer; what keeps us from the others is told by `contact`.
pub(super) async fn reached(redis: &mut Client, contact: &mut Contact) -> Vec<RedisHost> {
    let mut reached = Vec::new();
    for host in redis.masters() {
        match redis.reach(&host).await {
            Ok(()) => reached.push(host),
            Err(error) => contact.failed_at_node(stage_of_redis(&error), &host, &error),
        }
    }
    reached
}

/// Judges each server by itself.
pub(super) fn each(
    check: &'static Check,
    look: impl Fn(&Node, &mut Findings<'_>),
    target: &Target<'_>,
    found: &mut Vec<Finding>,
) {
    let mut all: Vec<(String, Finding)> = Vec::new();
    for node in &target.nodes {
        let mut of_node = Vec::new();
        look(node, &mut Findings::of(check, &mut of_node));
        all.extend(of_node.into_iter().map(|finding| (node.host.to_string(), finding)));
    }
    for (hosts, finding) in grouped(all) {
        // What is fine everywhere needs no names.
        let fine = finding.outcome == Outcome::Ok && hosts.len() == target.nodes.len();
        let named = target.spread == Spread::Cluster && !fine;
        found.push(if named { finding.at(&who(&hosts, target.nodes.len())) } else { finding });
    }
}

/// What `run` refuses for: as [`each`] would tell it.
pub(super) fn problems(redis: &Client, all: Vec<(String, Problem)>) -> Vec<Problem> {
    let masters = redis.masters().len();
    let named = |(hosts, problem): (Vec<String>, Problem)| match redis.spread() {
        Spread::Cluster => {
            Problem { found: format!("{}: {}", who(&hosts, masters), problem.found), ..problem }
        }
        Spread::Whole | Spread::Endpoint => problem,
    };
    grouped(all).into_iter().map(named).collect()
}

/// The same thing found at several servers is one thing.
fn grouped<T: PartialEq>(all: Vec<(String, T)>) -> Vec<(Vec<String>, T)> {
    let mut groups: Vec<(Vec<String>, T)> = Vec::new();
    for (host, found) in all {
        match groups.iter_mut().find(|(_, known)| *known == found) {
            Some((hosts, _)) => hosts.push(host),
            None => groups.push((vec![host], found)),
        }
    }
    groups
}

fn who(hosts: &[String], masters: usize) -> String {
    if hosts.len() == masters { format!("all {masters} masters") } else { some_of(hosts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_told_once() {
        let all = [("a:1", 7), ("b:2", 8), ("c:3", 7)].map(|(host, found)| (host.to_owned(), found));
        let groups = grouped(all.to_vec());
        assert_eq!(groups, [(vec!["a:1".to_owned(), "c:3".to_owned()], 7), (vec!["b:2".to_owned()], 8)]);
        assert_eq!(who(&groups[0].0, 3), "a:1, c:3");
        assert_eq!(who(&groups[0].0, 2), "all 2 masters");
    }
}
