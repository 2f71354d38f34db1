//! What can go wrong between us and PostgreSQL, and whether waiting helps.

use std::fmt;
use std::io;

/// An error on a connection to PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or a connection that broke.
    #[error("PostgreSQL at {address}: {source}")]
    Io {
        /// Host and port, or the socket's directory.
        address: String,
        /// What the operating system or TLS said.
        source: io::Error,
    },
    /// Nothing came for so long that the connection is taken for dead.
    #[error("PostgreSQL at {address}: no answer for {seconds} s, the connection is taken for dead")]
    Silent {
        /// Host and port.
        address: String,
        /// How long was waited.
        seconds: u64,
    },
    /// PostgreSQL answered with an error.
    #[error("PostgreSQL, {doing}: {error}")]
    Server {
        /// What we asked for.
        doing: String,
        /// Its answer.
        error: Box<ServerError>,
    },
    /// The server does not speak as the protocol says, or we do not understand it.
    #[error("PostgreSQL at {address}: {what}")]
    Protocol {
        /// Host and port.
        address: String,
        /// What was wrong.
        what: String,
    },
    /// Several hosts, and none of them will do now.
    #[error("PostgreSQL: none of the hosts in source.url lets us in: {reasons}")]
    NoHost {
        /// Why not, for each.
        reasons: String,
    },
    /// The server can't serve us as it is now: a standby that has not been promoted.
    #[error("PostgreSQL at {address}: {what}")]
    Standby {
        /// Host and port.
        address: String,
        /// What it can't do, and what mends it.
        what: String,
    },
    /// A setting, a password or a file keeps us from connecting.
    #[error("{0}")]
    Setting(String),
}

impl Error {
    /// True when the same thing may work later without anybody's help.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Io { .. } | Error::Silent { .. } | Error::NoHost { .. } | Error::Standby { .. } => true,
            Error::Server { error, .. } => error.is_transient(),
            Error::Protocol { .. } | Error::Setting(_) => false,
        }
    }

    /// The SQLSTATE, where PostgreSQL gave one.
    pub(crate) fn sqlstate(&self) -> Option<&str> {
        match self {
            Error::Server { error, .. } => Some(&error.code),
            _ => None,
        }
    }

    /// The password is not the server's: wrong, or changed there and not yet here.
    pub(crate) fn is_wrong_password(&self) -> bool {
        self.sqlstate() == Some("28P01")
    }

    /// What answers is not PostgreSQL, or not as it was.
    pub(crate) fn is_nonsense(&self) -> bool {
        matches!(self, Error::Protocol { .. })
    }

    /// A statement names a column or a table that is not there.
    pub(crate) fn is_undefined(&self) -> bool {
        matches!(self.sqlstate(), Some("42703" | "42P01"))
    }

    /// Puts what was being done in place of the general words.
    pub(crate) fn doing(self, what: impl Into<String>) -> Error {
        match self {
            Error::Server { error, .. } => Error::Server { doing: what.into(), error },
            other => other,
        }
    }
}

/// PostgreSQL's ErrorResponse.
///
/// Source: PostgreSQL documentation, "Error and Notice Message Fields".
#[derive(Debug, Clone, Default)]
pub struct ServerError {
    /// SQLSTATE.
    pub code: String,
    /// Primary message.
    pub message: String,
    /// Detail, may be empty.
    pub detail: String,
    /// Hint, may be empty.
    pub hint: String,
}

impl ServerError {
    pub(super) fn parse(mut body: &[u8]) -> ServerError {
        let mut error = ServerError::default();
        while let Some((&field, rest)) = body.split_first() {
            let Some(end) = memchr::memchr(0, rest) else { break };
            let text = || String::from_utf8_lossy(&rest[..end]).into_owned();
            match field {
                b'C' => error.code = text(),
                b'M' => error.message = text(),
                b'D' => error.detail = text(),
                b'H' => error.hint = text(),
                _ => {}
            }
            body = &rest[end + 1..];
        }
        error
    }

    /// Said by something between us and PostgreSQL that shares its connections.
    pub(super) fn is_of_a_pooler(&self) -> bool {
        const WORDS: [&str; 6] = [
            // PgBouncer, of the settings that are pinned at the start and of `replication`.
            "unsupported startup parameter",
            "pgbouncer",
            "no such database: ",
            // Amazon RDS Proxy, Supavisor, Odyssey and PgCat.
            "RDS Proxy",
            "Supavisor",
            "odyssey",
        ];
        WORDS.iter().any(|word| self.message.contains(word) || self.detail.contains(word))
    }

    /// Classes by the SQLSTATE: connection exceptions (08), transaction rollback (40), insufficient
    /// resources (53), operator intervention (57: shutdown, crash, starting up) and system errors (58)
    /// pass by themselves; so do a slot in use (55006) and a lock not available (55P03).
    fn is_transient(&self) -> bool {
        match self.code.as_str() {
            // A limit of the configuration, a database dropped, write-ahead log removed: these stay.
            "53400" | "57P04" | "58P01" => false,
            "55006" | "55P03" => true,
            code => matches!(code.get(..2), Some("08" | "40" | "53" | "57" | "58")),
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        if !self.hint.is_empty() {
            write!(f, " Hint: {}", self.hint)?;
        }
        if !self.code.is_empty() {
            write!(f, " [{}]", self.code)?;
        }
        if self.code == "42501" && ["walsender", "WAL sender"].iter().any(|it| self.message.contains(it)) {
            write!(f, "; let a superuser run: ALTER ROLE … REPLICATION for this role")?;
        }
        if self.code == "28000" && self.message.contains("not permitted to log in") {
            write!(f, "; let a superuser run: ALTER ROLE … LOGIN for this role")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PgBouncer 1.18 says.
    #[test]
    fn poolers() {
        let pooler = |message: &str| {
            ServerError { code: "08P01".into(), message: message.into(), ..ServerError::default() }
                .is_of_a_pooler()
        };
        assert!(pooler("unsupported startup parameter: IntervalStyle"));
        assert!(pooler("unsupported startup parameter: replication"));
        assert!(pooler("no such database: hr"));
        assert!(!pooler("database \"hr\" does not exist"));
    }

    #[test]
    fn fields_are_read_and_a_cut_message_is_no_panic() {
        let error = ServerError::parse(b"SERROR\0C55006\0Mslot is active\0Dby 42\0\0");
        assert_eq!(error.to_string(), "slot is active (by 42) [55006]");
        assert!(error.is_transient());
        assert_eq!(ServerError::parse(b"Mno end").message, "");
    }
}
