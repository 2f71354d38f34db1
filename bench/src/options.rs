//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::structure::{self, Structure};

/// Measures redis-connect-postgres beside the tools of PostgreSQL and Redis, on throwaway servers.
#[derive(Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Measure this program instead of building the release binary of this checkout
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) program: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) speed: Speed,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure the connector's peak memory where it is most in danger
    Memory(Memory),
    /// Measure every structure of Redis, each beside ready-made commands of the same structure
    Structures(Structures),
    /// Measure the same rows over many tables, with many columns, in large transactions, under other names, over links
    Shapes(Shapes),
    /// Measure how long it takes from the start of the process to the first row, and what an idle one uses
    Start(Start),
    /// Measure Debezium's engine on the same data
    Peer(Peer),
}

/// Rates and latencies (without a command)
#[derive(Debug, Args, serde::Serialize)]
pub(crate) struct Speed {
    /// Rows of the backlog that is streamed
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rows: u32,
    /// Rows of the table that is read by the snapshot
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) snapshot_rows: u32,
    /// Measure only this; can be given more than once
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<Measurement>,
    /// Measure everything so often, in changing order, and report medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=15))]
    pub(crate) runs: u32,
    /// How long the load of a latency measurement lasts
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) latency_seconds: u32,
}

/// What `--only` chooses from; the references of a measurement belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Measurement {
    /// A backlog of transactions of 1,000 rows
    Stream,
    /// A backlog of transactions of one row
    StreamSingle,
    /// A table that is read for the first time
    Snapshot,
    /// From COMMIT to visible in Redis
    Latency,
}

impl Speed {
    pub(crate) fn wants(&self, measurement: Measurement) -> bool {
        self.only.is_empty() || self.only.contains(&measurement)
    }
}

#[derive(Debug, Args, serde::Serialize)]
pub(crate) struct Structures {
    /// Rows of the backlog that is streamed, and of the table that is read by the snapshot
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rows: u32,
    /// Measure everything so often, in changing order, and report medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=15))]
    pub(crate) runs: u32,
    /// Measure only this; can be given more than once
    #[arg(long, value_name = "NAME", value_parser = structure::ALL.map(|structure| structure.name))]
    pub(crate) only: Vec<String>,
}

impl Structures {
    pub(crate) fn wants(&self, structure: &Structure) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == structure.name)
    }
}

#[derive(Debug, Args, serde::Serialize)]
pub(crate) struct Shapes {
    /// Rows of the largest transaction
    #[arg(long, value_name = "N", default_value_t = 5_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) largest: u32,
    /// So many per cent of the rows
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) percent: u32,
    /// Measure everything so often, and report medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=15))]
    pub(crate) runs: u32,
    /// Measure only this; can be given more than once
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<ShapeGroup>,
}

/// In what the shapes differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ShapeGroup {
    /// Rows over more and more tables
    Tables,
    /// Rows of more and more columns
    Columns,
    /// More and more rows in a transaction
    Transactions,
    /// Other keys, other names, fewer columns
    Mapping,
    /// Sockets, TCP, and links of a millisecond
    Links,
}

impl ShapeGroup {
    pub(crate) fn title(self) -> &'static str {
        match self {
            ShapeGroup::Tables => "tables",
            ShapeGroup::Columns => "columns",
            ShapeGroup::Transactions => "transactions",
            ShapeGroup::Mapping => "mapping",
            ShapeGroup::Links => "links",
        }
    }
}

impl Shapes {
    pub(crate) fn wants(&self, group: ShapeGroup) -> bool {
        self.only.is_empty() || self.only.contains(&group)
    }
}

#[derive(Debug, Args, serde::Serialize)]
pub(crate) struct Start {
    /// How many tables there are; can be given more than once
    #[arg(long, value_name = "N", default_values_t = [20, 20_000], value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tables: Vec<u32>,
    /// Measure everything so often, and report medians
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=15))]
    pub(crate) runs: u32,
}

#[derive(Debug, Args, serde::Serialize)]
pub(crate) struct Peer {
    /// Where the jars are: the engine with all that it needs, its PostgreSQL connector, and Jedis
    #[arg(long, value_name = "DIR")]
    pub(crate) jars: PathBuf,
    /// Options of Java, with spaces between
    #[arg(long, value_name = "OPTIONS", default_value = "-XX:+UseParallelGC", allow_hyphen_values = true)]
    pub(crate) java_options: String,
    /// Rows of the backlog, and of the table
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..))]
    pub(crate) rows: u32,
    /// Measure everything so often, by turns, and report medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=15))]
    pub(crate) runs: u32,
}

#[derive(Debug, Args, serde::Serialize)]
pub(crate) struct Memory {
    /// Rows of the one transaction, and of the table
    #[arg(long, value_name = "N", default_value_t = 5_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rows: u32,
    /// How long Redis is away
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) outage_seconds: u32,
    /// Rows a second that are written meanwhile
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) outage_rate: u32,
    /// Measure only this; can be given more than once
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<Danger>,
}

/// Where memory is in danger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Danger {
    /// One large transaction
    Transaction,
    /// A large table
    Table,
    /// A table of 1,000 columns, from the snapshot and from the stream
    Columns,
    /// Values of 100 MB, from the snapshot and from the stream
    Values,
    /// Redis is frozen under load: connections stay, nothing answers
    Frozen,
    /// Redis is shut down under load and started again
    Down,
}

impl Memory {
    pub(crate) fn wants(&self, danger: Danger) -> bool {
        self.only.is_empty() || self.only.contains(&danger)
    }

    pub(crate) fn outage(&self) -> Duration {
        Duration::from_secs(self.outage_seconds.into())
    }
}
