//! Without a terminal: one log line every ten seconds.

use std::sync::atomic::Ordering::Relaxed;

use super::{Progress, Rate, words};
use crate::progress::Phase;

#[derive(Debug, Default)]
pub(super) struct Lines {
    rate: Rate,
}

impl Lines {
    pub(super) fn print(&mut self, progress: &Progress) {
        let rows_per_second = self.rate.take(progress).round();
        let (lag_bytes, lag_seconds) = (progress.lag_bytes(), progress.lag_seconds());
        let lag_seconds = (lag_seconds * 10.0).round() / 10.0;
        let phase = progress.phase();
        if phase == Phase::Snapshot {
            let tables = progress.reading();
            let done = tables.iter().filter(|table| table.done.load(Relaxed)).count();
            let rows: u64 = tables.iter().map(|table| table.rows.load(Relaxed)).sum();
            tracing::info!(
                rows,
                rows_per_second,
                tables_done = done,
                tables = tables.len(),
                "{}",
                words(phase)
            );
        } else {
            let changes = progress.totals.changes.load(Relaxed);
            let position = progress.position().to_string();
            tracing::info!(rows_per_second, changes, lag_bytes, lag_seconds, position, "{}", words(phase));
        }
    }
}
