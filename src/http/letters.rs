//! Dead letters: what the commands of `dlq` do, for programs and the dashboard.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, Refusal};
use super::{Shared, apart};
use crate::dlq::replay::{Remaining, replay as replay_all};
use crate::dlq::{Id, all, count, newest_before, remove};
use crate::pipeline::checkpoint::Keys;
use crate::redis::Client;

/// Letters that are shown at once; each can have a whole row.
const MOST: usize = 1_000;

/// Which letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// How many at most; default 100, at most 1000.
    limit: Option<usize>,
    /// Only those that are older than the one with this ID.
    before: Option<String>,
}

/// Some letters.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Letters {
    /// How many there are in all.
    count: u64,
    /// The newest first, each with `id`, `at`, `table`, `key`, `op`, `lsn`, `command`, `reason` and the row.
    #[schema(value_type = Vec<Object>)]
    letters: Vec<serde_json::Value>,
}

fn not_an_id(id: &str) -> ApiError {
    let words = format!("`{id}` is not the ID of a dead letter, such as 1760000000000-0");
    ApiError::new(StatusCode::BAD_REQUEST, words)
}

/// The rows that Redis refused.
#[utoipa::path(get, path = "/api/v1/dead-letters", tag = "dead letters", params(Page),
    responses((status = 200, body = Letters), (status = 400, body = Refusal), (status = 503, body = Refusal)))]
pub(super) async fn list(
    State(watched): Shared,
    Query(page): Query<Page>,
) -> Result<Json<Letters>, ApiError> {
    let before = match &page.before {
        Some(text) => Some(Id::parse(text).ok_or_else(|| not_an_id(text))?),
        None => None,
    };
    let mut redis = Client::open(&watched.config.target).await?;
    let stream = Keys::new(&watched.config.name, redis.spread()).dead_letters;
    let count = count(&mut redis, &stream).await?;
    let limit = page.limit.unwrap_or(100).min(MOST);
    let found = newest_before(&mut redis, &stream, (before, limit)).await?;
    Ok(Json(Letters { count, letters: found.iter().map(|(id, letter)| letter.json(id)).collect() }))
}

/// What became of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Replayed {
    /// Letters whose row was written as it is now, and that are gone.
    replayed: u64,
    /// Letters that stay.
    remaining: u64,
    /// Why, for some of those.
    failed: Vec<Stays>,
}

/// A letter that stays.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stays {
    id: String,
    table: String,
    key: String,
    reason: String,
}

/// Writes each letter's row as it is now; letters that succeed are removed.
#[utoipa::path(post, path = "/api/v1/dead-letters/replay", tag = "dead letters",
    responses((status = 200, body = Replayed), (status = 409, body = Refusal), (status = 503, body = Refusal)))]
pub(super) async fn replay(State(watched): Shared) -> Result<Json<Replayed>, ApiError> {
    let replayed = apart("replay", move || async move {
        let mut failed = Vec::new();
        let summary = replay_all(&watched.config, &watched.file, |remaining| {
            let Remaining { id, letter, reason } = remaining;
            if failed.len() < MOST {
                let field = |name| letter.get(name).unwrap_or_default().to_owned();
                failed.push(Stays {
                    id: id.to_owned(),
                    table: field("table"),
                    key: field("key"),
                    reason: reason.to_owned(),
                });
            }
        })
        .await?;
        Ok(Replayed { replayed: summary.replayed, remaining: summary.remaining, failed })
    });
    Ok(Json(replayed.await?))
}

/// Which letters go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ToPurge {
    /// Their IDs; absent: all that are there now.
    ids: Option<Vec<String>>,
}

/// What was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Purged {
    removed: u64,
}

/// Removes letters without writing their rows.
#[utoipa::path(post, path = "/api/v1/dead-letters/purge", tag = "dead letters", request_body = ToPurge,
    responses((status = 200, body = Purged), (status = 400, body = Refusal), (status = 503, body = Refusal)))]
pub(super) async fn purge(
    State(watched): Shared,
    Json(wanted): Json<ToPurge>,
) -> Result<Json<Purged>, ApiError> {
    if let Some(wrong) = wanted.ids.iter().flatten().find(|id| Id::parse(id).is_none()) {
        return Err(not_an_id(wrong));
    }
    let mut redis = Client::open(&watched.config.target).await?;
    let stream = Keys::new(&watched.config.name, redis.spread()).dead_letters;
    let ids = match wanted.ids {
        Some(ids) => ids,
        None => all(&mut redis, &stream).await?,
    };
    let removed = remove(&mut redis, &stream, &ids).await?;
    tracing::info!(event = "purged", removed, "dead letters removed without writing their rows");
    Ok(Json(Purged { removed }))
}
