//! Measures redis-connect-postgres beside the tools of PostgreSQL and Redis.
//!
//! ```text
//!  options ─> stream, snapshot, structures, latency, memory ─> report (printed), record (kept)
//!               │  prepare servers, rows, backlog; check what is in Redis at the end
//!               └─ measure ─> process, cpu     what it took
//! ```
//!
//! See `bench/README.md` for what the figures mean.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod backlog;
mod check;
mod commands;
mod connector;
mod cpu;
mod entries;
mod error;
mod large;
mod latency;
mod link;
mod measure;
mod memory;
mod options;
mod peer;
mod process;
mod record;
mod reference;
mod relay;
mod report;
mod rows;
mod servers;
mod shapes;
mod snapshot;
mod start;
mod stream;
mod structure;
mod structures;
mod tables;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use redis_connect_postgres::throwaway::Directory;
use serde_json::json;

use error::{Doing, Result};
use options::{Command, Measurement, Memory, Options, Peer, Shapes, Speed, Start, Structures};
use process::Process;
use structure::HASH;

/// What every measurement needs.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The program that is measured.
    program: PathBuf,
    /// For logs, configurations and ready-made commands; removed at the end.
    directory: Directory,
}

impl Bench {
    fn new(program: Option<PathBuf>) -> Result<Self> {
        let program = program.map_or_else(connector::build, Ok)?;
        Ok(Self { program, directory: Directory::new("bench")? })
    }

    /// Runs a command that is not measured.
    fn finish(&self, command: &mut std::process::Command) -> Result<()> {
        Process::start(command, &self.directory)?.wait().map(|_| ())
    }
}

fn main() -> ExitCode {
    let Options { command, program, speed } = Options::parse();
    let done = Bench::new(program.clone()).and_then(|bench| match command {
        Some(Command::Memory(options)) => run_memory(&bench, program.as_deref(), &options),
        Some(Command::Structures(options)) => run_structures(&bench, program.as_deref(), &options),
        Some(Command::Shapes(options)) => run_shapes(&bench, program.as_deref(), &options),
        Some(Command::Start(options)) => run_start(&bench, program.as_deref(), &options),
        Some(Command::Peer(options)) => run_peer(&bench, program.as_deref(), &options),
        None => run_speed(&bench, program.as_deref(), &speed),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_speed(bench: &Bench, program: Option<&Path>, options: &Speed) -> Result<()> {
    let mut groups = Vec::new();
    for (measurement, size) in [(Measurement::Stream, 1_000), (Measurement::StreamSingle, 1)] {
        if options.wants(measurement) {
            groups.push(stream::stream(bench, HASH, (options.rows, size), options.runs)?);
        }
    }
    if options.wants(Measurement::Snapshot) {
        groups.push(snapshot::snapshot(bench, HASH, options.snapshot_rows, options.runs)?);
    }
    let mut latencies = Vec::new();
    if options.wants(Measurement::Latency) {
        for run in 1..=options.runs {
            for rate in [1_000, 5_000] {
                latencies.push(latency::latency(bench, rate, options.latency_seconds, run)?);
            }
        }
    }
    let mut text: String = groups.iter().map(|group| group.table() + "\n").collect();
    if !groups.is_empty() {
        text = format!("{text}{}\n", report::LEGEND);
    }
    if !latencies.is_empty() {
        text += &report::latencies(&latencies);
    }
    let path =
        record::append("speed", program, options, json!({ "groups": groups, "latencies": latencies }))?;
    print(&format!("{text}\nraw results: {}\n", path.display()))
}

fn run_memory(bench: &Bench, program: Option<&Path>, options: &Memory) -> Result<()> {
    let peaks = memory::memory(bench, options)?;
    let path = record::append("memory", program, options, json!({ "peaks": peaks }))?;
    print(&format!("{}\nraw results: {}\n", report::peaks(&peaks), path.display()))
}

fn run_structures(bench: &Bench, program: Option<&Path>, options: &Structures) -> Result<()> {
    let structures::Measured { streams, snapshots } = structures::structures(bench, options)?;
    let text = [report::structures(&streams), report::structures(&snapshots)].join("\n");
    let groups: Vec<_> = streams.iter().chain(&snapshots).collect();
    let path = record::append("structures", program, options, json!({ "groups": groups }))?;
    print(&format!("{text}\n{}\nraw results: {}\n", report::LEGEND, path.display()))
}

fn run_shapes(bench: &Bench, program: Option<&Path>, options: &Shapes) -> Result<()> {
    let shapes = shapes::shapes(bench, options)?;
    let path = record::append("shapes", program, options, json!({ "shapes": shapes }))?;
    print(&format!("{}\nraw results: {}\n", report::shapes(&shapes), path.display()))
}

fn run_start(bench: &Bench, program: Option<&Path>, options: &Start) -> Result<()> {
    let starts = start::start(bench, options)?;
    let path = record::append("start", program, options, json!({ "starts": starts }))?;
    print(&format!("{}\nraw results: {}\n", report::starts(&starts), path.display()))
}

fn run_peer(bench: &Bench, program: Option<&Path>, options: &Peer) -> Result<()> {
    let measured = peer::peer(bench, options)?;
    let tables: String = measured.groups.iter().map(|group| group.table() + "\n").collect();
    let start = report::median(measured.starts.iter().map(|reading| reading.seconds));
    let path = record::append("peer", program, options, json!(measured))?;
    let start =
        format!("Debezium's start and end with a table of one row, which is in its times: {start:.1} s");
    print(&format!("{tables}{start}\n\n{}\nraw results: {}\n", report::LEGEND, path.display()))
}

fn print(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).doing(|| "print the results".to_owned())
}
