//! The last events of the pipeline, as the log has them: for those who look later.
//!
//! A layer of the log keeps them, so nothing is said here that the log does not say, and nothing is missing.
//! Events that mark a change of state have a field `event`, which is their kind.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use utoipa::ToSchema;

use super::{lock, now, timestamp};

/// How many are kept.
const KEPT: usize = 500;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Happening {
    /// Counts up from 1 in each process.
    pub(crate) id: u64,
    /// RFC 3339, UTC.
    pub(crate) time: String,
    /// `error`, `warn` or `info`.
    pub(crate) level: String,
    /// What kind of event it is, such as `streaming`, `took_over`, `rewound`, `resnapshot`, `dead_letter`,
    /// `paused`; `log` for everything else.
    pub(crate) kind: String,
    /// What happened, in words.
    pub(crate) message: String,
    /// The table that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    kept: Mutex<(u64, VecDeque<Happening>)>,
}

impl Journal {
    /// What happened after the event with this ID, oldest first.
    pub(crate) fn since(&self, id: u64) -> Vec<Happening> {
        lock(&self.kept).1.iter().filter(|happening| happening.id > id).cloned().collect()
    }

    fn keep(&self, mut happening: Happening) {
        let mut kept = lock(&self.kept);
        kept.0 += 1;
        happening.id = kept.0;
        if kept.1.len() == KEPT {
            kept.1.pop_front();
        }
        kept.1.push_back(happening);
    }
}

/// The layer that fills the journal.
#[derive(Debug)]
pub(crate) struct JournalLayer(pub(crate) Arc<Journal>);

impl<S: Subscriber> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let target = metadata.target();
        // Not what libraries say, nor the line that comes every ten seconds.
        if *metadata.level() > Level::INFO
            || !target.starts_with(env!("CARGO_CRATE_NAME"))
            || target.contains("::view")
        {
            return;
        }
        let mut told = Told::default();
        event.record(&mut told);
        let message = crate::error::one_line(&told.words());
        self.0.keep(Happening {
            id: 0,
            time: timestamp(now()),
            level: metadata.level().as_str().to_lowercase(),
            kind: told.kind.unwrap_or_else(|| "log".to_owned()),
            message,
            table: told.table,
        });
    }
}

#[derive(Default)]
struct Told {
    kind: Option<String>,
    message: String,
    table: Option<String>,
    /// Everything else, as `name=value`.
    others: Vec<String>,
}

impl Told {
    fn note(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            "event" => self.kind = Some(value),
            "table" => self.table = Some(value),
            name => self.others.push(format!("{name}={value}")),
        }
    }

    /// As the line of the log has it.
    fn words(&self) -> String {
        let others = self.others.iter().map(|other| format!(" {other}"));
        [self.message.clone()].into_iter().chain(others).collect()
    }
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.note(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn keeps_what_matters() {
        let journal = Arc::new(Journal::default());
        let subscriber = tracing_subscriber::registry().with(JournalLayer(Arc::clone(&journal)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(event = "paused", table = "public.emp", position = 5, "paused\nfor {} s", 7);
            tracing::debug!("not kept");
            tracing::info!(target: "rustls::client", "not ours");
            tracing::info!(target: "redis_connect_postgres::view::lines", "every ten seconds");
            tracing::error!("something else");
        });
        let kept = journal.since(0);
        let short: Vec<_> =
            kept.iter().map(|h| (h.id, h.level.as_str(), h.kind.as_str(), h.message.as_str())).collect();
        assert_eq!(
            short,
            [(1, "info", "paused", "paused for 7 s position=5"), (2, "error", "log", "something else")]
        );
        assert_eq!(kept[0].table.as_deref(), Some("public.emp"));
        assert_eq!(journal.since(1).len(), 1);
    }

    #[test]
    fn forgets_the_oldest() {
        let journal = Journal::default();
        for number in 0..KEPT + 10 {
            journal.keep(Happening {
                id: 0,
                time: String::new(),
                level: String::new(),
                kind: String::new(),
                message: number.to_string(),
                table: None,
            });
        }
        let kept = journal.since(0);
        assert_eq!((kept.len(), kept[0].id), (KEPT, 11));
    }
}
