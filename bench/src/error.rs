//! What went wrong, and what was being done.

use std::error::Error as StdError;
use std::fmt;

use redis_connect_postgres::throwaway;

/// A failed measurement.
#[derive(Debug)]
pub(crate) struct Error {
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// An error that nothing else caused.
pub(crate) fn failed(what: impl Into<String>) -> Error {
    Error { what: what.into(), source: None }
}

/// Gives any error the words for what was attempted.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error { what: format!("cannot {}", what()), source: Some(e.into()) })
    }
}

impl From<throwaway::Error> for Error {
    fn from(error: throwaway::Error) -> Self {
        failed(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        let mut cause = self.source.as_deref().map(|source| source as &dyn StdError);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
