//! What Redis must be like, one check a file.

pub(super) mod clock;
pub(super) mod eviction;
pub(super) mod foreign_keys;
pub(super) mod info;
pub(super) mod memory;
pub(super) mod modules;
pub(super) mod persistence;
pub(super) mod rights;
pub(super) mod topology;
pub(super) mod version;
