//! PostgreSQL: connections, queries, COPY and the replication stream.
//!
//! ```text
//!   connect ── startup, TLS, SCRAM ──> Connection ──┬── query    catalog, slot, publication
//!                                                   ├── copy     snapshot rows, text
//!                                                   └── stream   pgoutput, text; feedback
//! ```
//!
//! There is one client for all of it, since replication needs its own: the raw bytes of each
//! message, and the socket. Catalog queries go over the same client by the simple query protocol,
//! so that host lists, TLS and authentication exist once and behave the same everywhere.
//!
//! Every connection pins the settings that decide how values are spelled ([`connect`]): the type's
//! output function then gives one spelling for a value, whether COPY or the stream asks for it.
//!
//! Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol", above all "Message
//! Formats", "Streaming Replication Protocol" and "Logical Streaming Replication Protocol".

mod authenticate;
mod binding;
pub(crate) mod catalog;
pub(crate) mod connect;
pub(crate) mod copy;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod hosts;
mod passfile;
pub(crate) mod pgoutput;
pub(crate) mod publication;
mod query;
pub(crate) mod slot;
pub(crate) mod snapshot;
pub(crate) mod stream;
mod tls;
mod wire;

pub(crate) use connect::{Connection, Purpose};
pub use error::{Error, ServerError};
pub(crate) use postgres_protocol::escape::{escape_identifier as identifier, escape_literal as literal};
pub(crate) use query::Server;
