//! On a terminal: a bar for each table while it is read, then one line that is kept up to date.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use super::{Progress, Rate, words};
use crate::progress::{Phase, TableProgress};

/// More bars than this don't fit a screen.
const MOST_BARS: usize = 12;

#[derive(Debug)]
pub(crate) struct Terminal {
    area: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
    line: Option<ProgressBar>,
    rate: Rate,
}

impl Terminal {
    pub(super) fn new() -> Terminal {
        Terminal { area: MultiProgress::new(), bars: BTreeMap::new(), line: None, rate: Rate::default() }
    }

    pub(super) fn writer(&self) -> LogWriter {
        LogWriter::above(&self.area)
    }

    pub(super) fn draw(&mut self, progress: &Progress) {
        let phase = progress.phase();
        if phase != Phase::Snapshot {
            for (_, bar) in std::mem::take(&mut self.bars) {
                bar.finish_and_clear();
            }
        } else {
            for table in progress.reading().iter().filter(|t| !t.done.load(Relaxed)).take(MOST_BARS) {
                self.bar(table);
            }
        }
        for table in progress.reading() {
            if let Some(bar) = self.bars.get(&table.name) {
                let rows = table.rows.load(Relaxed);
                if rows > bar.length().unwrap_or(0) {
                    bar.set_length(rows);
                }
                bar.set_position(rows);
                bar.set_message(format!("{} rows/s", HumanCount(per_second(&bar.elapsed(), rows))));
                if table.done.load(Relaxed) && !bar.is_finished() {
                    bar.set_length(rows);
                    bar.finish();
                    if self.bars.len() > MOST_BARS / 2
                        && let Some(bar) = self.bars.remove(&table.name)
                    {
                        bar.finish_and_clear();
                    }
                }
            }
        }
        let rate = self.rate.take(progress);
        let (bytes, seconds) = (progress.lag_bytes(), progress.lag_seconds());
        let line = self.line.get_or_insert_with(|| {
            let line = self.area.add(ProgressBar::new_spinner());
            line.set_style(style("{spinner} {msg}"));
            line
        });
        line.set_message(format!(
            "{}: {} rows/s, {} rows; behind by {} and {seconds:.1} s; at {}",
            words(phase),
            HumanCount(rate as u64),
            HumanCount(progress.totals.changes.load(Relaxed)),
            HumanBytes(bytes),
            progress.position()
        ));
        line.tick();
    }

    fn bar(&mut self, table: &TableProgress) {
        if self.bars.contains_key(&table.name) {
            return;
        }
        let bar = ProgressBar::new(table.expected.load(Relaxed).max(1));
        let bar = match &self.line {
            Some(line) => self.area.insert_before(line, bar),
            None => self.area.add(bar),
        };
        bar.set_style(style("{prefix:24!} {bar:30} {human_pos:>12}/{human_len} rows {msg:>16}"));
        bar.set_prefix(table.name.clone());
        self.bars.insert(table.name.clone(), bar);
    }

    pub(super) fn clear(&mut self) {
        let _ = self.area.clear();
    }
}

fn per_second(elapsed: &Duration, rows: u64) -> u64 {
    (rows as f64 / elapsed.as_secs_f64().max(0.001)) as u64
}

pub(super) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Writes log lines above the bars.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter {
    area: MultiProgress,
    line: Vec<u8>,
}

impl LogWriter {
    pub(super) fn above(area: &MultiProgress) -> LogWriter {
        LogWriter { area: area.clone(), line: Vec::new() }
    }
}

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.line.is_empty() {
            let text = String::from_utf8_lossy(&self.line).trim_end().to_owned();
            self.line.clear();
            self.area.suspend(|| eprintln!("{text}"));
        }
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        let _ = io::Write::flush(self);
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        LogWriter::above(&self.area)
    }
}
