//! `snapshot`: read tables again while the stream goes on.

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Logs, load_file, logging, runtime};
use crate::config::{Config, TablePattern, nearest};
use crate::error::Error;
use crate::http::client::Process;
use crate::pipeline::checkpoint::{self, Checkpoint, Keys};
use crate::pipeline::requests::{SNAPSHOT, pending, read_again};
use crate::redis::Client;

const EXAMPLES: &str = "\
Examples:
  redis-connect-postgres snapshot -c hr.yaml public.emp sales.orders
      waits until they are read
  redis-connect-postgres snapshot -c hr.yaml --no-wait emp
      only asks for it";

/// Read tables again while the stream goes on
///
/// The running instance is asked to do it, by way of Redis; without one it is done by the next that
/// starts. Keys and members whose rows are gone are removed, and streams get the rows again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Snapshot {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The tables, as schema.table or table
    #[arg(required = true, value_name = "TABLE")]
    tables: Vec<String>,
    /// Don't wait until they are read
    #[arg(long)]
    no_wait: bool,
}

/// How long nothing may be written before no instance is taken to be running. One that is idle writes
/// its checkpoint every five seconds.
const PATIENCE: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(100);

impl Snapshot {
    pub(super) fn execute(&self, logs: &Logs) -> Result<ExitCode, Error> {
        logging::start(logs, stderr)?;
        let (config, _) = load_file(&self.config)?;
        runtime()?.block_on(self.ask(&config))
    }

    async fn ask(&self, config: &Config) -> Result<ExitCode, Error> {
        let mut redis = Client::open(&config.target).await?;
        let keys = Keys::new(&config.name, redis.spread());
        let found = read(&mut redis, &keys).await?;
        let tables = self.tables.iter().map(|typed| known(typed, &found)).collect::<Result<Vec<_>, _>>()?;
        let wanted = serde_json::json!({ "tables": tables });
        let asked = match Process::find(config.http.as_ref(), &config.name).await {
            Some(process) => process.does("/api/v1/snapshots", Some(wanted)).await,
            None => false,
        };
        for table in tables.iter().filter(|_| !asked) {
            read_again(&mut redis, &keys, table).await?;
        }
        let mut out = stdout();
        if self.no_wait {
            let _ = writeln!(out, "asked for: {}", tables.join(", "));
            return Ok(ExitCode::SUCCESS);
        }
        let mut moved = (found.updated, Instant::now());
        loop {
            sleep(POLL).await;
            let waiting = pending(&mut redis, &keys.requests).await?;
            let now = read(&mut redis, &keys).await?;
            let is_done = |table: &String| {
                !waiting.contains(&format!("{SNAPSHOT}{table}"))
                    && now.tables.get(table).is_some_and(|state| state.complete)
            };
            if tables.iter().all(is_done) {
                for table in &tables {
                    let rows = now.tables.get(table).map_or(0, |state| state.rows);
                    let _ = writeln!(out, "{table}: {rows} rows read");
                }
                return Ok(ExitCode::SUCCESS);
            }
            if now.updated != moved.0 {
                moved = (now.updated, Instant::now());
            } else if moved.1.elapsed() > PATIENCE {
                return Err(Error::Setting(format!(
                    "no instance writes for {}: start one with redis-connect-postgres run, it will read the tables \
                     first",
                    config.name
                )));
            }
        }
    }
}

async fn read(redis: &mut Client, keys: &Keys) -> Result<Checkpoint, Error> {
    checkpoint::read(redis, keys).await?.ok_or_else(|| {
        Error::Setting(format!(
            "there is no checkpoint {} in Redis, so nothing was captured yet: redis-connect-postgres run",
            keys.checkpoint
        ))
    })
}

/// The table that was meant.
fn known(typed: &str, checkpoint: &Checkpoint) -> Result<String, Error> {
    let pattern = TablePattern::parse(typed).map_err(|error| Error::Usage(format!("{typed}: {error}")))?;
    let name = match pattern.exact() {
        Some((schema, table)) => format!("{schema}.{table}"),
        None => typed.to_owned(),
    };
    if checkpoint.tables.contains_key(&name) {
        return Ok(name);
    }
    let hint = match nearest(&name, checkpoint.tables.keys().map(String::as_str)) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    };
    Err(Error::Usage(format!("{name} is not captured{hint}")))
}
