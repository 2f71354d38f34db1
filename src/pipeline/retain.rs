//! What PostgreSQL is told: the position that has been durable for a while.
//!
//! A target that fails over or restarts can forget its last seconds, checkpoint included. Its
//! position then went back with its data, and the slot must still have what is needed to catch up.
//! So PostgreSQL is told of a position only after it has been in Redis for `source.retain`, unless more
//! than `source.retain_bytes` of write-ahead log would have to be kept for that.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::writer::Durable;
use crate::config::Source;
use crate::lsn::Lsn;

#[derive(Debug)]
pub(super) struct Retention {
    retain: Duration,
    retain_bytes: u64,
    /// Positions and when they were first known to be durable, oldest first.
    waiting: VecDeque<(Instant, Lsn)>,
    confirmed: Lsn,
}

impl Retention {
    /// `confirmed` is what the slot has confirmed already. `checkpoint` was found in Redis and is
    /// `age` old.
    pub(super) fn new(source: &Source, confirmed: Lsn, checkpoint: Lsn, age: Duration) -> Retention {
        let now = Instant::now();
        let since = now.checked_sub(age).unwrap_or(now);
        let Source { retain, retain_bytes, .. } = *source;
        Retention { retain, retain_bytes, waiting: VecDeque::from([(since, checkpoint)]), confirmed }
    }

    /// Notes what is durable now; to be called about once a second.
    pub(super) fn note(&mut self, durable: Durable) {
        let lsn = durable.lsn();
        if self.waiting.back().is_none_or(|(_, last)| lsn > *last) {
            self.waiting.push_back((Instant::now(), lsn));
        }
    }

    /// The position that PostgreSQL may forget everything before.
    pub(super) fn confirmable(&mut self) -> Lsn {
        let newest = self.waiting.back().map_or(self.confirmed, |(_, lsn)| *lsn);
        while let Some((since, lsn)) = self.waiting.front()
            && (since.elapsed() >= self.retain || newest.bytes_since(*lsn) > self.retain_bytes)
        {
            self.confirmed = self.confirmed.max(*lsn);
            self.waiting.pop_front();
        }
        self.confirmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_told_when_it_is_old_enough() {
        let mut source = source(Duration::from_secs(60));
        let mut retention = Retention::new(&source, Lsn(10), Lsn(20), Duration::from_secs(61));
        retention.note(Durable::for_test(Lsn(30)));
        assert_eq!(retention.confirmable(), Lsn(20));
        let mut retention = Retention::new(&source, Lsn(10), Lsn(20), Duration::ZERO);
        assert_eq!(retention.confirmable(), Lsn(10));
        source.retain = Duration::ZERO;
        let mut retention = Retention::new(&source, Lsn(10), Lsn(20), Duration::ZERO);
        retention.note(Durable::for_test(Lsn(30)));
        assert_eq!(retention.confirmable(), Lsn(30));
    }

    #[test]
    fn not_more_is_kept_than_is_allowed() {
        let mut source = source(Duration::from_secs(60));
        source.retain_bytes = 100;
        let mut retention = Retention::new(&source, Lsn(10), Lsn(20), Duration::ZERO);
        retention.note(Durable::for_test(Lsn(120)));
        assert_eq!(retention.confirmable(), Lsn(10));
        retention.note(Durable::for_test(Lsn(121)));
        assert_eq!(retention.confirmable(), Lsn(20));
    }

    fn source(retain: Duration) -> Source {
        let text = "source: { url: postgresql://h/d }\ntarget: { url: redis://h }";
        let config =
            crate::config::Config::parse(text, "", &|name| (name == "PGUSER").then(|| "me".to_owned()))
                .unwrap();
        Source { retain, ..config.source }
    }
}
