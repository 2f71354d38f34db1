//! Log lines: on stderr, for people, or as JSON.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::{LogFormat, Logs};
use crate::error::Error;

/// Starts logging to what `writer` makes.
pub(super) fn start<W>(logs: &Logs, writer: W) -> Result<(), Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(&logs.log_level).map_err(|e| {
        Error::Usage(format!("--log-level {}: {e}; use error, warn, info, debug or trace", logs.log_level))
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false);
    let result = match logs.log_format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).try_init(),
    };
    result.map_err(|e| Error::Setting(format!("logging can't be started: {e}")))
}
