//! `schema`: the JSON Schema of the configuration file.

use std::io::{Write, stdout};
use std::process::ExitCode;

use crate::config::SCHEMA;
use crate::error::Error;

const EXAMPLES: &str = "\
Examples:
  redis-connect-postgres schema > redis-connect-postgres.schema.json

Editors with a YAML language server check and complete a file that begins with
  # yaml-language-server: $schema=redis-connect-postgres.schema.json";

/// Print the JSON Schema of the configuration file (draft 2020-12), for editors
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Schema;

impl Schema {
    pub(super) fn execute(&self) -> Result<ExitCode, Error> {
        // Whoever reads it may have seen enough.
        let _ = stdout().write_all(SCHEMA.as_bytes());
        Ok(ExitCode::SUCCESS)
    }
}
