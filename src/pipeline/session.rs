//! One session: from the checkpoint to the first error, signal or wish to begin again.
//!
//! ```text
//!   catalog, publication ─> checkpoint ─> slot (one reader) ─> epoch (one writer) ─> tables to read?
//! ```
//!
//! The order is what makes two instances safe. The slot is taken first: while another instance reads
//! it, we wait. The epoch is raised next: from then on whoever wrote before can't write any more, even
//! if it only slept. Only then is the checkpoint read for good: nobody can move it but us.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::capture::{Captured, Publishing, capture};
use super::checkpoint::{self, Checkpoint, Keys, Origin, Position, TableState};
use super::indexes;
use super::progress::{Phase, Progress};
use super::retain::Retention;
use super::supervise::{Begun, Pipeline};
use super::writer::{Start, Writer};
use crate::error::{Error, Family};
use crate::lsn::Lsn;
use crate::plan::Strictness;
use crate::postgres::catalog::Types;
use crate::postgres::slot::{self, Slot};
use crate::postgres::stream::Stream;
use crate::postgres::{Connection, Purpose};
use crate::redis;
use crate::redis::lane::Fence;
use crate::redis::scan::Scan;

/// How often an instance that waits looks whether the slot is free.
const TAKE_OVER_POLL: Duration = Duration::from_millis(200);

/// How often PostgreSQL hears from us, and how old a moved position may get before it is written.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// Everything that a session holds.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) control: Connection,
    pub(super) types: Types,
    pub(super) captured: BTreeMap<u32, Captured>,
    pub(super) states: BTreeMap<String, TableState>,
    /// See [`Checkpoint`].
    pub(super) events: (u64, u64),
    pub(super) indexes: BTreeMap<String, String>,
    pub(super) stream: Stream,
    pub(super) writer: Writer,
    pub(super) retention: Retention,
    /// Where the stream began.
    pub(super) start: Position,
    pub(super) shutdown: watch::Receiver<bool>,
    pub(super) progress: Arc<Progress>,
}

/// How a session was left on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    SnapshotDone,
    CaughtUp,
    Stopped,
}

/// What became of an attempt to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recovery {
    Resumed,
    Stopped,
}

