//! A consistent view of the tables, and how it fits to the stream without overlap or gap.
//!
//! A snapshot is taken after the slot exists. What it saw is known exactly: `txid_current_snapshot`
//! names the transactions that were still running, and the stream's Begin carries the transaction's
//! id. A transaction that the snapshot saw is in the rows already; every other one is yet to come.
//!
//! ```text
//!   slot ──────────── S ───────────────> write-ahead log
//!     t1 t2      t3 t4│ t5 t6
//!     seen: skipped   │ applied          t4 was running at S: not seen, applied
//! ```
//!
//! So a slot that somebody else made, a table that is added later and one that is read again need
//! nothing special, and the slot's own exported snapshot is not needed.
//!
//! A snapshot also sees transactions whose commit record is not yet on disk (`synchronous_commit =
//! off`). After a crash they would never have happened, and their ids would be given out again.
//! [`take`] therefore waits until the log is on disk up to the snapshot.
//!
//! And there is what no snapshot protects from: a table that was truncated, or rewritten by ALTER TABLE,
//! is empty for every snapshot from before. So the tables are locked first: ACCESS SHARE, as any SELECT
//! locks them.
//!
//! On a standby `txid_current_snapshot` leaves out the transactions that are running (seen with PostgreSQL
//! 16): it can't be told which of those behind the oldest the snapshot saw. There all of them are taken for
//! unseen, and their changes come again onto rows that may have them already: what is written twice
//! converges, as for rows that were read later.
//!
//! Source: PostgreSQL documentation, "Transaction ID and Snapshot Information Functions".

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Connection, Error, literal};
use crate::lsn::Lsn;

/// Which transactions a snapshot saw: all before `oldest`, none from `next` on, and those between
/// that were not `running`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visibility {
    oldest: u64,
    next: u64,
    running: Vec<u64>,
}

impl Visibility {
    /// Only what was over before the oldest that was running.
    fn surely(self) -> Visibility {
        Visibility { next: self.oldest, oldest: self.oldest, running: Vec::new() }
    }

    /// The stream has the lower 32 bits of a transaction id; it is at most 2^31 away from `next`.
    pub(crate) fn saw(&self, xid: u32) -> bool {
        let distance = xid.wrapping_sub(self.next as u32).cast_signed();
        let Some(id) = self.next.checked_add_signed(i64::from(distance)) else { return true };
        id < self.oldest || (id < self.next && !self.running.contains(&id))
    }
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running: Vec<String> = self.running.iter().map(u64::to_string).collect();
        write!(f, "{}:{}:{}", self.oldest, self.next, running.join(","))
    }
}

impl FromStr for Visibility {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, ':');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (oldest, next) = number().zip(number()).ok_or(())?;
        let running = parts.next().ok_or(())?;
        let running = running.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().map_err(|_| ()));
        Ok(Visibility { oldest, next, running: running.collect::<Result<_, _>>()? })
    }
}

/// A snapshot that several connections can share.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// For `SET TRANSACTION SNAPSHOT`, while the transaction that took it is open.
    pub(crate) exported: String,
    pub(crate) visibility: Visibility,
    /// No transaction whose commit record lies behind this position was seen.
    pub(crate) until: Lsn,
    /// It may have seen more than `visibility` says.
    pub(crate) vague: bool,
}

impl Snapshot {
    /// Up to which position `visibility` tells exactly what was seen.
    pub(crate) fn exact_until(&self) -> Lsn {
        if self.vague { Lsn(self.until.0.saturating_sub(1)) } else { self.until }
    }
}

/// What no transaction that can be seen lies behind. A standby shows one before it counts it as applied.
const LOG_END: &str = "\
    CASE WHEN pg_catalog.pg_is_in_recovery() \
         THEN greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn()) \
         ELSE pg_catalog.pg_current_wal_insert_lsn() END";

impl Connection {
    /// The end of the log, as far as the reader of a slot gets: on a standby only what was applied is sent.
    pub(crate) async fn end_of_log(&mut self) -> Result<Lsn, Error> {
        let sql = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
                               ELSE pg_catalog.pg_current_wal_insert_lsn() END";
        Ok(self.query_one(sql).await?.and_then(|lsn| lsn.parse().ok()).unwrap_or_default())
    }
}

