//! What can be asked of the running pipeline. Requests go by way of Redis, as those of the commands do, so that they
//! hold for whoever takes over; the answer comes when the pipeline has done it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::error::{ApiError, Refusal};
use super::{Shared, Watched};
use crate::config::nearest;
use crate::pipeline::checkpoint::Keys;
use crate::pipeline::requests;
use crate::progress::Phase;
use crate::redis::Client;

/// The pipeline looks for requests once a second.
const PATIENCE: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(20);

/// The state after a request.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StateShown {
    /// As in the status. `pause` may answer before the pipeline has come to rest, when it is just trying again.
    state: &'static str,
}

async fn redis(watched: &Watched) -> Result<(Client, Keys), ApiError> {
    let redis = Client::open(&watched.config.target).await?;
    let keys = Keys::new(&watched.config.name, redis.spread());
    Ok((redis, keys))
}

/// Waits for a while.
async fn wait_for(watched: &Watched, done: impl Fn(Phase) -> bool) -> Json<StateShown> {
    let until = Instant::now() + PATIENCE;
    while !done(watched.progress.phase()) && Instant::now() < until {
        sleep(POLL).await;
    }
    Json(StateShown { state: watched.progress.phase().name() })
}

/// Lets the pipeline do nothing.
///
/// Nothing is read and nothing written until it is resumed; PostgreSQL keeps its log meanwhile. Whoever takes over or
/// starts again stays paused.
#[utoipa::path(post, path = "/api/v1/pause", tag = "control",
    responses((status = 200, body = StateShown), (status = 503, body = Refusal)))]
pub(super) async fn pause(State(watched): Shared) -> Result<Json<StateShown>, ApiError> {
    let (mut redis, keys) = redis(&watched).await?;
    requests::pause(&mut redis, &keys).await?;
    Ok(wait_for(&watched, |phase| phase == Phase::Paused).await)
}

/// Ends a pause.
#[utoipa::path(post, path = "/api/v1/resume", tag = "control",
    responses((status = 200, body = StateShown), (status = 503, body = Refusal)))]
pub(super) async fn resume(State(watched): Shared) -> Result<Json<StateShown>, ApiError> {
    let (mut redis, keys) = redis(&watched).await?;
    requests::resume(&mut redis, &keys).await?;
    Ok(wait_for(&watched, |phase| phase != Phase::Paused).await)
}

/// Tables that are to be read again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ToRead {
    /// Each as `schema.table`.
    tables: Vec<String>,
}

/// What was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Asked {
    tables: Vec<String>,
}

/// Reads tables again while the stream goes on.
///
/// Answers at once; how far they are is in the status.
#[utoipa::path(post, path = "/api/v1/snapshots", tag = "control", request_body = ToRead,
    responses((status = 202, body = Asked), (status = 404, body = Refusal), (status = 503, body = Refusal)))]
pub(super) async fn read_again(
    State(watched): Shared,
    Json(wanted): Json<ToRead>,
) -> Result<(StatusCode, Json<Asked>), ApiError> {
    let known: Vec<String> = watched.progress.tables().iter().map(|table| table.name.clone()).collect();
    if wanted.tables.is_empty() {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "tables is empty: name one or more as schema.table",
        ));
    }
    if let Some(table) = wanted.tables.iter().find(|table| !known.contains(table)) {
        let hint = nearest(table, known.iter().map(String::as_str));
        let hint = hint.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("{table} is not captured{hint}")));
    }
    let (mut redis, keys) = redis(&watched).await?;
    for table in &wanted.tables {
        requests::read_again(&mut redis, &keys, table).await?;
    }
    Ok((StatusCode::ACCEPTED, Json(Asked { tables: wanted.tables })))
}

/// Which log lines are written.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogLevel {
    /// `error`, `warn`, `info`, `debug` or `trace`, also by module: `info,redis_connect_postgres::redis=debug`.
    level: String,
}

/// Which log lines are written now.
#[utoipa::path(get, path = "/api/v1/log-level", tag = "control", responses((status = 200, body = LogLevel)))]
pub(super) async fn log_level(State(watched): Shared) -> Json<LogLevel> {
    Json(LogLevel { level: watched.log.level.get() })
}

/// Changes which log lines are written, until the process ends.
#[utoipa::path(put, path = "/api/v1/log-level", tag = "control", request_body = LogLevel,
    responses((status = 200, body = LogLevel), (status = 400, body = Refusal)))]
pub(super) async fn set_log_level(
    State(watched): Shared,
    Json(wanted): Json<LogLevel>,
) -> Result<Json<LogLevel>, ApiError> {
    let changed = watched.log.level.set(&wanted.level);
    changed.map_err(|message| ApiError::new(StatusCode::BAD_REQUEST, message))?;
    tracing::info!(event = "log_level", "log level is now {}", wanted.level);
    Ok(Json(wanted))
}

/// The configuration as it holds: every setting, in the form of the file, without secrets.
#[utoipa::path(get, path = "/api/v1/config", tag = "status",
    responses((status = 200, body = serde_json::Value)))]
pub(super) async fn configuration(State(watched): Shared) -> Json<serde_json::Value> {
    Json(watched.config.effective())
}
