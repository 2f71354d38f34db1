//! What can go wrong between us and Redis, and whether waiting helps.

use std::borrow::Cow;
use std::io;

/// An error on a connection to Redis.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or a connection that broke.
    #[error("Redis at {address}: {source}")]
    Io {
        /// Host and port, or the socket's path.
        address: String,
        /// What the operating system or TLS said.
        source: io::Error,
    },
    /// TLS was not agreed upon.
    #[error("Redis at {address}: TLS: {what}")]
    Tls {
        /// Host and port.
        address: String,
        /// What is wrong, and what to set.
        what: String,
    },
    /// No server says that it is the master, or none of the sentinels names one.
    #[error("Redis: no master of `{service}` is found: {reasons}")]
    NoMaster {
        /// The service's name.
        service: String,
        /// What each sentinel, and each server that one named, did or said.
        reasons: String,
    },
    /// No reply came in time.
    #[error("Redis at {address}: no reply for {seconds} s, the connection is taken for dead")]
    Silent {
        /// Host and port.
        address: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Redis refused a command, or a whole transaction; nothing of it was carried out.
    #[error("Redis, {doing}: {reply}{}", mend(reply))]
    Refused {
        /// What we asked for.
        doing: String,
        /// Its error reply.
        reply: String,
    },
    /// A command inside a transaction failed; the others were carried out.
    #[error("Redis could not carry out {command}: {reply}{}", mend(reply))]
    Row {
        /// The command's name and key.
        command: String,
        /// Its error reply.
        reply: String,
    },
    /// Another instance has taken over.
    #[error(
        "another instance has taken over (epoch {found} in {key}, ours is {ours}): this one has written \
         nothing since, and stops"
    )]
    Fenced {
        /// The key that holds the epoch.
        key: String,
        /// What it holds now.
        found: String,
        /// What we wrote when we took over.
        ours: u64,
    },
    /// The epoch is gone or older than ours: Redis has forgotten what it had confirmed.
    #[error(
        "Redis has forgotten data: {key} holds {found}, we wrote {ours}; beginning again from what is there"
    )]
    Forgotten {
        /// The key that holds the epoch.
        key: String,
        /// What it holds now.
        found: String,
        /// What we wrote when we took over.
        ours: u64,
    },
    /// The server does not speak as the protocol says.
    #[error("Redis at {address}: {what}")]
    Protocol {
        /// Host and port.
        address: String,
        /// What was wrong.
        what: String,
    },
    /// A password file can't be read now.
    #[error("{0}")]
    Secret(String),
    /// A setting keeps us from connecting.
    #[error("{0}")]
    Setting(String),
}

/// The conditions that Redis itself, its operator or its failover will end, by the first word of the
/// error reply. (Of `EXECABORT`, by the reply or the reason that caused it.)
const PASSING: [&str; 12] = [
    "LOADING",
    "BUSY",
    "OOM",
    "READONLY",
    "MISCONF",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",
    "UNKILLABLE",
    "MOVED",
    "ASK",
];

/// What Redis says to somebody who may not.
const DENIED: [&str; 4] = ["NOPERM", "NOAUTH", "WRONGPASS", "DENIED"];

/// The error reply tells of a condition that passes.
pub(super) fn is_passing(reply: &str) -> bool {
    PASSING.contains(&first_word(reply)) || reply.starts_with("ERR max number of clients")
}

impl Error {
    /// True when the same thing may work later without a change of ours.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Io { .. } | Error::Silent { .. } | Error::NoMaster { .. } => true,
            Error::Refused { reply, .. } => is_passing(reply),
            Error::Row { .. }
            | Error::Fenced { .. }
            | Error::Forgotten { .. }
            | Error::Protocol { .. }
            | Error::Tls { .. }
            | Error::Secret(_)
            | Error::Setting(_) => false,
        }
    }

    /// True when keys have another server, which is there already.
    pub(crate) fn is_moved(&self) -> bool {
        matches!(self, Error::Refused { reply, .. } if reply.starts_with("MOVED "))
    }

    /// True when we are not let in, or not allowed to do something. Where it never worked, that is a mistake to be
    /// told at once. Where it did, somebody is changing rights, passwords or certificates, and may not be done yet.
    pub(crate) fn is_denied(&self) -> bool {
        match self {
            Error::Refused { reply, .. } => DENIED.contains(&first_word(reply)),
            Error::Tls { .. } | Error::Secret(_) => true,
            _ => false,
        }
    }
}

/// The first word, which names the kind of error. Where EXEC itself was refused, that of the reason.
pub(super) fn first_word(reply: &str) -> &str {
    let reply = reply.strip_prefix("EXECABORT Transaction discarded because of: ").unwrap_or(reply);
    reply.split(' ').next().unwrap_or_default()
}

/// What helps against an error reply, where Redis itself does not say.
fn mend(reply: &str) -> Cow<'static, str> {
    Cow::Borrowed(match first_word(reply) {
        "OOM" => {
            "; raise maxmemory (CONFIG SET maxmemory …) or remove keys; it is tried again until there is room"
        }
        "READONLY" => "; this is a replica: name the master, or wait for the failover",
        "MISCONF" => "; Redis can't save to disk: mend that, or CONFIG SET stop-writes-on-bgsave-error no",
        "NOPERM" => return Cow::Owned(missing_right(reply)),
        "NOAUTH" | "WRONGPASS" => "; set target.password or target.password_file, and the user in target.url",
        "WRONGTYPE" => {
            "; something else wrote a value of another type to this key: rename it (RENAME), or choose another \
             key template"
        }
        _ => "",
    })
}

/// The command that a NOPERM names in quotes, or the keys, as ACL SETUSER wants to be told.
fn missing_right(reply: &str) -> String {
    let command = reply.split('\'').nth(1).filter(|name| !name.is_empty() && reply.contains(" command"));
    let right = match command {
        Some(name) => format!("+{name}"),
        None if reply.contains("key") => "~pattern for each key of the outputs".to_owned(),
        None => "…".to_owned(),
    };
    format!("; give the user the right: ACL SETUSER name {right} (docs/redis.md lists all of them)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_named() {
        for (reply, right) in [
            ("NOPERM this user has no permissions to run the 'hset' command", "name +hset ("),
            (
                "NOPERM this user has no permissions to run the 'hset' command or its subcommand",
                "name +hset (",
            ),
            ("NOPERM User app has no permissions to run the 'xinfo|stream' command", "name +xinfo|stream ("),
            ("NOPERM No permissions to access a key", "name ~pattern"),
            (
                "EXECABORT Transaction discarded because of: NOPERM this user has no permissions to run the 'exec' command",
                "name +exec (",
            ),
            (
                "NOPERM this user has no permissions to access one of the keys used as arguments",
                "name ~pattern",
            ),
        ] {
            let error = Error::Refused { doing: "HSET".to_owned(), reply: reply.to_owned() };
            assert!(error.to_string().contains(right), "{error}");
            assert!(error.is_denied() && !error.is_transient());
        }
    }
}