/// How far the log is on disk, and after how many ms a commit that did not wait for that is.
const LOG_FLUSHED: &str = "\
    SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() \
                ELSE pg_catalog.pg_current_wal_flush_lsn() END, \
           3 * (SELECT setting::pg_catalog.int8 FROM pg_catalog.pg_settings WHERE name = 'wal_writer_delay')";

impl Connection {
    /// A position that the reader of a slot gets to, behind every commit that could be seen when this was asked.
    ///
    /// The log can end with what is no commit, and comes to disk with the next one only, whenever that is: on a
    /// quiet server nobody gets to its end. What is not on disk after `wal_writer_delay` three times is no commit
    /// (PostgreSQL documentation, "Asynchronous Commit").
    pub(crate) async fn end_of_commits(&mut self) -> Result<Lsn, Error> {
        let end = before_page_header(self.end_of_log().await?);
        let asked = Instant::now();
        loop {
            let row = self.query(LOG_FLUSHED).await?.into_iter().next().unwrap_or_default();
            let mut values = row.into_iter().flatten();
            let flushed = values.next().and_then(|lsn| lsn.parse().ok()).unwrap_or(end);
            let patience = Duration::from_millis(values.next().and_then(|ms| ms.parse().ok()).unwrap_or(600));
            if flushed >= end || asked.elapsed() > patience {
                return Ok(end.min(before_page_header(flushed)));
            }
            sleep(FLUSH_TICK).await;
        }
    }
}

/// How often it is looked whether the log is on disk.
const FLUSH_TICK: Duration = Duration::from_millis(5);

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// Opens a transaction on `leader` and takes its snapshot, for reading these tables (as SQL names them).
pub(crate) async fn take(leader: &mut Connection, tables: &[String]) -> Result<Snapshot, Error> {
    let doing = |e: Error| e.doing("taking the snapshot");
    leader.query(BEGIN).await.map_err(doing)?;
    if !tables.is_empty() {
        // It is no query, so the snapshot is still to be taken.
        let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", "));
        leader.query(&lock).await.map_err(doing)?;
    }
    let sql = format!(
        "SELECT pg_catalog.pg_export_snapshot(), pg_catalog.txid_current_snapshot(), {LOG_END}, \
                pg_catalog.pg_is_in_recovery()"
    );
    let row = leader.query(&sql).await.map_err(doing)?.into_iter().next().unwrap_or_default();
    let [Some(exported), Some(visibility), Some(until), Some(standby)] = row.as_slice() else {
        return Err(leader.protocol_error("the snapshot has no name"));
    };
    let visibility: Visibility =
        visibility.parse().map_err(|()| leader.protocol_error("txid_current_snapshot() is unreadable"))?;
    let vague = standby == "t";
    let snapshot = Snapshot {
        exported: exported.clone(),
        visibility: if vague { visibility.surely() } else { visibility },
        // A position that the stream will come to also when nothing more is written.
        until: before_page_header(
            until.parse().map_err(|_| leader.protocol_error("the end of the log is unreadable"))?,
        ),
        vague,
    };
    if !vague {
        wait_until_on_disk(leader, snapshot.until).await.map_err(doing)?;
    }
    Ok(snapshot)
}

