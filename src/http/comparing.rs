//! `verify` in the background: begun, looked at, and its result kept until the next one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ApiError, Refusal};
use super::{Shared, apart};
use crate::progress::{lock, now, timestamp};
use crate::verify::{Mode, verify};
use crate::view::Comparing;

/// What is done about differences.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ToVerify {
    /// Write rows that differ as they are, and remove keys, members and fields that no row has.
    #[serde(default)]
    repair: bool,
}

/// A comparison, or none.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(super) struct Verification {
    state: VerifyState,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    /// While it runs: the table that is compared, and how many of its rows were.
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    rows: u64,
    /// The planner's estimate of that table's rows.
    expected: u64,
    /// All is equal, or was mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    equal: Option<bool>,
    /// What `verify --json` prints.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    report: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum VerifyState {
    /// None was begun.
    #[default]
    None,
    Running,
    Done,
    Failed,
}

/// The comparison that was begun last.
#[derive(Debug, Default)]
pub(super) struct Verifying {
    last: Mutex<Verification>,
    running: Mutex<Arc<Compared>>,
}

/// How far a comparison is; written by it, read by others.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    table: Mutex<String>,
    rows: AtomicU64,
    expected: AtomicU64,
}

impl Compared {
    pub(crate) fn table(&self, name: &str, expected: u64) {
        name.clone_into(&mut lock(&self.table));
        self.rows.store(0, Relaxed);
        self.expected.store(expected, Relaxed);
    }

    pub(crate) fn rows(&self, rows: u64) {
        self.rows.store(rows, Relaxed);
    }
}

impl Verifying {
    fn show(&self) -> Verification {
        let mut shown = lock(&self.last).clone();
        if shown.state == VerifyState::Running {
            let running = lock(&self.running);
            shown.table = Some(lock(&running.table).clone()).filter(|table| !table.is_empty());
            shown.rows = running.rows.load(Relaxed);
            shown.expected = running.expected.load(Relaxed);
        }
        shown
    }

    /// Notes that one begins, unless one is running.
    fn begin(&self) -> Option<Arc<Compared>> {
        let mut last = lock(&self.last);
        if last.state == VerifyState::Running {
            return None;
        }
        *last = Verification {
            state: VerifyState::Running,
            started: Some(timestamp(now())),
            ..Verification::default()
        };
        let compared = Arc::new(Compared::default());
        *lock(&self.running) = Arc::clone(&compared);
        Some(compared)
    }

    fn end(&self, result: Result<(bool, serde_json::Value), ApiError>) {
        let mut last = lock(&self.last);
        last.ended = Some(timestamp(now()));
        match result {
            Ok((equal, report)) => {
                last.state = VerifyState::Done;
                (last.equal, last.report) = (Some(equal), Some(report));
            }
            Err(error) => {
                last.state = VerifyState::Failed;
                last.error = Some(error.message().to_owned());
            }
        }
    }
}

/// Begins to compare every row with its key, and every key with its row.
#[utoipa::path(post, path = "/api/v1/verify", tag = "verify", request_body = ToVerify,
    responses((status = 202, body = Verification), (status = 409, body = Refusal)))]
pub(super) async fn begin(
    State(watched): Shared,
    Json(wanted): Json<ToVerify>,
) -> Result<(StatusCode, Json<Verification>), ApiError> {
    let Some(compared) = watched.verifying.begin() else {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "a comparison is going on: GET /api/v1/verify shows it",
        ));
    };
    let mode = if wanted.repair { Mode::Repair } else { Mode::Look };
    let shown = watched.verifying.show();
    tokio::spawn(async move {
        let for_it = Arc::clone(&watched);
        let result = apart("verify", move || async move {
            let mut view = Comparing::told(compared);
            let report = Box::pin(verify((&for_it.config, &for_it.file), mode, &mut view)).await?;
            Ok((report.is_fine(), serde_json::to_value(&report).unwrap_or_default()))
        })
        .await;
        watched.verifying.end(result);
    });
    Ok((StatusCode::ACCEPTED, Json(shown)))
}

/// How far the comparison is that was begun last, or what came of it.
#[utoipa::path(get, path = "/api/v1/verify", tag = "verify", responses((status = 200, body = Verification)))]
pub(super) async fn show(State(watched): Shared) -> Json<Verification> {
    Json(watched.verifying.show())
}
