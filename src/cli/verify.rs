//! `verify`: does Redis equal PostgreSQL?

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{LogFormat, Logs, load_file, logging, runtime};
use crate::error::Error;
use crate::verify::{Mode, verify};
use crate::view::Comparing;

const EXAMPLES: &str = "\
Examples:
  redis-connect-postgres verify -c hr.yaml
      tells the first 20 differences, and how many there are
  redis-connect-postgres verify -c hr.yaml --repair
      mends them";

/// Compare every row with its key, and every key with its row
///
/// It may run beside the connector, while rows change: what differs is looked at again when the
/// stream has passed the moment of reading. Streams are not compared.
///
/// Exit code 0: equal, or all that differed was mended; 1: different.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Verify {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Write rows that differ as they are, and remove keys, members and fields that no row has
    #[arg(long)]
    repair: bool,
    /// Print a JSON document instead of words
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn execute(&self, logs: &Logs) -> Result<ExitCode, Error> {
        let mut view = Comparing::choose(logs.log_format == LogFormat::Text);
        match view.writer() {
            Some(writer) => logging::start(logs, writer)?,
            None => logging::start(logs, stderr)?,
        };
        let (config, file) = load_file(&self.config)?;
        let mode = if self.repair { Mode::Repair } else { Mode::Look };
        let report = runtime()?.block_on(Box::pin(verify((&config, &file), mode, &mut view)));
        view.clear();
        let report = report?;
        let mut out = stdout().lock();
        let _ = if self.json { writeln!(out, "{}", report.json()) } else { write!(out, "{report}") };
        Ok(if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
