//! Captures row changes from PostgreSQL and keeps Redis in step with them.
//!
//! ```text
//!  PostgreSQL ──COPY text──┐                          ┌── MULTI … HSET checkpoint … EXEC ──> Redis
//!             ──pgoutput───┴─> Row<'a> ─> Plan ─> RESP bytes ─> Lane
//!    postgres/                 row        plan    sink/         redis/          (pipeline drives it)
//! ```
//!
//! A row is borrowed from the receive buffer and never owned: the kernel copies it in once, and the
//! sink appends RESP to the batch once. See `docs/architecture.md`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod check;
pub mod cli;
pub mod config;
mod demo;
mod divided;
mod dlq;
pub mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod http;
mod interned;
pub mod lsn;
mod metrics;
mod net;
mod pipeline;
mod plan;
pub mod postgres;
mod progress;
pub mod redis;
mod row;
mod sink;
mod systemd;
pub mod throwaway;
mod verify;
mod view;
