//! PostgreSQL 12 to 18: what the program lives by, on each of them; and what only some of them have.
//!
//! The versions come from `.ci/postgres`, or are the machine's own. `./test --all-versions` runs the whole
//! suite on each instead of this core.

mod columns;
mod core;
mod failover;
mod locked;
mod slots;
mod standby;

use redis_connect_postgres::throwaway::postgres_installations;

/// The same tests for each version, in a module that is named after it.
macro_rules! on_each_version {
    ($($module:ident $version:literal),*) => {$(
        mod $module {
            use super::core;

            #[test]
            fn rows_of_every_kind() {
                crate::versions::needs!($version);
                core::rows_of_every_kind($version);
            }

            #[test]
            fn partitions() {
                crate::versions::needs!($version);
                core::partitions($version);
            }

            #[test]
            fn restarts_and_a_lost_slot() {
                crate::versions::needs!($version);
                core::restarts_and_a_lost_slot($version);
            }
        }
    )*};
}

on_each_version!(
    postgres_12 12, postgres_13 13, postgres_14 14, postgres_15 15, postgres_16 16, postgres_17 17,
    postgres_18 18
);

/// Returns from the test, noted as skipped, where there is no PostgreSQL of this version.
macro_rules! needs {
    ($version:expr) => {
        if !$crate::versions::is_installed($version) {
            $crate::harness::skip!("PostgreSQL {0} is not installed: .ci/postgres {0}", $version);
        }
    };
}
pub(crate) use needs;

pub(crate) fn is_installed(version: u32) -> bool {
    postgres_installations().iter().any(|installation| installation.version == version)
}
