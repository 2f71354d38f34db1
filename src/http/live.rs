//! What changes: events, the last minutes, and both as they come (server-sent events).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::mem;
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
use super::status::{Status, TableShown};
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
    /// `tables` has all of them with the first tick, then only those of which something is another than before: there
    /// may be thousands.
    status: Status,
    /// Tables that are not captured any more.
    gone: Vec<String>,
    /// The newest sample of the history.
    sample: Option<Sample>,
    /// What happened since the last tick; with the first, all that is kept.
    events: Vec<Happening>,
}

pub(super) struct Live {
    watched: Arc<Watched>,
    timer: Interval,
    seen: u64,
    told: Told,
}

/// Tables as they were told last.
#[derive(Debug, Default)]
struct Told(BTreeMap<String, TableShown>);

impl Told {
    /// Leaves those that are news, and says which are gone.
    fn news(&mut self, tables: &mut Vec<TableShown>) -> Vec<String> {
        let mut before = mem::take(&mut self.0);
        tables.retain(|table| {
            let known = before.remove(&table.name);
            let news = known.as_ref() != Some(table);
            self.0.insert(table.name.clone(), known.filter(|_| !news).unwrap_or_else(|| table.clone()));
            news
        });
        before.into_keys().collect()
    }
}

impl Stream for Live {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        std::task::ready!(self.timer.poll_tick(cx));
        let events = self.watched.log.journal.since(self.seen);
        self.seen = events.last().map_or(self.seen, |event| event.id);
        let mut status = Status::of(&self.watched);
        let gone = self.told.news(&mut status.tables);
        let tick = Tick { status, gone, sample: self.watched.history.last(), events };
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
    Sse::new(Live { watched, timer, seen: 0, told: Told::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::status::SnapshotShown;

    fn table(name: &str, rows: u64) -> TableShown {
        TableShown {
            name: name.to_owned(),
            outputs: Vec::new(),
            rows: None,
            rows_per_second: None,
            last_change: None,
            snapshot: SnapshotShown { rows, expected: None, done: true },
            converging: false,
            dead_letters: None,
            last_error: None,
        }
    }

    #[test]
    fn only_news_are_told() {
        let mut told = Told::default();
        let mut tell = |tables: &[(&str, u64)]| {
            let mut tables: Vec<_> = tables.iter().map(|(name, rows)| table(name, *rows)).collect();
            let gone = told.news(&mut tables);
            let names: Vec<_> = tables.into_iter().map(|table| (table.name, table.snapshot.rows)).collect();
            (names, gone)
        };
        let news =
            |names: &[(&str, u64)]| names.iter().map(|(n, r)| ((*n).to_owned(), *r)).collect::<Vec<_>>();
        assert_eq!(tell(&[("a", 1), ("b", 1)]), (news(&[("a", 1), ("b", 1)]), vec![]));
        assert_eq!(tell(&[("a", 1), ("b", 2)]), (news(&[("b", 2)]), vec![]));
        assert_eq!(tell(&[("a", 1), ("b", 2)]), (vec![], vec![]));
        assert_eq!(tell(&[("b", 2)]), (vec![], vec!["a".to_owned()]));
        assert_eq!(tell(&[("a", 1), ("b", 2)]), (news(&[("a", 1)]), vec![]));
    }
}