/// The walwriter does it within a fraction of a second; asking is all that can be done.
async fn wait_until_on_disk(connection: &mut Connection, lsn: Lsn) -> Result<(), Error> {
    let lsn = before_page_header(lsn);
    let sql = format!("SELECT pg_catalog.pg_current_wal_flush_lsn() >= '{lsn}'");
    while connection.query_one(&sql).await?.as_deref() != Some("t") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// The stream can be quicker than what others see: a transaction is sent when its commit record is on
/// disk, and can be seen a moment later. When this returns true, all that the stream has brought of this table by
/// now can be seen.
///
/// Whoever writes a table has it locked until what was written can be seen. So those who have it locked now are
/// waited for, but not longer than a commit takes: whoever has it then is still at work, or waits for a synchronous
/// standby.
pub(crate) async fn until_visible(connection: &mut Connection, table: u32) -> Result<bool, Error> {
    are_visible_within(connection, table, COMMIT).await
}

/// The same for somebody who waits no longer than this.
pub(crate) async fn are_visible_within(
    connection: &mut Connection,
    table: u32,
    patience: Duration,
) -> Result<bool, Error> {
    let sql = writers(table);
    let began = Instant::now();
    let mut writing = connection.query(&sql).await?;
    while !writing.is_empty() && began.elapsed() < patience {
        sleep(Duration::from_millis(2)).await;
        let now = connection.query(&sql).await?;
        writing.retain(|one| now.contains(one));
    }
    Ok(writing.is_empty())
}

/// The same, however long it takes: all that have written to the table by now can be seen, or never will be.
/// `waiting` is told, now and then, how many transactions are still waited for.
pub(crate) async fn until_written(
    connection: &mut Connection,
    table: u32,
    waiting: impl Fn(usize),
) -> Result<(), Error> {
    let sql = writers(table);
    let mut writing = connection.query(&sql).await?;
    let (mut pause, mut told) = (Duration::from_millis(2), Instant::now());
    let mut patience = FIRST_WORD;
    while !writing.is_empty() {
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
        let now = connection.query(&sql).await?;
        writing.retain(|one| now.contains(one));
        if !writing.is_empty() && told.elapsed() >= patience {
            waiting(writing.len());
            (told, patience) = (Instant::now(), Duration::from_secs(60));
        }
    }
    Ok(())
}

/// How soon it is said what is waited for.
const FIRST_WORD: Duration = Duration::from_secs(3);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Asks for the transactions that have the table locked for writing.
fn writers(table: u32) -> String {
    format!(
        "SELECT DISTINCT l.virtualtransaction FROM pg_catalog.pg_locks l \
         WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() \
           AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') \
           AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d \
                             WHERE d.datname = pg_catalog.current_database()) \
           AND (l.relation = {table} OR l.relation IN (SELECT t.relid FROM pg_catalog.pg_partition_tree({table}) t))"
    )
}

/// A commit takes no longer, also on a busy machine.
pub(crate) const COMMIT: Duration = Duration::from_millis(300);

/// An insert position at the beginning of a page is given as the one behind the page's header,
/// which nobody has written yet: there the log ends with the page before.
pub(crate) fn before_page_header(lsn: Lsn) -> Lsn {
    const PAGE: u64 = 8192;
    const LONGEST_HEADER: u64 = 40;
    let within = lsn.0 % PAGE;
    if within <= LONGEST_HEADER { Lsn(lsn.0 - within) } else { lsn }
}

/// Opens a transaction on another connection that sees the same.
pub(crate) async fn join(worker: &mut Connection, snapshot: &Snapshot) -> Result<(), Error> {
    let sql = format!("{BEGIN}; SET TRANSACTION SNAPSHOT {}", literal(&snapshot.exported));
    worker.query(&sql).await.map_err(|e| e.doing("joining the snapshot"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_snapshot_saw() {
        let seen: Visibility = "100:110:100,105".parse().unwrap();
        assert_eq!(seen.to_string(), "100:110:100,105");
        let ids = [99, 100, 104, 105, 109, 110, 111];
        assert_eq!(ids.map(|id| seen.saw(id)), [true, false, true, false, true, false, false]);
        assert!("100:110:".parse::<Visibility>().unwrap().saw(105));
        assert!("100:110".parse::<Visibility>().is_err());
    }

    #[test]
    fn on_a_standby_what_was_running_is_unseen() {
        let seen: Visibility = "100:110:".parse::<Visibility>().unwrap().surely();
        assert_eq!([99, 100, 105, 110].map(|id| seen.saw(id)), [true, false, false, false]);
    }

    #[test]
    fn transaction_ids_wrap_around() {
        let next = (1_u64 << 32) + 5;
        let seen = Visibility { oldest: next, next, running: vec![] };
        assert!(seen.saw(u32::MAX));
        assert!(seen.saw(4));
        assert!(!seen.saw(5));
        assert!(!seen.saw(1000));
    }
}
