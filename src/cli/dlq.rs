//! `dlq`: rows that Redis refused.

use std::io::{IsTerminal, Write, stderr, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Logs, load_file, logging, runtime};
use crate::config::Config;
use crate::dlq::letter::Letter;
use crate::dlq::pages::Pages;
use crate::dlq::replay::{Remaining, replay};
use crate::dlq::{Id, all, remove};
use crate::error::Error;
use crate::pipeline::checkpoint::Keys;
use crate::redis::Client;

const EXAMPLES: &str = "\
Examples:
  redis-connect-postgres dlq -c hr.yaml list --limit 10
      each with its reason: mend that first
  redis-connect-postgres dlq -c hr.yaml replay
      writes the rows as they are now
  redis-connect-postgres dlq -c hr.yaml purge 1760000000000-0
      forgets this letter";

/// Show, write again or remove the rows that Redis refused
///
/// A row that Redis can never take, such as one whose key holds a value of another type, is set aside with its
/// reason while the others go on.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Dlq {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show dead letters, the oldest first
    List(List),
    /// Write each letter's row as it is now; letters that succeed are removed
    ///
    /// May run beside the connector. Exit code 0: none remains; 1: some do.
    Replay,
    /// Remove dead letters without writing their rows
    Purge(Purge),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only the newest N
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// One JSON object a line, with the rows
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Purge {
    /// Only these letters; else all
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

impl Dlq {
    pub(super) fn execute(&self, logs: &Logs) -> Result<ExitCode, Error> {
        logging::start(logs, stderr)?;
        let Some(file) = &self.config else {
            return Err(Error::Usage("name the configuration: dlq -c FILE list|replay|purge".to_owned()));
        };
        let (config, file) = load_file(file)?;
        runtime()?.block_on(async {
            match &self.action {
                Action::List(arguments) => list(&config, arguments).await,
                Action::Replay => run_replay(&config, &file).await,
                Action::Purge(arguments) => purge(&config, arguments).await,
            }
        })
    }
}

fn letters(count: u64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

/// What a terminal would act upon is shown as an escape.
fn shown(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).flat_map(escaped).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

fn escaped(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

const COLUMNS: [&str; 8] = ["ID", "AT", "TABLE", "KEY", "OP", "LSN", "COMMAND", "REASON"];

fn line(id: &str, letter: &Letter) -> [String; 8] {
    let field = |name| letter.get(name).unwrap_or("-");
    [
        id.to_owned(),
        field("at").to_owned(),
        shown(field("table"), 60),
        shown(field("key"), 40),
        field("op").to_owned(),
        field("lsn").to_owned(),
        shown(field("command"), 60),
        shown(field("reason"), 200),
    ]
}

async fn list(config: &Config, arguments: &List) -> Result<ExitCode, Error> {
    let mut redis = Client::open(&config.target).await?;
    let stream = Keys::new(&config.name, redis.spread()).dead_letters;
    let length = redis.call(&[b"XLEN", stream.as_bytes()]).await?.text();
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut skip = arguments.limit.map_or(0, |limit| length.saturating_sub(limit));
    let mut out = stdout().lock();
    let mut lines = vec![COLUMNS.map(str::to_owned)];
    let mut pages = Pages::new(&stream);
    while let Some(page) = pages.next(&mut redis).await? {
        let skipped = skip.min(page.len());
        skip -= skipped;
        for (id, letter) in page.iter().skip(skipped) {
            if arguments.json {
                let _ = writeln!(out, "{}", letter.json(id));
            } else {
                lines.push(line(id, letter));
            }
        }
    }
    if arguments.json {
        return Ok(ExitCode::SUCCESS);
    }
    if lines.len() > 1 {
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 7] = std::array::from_fn(width);
        for line in &lines {
            let padded: Vec<String> =
                widths.iter().zip(line).map(|(width, text)| format!("{text:width$}")).collect();
            let _ = writeln!(out, "{}  {}", padded.join("  "), line[7]);
        }
    }
    let _ = writeln!(out, "{}", letters(length as u64));
    Ok(ExitCode::SUCCESS)
}

async fn run_replay(config: &Config, file: &str) -> Result<ExitCode, Error> {
    let mut out = stdout().lock();
    let summary = replay(config, file, |remaining| {
        let Remaining { id, letter, reason } = remaining;
        let field = |name| shown(letter.get(name).unwrap_or("-"), 60);
        let _ = writeln!(out, "{id} {} {}: {}", field("table"), field("key"), shown(reason, 500));
    })
    .await?;
    let _ = writeln!(out, "{} replayed, {} remain", letters(summary.replayed), summary.remaining);
    Ok(if summary.remaining == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn purge(config: &Config, arguments: &Purge) -> Result<ExitCode, Error> {
    if let Some(id) = arguments.ids.iter().find(|id| Id::parse(id).is_none()) {
        return Err(Error::Usage(format!("`{id}` is not the ID of a dead letter, such as 1760000000000-0")));
    }
    if !arguments.yes && !stdin().is_terminal() {
        return Err(Error::Usage(
            "purge asks before it removes anything; without a terminal give --yes".to_owned(),
        ));
    }
    let mut redis = Client::open(&config.target).await?;
    let stream = Keys::new(&config.name, redis.spread()).dead_letters;
    let ids = if arguments.ids.is_empty() { all(&mut redis, &stream).await? } else { arguments.ids.clone() };
    if !arguments.yes && !ids.is_empty() && !agreed(&format!("Remove {}?", letters(ids.len() as u64))) {
        return Ok(ExitCode::FAILURE);
    }
    let removed = remove(&mut redis, &stream, &ids).await?;
    let _ = writeln!(stdout(), "{} removed", letters(removed));
    Ok(ExitCode::SUCCESS)
}

fn agreed(question: &str) -> bool {
    let _ = write!(stdout(), "{question} Their rows are not written. [y/N] ");
    let _ = stdout().flush();
    let mut answer = String::new();
    let _ = stdin().read_line(&mut answer);
    matches!(answer.trim(), "y" | "Y" | "yes")
}
