//! Throwaway PostgreSQL and Redis servers, for tests, benchmarks and the demo.
//!
//! ```text
//!  find ──> account ──> home (one directory a process) ──┬─> pg1/   data, log, socket
//!  which    as whom      │                               ├─> redis2/ data, log
//!  binary   they run     └─ janitor: a shell that waits  └─> …
//!                           for our end, then clears up
//! ```
//!
//! A server is one value: [`Postgres::start`] or [`Redis::start`] returns when it answers, and
//! dropping the value stops it and removes its directory.
//!
//! Dropping is not enough. A pool in a `static` is never dropped, and a process that is killed -9
//! drops nothing. So the first server of a process also starts a *janitor*: a shell whose standard
//! input is a pipe that only we hold. However we end, the kernel closes that pipe; the janitor then
//! stops what is still on a leash ([`Leash`]) and removes our directory. A parent-death signal
//! would not do: it fires when the *thread* that started the server ends, and test threads end early.
//!
//! Ports are taken below the range the kernel uses for outgoing connections, so that a server that
//! is down for a moment finds its own port free when it comes back.

mod account;
mod find;
mod home;
pub mod port;
pub mod postgres;
mod process;
pub mod redis;

pub use find::{Installation, installed, postgres_installations};
pub use home::{Directory, Leash, clear_up};
pub use port::free as free_port;
pub use postgres::{Postgres, Shutdown};
pub use redis::Redis;

use std::path::PathBuf;
use std::time::Duration;

/// What can go wrong with a throwaway server, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No binary was found.
    #[error("no {what} found: {hint}")]
    NotInstalled {
        /// What was looked for.
        what: String,
        /// How to get it.
        hint: String,
    },
    /// The same of PostgreSQL and of Redis.
    #[error("{0}; {1}")]
    BothNotInstalled(Box<Error>, Box<Error>),
    /// A system call failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was attempted.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A tool such as `initdb` failed.
    #[error("{command} failed ({status}): {output}")]
    Command {
        /// The tool with its arguments.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        output: String,
    },
    /// The server ended instead of starting.
    #[error("{server} ended while starting ({status}); the end of its log:\n{log}")]
    Ended {
        /// Which server.
        server: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its last words.
        log: String,
    },
    /// The server did not do in time what it was asked to.
    #[error(
        "{server} did not {what} within {limit:?}; is the machine overloaded? The end of its log:\n{log}"
    )]
    Deadline {
        /// Which server.
        server: String,
        /// What was waited for.
        what: &'static str,
        /// For how long.
        limit: Duration,
        /// Its last words.
        log: String,
    },
    /// Every port that was tried is in use.
    #[error("no free TCP port between {from} and {to} on 127.0.0.1: stop servers that use them")]
    NoPort {
        /// First port tried.
        from: u16,
        /// Last port tried.
        to: u16,
    },
    /// We are root, and PostgreSQL refuses to run as root.
    #[error(
        "PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody` to run it as: \
         create one (useradd --system postgres) or run as another user"
    )]
    NoAccount,
    /// No directory is reachable for the user that runs the servers.
    #[error(
        "{} cannot be entered by the user that runs the servers: set TMPDIR to a directory that everybody can enter",
        .0.display()
    )]
    Unreachable(PathBuf),
}

/// Shorthand for results of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// Gives an I/O error the words for what was attempted.
trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::Io { doing: what(), source: e.into() })
    }
}
