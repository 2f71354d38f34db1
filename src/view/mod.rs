//! What a person sees of a run: bars and a line on a terminal, a log line every ten seconds elsewhere.
//!
//! A thread of its own looks at [`Progress`]; the data loop is never asked to draw.

mod comparing;
mod lines;
mod terminal;

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::progress::{Phase, Progress};

pub(crate) use comparing::Comparing;
pub(crate) use terminal::LogWriter;

#[derive(Debug)]
pub(crate) enum View {
    Terminal(terminal::Terminal),
    Lines,
}

/// A view that is shown until it is stopped.
#[derive(Debug)]
pub(crate) struct Watcher {
    stop: mpsc::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl View {
    /// Bars where a person looks at them and the log is for people.
    pub(crate) fn choose(text: bool) -> View {
        if text && stderr().is_terminal() { View::Terminal(terminal::Terminal::new()) } else { View::Lines }
    }

    /// Where log lines must go so that they don't break the bars.
    pub(crate) fn writer(&self) -> Option<LogWriter> {
        match self {
            View::Terminal(terminal) => Some(terminal.writer()),
            View::Lines => None,
        }
    }

    pub(crate) fn start(self, progress: Arc<Progress>) -> Watcher {
        let (stop, stopped) = mpsc::channel();
        let body = move || match self {
            View::Terminal(mut terminal) => {
                every(Duration::from_millis(200), &stopped, || terminal.draw(&progress));
                terminal.clear();
            }
            View::Lines => {
                let mut lines = lines::Lines::default();
                every(Duration::from_secs(10), &stopped, || lines.print(&progress));
            }
        };
        let thread = std::thread::Builder::new().name("view".to_owned()).spawn(body).ok();
        Watcher { stop, thread }
    }
}

impl Watcher {
    pub(crate) fn stop(mut self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn every(period: Duration, stopped: &mpsc::Receiver<()>, mut action: impl FnMut()) {
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(period) {
        action();
    }
}

/// Changes a second between two looks.
#[derive(Debug)]
struct Rate {
    at: Instant,
    changes: u64,
}

impl Default for Rate {
    fn default() -> Rate {
        Rate { at: Instant::now(), changes: 0 }
    }
}

impl Rate {
    fn take(&mut self, progress: &Progress) -> f64 {
        let changes = progress.totals.changes.load(Relaxed);
        let rate = changes.saturating_sub(self.changes) as f64 / self.at.elapsed().as_secs_f64().max(0.001);
        *self = Rate { at: Instant::now(), changes };
        rate
    }
}

pub(crate) fn words(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Waiting => "waiting for another instance",
        Phase::Snapshot => "reading tables",
        Phase::Streaming => "streaming",
        Phase::Retrying => "trying again",
        Phase::Paused => "paused",
        Phase::Stopping => "stopping",
    }
}
