//! `demo`: a throwaway PostgreSQL and Redis, a live workload, a live view.

use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{LogFormat, Logs, logging, run, runtime};
use crate::demo::{Shop, Workload, catch_up};
use crate::error::Error;
use crate::http;
use crate::pipeline::supervise::Pipeline;
use crate::pipeline::{self, Until};
use crate::progress::Progress;
use crate::throwaway;
use crate::verify::{Mode, Report, verify};
use crate::view::{Comparing, View};

const EXAMPLES: &str = "\
Examples:
  redis-connect-postgres demo
      until Ctrl-C
  redis-connect-postgres demo --seconds 30 --rate 300
      for half a minute, with more customers";

/// Try it out: a throwaway PostgreSQL and Redis, a live workload, a live view
///
/// Starts both servers on free ports in a temporary directory, makes a small shop, captures it as `run` does,
/// and lets customers buy. It says how to look at either side, and where the dashboard is. At the end it
/// compares every row with its key, stops the servers and removes everything.
///
/// The servers must be installed; it names the packages if they are not. They ask for passwords, and listen
/// on 127.0.0.1 only.
///
/// Exit code 0: both sides were equal; 1: they were not, or it did not get so far.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Demo {
    /// Stop after so many seconds; 0: on Ctrl-C or SIGTERM
    #[arg(long, value_name = "N", default_value_t = 0)]
    seconds: u32,
    /// Transactions a second, from 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
}

impl Demo {
    pub(super) fn execute(&self, logs: &Logs) -> Result<ExitCode, Error> {
        let shown = self.show(logs);
        throwaway::clear_up();
        let report = shown?;
        say(&report.to_string());
        Ok(if report.is_fine() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn show(&self, logs: &Logs) -> Result<Report, Error> {
        let view = View::choose(logs.log_format == LogFormat::Text);
        let log = match view.writer() {
            Some(writer) => logging::start(logs, writer)?,
            None => logging::start(logs, stderr)?,
        };
        throwaway::installed()?;
        say("Starting a PostgreSQL and a Redis…\n");
        let runtime = runtime()?;
        // Until it is open, signals end the process at once; the servers' janitor clears up then.
        let shop = Shop::open(&runtime)?;
        say(&format!("{}\n{}\n\n", shop.guide(), self.end()));
        let progress = Arc::new(Progress::default());
        let file = shop.file.display().to_string();
        if let Some(http) = shop.config.http.clone() {
            http::start((&shop.config, &file), http, Arc::clone(&progress), log)?;
        }
        let (stop, shutdown) = watch::channel(false);
        let config = shop.config.clone();
        let pipeline =
            Pipeline { config, file, until: Until::Stopped, shutdown, progress: Arc::clone(&progress) };
        let watcher = view.start(progress);
        let report = runtime.block_on(Box::pin(self.capture(&shop, &pipeline, stop)));
        runtime.shutdown_background();
        watcher.stop();
        report
    }

    /// Captures until the time is over or a signal comes, then compares both sides.
    async fn capture(
        &self,
        shop: &Shop,
        pipeline: &Pipeline,
        stop: watch::Sender<bool>,
    ) -> Result<Report, Error> {
        let mut signals = Signals::listen()?;
        run::accompany(pipeline);
        let mut capturing = Box::pin(pipeline::run(pipeline));
        let shown = async {
            let workload = Workload::new(shop.customers.clone(), self.rate);
            let (close, closed) = watch::channel(false);
            let workload = tokio::spawn(workload.run(closed));
            tokio::select! {
                () = self.time() => {}
                () = signals.next() => {}
            }
            close.send_replace(true);
            let visits = workload.await.unwrap_or_default();
            tracing::info!(visits, "the shop has closed; every row is compared with its key");
            let compared = async {
                catch_up(&shop.customers, &pipeline.progress).await?;
                let mut hidden = Comparing::choose(false);
                verify((&pipeline.config, &pipeline.file), Mode::Look, &mut hidden).await
            };
            tokio::select! {
                report = Box::pin(compared) => report,
                () = signals.next() => Err(Error::Setting("stopped before both sides were compared".to_owned())),
            }
        };
        let report = tokio::select! {
            report = shown => report?,
            ended = &mut capturing => return Err(ended.err().unwrap_or_else(|| {
                Error::Setting("the capture has ended by itself".to_owned())
            })),
        };
        stop.send_replace(true);
        timeout(PATIENCE, capturing).await.unwrap_or(Ok(()))?;
        Ok(report)
    }

    async fn time(&self) {
        match self.seconds {
            0 => std::future::pending().await,
            seconds => sleep(Duration::from_secs(seconds.into())).await,
        }
    }

    /// When it ends, in words.
    fn end(&self) -> String {
        match self.seconds {
            0 => "Ctrl-C compares both sides, stops the servers and removes everything.".to_owned(),
            seconds => format!(
                "After {seconds} s, or on Ctrl-C, both sides are compared, the servers stopped and everything removed."
            ),
        }
    }
}

/// For an end in order of what was compared already.
const PATIENCE: Duration = Duration::from_secs(4);

/// SIGTERM and SIGINT.
struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Signals, Error> {
        let listen = |kind| signal(kind).map_err(|e| Error::Setting(format!("signals can't be heard: {e}")));
        Ok(Signals { term: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Whoever reads it may have seen enough.
fn say(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
