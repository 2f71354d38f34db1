//! The replication slot, as PostgreSQL shows it.

/// What `pg_replication_slots` said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotSeen {
    /// `reserved`, `extended`, `unreserved` or `lost`; before PostgreSQL 13 always `reserved`.
    pub(crate) status: String,
    /// Bytes of write-ahead log that PostgreSQL keeps for it.
    pub(crate) retained: u64,
    /// Bytes that can still be written before the slot may be lost; `None` when there is no limit.
    pub(crate) safe: Option<u64>,
}

/// All values of [`SlotSeen::status`].
pub(crate) const STATUSES: [&str; 4] = ["reserved", "extended", "unreserved", "lost"];
