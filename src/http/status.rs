//! How the pipeline is, in one document: what the API, the dashboard and `status` show.

use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Watched;
use crate::config::Config;
use crate::progress::{Counted, Operation, Phase, Progress, SlotSeen, TableProgress, Trouble, timestamp};

/// Where a status comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    /// The running process said it.
    Process,
    /// No process was asked: it is what the checkpoint in Redis and the slot in PostgreSQL say.
    Checkpoint,
}

/// How the pipeline is. What only the process knows is absent when no process was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    pub(crate) name: String,
    /// The version of this program.
    pub(crate) version: String,
    pub(crate) origin: Origin,
    /// PostgreSQL's URL, without a password.
    pub(crate) source: String,
    /// Redis' URL, without a password.
    pub(crate) target: String,
    pub(crate) slot: String,
    pub(crate) publication: String,
    /// `starting`, `waiting` (another instance is at work), `snapshot`, `streaming`, `retrying`, `paused`,
    /// `stopping`; from the checkpoint also `stopped`.
    pub(crate) state: String,
    /// When that began. RFC 3339, as all times here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    /// When the process began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<String>,
    /// It streams, and is not further behind than `http.max_lag`.
    pub(crate) ready: bool,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_ready: Option<String>,
    /// Everything before this LSN is in Redis.
    pub(crate) position: String,
    /// Where PostgreSQL's log ends, as last heard.
    pub(crate) server_position: String,
    pub(crate) lag: Lag,
    /// Changes that Redis has confirmed in the last seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows_per_second: Option<f64>,
    /// What the process has done since it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) totals: Option<TotalsShown>,
    /// Of the last minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Latency>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slot_state: Option<SlotState>,
    /// What fails at the moment and is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<TroubleShown>,
    /// Letters in the dead-letter stream.
    pub(crate) dead_letters: u64,
    /// Bytes of memory that the process has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) tables: Vec<TableShown>,
}

/// How far Redis is behind PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Lag {
    /// Of write-ahead log, of which not all need be for us.
    pub(crate) bytes: u64,
    /// For how long something has waited; 0 when nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
}

/// Counters since the process began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct TotalsShown {
    /// Changes that Redis has confirmed, snapshot rows included.
    changes: u64,
    transactions: u64,
    batches: u64,
    received_bytes: u64,
    sent_bytes: u64,
    dead_letters: u64,
    /// How often it began again from the checkpoint.
    sessions: u64,
    takeovers: u64,
    /// How often Redis had forgotten data, and got it again.
    rewinds: u64,
    /// How often changes were lost, and all tables were read again.
    resnapshots: u64,
}

/// From COMMIT in PostgreSQL to Redis' reply.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Latency {
    /// Half of the transactions took at most so many seconds.
    pub(crate) p50: Option<f64>,
    /// 99 of 100 did.
    pub(crate) p99: Option<f64>,
    /// How many there were.
    pub(crate) transactions: u64,
}

/// The replication slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SlotState {
    /// `reserved`, `extended`, `unreserved` or `lost`: PostgreSQL's `wal_status`.
    pub(crate) status: String,
    /// Bytes of log that PostgreSQL keeps for it.
    pub(crate) retained_bytes: u64,
    /// Bytes that can still be written before it may be lost; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) safe_bytes: Option<u64>,
}

impl From<SlotSeen> for SlotState {
    fn from(slot: SlotSeen) -> SlotState {
        SlotState { status: slot.status, retained_bytes: slot.retained, safe_bytes: slot.safe }
    }
}

/// What fails at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct TroubleShown {
    /// What is tried.
    what: String,
    /// One word, as in the metrics.
    reason: String,
    pub(crate) error: String,
    pub(crate) since: String,
    attempts: u32,
    next_try: String,
}

impl From<Trouble> for TroubleShown {
    fn from(trouble: Trouble) -> TroubleShown {
        TroubleShown {
            what: trouble.what.to_owned(),
            reason: trouble.reason.to_owned(),
            error: crate::error::one_line(&trouble.error),
            since: timestamp(trouble.since),
            attempts: trouble.attempts,
            next_try: timestamp(trouble.next),
        }
    }
}

/// One table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct TableShown {
    /// `schema.table`
    pub(crate) name: String,
    /// Every change goes to each of them, so rows, rate and progress are theirs too.
    pub(crate) outputs: Vec<OutputShown>,
    /// Rows since the process began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<RowsShown>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows_per_second: Option<f64>,
    /// When the last change of it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_change: Option<String>,
    pub(crate) snapshot: SnapshotShown,
    /// Its rows were read at different times, and the stream has not brought them together yet.
    pub(crate) converging: bool,
    /// Rows that Redis has refused since the process began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dead_letters: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<ErrorShown>,
}

/// One output of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct OutputShown {
    /// `hash`, `json`, …
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The template of its key.
    pub(crate) key: String,
    /// Its rows that Redis has refused since the process began.
    pub(crate) dead_letters: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<ErrorShown>,
}

/// Rows by what happened to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RowsShown {
    /// By a snapshot.
    read: u64,
    inserted: u64,
    updated: u64,
    deleted: u64,
    /// How often the table was truncated.
    truncated: u64,
}

