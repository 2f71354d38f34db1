//! Sockets and TLS, for PostgreSQL and Redis alike.
//!
//! A [`Transport`] is what both protocols are spoken over: TCP or a Unix socket, with TLS or
//! without. It is read through a [`ReadBuffer`], from which messages are borrowed.

mod buffer;
mod socket;
pub(crate) mod tls;

pub(crate) use buffer::ReadBuffer;
pub(crate) use socket::{Socket, Transport};
pub(crate) use tls::{TlsSettings, Trust, client_config};
