//! On a terminal: a bar for the table that is being compared.

use std::io::{IsTerminal, stderr};
use std::sync::Arc;

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget};

use crate::http::Compared;

use super::terminal::{LogWriter, style};

#[derive(Debug)]
pub(crate) struct Comparing {
    area: Option<MultiProgress>,
    bar: ProgressBar,
    /// Another thread looks here.
    told: Option<Arc<Compared>>,
}

impl Comparing {
    /// A bar where a person looks at it and the log is for people; elsewhere nothing is drawn.
    pub(crate) fn choose(text: bool) -> Comparing {
        if !text || !stderr().is_terminal() {
            return Comparing::hidden(None);
        }
        let area = MultiProgress::new();
        let bar = area.add(ProgressBar::new(0));
        bar.set_style(style("{prefix:24!} {bar:30} {human_pos:>12}/{human_len} rows {msg}"));
        Comparing { area: Some(area), bar, told: None }
    }

    /// Nothing is drawn; who looks at `told` sees how far it is.
    pub(crate) fn told(told: Arc<Compared>) -> Comparing {
        Comparing::hidden(Some(told))
    }

    fn hidden(told: Option<Arc<Compared>>) -> Comparing {
        Comparing { area: None, bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()), told }
    }

    /// Where log lines must go so that they don't break the bar.
    pub(crate) fn writer(&self) -> Option<LogWriter> {
        self.area.as_ref().map(LogWriter::above)
    }

    /// Begins a table of about so many rows.
    pub(crate) fn table(&mut self, name: &str, expected: u64) {
        if let Some(told) = &self.told {
            told.table(name, expected);
        }
        self.bar.reset();
        self.bar.set_length(expected.max(1));
        self.bar.set_prefix(name.to_owned());
        self.bar.set_message("");
    }

    /// So many rows of the table are compared.
    pub(crate) fn rows(&mut self, rows: u64) {
        if let Some(told) = &self.told {
            told.rows(rows);
        }
        if self.area.is_none() {
            return;
        }
        if rows > self.bar.length().unwrap_or(0) {
            self.bar.set_length(rows);
        }
        self.bar.set_position(rows);
        let rate = rows as f64 / self.bar.elapsed().as_secs_f64().max(0.001);
        self.bar.set_message(format!("{} rows/s", HumanCount(rate as u64)));
    }

    /// What is done with the table.
    pub(crate) fn says(&mut self, words: &'static str) {
        self.bar.set_message(words);
    }

    pub(crate) fn clear(&mut self) {
        self.bar.finish_and_clear();
    }
}
