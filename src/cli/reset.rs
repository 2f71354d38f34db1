//! `reset`: forget everything but the data.

use std::io::{IsTerminal, Write, stderr, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Logs, load_file, logging, runtime};
use crate::config::Config;
use crate::error::Error;
use crate::pipeline::checkpoint::{self, Keys};
use crate::postgres::{Connection, Purpose, identifier, publication, slot};
use crate::redis;

const EXAMPLES: &str = "\
Examples:
  redis-connect-postgres reset -c hr.yaml
      asks first
  redis-connect-postgres reset -c hr.yaml --yes
      in a script";

/// Drop slot, publication and checkpoint, so that the next run begins anew; the data stay
///
/// The connector must be stopped. The publication is dropped only if the connector made it. The next run reads all
/// tables over what is in Redis, and removes keys whose rows are gone.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Reset {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

impl Reset {
    pub(super) fn execute(&self, logs: &Logs) -> Result<ExitCode, Error> {
        logging::start(logs, stderr)?;
        let (config, _) = load_file(&self.config)?;
        if !self.yes && !agreed(&config)? {
            return Ok(ExitCode::FAILURE);
        }
        runtime()?.block_on(reset(&config))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn agreed(config: &Config) -> Result<bool, Error> {
    if !stdin().is_terminal() {
        return Err(Error::Usage(
            "reset asks before it drops anything; without a terminal give --yes".to_owned(),
        ));
    }
    let source = &config.source;
    let _ = write!(
        stdout(),
        "Drop slot {}, publication {} and the checkpoint of {}? The next run reads all tables again. [y/N] ",
        source.slot,
        source.publication,
        config.name
    );
    let _ = stdout().flush();
    let mut answer = String::new();
    let _ = stdin().read_line(&mut answer);
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

async fn reset(config: &Config) -> Result<(), Error> {
    let mut source = Connection::open(&config.source, Purpose::Sql).await?;
    let mut redis = redis::Client::open(&config.target).await?;
    let mut out = stdout();
    if let Some(found) = slot::find(&mut source, &config.source.slot).await? {
        if let Some(pid) = found.active_pid {
            return Err(Error::Setting(format!(
                "the slot {} is being read by process {pid}: stop the running connector first",
                config.source.slot
            )));
        }
        slot::drop(&mut source, &config.source.slot).await?;
        let _ = writeln!(out, "slot {} dropped", config.source.slot);
    }
    match publication::find(&mut source, &config.source.publication).await? {
        Some(found) if found.ours => {
            source.query(&format!("DROP PUBLICATION {}", identifier(&config.source.publication))).await?;
            let _ = writeln!(out, "publication {} dropped", config.source.publication);
        }
        Some(_) => {
            let _ = writeln!(out, "publication {} kept: somebody else made it", config.source.publication);
        }
        None => {}
    }
    let keys = Keys::new(&config.name, redis.spread());
    // The epoch stays: an instance that sleeps must not find it at its own number again.
    checkpoint::reset(&mut redis, &keys).await?;
    let _ = writeln!(out, "checkpoint {} removed", keys.checkpoint);
    Ok(())
}
