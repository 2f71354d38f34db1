//! What fails at the moment, and is tried again.

use std::time::Duration;

use super::now;
use crate::error::Error;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// What is tried.
    pub(crate) what: &'static str,
    /// One of [`super::reason::REASONS`].
    pub(crate) reason: &'static str,
    pub(crate) error: String,
    pub(crate) since: i64,
    pub(crate) attempts: u32,
    /// When the next attempt begins.
    pub(crate) next: i64,
}

impl Trouble {
    pub(crate) fn new(what: &'static str, error: &Error) -> Trouble {
        let now = now();
        let reason = super::reason::of(error);
        Trouble { what, reason, error: error.to_string(), since: now, attempts: 1, next: now }
    }

    pub(crate) fn failed_again(&mut self, error: &Error) {
        self.reason = super::reason::of(error);
        self.error = error.to_string();
        self.attempts += 1;
    }

    pub(crate) fn tries_in(&mut self, pause: Duration) {
        self.next = now().saturating_add(i64::try_from(pause.as_micros()).unwrap_or(i64::MAX));
    }
}
