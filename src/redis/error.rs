//! What can go wrong between us and Redis, and whether waiting helps.

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
    /// A setting, a password or a file keeps us from connecting.
    #[error("{0}")]
    Setting(String),
}

/// The conditions that Redis itself, its operator or its failover will end, by the first word of the
/// error reply. (`EXECABORT` is judged by the reply that caused it.)
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

/// The error reply tells of a condition that passes.
pub(super) fn is_passing(reply: &str) -> bool {
    PASSING.contains(&first_word(reply))
}

impl Error {
    /// True when the same thing may work later without a change of ours.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Io { .. } | Error::Silent { .. } => true,
            Error::Refused { reply, .. } => is_passing(reply),
            Error::Row { .. }
            | Error::Fenced { .. }
            | Error::Forgotten { .. }
            | Error::Protocol { .. }
            | Error::Setting(_) => false,
        }
    }
}

pub(super) fn first_word(reply: &str) -> &str {
    reply.split(' ').next().unwrap_or_default()
}

/// What helps against an error reply, where Redis itself does not say.
fn mend(reply: &str) -> &'static str {
    match first_word(reply) {
        "OOM" => {
            "; raise maxmemory (CONFIG SET maxmemory …) or remove keys; it is tried again until there is room"
        }
        "READONLY" => "; this is a replica: name the master, or wait for the failover",
        "MISCONF" => "; Redis can't save to disk: mend that, or CONFIG SET stop-writes-on-bgsave-error no",
        "NOPERM" => "; give the user the right: ACL SETUSER … (see docs/redis.md)",
        "NOAUTH" | "WRONGPASS" => "; set target.password or target.password_file, and the user in target.url",
        "WRONGTYPE" => {
            "; something else wrote a value of another type to this key: rename it (RENAME), or choose another \
             key template"
        }
        _ => "",
    }
}
