//! What changes: events, the last minutes, and both as they come (server-sent events).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::sse::{Event, Sse};
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use tokio::time::{Interval, MissedTickBehavior, interval};
use utoipa::{IntoParams, ToSchema};

use super::history::Sample;
use super::status::Status;
use super::{Shared, Watched};
use crate::progress::Happening;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct After {
    /// Only those after the event with this ID.
    after: Option<u64>,
}

/// What happened lately, the oldest first; the last 500 events are kept.
#[utoipa::path(get, path = "/api/v1/events", tag = "status", params(After),
    responses((status = 200, body = Vec<Happening>)))]
pub(super) async fn events(State(watched): Shared, Query(after): Query<After>) -> Json<Vec<Happening>> {
    Json(watched.log.journal.since(after.after.unwrap_or(0)))
}

/// The last ten minutes, a sample a second, the oldest first.
#[utoipa::path(get, path = "/api/v1/history", tag = "status", responses((status = 200, body = Vec<Sample>)))]
pub(super) async fn history(State(watched): Shared) -> Json<Vec<Sample>> {
    Json(watched.history.samples())
}

/// How the pipeline is.
#[utoipa::path(get, path = "/api/v1/status", tag = "status", responses((status = 200, body = Status)))]
pub(super) async fn status(State(watched): Shared) -> Json<Status> {
    Json(Status::of(&watched))
}

/// What comes once a second.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tick {
    status: Status,
    /// The newest sample of the history.
    sample: Option<Sample>,
    /// What happened since the last tick; with the first, all that is kept.
    events: Vec<Happening>,
}

pub(super) struct Live {
    watched: Arc<Watched>,
    timer: Interval,
    seen: u64,
}

impl Stream for Live {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        std::task::ready!(self.timer.poll_tick(cx));
        let events = self.watched.log.journal.since(self.seen);
        self.seen = events.last().map_or(self.seen, |event| event.id);
        let tick = Tick { status: Status::of(&self.watched), sample: self.watched.history.last(), events };
        let text = serde_json::to_string(&tick).unwrap_or_default();
        Poll::Ready(Some(Ok(Event::default().event("tick").data(text))))
    }
}

/// Status, newest sample and new events once a second, as server-sent events named `tick`.
#[utoipa::path(get, path = "/api/v1/live", tag = "status",
    responses((status = 200, body = Tick, content_type = "text/event-stream")))]
pub(super) async fn live(State(watched): Shared) -> Sse<Live> {
    let mut timer = interval(Duration::from_secs(1));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Sse::new(Live { watched, timer, seen: 0 })
}
