//! Log lines: on stderr, for people, or as JSON.
//!
//! An event is one line, whatever stands in it: names of tables, keys and messages of servers can hold line
//! ends, and must not look like events of ours.

use std::fmt;
use std::io::{self, IsTerminal, Write, stderr};
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt as format, reload};

use super::{LogFormat, Logs};
use crate::error::Error;
use crate::progress::{Journal, JournalLayer, lock};

/// Which log lines are written; it can be changed while the program runs.
pub(crate) struct Level {
    now: Mutex<String>,
    change: Box<dyn Fn(EnvFilter) -> bool + Send + Sync>,
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Level").field(&self.get()).finish()
    }
}

impl Level {
    pub(crate) fn get(&self) -> String {
        lock(&self.now).clone()
    }

    /// From now on; the error says what is wrong with it.
    pub(crate) fn set(&self, level: &str) -> Result<(), String> {
        let filter = parse(level)?;
        let mut now = lock(&self.now);
        if !(self.change)(filter) {
            return Err("the log is closed".to_owned());
        }
        level.clone_into(&mut now);
        Ok(())
    }
}

/// The log, once it was started.
#[derive(Debug, Clone)]
pub(crate) struct Logging {
    pub(crate) journal: Arc<Journal>,
    pub(crate) level: Arc<Level>,
}

fn parse(level: &str) -> Result<EnvFilter, String> {
    let filter = EnvFilter::builder().parse(level);
    filter.map_err(|e| format!("{level}: {e}; use error, warn, info, debug or trace"))
}

/// Starts logging to what `writer` makes.
pub(super) fn start<W>(logs: &Logs, writer: W) -> Result<Logging, Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = parse(&logs.log_level).map_err(|message| Error::Usage(format!("--log-level {message}")))?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = format::layer().with_writer(OneLine(writer)).with_target(false);
    let lines = match logs.log_format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => {
            lines.fmt_fields(super::fields::Readable).with_ansi(stderr().is_terminal()).boxed()
        }
    };
    let journal = Arc::new(Journal::default());
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(JournalLayer(Arc::clone(&journal)).with_filter(tracing_subscriber::filter::LevelFilter::INFO))
        .try_init()
        .map_err(|e| Error::Setting(format!("logging can't be started: {e}")))?;
    let level = Level {
        now: Mutex::new(logs.log_level.clone()),
        change: Box::new(move |filter| handle.reload(filter).is_ok()),
    };
    Ok(Logging { journal, level: Arc::new(level) })
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
