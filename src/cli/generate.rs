//! `completions` and `man`: made from the definitions of the commands, so that they are never behind them.

use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, roman};

use super::Cli;
use crate::error::Error;

const COMPLETIONS: &str = "\
Examples:
  source <(redis-connect-postgres completions bash)
      for this shell; in ~/.bashrc, for every one that begins later
  redis-connect-postgres completions zsh > ~/.zfunc/_redis-connect-postgres
      where `fpath` has ~/.zfunc
  redis-connect-postgres completions fish \\
      > ~/.config/fish/completions/redis-connect-postgres.fish";

const PAGES: &str = "\
Examples:
  redis-connect-postgres man | man -l -
      reads it
  redis-connect-postgres man /usr/local/share/man/man1
      for `man redis-connect-postgres` and `man redis-connect-postgres-run`";

/// Print a script with which a shell completes commands and options
#[derive(Debug, clap::Args)]
#[command(after_help = COMPLETIONS)]
pub(super) struct Completions {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(super) fn execute(&self) -> Result<ExitCode, Error> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "redis-connect-postgres", &mut script);
        if self.shell == Shell::Bash {
            script = mended(&script).into_bytes();
        }
        // Whoever reads it may have seen enough.
        let _ = stdout().write_all(&script);
        Ok(ExitCode::SUCCESS)
    }
}

/// clap_complete 4.6 calls the branches of a program with hyphens otherwise where it jumps to them than where they
/// are.
fn mended(script: &[u8]) -> String {
    let script = String::from_utf8_lossy(script);
    script.replace("redis__subcmd__connect__subcmd__postgres", "redis__connect__postgres")
}

/// Print the manual page, or write one for each command
#[derive(Debug, clap::Args)]
#[command(after_help = PAGES)]
pub(super) struct Man {
    /// Write redis-connect-postgres.1, redis-connect-postgres-run.1 and so on there, instead of printing the first
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Man {
    pub(super) fn execute(&self) -> Result<ExitCode, Error> {
        // Commands know their options and full names when they are built. `help` has no page.
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let Some(directory) = &self.directory else {
            let _ = stdout().write_all(&page(&command));
            return Ok(ExitCode::SUCCESS);
        };
        fs::create_dir_all(directory).map_err(|error| failed(directory, &error))?;
        write(&command, "redis-connect-postgres", directory)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Written to memory, which does not fail.
fn page(command: &clap::Command) -> Vec<u8> {
    let examples = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    let plain = command.clone().after_help(None::<&str>).after_long_help(None::<&str>);
    let mut page = Vec::new();
    let _ = Page::new(plain)
        .source(concat!("redis-connect-postgres ", env!("CARGO_PKG_VERSION")))
        .render(&mut page);
    if let Some(examples) = examples {
        // As they are: filled lines could not be typed.
        let mut section = Roff::new();
        section.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.lines() {
            section.text([roman(line)]);
        }
        section.control("fi", []);
        let _ = section.to_writer(&mut page);
    }
    page
}

/// The page of a command and those of the commands under it.
fn write(command: &clap::Command, name: &str, directory: &Path) -> Result<(), Error> {
    let file = directory.join(format!("{name}.1"));
    fs::write(&file, page(command)).map_err(|error| failed(&file, &error))?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write(below, &format!("{name}-{}", below.get_name()), directory)?;
    }
    Ok(())
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::Setting(format!("{} can't be written: {error}", path.display()))
}
