//! What fuzzing runs: everything that reads bytes from outside, one function for each kind of input.
//!
//! ```text
//!   cargo fuzz (fuzz/)      ──┐
//!                             ├──> run(&[u8]) ──> decoder, parser or converter, and its invariants
//!   cargo test (run, ./test)──┘
//! ```
//!
//! A target takes any bytes and returns. What it asserts holds for all of them: nothing panics, and no
//! result is larger than a constant times the input, so that no peer and no file can make the process
//! allocate what it did not send. Where a result has a meaning that can be checked (JSON is JSON, the
//! commands are as many as were counted), that is asserted, too.
//!
//! Built for tests and with the feature `fuzzing`, never for users. How it is run: `docs/testing.md`.

mod rows;
#[cfg(test)]
mod run;
#[cfg(test)]
mod seeds;
mod settings;
mod values;

/// Messages of pgoutput, each behind its length in two bytes: decoded, every cell looked at, and every
/// sink given every row, of tables that were known before and of those that Relation messages describe.
pub fn pgoutput(data: &[u8]) {
    rows::pgoutput(data);
}

/// What a connection receives during COPY: framed, split into cells, and every sink given every row.
pub fn copy(data: &[u8]) {
    rows::copy(data);
}

/// Replies of Redis, also to a transaction and in pieces.
pub fn replies(data: &[u8]) {
    crate::redis::fuzzing::replies(data);
}

/// A configuration file, then a zero byte, then what its variables hold.
pub fn config(data: &[u8]) {
    settings::config(data);
}

/// Templates, table patterns and key patterns, as texts with 0xff between them.
pub fn templates(data: &[u8]) {
    settings::templates(data);
}

/// A kind and options in two bytes, then the text of a value.
pub fn values(data: &[u8]) {
    values::values(data);
}

/// What `what` takes is a constant times what came in.
#[track_caller]
pub(crate) fn bounded(what: &str, size: usize, factor: usize, input: usize) {
    // Buffers begin with a few bytes and double; small inputs must not look like large factors.
    const FIXED: usize = 4 * 1024;
    assert!(size <= FIXED + factor * input, "{what} takes {size} bytes of an input of {input}");
}
