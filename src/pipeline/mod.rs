//! The data loop: from PostgreSQL's rows to confirmed batches in Redis.
//!
//! ```text
//!             ┌─ session ── connect, checkpoint, slot, epoch ─┐
//!  supervise ─┤    snapshot ── COPY workers ──┐               ├─> Writer ── MULTI rows + checkpoint EXEC
//!             └─   stream ──── pgoutput ──────┘               ┘      │
//!                    ^────────── feedback: only what is Durable ─────┘
//! ```
//!
//! One task on one thread runs all of this. A session begins with what the checkpoint in Redis says
//! and ends with an error, a signal or the wish to begin again; [`supervise`] decides what follows.
//! Nothing that a session knows outlives it, so every restart takes the way that a crash takes.

mod apply;
pub(crate) mod begin;
mod beside;
pub(crate) mod capture;
mod changes;
pub(crate) mod checkpoint;
mod dead_letters;
mod denied;
mod gap;
mod incomplete;
pub(crate) mod indexes;
pub(crate) mod lag;
mod ledger;
mod messages;
pub(crate) mod places;
mod ranges;
mod read_at;
mod reader;
mod recorder;
pub(crate) mod requests;
pub(crate) mod reread;
mod retain;
mod retype;
mod rewritten;
mod session;
mod shards;
mod snapshot;
pub(crate) mod standing;
mod stream;
pub(crate) mod supervise;
mod sweep;
mod table_state;
pub(crate) mod territory;
mod truncate;
mod unread;
mod writer;

pub(crate) use capture::{Captured, Publishing, capture};
pub(crate) use supervise::{Until, run};
