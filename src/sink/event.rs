//! What an event says of its transaction: entry ID, position, transaction id and time.
//!
//! An entry's ID is `<commit LSN>-<ordinal in the transaction>`, so Redis itself refuses an entry that
//! is repeated. Rows of a snapshot stand directly before the position from which the stream follows:
//! their LSN is the one before it, which no commit has. Where positions went back (another server,
//! a restore), a base is added so that IDs go on growing.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::lsn::Lsn;
use crate::plan::value::json_string;

/// The transaction, or snapshot, that events are written for.
#[derive(Debug, Default)]
pub(crate) struct EventContext {
    lsn: Lsn,
    xid: Option<u32>,
    /// µs since 2000-01-01 UTC.
    time: i64,
    snapshot: bool,
    /// Of the change in its transaction, from 1.
    pub(crate) ordinal: u64,
    /// `"name":…,"db":…` of Debezium's `source`.
    origin: Vec<u8>,
    /// ms since 1970, when the transaction was received.
    now_ms: i64,
    /// Added to the LSN in IDs.
    id_base: u64,
    /// What is the same for the whole transaction has been spelled.
    spelled: bool,
    id: Vec<u8>,
    lsn_text: Vec<u8>,
    xid_text: Vec<u8>,
    time_text: Vec<u8>,
}

/// µs between the epochs of Unix and of PostgreSQL.
const Y2000: i64 = 946_684_800_000_000;

impl EventContext {
    /// For the pipeline of this name, from this database.
    pub(crate) fn new(pipeline: &str, database: &str) -> EventContext {
        let mut origin = b"\"name\":".to_vec();
        json_string(pipeline.as_bytes(), &mut origin);
        origin.extend_from_slice(b",\"db\":");
        json_string(database.as_bytes(), &mut origin);
        EventContext { origin, ..EventContext::default() }
    }

    /// Events are of this transaction from now on. `time` is its commit's, in µs since 2000-01-01 UTC.
    pub(crate) fn begin(&mut self, commit_lsn: Lsn, xid: Option<u32>, time: i64) {
        self.lsn = commit_lsn;
        self.xid = xid;
        self.time = time;
        self.snapshot = false;
        self.ordinal = 0;
        self.spelled = false;
    }

    /// Events are rows of a snapshot from now on, `ordinal` of which were written before.
    pub(crate) fn begin_snapshot(&mut self, position: Lsn, ordinal: u64, time: i64) {
        self.begin(Lsn(position.0.saturating_sub(1)), None, time);
        self.snapshot = true;
        self.ordinal = ordinal;
    }

    /// Entries have IDs that are larger by this than their positions.
    pub(crate) fn set_id_base(&mut self, base: u64) {
        self.id_base = base;
    }

    /// The first part of entry IDs.
    pub(crate) fn id_lsn(&self) -> u64 {
        self.lsn.0.saturating_add(self.id_base)
    }

    pub(crate) fn is_snapshot(&self) -> bool {
        self.snapshot
    }

    pub(crate) fn lsn(&self) -> Lsn {
        self.lsn
    }

    pub(crate) fn xid(&self) -> Option<u32> {
        self.xid
    }

    /// µs since 1970. No clock shows a time that does not fit, but a message can hold one.
    fn unix_time(&self) -> i64 {
        self.time.saturating_add(Y2000)
    }

    /// ms since 1970.
    pub(crate) fn time_ms(&self) -> i64 {
        self.unix_time().div_euclid(1000)
    }

    /// ms since 1970, when the transaction was received.
    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// `"name":…,"db":…`
    pub(crate) fn origin(&self) -> &[u8] {
        &self.origin
    }

    /// Spells everything that events say in text.
    #[inline]
    pub(crate) fn spell(&mut self) {
        if self.spelled {
            return;
        }
        self.spelled = true;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        for text in [&mut self.id, &mut self.lsn_text, &mut self.xid_text, &mut self.time_text] {
            text.clear();
        }
        // Writing to a Vec can't fail.
        let _ = write!(self.id, "{}-", self.id_lsn());
        let _ = write!(self.lsn_text, "{}", self.lsn);
        if let Some(xid) = self.xid {
            let _ = write!(self.xid_text, "{xid}");
        }
        if let Ok(time) = jiff::Timestamp::from_microsecond(self.unix_time()) {
            let _ = write!(self.time_text, "{time}");
        }
    }

    /// The ID of the transaction's entry with this ordinal.
    pub(crate) fn write_id(&self, ordinal: u64, id: &mut Vec<u8>) {
        id.clear();
        id.extend_from_slice(&self.id);
        id.extend_from_slice(itoa::Buffer::new().format(ordinal).as_bytes());
    }

    /// `16/B374D848`
    pub(crate) fn lsn_text(&self) -> &[u8] {
        &self.lsn_text
    }

    /// Empty for rows of a snapshot.
    pub(crate) fn xid_text(&self) -> &[u8] {
        &self.xid_text
    }

    /// ISO 8601, UTC.
    pub(crate) fn time_text(&self) -> &[u8] {
        &self.time_text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spelled() {
        let mut event = EventContext::default();
        event.begin(Lsn(0x1_0000_0010), Some(7), 86_400_000_001);
        event.spell();
        let mut id = Vec::new();
        event.write_id(3, &mut id);
        assert_eq!(id, b"4294967312-3");
        assert_eq!(event.lsn_text(), b"1/10");
        assert_eq!(event.xid_text(), b"7");
        assert_eq!(event.time_text(), b"2000-01-02T00:00:00.000001Z");
        assert_eq!(event.time_ms(), 946_771_200_000);
        event.begin_snapshot(Lsn(16), 4, 0);
        event.spell();
        event.write_id(5, &mut id);
        assert_eq!(id, b"15-5");
        assert_eq!(event.xid_text(), b"");
    }

    #[test]
    fn a_time_that_no_calendar_has_is_left_out() {
        let mut event = EventContext::default();
        for time in [i64::MIN, i64::MAX] {
            event.begin(Lsn(16), Some(7), time);
            event.spell();
            assert_eq!(event.time_text(), b"");
            assert_eq!(event.time_ms().signum(), time.signum());
        }
    }
}
