//! How long things took, counted in buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::add;

/// The upper bounds of the buckets, in µs; one without a bound follows.
const BOUNDS: [u64; 18] = [
    250,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// Written by one thread.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// µs
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    /// By upper bound in seconds, how many took no longer; the last bound is infinity.
    pub(crate) buckets: Vec<(f64, u64)>,
    /// In seconds.
    pub(crate) sum: f64,
}

impl Histogram {
    #[inline]
    pub(crate) fn observe(&self, microseconds: u64) {
        let bucket = BOUNDS.iter().position(|bound| microseconds <= *bound).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get(bucket) {
            add(bucket, 1);
        }
        add(&self.sum, microseconds);
    }

    pub(crate) fn read(&self) -> Counted {
        let bounds = BOUNDS.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        let buckets = bounds.zip(self.buckets.iter().map(|bucket| bucket.load(Relaxed))).collect();
        Counted { buckets, sum: self.sum.load(Relaxed) as f64 / 1e6 }
    }
}

impl Counted {
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// What came since an earlier moment.
    pub(crate) fn since(&self, earlier: &Counted) -> Counted {
        let before = |index: usize| earlier.buckets.get(index).map_or(0, |(_, count)| *count);
        let buckets = self.buckets.iter().enumerate();
        Counted {
            buckets: buckets.map(|(i, (bound, count))| (*bound, count.saturating_sub(before(i)))).collect(),
            sum: self.sum - earlier.sum,
        }
    }

    /// The bound in seconds that this part of all did not exceed; `None` when there was nothing, or when
    /// it is above every bound.
    pub(crate) fn quantile(&self, part: f64) -> Option<f64> {
        let wanted = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            seen += count;
            seen >= wanted
        });
        found.map(|(bound, _)| *bound).filter(|bound| bound.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_in_its_bucket() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().quantile(0.5), None);
        for microseconds in [0, 250, 251, 700, 900, 40_000_000, u64::from(u32::MAX)] {
            histogram.observe(microseconds);
        }
        let first = histogram.read();
        assert_eq!(first.count(), 7);
        assert_eq!(first.buckets[0], (0.000_25, 2));
        assert_eq!(first.buckets[2], (0.001, 2));
        assert_eq!(first.quantile(0.5), Some(0.001));
        assert_eq!(first.quantile(1.0), None);
        histogram.observe(3_000);
        let since = histogram.read().since(&first);
        assert_eq!((since.count(), since.quantile(0.99)), (1, Some(0.005)));
        assert!((since.sum - 0.003).abs() < 1e-9);
    }
}
