//! The process as others see it: health, metrics, the API and the dashboard.
//!
//! ```text
//!   data loop (thread 1) ──> Progress, Journal <── HTTP (thread 2) <── probes, Prometheus, people
//!                                                    ├── pause, snapshot: by way of Redis
//!                                                    └── verify, replay: a thread each, while they last
//! ```
//!
//! It is a thread and a runtime of its own, so that a busy pipeline still answers, and a slow question
//! never keeps a row waiting. It reads what the data loop leaves in [`Progress`] and never asks it. What
//! changes something goes the way that the commands go, so there is one way to do it.
//!
//! [`access`] decides who may ask; [`openapi`] lists everything that can be asked.

mod access;
pub(crate) mod client;
mod comparing;
mod control;
mod error;
mod health;
mod history;
mod letters;
mod listener;
mod live;
mod openapi;
mod page;
pub(crate) mod status;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::cli::Logging;
use crate::config::{Config, Http};
use crate::error::Error;
use crate::progress::Progress;
pub(crate) use comparing::Compared;
use comparing::Verifying;
use error::ApiError;
use history::History;

/// What handlers look at.
#[derive(Debug)]
pub(crate) struct Watched {
    config: Config,
    /// The configuration file, for messages.
    file: String,
    http: Http,
    progress: Arc<Progress>,
    log: Logging,
    history: History,
    verifying: Verifying,
}

/// What every handler takes.
type Shared = State<Arc<Watched>>;

/// Opens the port and answers from a thread of its own until the process ends.
pub(crate) fn start(
    (config, file): (&Config, &str),
    http: Http,
    progress: Arc<Progress>,
    log: Logging,
) -> Result<(), Error> {
    let listener = listener::bind(&http)?;
    let tls = listener::tls(&http)?;
    let address = listener.local_addr().unwrap_or(http.listen);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let watched = Arc::new(Watched {
        config: config.clone(),
        file: file.to_owned(),
        http,
        progress,
        log,
        history: History::default(),
        verifying: Verifying::default(),
    });
    let failed =
        |e: std::io::Error| Error::Setting(format!("the operating system gives us no thread for HTTP: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let serve = move || {
        runtime.block_on(async {
            let router = openapi::router(Arc::clone(&watched));
            tokio::select! {
                () = history::sample(&watched.history, &watched.progress) => {}
                Err(error) = listener::serve(listener, tls, router) => {
                    tracing::error!("http.listen {}: {error}", watched.http.listen);
                }
            }
        });
    };
    std::thread::Builder::new().name("http".to_owned()).spawn(serve).map_err(failed)?;
    tracing::info!(event = "listening", "dashboard, API and metrics at {scheme}://{address}/");
    Ok(())
}

/// Runs something that takes long, or that computes, on a thread of its own.
async fn apart<T, F, W>(name: &str, work: W) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>>,
    W: FnOnce() -> F + Send + 'static,
{
    let failed = |what: String| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, what);
    let (answer, answered) = tokio::sync::oneshot::channel();
    let run = move || {
        let result = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(work()),
            Err(error) => Err(Error::Setting(format!("the operating system does not let us begin: {error}"))),
        };
        // Whoever asked may have gone; what was asked for is done all the same.
        let _ = answer.send(result);
    };
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(|e| failed(format!("the operating system gives us no thread: {e}")))?;
    match answered.await {
        Ok(result) => Ok(result?),
        Err(_) => Err(failed(format!("{name} ended without an answer; see the log"))),
    }
}
