//! Times as PostgreSQL counts them: µs since 2000-01-01 UTC.

use std::time::Duration;

use crate::postgres::stream::postgres_now;

const Y2000_MICROSECONDS: i64 = 946_684_800_000_000;

pub(crate) fn now() -> i64 {
    postgres_now()
}

/// How long ago that was; zero for what is still to come, on a server whose clock is ahead of ours.
pub(crate) fn seconds_since(time: i64) -> Duration {
    Duration::from_micros(now().saturating_sub(time).max(0).unsigned_abs())
}

/// As RFC 3339 has it, with milliseconds.
pub(crate) fn timestamp(time: i64) -> String {
    let since_1970 = time.saturating_add(Y2000_MICROSECONDS);
    match jiff::Timestamp::from_microsecond(since_1970) {
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339() {
        assert_eq!(timestamp(0), "2000-01-01T00:00:00.000Z");
        assert_eq!(timestamp(1_500_000), "2000-01-01T00:00:01.500Z");
        assert_eq!(timestamp(i64::MAX), "");
    }

    #[test]
    fn the_future_is_no_time_ago() {
        assert_eq!(seconds_since(now() + 60_000_000), Duration::ZERO);
    }
}
