//! The one error of this module: what is wrong, where, and how to mend it, on one line.
//!
//! Messages are built from names that this module knows, from positions, and from keys and words
//! that look like names. Values are never quoted otherwise: a value may be a secret that landed in
//! the wrong place.

use std::fmt;

/// A configuration that cannot be used. Displays as one line, such as
/// ``hr.yaml:7:5: unknown key `pasword` in source; did you mean `password`?``, and never contains
/// a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", Prefix(.origin, *.place))]
pub struct ConfigError {
    origin: String,
    place: Option<Place>,
    message: String,
}

impl ConfigError {
    /// An error about the whole of `origin`: a file, or a command-line option such as `--source`.
    pub(super) fn about(origin: impl Into<String>, message: impl fmt::Display) -> ConfigError {
        ConfigError { origin: origin.into(), place: None, message: message.to_string() }
    }

    /// The line in the configuration file, counted from 1, where the error belongs to one.
    pub fn line(&self) -> Option<u32> {
        self.place.map(|place| place.line)
    }

    /// The column, counted from 1 in characters, where the error belongs to one.
    pub fn column(&self) -> Option<u32> {
        self.place.map(|place| place.column)
    }
}

struct Prefix<'a>(&'a str, Option<Place>);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(place) => write!(f, "{}:{}:{}: ", self.0, place.line, place.column),
            None => write!(f, "{}: ", self.0),
        }
    }
}

/// A position in the configuration file; both count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// An error before it is known in which file it happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) place: Option<Place>,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn at(place: Place, message: impl Into<String>) -> Fault {
        Fault { place: Some(place), message: message.into() }
    }

    pub(super) fn in_file(self, file: &str) -> ConfigError {
        ConfigError { origin: file.to_owned(), place: self.place, message: self.message }
    }
}
