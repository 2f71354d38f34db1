//! The tests that need real servers: one binary, so that they share what is slow to start.
//!
//! A test begins with `let world = World::new();` and has a PostgreSQL, a Redis and the program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod harness;

mod check;
mod clusters;
mod command_line;
mod connections;
mod dashboard;
mod dead_letters;
mod dependencies;
mod deployment;
mod documentation;
mod faults;
mod gaps;
mod harness_tests;
mod hashes;
mod http;
mod snapshots;
mod structures;
mod takeover;
mod targets;
mod torture;
mod values;
mod verify;
mod versions;