/// How far the snapshot of a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SnapshotShown {
    pub(crate) rows: u64,
    /// The planner's estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expected: Option<u64>,
    pub(crate) done: bool,
}

/// The last row that could not be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ErrorShown {
    time: String,
    error: String,
}

impl Status {
    /// What the running process knows.
    pub(super) fn of(watched: &Watched) -> Status {
        let Watched { config, progress, .. } = watched;
        let recent = watched.history.recent();
        let totals = &progress.totals;
        let not_ready = not_ready(watched);
        let tables = progress.tables();
        Status {
            origin: Origin::Process,
            state: progress.phase().name().to_owned(),
            since: Some(timestamp(progress.phase_since())),
            started: Some(timestamp(progress.started)),
            ready: not_ready.is_none(),
            not_ready,
            position: progress.position().to_string(),
            server_position: progress.server_position().to_string(),
            lag: Lag { bytes: progress.lag_bytes(), seconds: Some(progress.lag_seconds()) },
            rows_per_second: Some(recent.rate),
            totals: Some(TotalsShown {
                changes: totals.changes.load(Relaxed),
                transactions: totals.transactions.load(Relaxed),
                batches: totals.batches.load(Relaxed),
                received_bytes: totals.received.load(Relaxed),
                sent_bytes: totals.sent.load(Relaxed),
                dead_letters: totals.dead_letters.load(Relaxed),
                sessions: totals.sessions.load(Relaxed),
                takeovers: totals.takeovers.load(Relaxed),
                rewinds: totals.rewinds.load(Relaxed),
                resnapshots: totals.gaps.load(Relaxed),
            }),
            latency: Some(Latency::of(&recent.latency)),
            slot_state: progress.slot().map(SlotState::from),
            trouble: progress.trouble().map(TroubleShown::from),
            dead_letters: progress.dead_letters.load(Relaxed),
            memory_bytes: crate::metrics::memory(),
            tables: tables
                .iter()
                .map(|table| shown(table, progress, recent.table_rate(&table.name)))
                .collect(),
            ..Status::named(config)
        }
    }

    /// With nothing but names, for others to fill in.
    pub(crate) fn named(config: &Config) -> Status {
        Status {
            name: config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            origin: Origin::Checkpoint,
            source: config.source.url.to_string(),
            target: config.target.url.to_string(),
            slot: config.source.slot.clone(),
            publication: config.source.publication.clone(),
            state: "stopped".to_owned(),
            since: None,
            started: None,
            ready: false,
            not_ready: None,
            position: String::new(),
            server_position: String::new(),
            lag: Lag { bytes: 0, seconds: None },
            rows_per_second: None,
            totals: None,
            latency: None,
            slot_state: None,
            trouble: None,
            dead_letters: 0,
            memory_bytes: None,
            tables: Vec::new(),
        }
    }
}

impl ErrorShown {
    fn of((time, error): (i64, String)) -> ErrorShown {
        ErrorShown { time: timestamp(time), error: crate::error::one_line(&error) }
    }
}

impl Latency {
    fn of(latency: &Counted) -> Latency {
        Latency { p50: latency.quantile(0.5), p99: latency.quantile(0.99), transactions: latency.count() }
    }
}

fn shown(table: &TableProgress, progress: &Progress, rate: f64) -> TableShown {
    let count = |operation| table.counted(operation);
    TableShown {
        name: table.name.clone(),
        outputs: table
            .outputs()
            .into_iter()
            .map(|output| OutputShown {
                kind: output.kind.to_owned(),
                key: output.key,
                dead_letters: output.dead_letters,
                last_error: output.last_error.map(ErrorShown::of),
            })
            .collect(),
        rows: Some(RowsShown {
            read: count(Operation::Read),
            inserted: count(Operation::Insert),
            updated: count(Operation::Update),
            deleted: count(Operation::Delete),
            truncated: count(Operation::Truncate),
        }),
        rows_per_second: Some(rate),
        last_change: table.last_change().map(timestamp),
        snapshot: SnapshotShown {
            rows: table.rows.load(Relaxed),
            expected: Some(table.expected.load(Relaxed)),
            done: table.done.load(Relaxed),
        },
        converging: table.is_converging(progress.position()),
        dead_letters: Some(table.dead_letters()),
        last_error: table.last_error().map(ErrorShown::of),
    }
}

/// Why nobody should rely on Redis being up to date.
pub(super) fn not_ready(watched: &Watched) -> Option<String> {
    let progress = &watched.progress;
    let phase = progress.phase();
    match phase {
        Phase::Streaming => {}
        Phase::Retrying => {
            let error = progress.trouble().map_or_else(String::new, |trouble| format!(": {}", trouble.error));
            return Some(crate::error::one_line(&format!("trying again{error}")));
        }
        Phase::Waiting => return Some("waiting: another instance is at work".to_owned()),
        Phase::Snapshot => return Some("the first snapshot is going on".to_owned()),
        Phase::Starting | Phase::Paused | Phase::Stopping => return Some(phase.name().to_owned()),
    }
    let (lag, most) = (progress.lag_seconds(), watched.http.max_lag.as_secs_f64());
    (lag > most).then(|| format!("{lag:.1} s behind, more than http.max_lag ({most} s)"))
}
