//! Log lines: on stderr, for people, or as JSON.
//!
//! An event is one line, whatever stands in it: names of tables, keys and messages of servers can hold line
//! ends, and must not look like events of ours.

use std::io::{self, IsTerminal, Write, stderr};

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
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(OneLine(writer)).with_target(false);
    let result = match logs.log_format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).try_init(),
    };
    result.map_err(|e| Error::Setting(format!("logging can't be started: {e}")))
}

struct OneLine<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = Line<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self.0.make_writer())
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        Line(self.0.make_writer_for(meta))
    }
}

/// Takes an event at a time, as the formatter gives it.
struct Line<W>(W);

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let body = event.strip_suffix(b"\n").unwrap_or(event);
        if !body.iter().any(|byte| breaks(*byte)) {
            self.0.write_all(event)?;
            return Ok(event.len());
        }
        let mut line: Vec<u8> = body.iter().map(|byte| if breaks(*byte) { b' ' } else { *byte }).collect();
        line.extend_from_slice(&event[body.len()..]);
        self.0.write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The formatter itself writes escape sequences, for colours, and escapes those of others.
fn breaks(byte: u8) -> bool {
    byte.is_ascii_control() && byte != 0x1b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let mut written = Vec::new();
        for event in ["plain\n", "a\r\nb\x07c\n", "\x1b[32mgreen\n"] {
            assert_eq!(Line(&mut written).write(event.as_bytes()).unwrap(), event.len());
        }
        assert_eq!(String::from_utf8(written).unwrap(), "plain\na  b c\n\x1b[32mgreen\n");
    }
}
