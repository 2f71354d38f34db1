//! The errors of the program, in three families: what its user typed, what passes, what does not.

use crate::config::ConfigError;
use crate::plan::PlanError;
use crate::{postgres, redis, throwaway};

/// An error of the program; its text is one line that says what happened, where, and what mends it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration does not fit the tables.
    #[error("{file}: {source}")]
    Plan {
        /// The configuration file, or the words for none.
        file: String,
        /// What does not fit.
        source: Box<PlanError>,
    },
    /// PostgreSQL, or the way to it.
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    /// Redis, or the way to it.
    #[error(transparent)]
    Redis(#[from] redis::Error),
    /// Changes were lost, or positions do not fit together. Never passed over.
    #[error(
        "{reason}. To read the tables again: set on_gap: resnapshot, or redis-connect-postgres reset, then run"
    )]
    Gap {
        /// What is missing, and why.
        reason: String,
        /// What of the slot can still be used.
        slot: SlotUse,
    },
    /// The servers of the demo.
    #[error(transparent)]
    Throwaway(#[from] throwaway::Error),
    /// Something about the environment or the source that its owner must change.
    #[error("{0}")]
    Setting(String),
    /// Something is not as it must be, and this mends it.
    #[error(transparent)]
    Unready(#[from] Problem),
    /// Redis refused more than may be set aside.
    #[error(
        "{count} dead letters are in {stream}, {new} more would be more than dlq.max ({max}); the last: {last}. See \
         `redis-connect-postgres dlq -c FILE list`, mend the cause, then `dlq … replay` or `dlq … purge`, and \
         start again; or raise dlq.max"
    )]
    DeadLetters {
        /// The stream's key.
        stream: String,
        /// Letters in it.
        count: u64,
        /// Letters that were not written.
        new: usize,
        /// The limit.
        max: u64,
        /// What happened last.
        last: String,
    },
    /// Redis has forgotten data that it had confirmed: everything is set up again from its checkpoint.
    #[error("{0}")]
    Rewound(String),
    /// Everything is to be set up again from the checkpoint, for a reason that is no fault.
    #[error("{0}")]
    Restart(String),
    /// A row that was to be new could not be restored.
    #[error("{0}: beginning again with the last batch, and setting rows by HSET from now on")]
    NotRestored(String),
}

/// What is not as it must be. Both `check` and `run` say it with these words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found}: {mend}")]
pub struct Problem {
    /// What was found.
    pub found: String,
    /// The statement or the setting that mends it.
    pub mend: String,
}

/// Names of tables, keys and what servers say can hold line ends and worse; what a user is told is one
/// line, and does nothing to a terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What a slot is good for after changes were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotUse {
    /// The stream can go on from where it is.
    Usable,
    /// It has to be made anew.
    Useless,
}

impl Error {
    pub(crate) fn gap(reason: impl Into<String>, slot: SlotUse) -> Error {
        Error::Gap { reason: reason.into(), slot }
    }
}

/// What is done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Exit 2.
    Usage,
    /// Tried again with backoff, for ever, and shown.
    Transient,
    /// The same once it has worked in this process; before that, exit 1.
    Denied,
    /// Set up again at once.
    Restart,
    /// Exit 1.
    Definite,
}

impl Error {
    pub(crate) fn family(&self) -> Family {
        match self {
            Error::Usage(_) | Error::Config(_) | Error::Plan { .. } => Family::Usage,
            Error::Postgres(error) if error.is_transient() => Family::Transient,
            Error::Redis(error) if error.is_transient() => Family::Transient,
            // A password that is being changed: the file that has it is read again.
            Error::Postgres(error) if error.is_wrong_password() => Family::Denied,
            // Where PostgreSQL has answered before, somebody else does now: a proxy that has lost it, perhaps.
            Error::Postgres(error) if error.is_nonsense() => Family::Denied,
            Error::Redis(error) if error.is_denied() => Family::Denied,
            Error::Restart(_)
            | Error::Rewound(_)
            | Error::NotRestored(_)
            | Error::Redis(redis::Error::Forgotten { .. }) => Family::Restart,
            Error::Postgres(_)
            | Error::Redis(_)
            | Error::Gap { .. }
            | Error::Throwaway(_)
            | Error::Setting(_)
            | Error::Unready(_)
            | Error::DeadLetters { .. } => Family::Definite,
        }
    }

    /// Redis is known to have forgotten something.
    pub(crate) fn is_rewind(&self) -> bool {
        matches!(self, Error::Rewound(_) | Error::Redis(redis::Error::Forgotten { .. }))
    }

    /// PostgreSQL has no more room for locks (`out_of_memory` is what it calls that).
    pub(crate) fn is_out_of_locks(&self) -> bool {
        matches!(self, Error::Postgres(error) if error.sqlstate() == Some("53200"))
    }

    /// The process' exit code.
    pub fn exit_code(&self) -> u8 {
        if self.family() == Family::Usage { 2 } else { 1 }
    }
}
