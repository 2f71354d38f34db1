//! Redis: commands out, replies in, every one of them read.
//!
//! ```text
//!   sinks ──> Commands (RESP bytes) ──> Lane ──MULTI … EXEC──> Redis
//!                                        └── Transcript <── replies, checked one by one
//! ```
//!
//! A batch is written once, as the bytes that the sinks appended, and kept until its replies have
//! been read: an error reply is traced to its command by walking those bytes, so that the good case
//! carries no bookkeeping.
//!
//! Source: Redis documentation, "Redis serialization protocol specification" and "Transactions".

pub(crate) mod client;
pub(crate) mod connect;
pub(crate) mod dump;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub(crate) mod lane;
pub(crate) mod lanes;
pub(crate) mod limits;
mod node;
pub(crate) mod resp;
pub(crate) mod scan;
mod sentinel;
mod shard;
pub(crate) mod shards;
pub(crate) mod slots;
mod tls;
mod transcript;

pub(crate) use client::{Client, Spread};
pub(crate) use connect::Connection;
pub use error::Error;
