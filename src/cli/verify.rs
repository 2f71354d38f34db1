//! `verify`: does Redis equal PostgreSQL?

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Logs, load_file, logging, runtime};
use crate::error::Error;

/// Compare every row with its key, and every key with its row
///
/// Exit code 0: equal; 1: different. Run it when the stream is caught up: a row that changes meanwhile
/// is reported as different.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

impl Verify {
    pub(super) fn execute(&self, logs: &Logs) -> Result<ExitCode, Error> {
        logging::start(logs, stderr)?;
        let (config, file) = load_file(&self.config)?;
        let report = runtime()?.block_on(crate::verify::verify(&config, &file))?;
        let mut out = stdout().lock();
        for example in &report.examples {
            let _ = writeln!(out, "{example}");
        }
        let told = report.examples.len() as u64;
        if report.different > told {
            let _ = writeln!(out, "… and {} more", report.different - told);
        }
        let verdict = if report.different == 0 {
            "equal".to_owned()
        } else {
            format!("{} different", report.different)
        };
        let _ = writeln!(out, "{} rows in {} tables compared: {verdict}", report.rows, report.tables);
        Ok(if report.different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
