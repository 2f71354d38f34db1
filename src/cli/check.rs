//! `check`: would it work, and go on working?

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use super::{Logs, Origin, logging, runtime};
use crate::check::preflight;
use crate::error::Error;

const EXAMPLES: &str = "\
Examples:
  redis-connect-postgres check -c hr.yaml
  redis-connect-postgres check --source postgresql://db/hr \\
      --target redis://redis
      without a file
  redis-connect-postgres check -c hr.yaml --json | jq .findings
      for a program";

/// Find what would keep the connector from working, and print what mends it
///
/// Looks at PostgreSQL, Redis and the configuration, and changes nothing. Warnings are for what would hurt
/// later.
///
/// Exit code 0: ready; 1: not ready.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    #[command(flatten)]
    origin: Origin,
    /// Print a JSON document instead of words
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn execute(&self, logs: &Logs) -> Result<ExitCode, Error> {
        logging::start(logs, stderr)?;
        let (config, file) = self.origin.load()?;
        let report = runtime()?.block_on(Box::pin(preflight(&config, &file)));
        let mut out = stdout().lock();
        let _ = if self.json { writeln!(out, "{}", report.json()) } else { write!(out, "{report}") };
        Ok(if report.is_ready() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
