//! When whole transactions are enough for a batch, so that nothing is appended until the one in flight is confirmed.
//!
//! ```text
//!   open       [ transactions ……… | enough ]  appended no further
//!   in flight  [ …………… ]─> Redis              confirmed: the next one is there at once
//! ```
//!
//! Redis queues the commands of a MULTI before it carries any out. Thousands of rows at once no longer fit its processor's
//! cache: batches of 10,000 rows of ten columns arrive at four fifths of the rate of batches of 2,000, and its other
//! clients wait for the whole EXEC. So a batch is made larger than a few milliseconds' work only for a transaction that is
//! larger, which is to appear as a whole, or where each batch costs so much besides (a distant Redis, one that
//! writes to disk before it replies) that more in one is cheaper.
//!
//! Of the stream only: the RESTOREs of a first snapshot have four arguments each, and gain nothing by it.

use std::time::Duration;

use crate::config::Batch;

/// Sizes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Enough {
    rows: usize,
    bytes: usize,
}

/// What Redis takes some milliseconds for.
const ROWS: usize = 2_000;
const BYTES: usize = 512 << 10;

/// A batch may cost so much besides before it is to be larger: a tenth of what it takes.
const BESIDES: Duration = Duration::from_micros(500);

impl Enough {
    /// `besides` is what a write costs that does next to nothing. Each of several shards gets its part of a batch.
    pub(super) fn new(most: &Batch, besides: Duration, shards: usize) -> Enough {
        let times = besides.as_micros().div_ceil(BESIDES.as_micros()).max(1);
        let times = usize::try_from(times).unwrap_or(usize::MAX).saturating_mul(shards.max(1));
        Enough {
            rows: ROWS.saturating_mul(times).min(most.rows),
            bytes: BYTES.saturating_mul(times).min(most.bytes),
        }
    }

    #[inline]
    pub(super) fn is_reached(self, rows: usize, bytes: usize) -> bool {
        rows >= self.rows || bytes >= self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dearer_a_batch_the_larger() {
        let most = Batch { rows: 10_000, bytes: 4 << 20 };
        let enough = |micros, shards| Enough::new(&most, Duration::from_micros(micros), shards);
        assert_eq!(enough(0, 0), Enough { rows: 2_000, bytes: 512 << 10 });
        assert_eq!(enough(100, 1), enough(0, 1));
        assert_eq!(enough(1_000, 1), Enough { rows: 4_000, bytes: 1 << 20 });
        assert_eq!(enough(100, 3), Enough { rows: 6_000, bytes: 1536 << 10 });
        assert_eq!(enough(10_000, 1), Enough { rows: 10_000, bytes: 4 << 20 });
        let little = Batch { rows: 10, bytes: 1000 };
        assert_eq!(Enough::new(&little, Duration::MAX, 3), Enough { rows: 10, bytes: 1000 });
        assert!(enough(0, 1).is_reached(2_000, 0) && enough(0, 1).is_reached(0, 512 << 10));
        assert!(!enough(0, 1).is_reached(1_999, (512 << 10) - 1));
    }
}
