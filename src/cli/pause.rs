//! `pause` and `resume`: nothing is captured for a while.

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Logs, load_file, logging, runtime};
use crate::error::Error;
use crate::http::client::Process;
use crate::pipeline::checkpoint::{self, Keys};
use crate::pipeline::requests;
use crate::redis::Client;

const EXAMPLES: &str = "\
Examples:
  redis-connect-postgres pause -c hr.yaml
  redis-connect-postgres resume -c hr.yaml";

/// Capture nothing until `resume`
///
/// The running instance stops reading and writing within some seconds, and keeps the slot; one that
/// starts or takes over meanwhile waits too. PostgreSQL keeps its write-ahead log all the while.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Pause {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

/// Go on after `pause`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Resume {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

impl Pause {
    pub(super) fn execute(&self, logs: &Logs) -> Result<ExitCode, Error> {
        logging::start(logs, stderr)?;
        let (config, file) = load_file(&self.config)?;
        let paused = format!(
            "{} pauses; PostgreSQL keeps its log until redis-connect-postgres resume -c {file}",
            config.name
        );
        runtime()?.block_on(async {
            let process = Process::find(config.http.as_ref(), &config.name).await;
            if let Some(process) = process
                && process.does("/api/v1/pause", None).await
            {
                let _ = writeln!(stdout(), "{paused}");
                return Ok(ExitCode::SUCCESS);
            }
            let mut redis = Client::open(&config.target).await?;
            let keys = Keys::new(&config.name, redis.spread());
            if checkpoint::read(&mut redis, &keys).await?.is_none() {
                return Err(Error::Setting(format!(
                    "there is no checkpoint {} in Redis, so nothing is captured that could be paused",
                    keys.checkpoint
                )));
            }
            requests::pause(&mut redis, &keys).await?;
            let _ = writeln!(stdout(), "{paused}");
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Resume {
    pub(super) fn execute(&self, logs: &Logs) -> Result<ExitCode, Error> {
        logging::start(logs, stderr)?;
        let (config, _) = load_file(&self.config)?;
        runtime()?.block_on(async {
            let process = Process::find(config.http.as_ref(), &config.name).await;
            if let Some(process) = process
                && process.shown.state == "paused"
                && process.does("/api/v1/resume", None).await
            {
                let _ = writeln!(stdout(), "{} goes on", config.name);
                return Ok(ExitCode::SUCCESS);
            }
            let mut redis = Client::open(&config.target).await?;
            let keys = Keys::new(&config.name, redis.spread());
            let was = if requests::resume(&mut redis, &keys).await? { "goes on" } else { "was not paused" };
            let _ = writeln!(stdout(), "{} {was}", config.name);
            Ok(ExitCode::SUCCESS)
        })
    }
}
