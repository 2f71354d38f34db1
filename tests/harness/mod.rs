//! What a test starts from.
//!
//! ```text
//!  World ── PostgreSQL (a fresh database in a shared cluster, or World::own())
//!    │ ├─── Redis      (its own)
//!    │ └─── run() ──> Connector: the real program, its log and its end
//!    ├── Sentinels    replicas of the Redis, and sentinels that watch over them
//!    ├── Authority    certificates for TLS: for servers, for clients, of strangers, expired
//!    ├── Handover     changes the Redis behind an open connection
//!    ├── Proxy        between any two of them: cut, half-close, refuse, stall, throttle, delay
//!    └── assert_equal every row of a table against every key of it, in both directions
//! ```

// What one test file leaves unused another will need.
#![allow(dead_code)]

mod certificates;
mod cluster;
mod compare;
mod connector;
mod endpoint;
mod handover;
mod modules;
mod proxy;
mod sentinels;
mod world;

pub(crate) use certificates::{Authority, Certificate};
pub(crate) use cluster::Cluster;
pub(crate) use compare::Table;
pub(crate) use connector::Connector;
pub(crate) use endpoint::Endpoint;
pub(crate) use handover::Handover;
pub(crate) use proxy::{Proxy, Toward};
pub(crate) use sentinels::{SERVICE, Sentinels, ask, sentinel_settings};
pub(crate) use world::{Config, PATIENCE, Settings, World};

use std::io::Write;

/// Ends a test that cannot run here, and says why on its last line. `./test` counts these: a test
/// that did not run must not look like one that passed.
macro_rules! skip {
    ($($reason:tt)*) => {{
        let place = ::std::any::type_name_of_val(&|| ());
        let (_, name) = place.split_once("::").unwrap_or(("", place));
        $crate::harness::skipped(name.trim_end_matches("::{{closure}}"), &format!($($reason)*));
        return;
    }};
}
pub(crate) use skip;

/// Use [`skip!`], which also returns.
pub(crate) fn skipped(name: &str, reason: &str) {
    let line = format!("skipped: {name}: {reason}");
    if let Some(file) = std::env::var_os("TEST_SKIPPED_FILE") {
        let mut file = std::fs::File::options().append(true).create(true).open(file).unwrap();
        // In one piece, because other tests write there at the same time.
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    println!("{line}");
}
