//! `run`: snapshot, then stream.

use std::io::stderr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Logs, Origin, logging, runtime};
use crate::config::Http;
use crate::error::Error;
use crate::http;
use crate::pipeline::supervise::Pipeline;
use crate::pipeline::{Until, run};
use crate::pipeline::{lag, requests};
use crate::progress::Progress;
use crate::systemd;
use crate::view::View;

const EXAMPLES: &str = "\
Examples:
  redis-connect-postgres run -c hr.yaml
      until SIGTERM or SIGINT; the next run goes on where this one ended
  redis-connect-postgres run -c hr.yaml --until-caught-up
      in a script: everything that is committed now is in Redis when it ends
  redis-connect-postgres run --source postgresql://db/hr \\
      --target redis://redis --tables 'public.*' --type json
      without a file, for a first try";

/// Read the tables into Redis, then follow every change
///
/// The first start makes the publication and the replication slot, reads a consistent snapshot of
/// all captured tables, and streams from exactly there. Later starts go on where the checkpoint in
/// Redis says.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    #[command(flatten)]
    origin: Origin,
    /// Stop when the snapshot is done
    #[arg(long, conflicts_with = "until_caught_up")]
    once: bool,
    /// Stop when everything that was committed at the start is in Redis
    #[arg(long)]
    until_caught_up: bool,
    /// Serve dashboard, API and metrics here, such as 127.0.0.1:8080 [default: http.listen of the configuration]
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
}

impl Run {
    pub(super) fn execute(&self, logs: &Logs) -> Result<ExitCode, Error> {
        let (config, file) = self.origin.load()?;
        let progress = Arc::new(Progress::default());
        let view = View::choose(logs.log_format == super::LogFormat::Text);
        let log = match view.writer() {
            Some(writer) => logging::start(logs, writer)?,
            None => logging::start(logs, stderr)?,
        };
        let http = match &self.http {
            Some(typed) => Some(Http::with_listen(config.http.clone(), typed)?),
            None => config.http.clone(),
        };
        if let Some(http) = http {
            http::start((&config, &file), http, Arc::clone(&progress), log)?;
        }
        let (stop, shutdown) = watch::channel(false);
        let until = match (self.once, self.until_caught_up) {
            (true, _) => Until::SnapshotDone,
            (_, true) => Until::CaughtUp,
            _ => Until::Stopped,
        };
        let pipeline = Pipeline { config, file, until, shutdown, progress: Arc::clone(&progress) };
        let watcher = view.start(progress);
        let runtime = runtime()?;
        let result = runtime.block_on(async {
            tokio::spawn(wait_for_signal(stop));
            accompany(&pipeline);
            let run = async {
                tokio::select! {
                    result = run(&pipeline) => result,
                    () = overdue(pipeline.shutdown.clone()) => Ok(()),
                }
            };
            systemd::accompany(run, &pipeline.progress, pipeline.shutdown.clone()).await
        });
        // A name that is being looked up is not waited for.
        runtime.shutdown_background();
        watcher.stop();
        result.map(|()| ExitCode::SUCCESS)
    }
}

/// What goes on beside the data loop, on its thread.
pub(super) fn accompany(pipeline: &Pipeline) {
    let Pipeline { config, progress, .. } = pipeline;
    tokio::spawn(lag::watch(config.source.clone(), Arc::clone(progress)));
    tokio::spawn(requests::watch(config.target.clone(), Arc::clone(progress)));
    tokio::spawn(beat(Arc::clone(progress)));
}

/// For those who must know whether the data loop's thread is stuck.
async fn beat(progress: Arc<Progress>) {
    loop {
        progress.beat();
        sleep(Duration::from_secs(1)).await;
    }
}

/// How long after a signal an end in order is waited for.
const PATIENCE: Duration = Duration::from_secs(4);

/// Ready when a signal came a while ago. Whatever is waited for then, an answer or a lock, nothing is lost:
/// the checkpoint says where to go on.
async fn overdue(mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
    sleep(PATIENCE).await;
    tracing::warn!("stopped in the middle of something that did not end");
}

async fn wait_for_signal(stop: watch::Sender<bool>) {
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.send_replace(true);
    // Held until the end: a closed channel would look like a signal.
    stop.closed().await;
}
