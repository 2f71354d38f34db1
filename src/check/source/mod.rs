//! What PostgreSQL must be like, one check a file.

pub(super) mod clock;
pub(super) mod encoding;
pub(super) mod generated_columns;
pub(super) mod keyless;
pub(super) mod large_values;
pub(super) mod long_transactions;
pub(super) mod mapping;
pub(super) mod not_tables;
pub(super) mod other_slots;
pub(super) mod publication;
pub(super) mod replication_connection;
pub(super) mod replication_right;
pub(super) mod row_security;
pub(super) mod senders;
pub(super) mod service;
pub(super) mod slots;
pub(super) mod tables;
pub(super) mod version;
pub(super) mod wal_level;
pub(super) mod wal_limit;
