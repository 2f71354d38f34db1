//! The command line: one file per command.

mod check;
mod demo;
mod dlq;
mod fields;
mod generate;
mod hidden;
mod logging;
mod pause;
mod reset;
mod run;
mod schema;
mod snapshot;
mod status;
mod verify;

pub(crate) use logging::Logging;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Arguments, Config};
use crate::error::{Error, one_line};

/// Captures row changes from PostgreSQL and keeps Redis in step with them.
#[derive(Debug, Parser)]
#[command(name = "redis-connect-postgres", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = EXAMPLES, after_long_help = FIRST_STEPS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    logs: Logs,
}

const EXAMPLES: &str = "\
Examples:
  redis-connect-postgres demo                 see it at work, with throwaway servers
  redis-connect-postgres check -c hr.yaml     what is not ready, and what mends it
  redis-connect-postgres run -c hr.yaml       read the tables, then follow every change
  redis-connect-postgres verify -c hr.yaml    does Redis equal PostgreSQL?

`redis-connect-postgres --help` tells how to begin.";

const FIRST_STEPS: &str = "\
First steps:
  redis-connect-postgres demo
  shows it at work, with servers that it starts and removes again.

  A file that names both sides is enough to begin with. hr.yaml:

    source:
      url: postgresql://redis_connect@db.example:5432/hr
      password: ${PGPASSWORD}
    target:
      url: redis://redis.example:6379/0

  Without `tables` every table that can be captured becomes hashes: emp:7839.

  1. redis-connect-postgres check -c hr.yaml
     looks at both sides, changes nothing, and prints what mends it
  2. redis-connect-postgres run -c hr.yaml
     reads the tables, then follows every change until Ctrl-C or SIGTERM;
     the next run goes on where this one ended
  3. redis-connect-postgres verify -c hr.yaml
     compares every row with its key, at any time

  Without a file:
  redis-connect-postgres run --source postgresql://db/hr --target redis://redis

Exit codes:
  0  fine
  1  failed: the last line on stderr says why; not ready; different
  2  wrong usage or configuration; nothing was done

`redis-connect-postgres COMMAND --help` tells more of each command.";

#[derive(Debug, Args)]
struct Logs {
    /// How log lines look
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// Which log lines: error, warn, info, debug or trace, also by module, as in info,redis_connect_postgres::redis=debug
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info", env = "REDIS_CONNECT_LOG")]
    #[arg(hide_env_values = true)]
    log_level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Demo(demo::Demo),
    Status(status::Status),
    Verify(verify::Verify),
    Snapshot(snapshot::Snapshot),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Dlq(dlq::Dlq),
    Reset(reset::Reset),
    Schema(schema::Schema),
    Completions(generate::Completions),
    Man(generate::Man),
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
struct Origin {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["source", "target", "tables", "kind"])]
    config: Option<PathBuf>,
    /// PostgreSQL, as postgresql://user@host:5432/database; its password from PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "URL", requires = "target")]
    source: Option<String>,
    /// Redis, as redis://user@host:6379/0
    #[arg(long, value_name = "URL", requires = "source")]
    target: Option<String>,
    /// Tables to capture: schema.table or a pattern; can be repeated [default: all]
    #[arg(long, value_name = "PATTERN", requires = "source")]
    tables: Vec<String>,
    /// What each row becomes: hash, json, string, set or stream [default: hash]
    #[arg(long = "type", value_name = "TYPE", requires = "source")]
    kind: Option<String>,
}

impl Origin {
    /// The configuration, and what to call it in messages.
    fn load(&self) -> Result<(Config, String), Error> {
        match (&self.config, &self.source, &self.target) {
            (Some(file), _, _) => load_file(file),
            (None, Some(source), Some(target)) => {
                let arguments = Arguments {
                    source: hidden::value(source),
                    target: hidden::value(target),
                    tables: self.tables.clone(),
                    kind: self.kind.clone(),
                };
                Ok((Config::from_arguments(arguments)?, "the command line".to_owned()))
            }
            _ => Err(Error::Usage(
                "name a configuration with -c FILE, or --source URL and --target URL".to_owned(),
            )),
        }
    }
}

fn load_file(file: &Path) -> Result<(Config, String), Error> {
    Ok((Config::load(file)?, file.display().to_string()))
}

/// Runs the command that was typed. Exit codes: 0 fine, 1 failed, 2 bad usage or configuration.
pub fn main() -> ExitCode {
    hidden::hide();
    keep_memory_private();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match &cli.command {
        Command::Run(run) => run.execute(&cli.logs),
        Command::Check(check) => check.execute(&cli.logs),
        Command::Demo(demo) => demo.execute(&cli.logs),
        Command::Status(status) => status.execute(&cli.logs),
        Command::Pause(pause) => pause.execute(&cli.logs),
        Command::Resume(resume) => resume.execute(&cli.logs),
        Command::Snapshot(snapshot) => snapshot.execute(&cli.logs),
        Command::Verify(verify) => verify.execute(&cli.logs),
        Command::Dlq(dlq) => dlq.execute(&cli.logs),
        Command::Reset(reset) => reset.execute(&cli.logs),
        Command::Schema(schema) => schema.execute(),
        Command::Completions(completions) => completions.execute(),
        Command::Man(man) => man.execute(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "redis-connect-postgres: {}", one_line(&error.to_string()));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Passwords are in our memory: no core file, and no look into it by another process of the same user.
fn keep_memory_private() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        // Where it can't be done, it is as it was.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// The runtime of the data loop: one thread.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::Setting(format!("the operating system does not let us begin: {e}")))
}