impl<'a> Session<'a> {
    /// Takes the slot and the epoch. `None` when a signal came while another instance was at work.
    pub(super) async fn begin(
        pipeline: &'a Pipeline,
        begun: &mut Begun,
    ) -> Result<Option<Session<'a>>, Error> {
        let config = &pipeline.config;
        let mut shutdown = pipeline.shutdown.clone();
        let mut redis = redis::Connection::open(&config.target).await?;
        let mut control = Connection::open(&config.source, Purpose::Sql).await?;
        check_taken_over(&mut redis, &Keys::new(&config.name), begun).await?;
        // What fitted when the process began and does not any more has changed meanwhile: that is no
        // mistake of the configuration.
        let strictness = if begun.connected { Strictness::Streaming } else { Strictness::Start };
        begun.connected = true;
        let version = check_version(&mut control).await?;
        check_wal_level(&mut control).await?;
        let mut types = Types::default();
        let captured =
            capture(&mut control, &mut types, (config, &pipeline.file), (Publishing::Allowed, strictness))
                .await?;
        indexes::require_modules(&mut redis, captured.values().flat_map(|one| &one.outputs)).await?;
        let keys = Keys::new(&config.name);
        let mut waiting = false;
        let (stream, slot, origin) = loop {
            let found = checkpoint::read(&mut redis, &keys).await?;
            let slot = match slot::find(&mut control, &config.source.slot).await? {
                Some(slot) => slot,
                None => match create_slot(&mut control, pipeline, found.as_ref()).await? {
                    Some(slot) => slot,
                    None => continue,
                },
            };
            check_slot(&slot, config, found.as_ref())?;
            let from = found.as_ref().map_or(slot.confirmed, |checkpoint| checkpoint.position.lsn);
            if slot.active_pid.is_some() && slot.active_pid == begun.walsender {
                // Our own, of a connection that broke without PostgreSQL noticing.
                slot::terminate(&mut control, begun.walsender.take().unwrap_or_default()).await?;
            }
            match start_stream(pipeline, from, version).await {
                Ok((stream, origin)) => {
                    begun.walsender = Some(stream.backend_pid());
                    break (stream, slot, origin);
                }
                Err(error) if in_use(&error) => {
                    if !waiting {
                        tracing::info!(
                            slot = config.source.slot,
                            "another instance reads the slot; waiting to take over"
                        );
                        pipeline.progress.set_phase(Phase::Waiting);
                        waiting = true;
                    }
                    tokio::select! {
                        () = sleep(TAKE_OVER_POLL) => {}
                        _ = shutdown.wait_for(|stop| *stop) => return Ok(None),
                    }
                }
                Err(error) => return Err(error),
            }
        };
        let fence = Fence::raise(&mut redis, &keys.epoch).await?;
        begun.epoch = Some(fence.epoch());
        let found = checkpoint::read(&mut redis, &keys).await?;
        // Who read the slot last may have moved its position since it was looked at.
        let slot = slot::find(&mut control, &config.source.slot).await?.unwrap_or(slot);
        if let Some(checkpoint) = &found {
            check_origin(checkpoint, &origin, &slot, config)?;
        }
        let fresh = found.is_none();
        let checkpoint = match found {
            Some(checkpoint) => checkpoint,
            None => Checkpoint {
                position: Position { lsn: slot.confirmed, split: None },
                updated: checkpoint::now(),
                tables: checkpoint::read_former(&mut redis, &keys).await?,
                ..Checkpoint::default()
            },
        };
        let age = Duration::from_millis(checkpoint::now().saturating_sub(checkpoint.updated));
        let retention = Retention::new(config.source.retain, slot.confirmed, checkpoint.position.lsn, age);
        let start = Start { position: checkpoint.position, batch: checkpoint.batch };
        let progress = Arc::clone(&pipeline.progress);
        progress.set_position(checkpoint.position.lsn);
        let mut writer =
            Writer::new(&config.target, &keys, (redis, fence), start, Arc::clone(&progress)).await?;
        if fresh || checkpoint.origin != origin {
            let extra = writer.extra();
            extra.field("system_id", &origin.system_id);
            extra.field("timeline", &origin.timeline);
            extra.field("slot", &origin.slot);
        }
        let mut session = Session {
            pipeline,
            control,
            types,
            captured,
            states: checkpoint.tables,
            events: checkpoint.events,
            indexes: checkpoint.indexes,
            stream,
            writer,
            retention,
            start: checkpoint.position,
            shutdown,
            progress,
        };
        session.make_indexes().await?;
        Ok(Some(session))
    }

    pub(super) fn heartbeat_timer() -> Interval {
        let mut timer = interval(HEARTBEAT);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer
    }

    /// Tells PostgreSQL that we live and what it may forget. Never waits.
    pub(super) async fn heartbeat(&mut self) -> Result<(), Error> {
        self.retention.note(self.writer.durable());
        beat(&mut self.stream, self.writer.accepted().lsn, self.retention.confirmable()).await
    }

    /// Tries for ever to go on after an error on the way to Redis, while PostgreSQL hears from us.
    pub(super) async fn recover(&mut self, error: Error) -> Result<Recovery, Error> {
        if !matches!(error, Error::Redis(_)) || error.family() != Family::Transient {
            return Err(error);
        }
        let phase = self.progress.phase();
        self.progress.set_phase(Phase::Retrying);
        let mut retry = super::supervise::Retry::new("writing to Redis", &error);
        let mut timer = Session::heartbeat_timer();
        loop {
            let received = self.writer.accepted().lsn;
            let pause = retry.pause();
            let attempt = async {
                sleep(pause).await;
                self.writer.reconnect().await
            };
            tokio::pin!(attempt);
            let result = loop {
                tokio::select! {
                    result = &mut attempt => break result,
                    _ = timer.tick() => beat(&mut self.stream, received, self.retention.confirmable()).await?,
                    _ = self.shutdown.wait_for(|stop| *stop) => return Ok(Recovery::Stopped),
                }
            };
            match result {
                Ok(()) => {
                    retry.over();
                    self.progress.set_phase(phase);
                    return Ok(Recovery::Resumed);
                }
                Err(error) if error.family() == Family::Transient => retry.failed(&error),
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs something that takes a while, and keeps the replication connection alive meanwhile.
    pub(super) async fn meanwhile<T>(
        stream: &mut Stream,
        (received, confirmed): (Lsn, Lsn),
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::pin!(work);
        let mut timer = Session::heartbeat_timer();
        loop {
            tokio::select! {
                result = &mut work => return result,
                _ = timer.tick() => beat(stream, received, confirmed).await?,
            }
        }
    }

    /// A second connection to Redis, for looking around.
    pub(super) async fn open_redis(&mut self) -> Result<redis::Connection, Error> {
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        let open = async { Ok(redis::Connection::open(&self.pipeline.config.target).await?) };
        Session::meanwhile(&mut self.stream, positions, open).await
    }

    /// The next page of a SCAN over that connection.
    pub(super) async fn page(
        &mut self,
        scan: &mut Scan,
        redis: &mut redis::Connection,
    ) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        let page = async { Ok(scan.page(redis).await?) };
        Session::meanwhile(&mut self.stream, positions, page).await
    }

    /// Writes everything that is marked and waits for it, through an outage of Redis.
    pub(super) async fn drain(&mut self) -> Result<Recovery, Error> {
        self.settle(true).await
    }

    /// Waits for the batch in flight; with `all`, for everything that is marked.
    pub(super) async fn settle(&mut self, all: bool) -> Result<Recovery, Error> {
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        loop {
            let writer = &mut self.writer;
            let work = async { if all { writer.drain().await } else { writer.confirmed().await } };
            let Err(error) = Session::meanwhile(&mut self.stream, positions, work).await else {
                return Ok(Recovery::Resumed);
            };
            if self.recover(error).await? == Recovery::Stopped {
                return Ok(Recovery::Stopped);
            }
        }
    }

    /// Writes what is marked, waits for it, and leaves slot and server in order.
    pub(super) async fn finish(mut self) -> Result<(), Error> {
        self.progress.set_phase(Phase::Stopping);
        let result = tokio::time::timeout(Duration::from_secs(3), self.writer.drain()).await;
        self.retention.note(self.writer.durable());
        let confirmed = self.retention.confirmable();
        self.stream.close(self.writer.durable().lsn(), confirmed).await;
        self.control.close().await;
        match result {
            Ok(result) => result,
            // Nothing is lost: the checkpoint says where to go on.
            Err(_) => Ok(()),
        }
    }
}

/// Queues feedback and sends what goes out at once; the rest goes with the next.
async fn beat(stream: &mut Stream, received: Lsn, confirmed: Lsn) -> Result<(), Error> {
    stream.queue_feedback(received, confirmed, true);
    stream.queue_received(received);
    std::future::poll_fn(|cx| match stream.poll_flush(cx) {
        std::task::Poll::Ready(result) => std::task::Poll::Ready(result),
        std::task::Poll::Pending => std::task::Poll::Ready(Ok(())),
    })
    .await?;
    Ok(())
}

/// An instance that was asleep, or cut off, while another took over does not come back by the back door.
async fn check_taken_over(redis: &mut redis::Connection, keys: &Keys, begun: &Begun) -> Result<(), Error> {
    let Some(ours) = begun.epoch else { return Ok(()) };
    let found = redis.call(&[b"GET", keys.epoch.as_bytes()]).await?.text();
    match found.as_deref().and_then(|epoch| epoch.parse::<u64>().ok()) {
        Some(epoch) if epoch > ours => {
            Err(redis::Error::Fenced { key: keys.epoch.clone(), found: epoch.to_string(), ours }.into())
        }
        _ => Ok(()),
    }
}

async fn check_version(control: &mut Connection) -> Result<u32, Error> {
    let version = control.server_version().await?;
    if version < 120_000 {
        return Err(Error::Setting(format!(
            "PostgreSQL {}.{} is too old: version 12 or later is needed",
            version / 10_000,
            version / 100 % 100
        )));
    }
    Ok(version)
}

async fn check_wal_level(control: &mut Connection) -> Result<(), Error> {
    let level = control.query_one("SHOW wal_level").await?.unwrap_or_default();
    if level == "logical" {
        return Ok(());
    }
    let managed = control
        .query_one("SELECT pg_catalog.current_setting('rds.logical_replication', true)")
        .await?
        .is_some_and(|setting| !setting.is_empty());
    let mend = if managed {
        "set rds.logical_replication to 1 in the DB parameter group of this instance, then reboot it"
    } else {
        "ALTER SYSTEM SET wal_level = 'logical', then restart PostgreSQL"
    };
    Err(Error::Setting(format!("wal_level is {level}, logical replication needs logical: {mend}")))
}

/// Makes the slot; `None` when somebody else was quicker.
async fn create_slot(
    control: &mut Connection,
    pipeline: &Pipeline,
    checkpoint: Option<&Checkpoint>,
) -> Result<Option<Slot>, Error> {
    let name = &pipeline.config.source.slot;
    if let Some(checkpoint) = checkpoint {
        return Err(Error::Gap(format!(
            "the replication slot {name} does not exist any more, but Redis has a checkpoint at {}: changes since \
             then can be lost. To read the tables again: redis-connect-postgres reset, then run",
            checkpoint.position.lsn
        )));
    }
    match slot::create(control, name).await {
        Ok(lsn) => tracing::info!(slot = name, %lsn, "replication slot made"),
        Err(error) if error.sqlstate() == Some("42710") => {}
        Err(error) => return Err(error.into()),
    }
    Ok(slot::find(control, name).await?)
}

fn check_slot(
    slot: &Slot,
    config: &crate::config::Config,
    checkpoint: Option<&Checkpoint>,
) -> Result<(), Error> {
    let name = &config.source.slot;
    if slot.plugin != "pgoutput" || slot.database != config.source.url.dbname {
        return Err(Error::Setting(format!(
            "the replication slot {name} belongs to database {} and plugin {}, but is needed for {} and pgoutput: \
             set source.slot to another name",
            slot.database, slot.plugin, config.source.url.dbname
        )));
    }
    if slot.lost {
        let at = checkpoint.map_or(slot.confirmed, |checkpoint| checkpoint.position.lsn);
        return Err(Error::Gap(format!(
            "the replication slot {name} is invalidated: PostgreSQL has removed write-ahead log that was not read yet, \
             from {at} on (max_slot_wal_keep_size). To read the tables again: redis-connect-postgres reset, then run"
        )));
    }
    Ok(())
}

async fn start_stream(pipeline: &Pipeline, from: Lsn, version: u32) -> Result<(Stream, Origin), Error> {
    let source = &pipeline.config.source;
    let mut connection = Connection::open(source, Purpose::Replication).await?;
    let identity = connection.query("IDENTIFY_SYSTEM").await?.into_iter().next().unwrap_or_default();
    let column = |index: usize| identity.get(index).cloned().flatten().unwrap_or_default();
    let origin = Origin { system_id: column(0), timeline: column(1), slot: source.slot.clone() };
    let publication = crate::postgres::literal(&crate::postgres::identifier(&source.publication));
    // Logical messages came with PostgreSQL 14.
    let messages = if version >= 140_000 { ", messages 'true'" } else { "" };
    let options = format!("proto_version '1', publication_names {publication}{messages}");
    match Stream::start(connection, &source.slot, from, &options).await {
        Ok(stream) => Ok((stream, origin)),
        Err((connection, error)) => {
            connection.close().await;
            Err(error.into())
        }
    }
}

/// SQLSTATE object_in_use: another process reads the slot.
fn in_use(error: &Error) -> bool {
    matches!(error, Error::Postgres(error) if error.sqlstate() == Some("55006"))
}

/// The checkpoint belongs to this PostgreSQL and this slot, and the slot still has what comes after it.
fn check_origin(
    checkpoint: &Checkpoint,
    origin: &Origin,
    slot: &Slot,
    config: &crate::config::Config,
) -> Result<(), Error> {
    let again = "To read the tables again: redis-connect-postgres reset, then run";
    let known = &checkpoint.origin;
    if !known.system_id.is_empty() && known.system_id != origin.system_id {
        return Err(Error::Gap(format!(
            "the checkpoint in Redis belongs to another PostgreSQL (system identifier {}, this one is {}): is \
             source.url right? {again}",
            known.system_id, origin.system_id
        )));
    }
    if !known.slot.is_empty() && known.slot != origin.slot {
        return Err(Error::Gap(format!(
            "the checkpoint in Redis belongs to the slot {}, but source.slot is {}: changes between the two can be \
             lost. {again}",
            known.slot, origin.slot
        )));
    }
    if slot.confirmed > checkpoint.position.lsn {
        return Err(Error::Gap(format!(
            "the replication slot {} is at {}, later than the checkpoint in Redis ({}): somebody else has read it, or \
             Redis has lost its newest data. Changes in between are lost. {again}",
            config.source.slot, slot.confirmed, checkpoint.position.lsn
        )));
    }
    Ok(())
}

/// True when the table only got columns since, which no existing row has a value for: none was filled
/// in, and the rows were not written anew.
pub(super) fn only_grew(state: &TableState, captured: &Captured) -> bool {
    let record = captured.shape.record();
    let Some(added) = record.strip_prefix(state.columns.as_slice()) else { return false };
    let columns = &captured.table.columns;
    state.files == captured.table.files
        && added.iter().all(|added| columns.iter().any(|column| column.name == added.0 && !column.filled_in))
}
