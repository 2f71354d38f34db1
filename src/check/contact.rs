//! How far we come with a server: is it there, is the way encrypted, does it let us in.
//!
//! Three checks, since three different people mend them. An error on the way belongs to one of them;
//! those before it are fine, and those behind it are not looked at.

use super::report::Findings;
use super::{Check, Look};
use crate::config::{Config, PostgresHost, RedisHost, RedisUrl, SslMode};
use crate::{postgres, redis};

pub(super) const POSTGRES_REACH: Check =
    Check { name: "postgres_reach", about: "PostgreSQL answers", look: Look::PostgresContact(reach) };
pub(super) const POSTGRES_TLS: Check =
    Check { name: "postgres_tls", about: "TLS to PostgreSQL", look: Look::PostgresContact(tls) };
pub(super) const POSTGRES_LOGIN: Check =
    Check { name: "postgres_login", about: "login to PostgreSQL", look: Look::PostgresContact(login) };
pub(super) const REDIS_REACH: Check =
    Check { name: "redis_reach", about: "Redis answers", look: Look::RedisContact(reach) };
pub(super) const REDIS_TLS: Check =
    Check { name: "redis_tls", about: "TLS to Redis", look: Look::RedisContact(tls) };
pub(super) const REDIS_LOGIN: Check =
    Check { name: "redis_login", about: "login to Redis", look: Look::RedisContact(login) };

/// Where an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Reach,
    Tls,
    Login,
    In,
}

/// An attempt to come in.
#[derive(Debug)]
pub(super) struct Contact {
    /// Host and port, of several where there are.
    pub(super) address: String,
    /// Nothing leaves the machine.
    pub(super) local: bool,
    pub(super) encrypted: bool,
    /// The server's certificate is checked.
    pub(super) verified: bool,
    /// How the way is encrypted, where it is not.
    pub(super) encrypt: &'static str,
    /// As whom.
    pub(super) who: String,
    pub(super) stage: Stage,
    /// Why it ended there.
    pub(super) error: String,
    /// It was at a server that the cluster named.
    pub(super) named_by_cluster: bool,
}

impl Contact {
    pub(super) fn postgres(config: &Config) -> Contact {
        let url = &config.source.url;
        let local = url.hosts.iter().all(|host| match host {
            PostgresHost::Unix { .. } => true,
            PostgresHost::Tcp { host, .. } => is_loopback(host),
        });
        let hosts: Vec<String> = url.hosts.iter().map(ToString::to_string).collect();
        Contact {
            address: hosts.join(", "),
            local,
            encrypted: false,
            verified: matches!(url.sslmode, SslMode::VerifyCa | SslMode::VerifyFull),
            encrypt: "add ?sslmode=verify-full to source.url (and sslrootcert=FILE where the server's authority is \
                      not one of the system's)",
            who: format!("{} in database {}", url.user, url.dbname),
            stage: Stage::In,
            error: String::new(),
            named_by_cluster: false,
        }
    }

    pub(super) fn redis(config: &Config) -> Contact {
        let url = &config.target.url;
        let local = url.hosts.iter().all(|host| match host {
            RedisHost::Unix(_) => true,
            RedisHost::Tcp { host, .. } => is_loopback(host),
        });
        let hosts: Vec<String> = url.hosts.iter().map(ToString::to_string).collect();
        Contact {
            address: hosts.join(", "),
            local,
            encrypted: url.tls,
            verified: true,
            encrypt: "write rediss:// in target.url, if the server has a port with TLS",
            who: format!("{}, database {}", user(url), url.database),
            stage: Stage::In,
            error: String::new(),
            named_by_cluster: false,
        }
    }

    pub(super) fn failed_at(&mut self, stage: Stage, error: impl ToString) {
        self.stage = stage;
        self.error = error.to_string();
    }

    /// One of the servers of a cluster; of several, those where we came least far are told.
    pub(super) fn failed_at_node(&mut self, stage: Stage, host: &RedisHost, error: &redis::Error) {
        let mut error = error.to_string();
        if !error.contains(&host.to_string()) {
            error = format!("{host}: {error}");
        }
        self.named_by_cluster = true;
        if stage == self.stage && !self.error.is_empty() {
            self.error = format!("{}; {error}", self.error);
        } else if stage < self.stage {
            (self.stage, self.error) = (stage, error);
        }
    }
}

/// The ACL user that we are.
pub(super) fn user(url: &RedisUrl) -> &str {
    url.username.as_deref().unwrap_or("default")
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

pub(super) fn stage_of_postgres(error: &postgres::Error) -> Stage {
    match error {
        postgres::Error::Io { source, .. } if is_tls(source) => Stage::Tls,
        postgres::Error::Io { .. } | postgres::Error::Silent { .. } => Stage::Reach,
        postgres::Error::Setting(words) if is_about_tls(words) => Stage::Tls,
        _ => Stage::Login,
    }
}

pub(super) fn stage_of_redis(error: &redis::Error) -> Stage {
    match error {
        redis::Error::Tls { .. } => Stage::Tls,
        redis::Error::Io { source, .. } if is_tls(source) => Stage::Tls,
        redis::Error::Io { .. } | redis::Error::Silent { .. } => Stage::Reach,
        redis::Error::Setting(words) if is_about_tls(words) => Stage::Tls,
        _ => Stage::Login,
    }
}

fn is_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

fn is_about_tls(words: &str) -> bool {
    ["TLS", "sslmode", "certificate"].iter().any(|word| words.contains(word))
}

fn reach(contact: &Contact, findings: &mut Findings<'_>) {
    if contact.stage > Stage::Reach {
        findings.ok(&contact.address);
        return;
    }
    let mend = match contact.named_by_cluster {
        false => {
            "see that the server runs, that host and port in the URL are right, and that no firewall (security group) \
             stands between"
        }
        true => {
            "the cluster names its servers so (CLUSTER SLOTS): see that it runs, and that this address can be reached \
             from here, else set cluster-announce-ip, cluster-announce-hostname or cluster-announce-port on the server"
        }
    };
    findings.not_ready(crate::error::Problem { found: contact.error.clone(), mend: mend.to_owned() });
}

fn tls(contact: &Contact, findings: &mut Findings<'_>) {
    match contact.stage {
        Stage::Reach => {}
        Stage::Tls => findings.refuse(crate::error::Error::Setting(contact.error.clone())),
        _ if contact.encrypted && contact.verified => {
            findings.ok("encrypted, and the certificate is checked")
        }
        _ if contact.encrypted => findings.warn(
            "encrypted, but nobody checks whose certificate it is",
            "sslmode=verify-full in source.url",
        ),
        _ if contact.local => findings.ok("not encrypted, and nothing leaves this machine"),
        // After a failed login nobody knows.
        Stage::Login => {}
        Stage::In => {
            findings.warn("not encrypted: rows and passwords can be read on the way", contact.encrypt)
        }
    }
}

fn login(contact: &Contact, findings: &mut Findings<'_>) {
    match contact.stage {
        Stage::In => findings.ok(format!("as {}", contact.who)),
        Stage::Login => findings.refuse(crate::error::Error::Setting(contact.error.clone())),
        Stage::Reach | Stage::Tls => {}
    }
}
