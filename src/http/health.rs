//! `/healthz`, `/readyz` and `/metrics`: for machines that look after machines.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::status::not_ready;
use crate::metrics;

/// A data loop that has had no moment for so long is stuck. Nothing that it does takes nearly as long.
const STUCK: Duration = Duration::from_secs(60);

/// Whether all is well.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

fn answer(reason: Option<String>) -> (StatusCode, Json<Health>) {
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Health { ok: reason.is_none(), reason }))
}

/// Whether the process is alive: its data loop has a moment now and then. One that waits, is paused or tries again
/// is alive.
#[utoipa::path(get, path = "/healthz", tag = "health", security(),
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(super) async fn healthz(State(watched): Shared) -> impl IntoResponse {
    let silence = watched.progress.silence();
    answer((silence > STUCK).then(|| format!("the data loop is stuck for {} s", silence.as_secs())))
}

/// Whether Redis is up to date by this process: it streams, and is not further behind than `http.max_lag`.
#[utoipa::path(get, path = "/readyz", tag = "health", security(),
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(super) async fn readyz(State(watched): Shared) -> impl IntoResponse {
    // Those who may not ask for more are not told of tables and errors.
    answer(not_ready(&watched).map(|reason| match reason.split_once(": ") {
        Some((first, _)) if !matches!(watched.http.token, crate::config::Secret::None) => first.to_owned(),
        _ => reason,
    }))
}

/// Everything that is counted, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "metrics",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn scrape(State(watched): Shared) -> impl IntoResponse {
    let text = metrics::text(&watched.config, &watched.progress, not_ready(&watched).is_none());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}
