//! `status`: how the pipeline is.
//!
//! Where the configuration has `http.listen`, the running process is asked. Where it has none, or nobody answers,
//! the checkpoint in Redis and the slot in PostgreSQL tell what there is to tell.

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Logs, load_file, logging, runtime};
use crate::config::Config;
use crate::error::{Error, one_line};
use crate::http::client;
use crate::http::status::Status as Shown;
use crate::pipeline::standing;

const EXAMPLES: &str = "\
Examples:
  redis-connect-postgres status -c hr.yaml
  redis-connect-postgres status -c hr.yaml --json | jq .lag.seconds
      for a program
  redis-connect-postgres status -c hr.yaml --ready && echo yes
      for a health check";

/// Show state, position, lag and the progress of each table
///
/// The running process is asked where the configuration has http.listen; else the checkpoint in Redis and
/// the slot in PostgreSQL tell.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Status {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Print a JSON document instead of words
    #[arg(long)]
    json: bool,
    /// Print nothing; exit code 0: it streams and is not far behind; 1: it does not, or is
    #[arg(long, conflicts_with = "json")]
    ready: bool,
}

impl Status {
    pub(super) fn execute(&self, logs: &Logs) -> Result<ExitCode, Error> {
        logging::start(logs, stderr)?;
        let (config, _) = load_file(&self.config)?;
        let shown = runtime()?.block_on(find(&config))?;
        if self.ready {
            return match shown.not_ready.filter(|_| !shown.ready) {
                None if shown.ready => Ok(ExitCode::SUCCESS),
                reason => Err(Error::Setting(format!(
                    "{} is not ready: {}",
                    config.name,
                    reason.unwrap_or_else(|| shown.state.clone())
                ))),
            };
        }
        let text = match self.json {
            true => serde_json::to_string_pretty(&shown).unwrap_or_default() + "\n",
            false => words(&shown),
        };
        let _ = stdout().write_all(text.as_bytes());
        Ok(ExitCode::SUCCESS)
    }
}

async fn find(config: &Config) -> Result<Shown, Error> {
    if let Some(http) = &config.http {
        match client::status(http).await {
            Ok(shown) if shown.name == config.name => return Ok(shown),
            Ok(shown) => tracing::warn!("{} is answered by the pipeline {}", http.listen, shown.name),
            Err(error) => tracing::debug!("no process answers at {}: {error}", http.listen),
        }
    }
    standing::read(config).await
}

fn words(shown: &Shown) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push(format!("{name:14} {}", one_line(&value)));
    let since = shown.since.as_ref().map_or_else(String::new, |since| format!(" since {since}"));
    line("pipeline", format!("{} ({} -> {})", shown.name, shown.source, shown.target));
    line("state", format!("{}{since}", shown.state));
    if let Some(trouble) = &shown.trouble {
        line("trouble", format!("{} (since {})", trouble.error, trouble.since));
    }
    if let Some(reason) = &shown.not_ready {
        line("not ready", reason.clone());
    }
    line("position", format!("{} of {}", shown.position, shown.server_position));
    let seconds = shown.lag.seconds.map_or_else(String::new, |seconds| format!(", {seconds:.1} s"));
    line("lag", format!("{}{seconds}", indicatif::HumanBytes(shown.lag.bytes)));
    if let Some(slot) = &shown.slot_state {
        let safe = slot.safe_bytes.map_or_else(String::new, |bytes| {
            format!(", may be lost after {} more", indicatif::HumanBytes(bytes))
        });
        let kept = indicatif::HumanBytes(slot.retained_bytes);
        line("slot", format!("{} ({}), keeps {kept} of log{safe}", shown.slot, slot.status));
    }
    if let Some(rate) = shown.rows_per_second {
        line("rate", format!("{rate:.0} rows/s"));
    }
    line("dead letters", shown.dead_letters.to_string());
    let width = shown.tables.iter().map(|table| table.name.chars().count()).max().unwrap_or(0).max(5);
    lines.push(String::new());
    lines.push(format!("{:width$}  {:10}  {:>12}  LAST CHANGE", "TABLE", "SNAPSHOT", "ROWS READ"));
    for table in &shown.tables {
        let snapshot = match (table.snapshot.done, table.snapshot.expected) {
            (true, _) if table.converging => "converging".to_owned(),
            (true, _) => "done".to_owned(),
            (false, Some(expected)) if expected > 0 => {
                format!("{:.0} %", (100.0 * table.snapshot.rows as f64 / expected as f64).min(99.0))
            }
            (false, _) => "not done".to_owned(),
        };
        let last = table.last_change.as_deref().unwrap_or("-");
        let name = one_line(&table.name);
        lines.push(format!("{name:width$}  {snapshot:10}  {:>12}  {last}", table.snapshot.rows));
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}
