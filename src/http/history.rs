//! The last minutes, sampled once a second by the HTTP thread: rates are made of two looks at counters, so
//! that the data loop need not know of time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use crate::progress::{Counted, Progress, lock, now, timestamp};

/// Samples that are kept, one a second.
const KEPT: usize = 600;

/// Over how many samples a rate is taken.
const RATE: usize = 5;

/// Over how many samples a latency is taken.
const LATENCY: usize = 60;

/// One second.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Sample {
    /// RFC 3339, UTC.
    time: String,
    rows_per_second: f64,
    lag_seconds: f64,
    lag_bytes: u64,
    /// The state, as in the status.
    state: &'static str,
}

#[derive(Debug, Default)]
pub(super) struct History {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    samples: VecDeque<Sample>,
    /// The counters at the last looks, the newest last.
    looks: VecDeque<Look>,
    recent: Recent,
}

#[derive(Debug)]
struct Look {
    at: Instant,
    changes: u64,
    tables: BTreeMap<String, u64>,
    latency: Counted,
}

/// What can be said of the last seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    /// Rows a second.
    pub(super) rate: f64,
    tables: BTreeMap<String, f64>,
    pub(super) latency: Counted,
}

impl Recent {
    pub(super) fn table_rate(&self, name: &str) -> f64 {
        self.tables.get(name).copied().unwrap_or_default()
    }
}

impl History {
    /// Looks at the counters.
    fn look(&self, progress: &Progress) {
        let look = Look {
            at: Instant::now(),
            changes: progress.totals.changes.load(Relaxed),
            tables: progress.tables().iter().map(|table| (table.name.clone(), table.total())).collect(),
            latency: progress.latency.read(),
        };
        let seen = &mut *lock(&self.seen);
        let last_rate = seen.looks.back().map_or(0.0, |last| rate(&look, last, look.changes, last.changes));
        if let Some(before) =
            seen.looks.len().checked_sub(RATE).and_then(|index| seen.looks.get(index)).or(seen.looks.front())
        {
            seen.recent.rate = rate(&look, before, look.changes, before.changes);
            let tables = look.tables.iter().map(|(name, total)| {
                let earlier = before.tables.get(name).copied().unwrap_or(*total);
                (name.clone(), rate(&look, before, *total, earlier))
            });
            seen.recent.tables = tables.collect();
        }
        if let Some(oldest) = seen.looks.front() {
            seen.recent.latency = look.latency.since(&oldest.latency);
        }
        seen.samples.push_back(Sample {
            time: timestamp(now()),
            rows_per_second: last_rate,
            lag_seconds: progress.lag_seconds(),
            lag_bytes: progress.lag_bytes(),
            state: progress.phase().name(),
        });
        seen.looks.push_back(look);
        if seen.samples.len() > KEPT {
            seen.samples.pop_front();
        }
        if seen.looks.len() > LATENCY {
            seen.looks.pop_front();
        }
    }

    pub(super) fn recent(&self) -> Recent {
        lock(&self.seen).recent.clone()
    }

    pub(super) fn samples(&self) -> Vec<Sample> {
        lock(&self.seen).samples.iter().cloned().collect()
    }

    pub(super) fn last(&self) -> Option<Sample> {
        lock(&self.seen).samples.back().cloned()
    }
}

fn rate(now: &Look, then: &Look, counted: u64, earlier: u64) -> f64 {
    let rows = counted.saturating_sub(earlier) as f64;
    let rate = rows / now.at.duration_since(then.at).as_secs_f64().max(0.001);
    (rate * 10.0).round() / 10.0
}

/// Never ends.
pub(super) async fn sample(history: &History, progress: &Progress) {
    let mut timer = tokio::time::interval(Duration::from_secs(1));
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        history.look(progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{Operation, Totals};

    #[test]
    fn rates() {
        let (history, progress) = (History::default(), Progress::default());
        history.look(&progress);
        assert_eq!(history.recent().rate, 0.0);
        std::thread::sleep(Duration::from_millis(20));
        Totals::add(&progress.totals.changes, 1000);
        progress.table("public.emp").count(Operation::Insert, 1);
        progress.latency.observe(700);
        history.look(&progress);
        let recent = history.recent();
        assert!(recent.rate > 100.0 && recent.rate <= 50_000.0, "{}", recent.rate);
        assert_eq!((recent.latency.count(), recent.latency.quantile(0.5)), (1, Some(0.001)));
        // Seen for the first time: nothing is known of its rate.
        assert_eq!(recent.table_rate("public.emp"), 0.0);
        for _ in 0..KEPT + 5 {
            history.look(&progress);
        }
        assert_eq!(history.samples().len(), KEPT);
        // What is older than a minute is no news.
        assert_eq!(history.recent().latency.count(), 0);
    }
}
