//! How a session begins.
//!
//! ```text
//!   catalog, publication ─> checkpoint ─> slot (one reader) ─> epoch (one writer) ─> checkpoint again
//! ```
//!
//! The order is what makes two instances safe. The slot is taken first: while another instance reads
//! it, we wait. The epoch is raised next: from then on whoever wrote before can't write any more, even
//! if it only slept. Only then is the checkpoint read for good: nobody can move it but us.
//!
//! Slot, server and checkpoint must fit together, or changes are missing between them. Both before the
//! stream begins and after the checkpoint was read for good they are compared ([`super::gap`]); what
//! does not fit ends the session, and the next one begins from the slot and reads all tables again.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::capture::{Publishing, choose, publish};
use super::changes;
use super::checkpoint::{self, Checkpoint, Keys, Origin, Position};
use super::gap::{self, Found};
use super::indexes;
use super::retain::Retention;
use super::session::Session;
use super::shards;
use super::supervise::{Begun, Pipeline};
use super::writer::{Restoring, Start, Writer};
use crate::check::start;
use crate::config::Source;
use crate::error::{Error, Problem, SlotUse};
use crate::lsn::Lsn;
use crate::plan::Strictness;
use crate::postgres::catalog::Types;
use crate::postgres::slot::{self, Slot};
use crate::postgres::stream::Stream;
use crate::postgres::{self, Connection, Purpose, Server};
use crate::progress::{OutputProgress, Phase, Totals};
use crate::redis::dump::Packing;
use crate::redis::lane::Fence;
use crate::redis::lanes::Lanes;
use crate::redis::{self, Spread};

/// How often an instance that waits looks whether the slot is free.
const TAKE_OVER_POLL: Duration = Duration::from_millis(200);

/// The slot, being read.
struct Taken {
    stream: Stream,
    slot: Slot,
    origin: Origin,
    /// The timelines before the server's, and where each ended.
    history: Vec<(u32, Lsn)>,
    /// Where the stream begins.
    from: Lsn,
}

/// How long the making of a slot may take before it is said what it waits for.
const SLOT_PATIENCE: Duration = Duration::from_secs(3);

impl<'a> Session<'a> {
    /// Takes the slot and the epoch. `None` when a signal came while another instance was at work.
    pub(super) async fn begin(
        pipeline: &'a Pipeline,
        begun: &mut Begun,
    ) -> Result<Option<Session<'a>>, Error> {
        let config = &pipeline.config;
        let mut redis = redis::Client::open(&config.target).await?;
        let keys = Keys::new(&config.name, redis.spread());
        let mut control = Connection::open(&config.source, Purpose::Sql).await?;
        check_taken_over(&mut redis, &keys, begun).await?;
        let server = check_server(&mut control).await?;
        // What fitted when the process began and does not any more has changed meanwhile: that is no
        // mistake of the configuration.
        let strictness = if begun.connected { Strictness::Streaming } else { Strictness::Start };
        begun.connected = true;
        let asked = (config, pipeline.file.as_str());
        let described = start::postgres(&mut control, asked, strictness).await?;
        let mut types = Types::default();
        let watched = changes::look(&mut control, &config.source.publication).await?;
        let chosen = choose(&mut control, &mut types, asked, strictness).await?;
        if strictness == Strictness::Start {
            start::tables(&described, &chosen.captured)?;
            start::redis(&mut redis, asked, &chosen.captured).await?;
        }
        indexes::require_modules(&mut redis, chosen.captured.values().flat_map(|one| one.outputs.iter()))
            .await?;
        let captured = publish(&mut control, &types, asked, (chosen, Publishing::Allowed)).await?;
        let Some(taken) = take_slot(pipeline, begun, (&mut redis, &mut control), server).await? else {
            return Ok(None);
        };
        // Should the reply be lost, nobody else has taken over all the same.
        begun.epoch = Some(Fence::next(&mut redis, &keys.epoch).await?);
        let fence = Fence::raise(&mut redis, &keys.epoch, config.target.durability).await?;
        begun.epoch = Some(fence.epoch());
        let lanes = Lanes::open(&redis, &config.target, keys.names(&config.name), fence).await?;
        let mut found = checkpoint::read(&mut redis, &keys).await?;
        if let Some(checkpoint) = &mut found {
            match shards::rewind(checkpoint, &mut redis, &keys).await {
                // That is what this session is to mend.
                Err(Error::Gap { .. }) if begun.gap.is_some() => {}
                result => result?,
            }
            if checkpoint.before.lsn < taken.from && begun.gap.is_none() {
                return Err(Error::Rewound("Redis has forgotten data just now: beginning again".to_owned()));
            }
        }
        // Who read the slot last may have moved its position since it was looked at.
        let slot = slot::find(&mut control, &config.source.slot).await?.unwrap_or(taken.slot);
        let origin = taken.origin;
        let gap = begun.gap.take();
        if gap.is_none() {
            let there = Found { origin: &origin, history: &taken.history, slot: &slot };
            match &found {
                Some(checkpoint) => gap::check(checkpoint, &there, config)?,
                None if begun.checkpoint => {
                    let reason = format!(
                        "the checkpoint {} is gone from Redis, which this instance had written",
                        keys.checkpoint
                    );
                    return Err(Error::gap(reason, SlotUse::Usable));
                }
                None => {}
            }
        }
        let fresh = found.is_none();
        begun.checkpoint |= !fresh;
        let mut checkpoint = match found {
            Some(checkpoint) => checkpoint,
            None => Checkpoint {
                position: Position { lsn: slot.confirmed, split: None },
                before: Position { lsn: slot.confirmed, split: None },
                updated: checkpoint::now(),
                tables: checkpoint::read_former(&mut redis, &keys).await?,
                ..Checkpoint::default()
            },
        };
        if let Some(gap) = &gap {
            gap::begin_anew(&mut checkpoint, &captured, (&gap.reason, slot.confirmed), &pipeline.file)?;
            // The stream tells of another history: it waits until every table is read.
            checkpoint.was_read = false;
        }
        if gap.is_some() || fresh {
            gap::raise_ids(&mut checkpoint, &mut redis, (&keys, &captured)).await?;
        }
        let age = Duration::from_millis(checkpoint::now().saturating_sub(checkpoint.updated));
        let retention = Retention::new(&config.source, slot.confirmed, checkpoint.before.lsn, age);
        let Checkpoint { position, before, batch, beside, .. } = checkpoint;
        let start = Start { position, before, batch, beside };
        let progress = Arc::clone(&pipeline.progress);
        progress.begin_at(checkpoint.position.lsn);
        let mut writer =
            Writer::new(config, &keys, (&mut redis, lanes), start, Arc::clone(&progress)).await?;
        writer.set_markers(checkpoint.shards);
        let scattered = redis.spread() != Spread::Whole;
        if !scattered && !begun.not_restored {
            let packing = Packing::probe(&mut redis, &keys.probe).await?;
            writer.set_restoring(Restoring::new(packing, !checkpoint.was_read));
        }
        let written = if scattered { shards::reach(&mut control).await? } else { position };
        if fresh || checkpoint.origin != origin || gap.is_some() {
            let extra = writer.extra();
            extra.field("system_id", &origin.system_id);
            extra.field("timeline", &origin.timeline);
            extra.field("slot", &origin.slot);
            extra.field("id_base", checkpoint.id_base.to_string());
            if gap.is_some() {
                // Once it is closed by the new origin, nobody would know of it if it were not with all tables.
                extra.field("first_snapshot", "");
                checkpoint.tables.iter().for_each(|(name, state)| extra.table(name, state));
            }
        }
        let mut session = Session {
            pipeline,
            control,
            types,
            captured: captured.into_iter().map(|(oid, one)| (oid, Arc::new(one))).collect(),
            states: checkpoint.tables,
            events: checkpoint.events,
            indexes: checkpoint.indexes,
            was_read: checkpoint.was_read,
            id_base: checkpoint.id_base,
            watched,
            stream: taken.stream,
            following: None,
            again: Default::default(),
            writer,
            retention,
            start: before,
            written,
            scattered,
            tables_at_once: begun.tables_at_once,
            trouble: None,
            moved: (0, 0),
            shutdown: pipeline.shutdown.clone(),
            progress,
        };
        session.show_tables();
        session.make_indexes().await?;
        session.look_for_requests().await?;
        Ok(Some(session))
    }
}

impl Session<'_> {
    /// For those who watch: what is captured, and how far it is.
    fn show_tables(&self) {
        let names: HashSet<String> = self.captured.values().map(|captured| captured.name()).collect();
        self.progress.keep_tables(|name| names.contains(name));
        for captured in self.captured.values() {
            let name = captured.name();
            let table = self.progress.table(&name);
            let outputs = captured.outputs.iter();
            table.set_outputs(
                outputs
                    .map(|output| OutputProgress::new(output.structure.kind().name(), output.key.to_string()))
                    .collect(),
            );
            table.expected.store(captured.table.estimated_rows, Relaxed);
            if let Some(state) = self.states.get(&name) {
                table.set_snapshot(state.rows, state.complete);
                table.set_overlap(Lsn(state.until));
            }
        }
    }
}

/// Makes the slot if there is none, and begins to read it; waits while another instance does. `None` on
/// a signal.
async fn take_slot(
    pipeline: &Pipeline,
    begun: &mut Begun,
    (redis, control): (&mut redis::Client, &mut Connection),
    server: Server,
) -> Result<Option<Taken>, Error> {
    let config = &pipeline.config;
    let keys = Keys::new(&config.name, redis.spread());
    let mut shutdown = pipeline.shutdown.clone();
    let mut waiting = false;
    loop {
        let mut found = checkpoint::read(redis, &keys).await?;
        if let Some(checkpoint) = &mut found {
            match shards::rewind(checkpoint, redis, &keys).await {
                // While another instance is at work, that is its to mend.
                Err(Error::Gap { .. }) => {}
                result => result?,
            }
        }
        let there = slot::find(control, &config.source.slot).await?;
        if let Some(slot) = &there
            && begun.gap.as_ref().is_some_and(|gap| gap.slot == SlotUse::Useless || slot.lost.is_some())
            && slot.active_pid.is_none()
            && !slot.synced
        {
            slot::drop(control, &config.source.slot).await?;
            continue;
        }
        let slot = match there {
            Some(slot) => slot,
            None => match create_slot(control, pipeline, (found.as_ref(), begun), server).await? {
                Some(slot) => slot,
                None => continue,
            },
        };
        check_slot(&slot, pipeline, found.as_ref())?;
        if slot.synced && server.standby {
            return Err(standby(
                control,
                format!(
                    "it is a standby, and has the slot {} only as a copy of the primary's: connect to the primary, or \
                     promote this server",
                    config.source.slot
                ),
            ));
        }
        begun.primary |= !server.standby;
        if slot.active_pid.is_some() && slot.active_pid == begun.walsender {
            // Our own, of a connection that broke without PostgreSQL noticing.
            slot::terminate(control, begun.walsender.take().unwrap_or_default()).await?;
        }
        let from = found.filter(|_| begun.gap.is_none());
        match start_stream(pipeline, (from.as_ref(), &slot), server.version).await {
            Ok((stream, origin, history)) => {
                begun.walsender = Some(stream.backend_pid());
                if waiting {
                    Totals::add(&pipeline.progress.totals.takeovers, 1);
                    tracing::info!(event = "took_over", slot = config.source.slot, "taking over");
                }
                let from = from.map_or(slot.confirmed, |checkpoint| checkpoint.before.lsn);
                return Ok(Some(Taken { stream, slot, origin, history, from }));
            }
            // Whoever was making it has been killed.
            Err(error) if is_gone(&error) => sleep(TAKE_OVER_POLL).await,
            Err(error) if in_use(&error) => {
                if !waiting {
                    tracing::info!(
                        event = "waiting",
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
    }
}

/// An instance that was asleep, or cut off, while another took over does not come back by the back door.
async fn check_taken_over(redis: &mut redis::Client, keys: &Keys, begun: &Begun) -> Result<(), Error> {
    let Some(ours) = begun.epoch else { return Ok(()) };
    let found = redis.call(&[b"GET", keys.epoch.as_bytes()]).await?.text();
    match found.as_deref().and_then(|epoch| epoch.parse::<u64>().ok()) {
        Some(epoch) if epoch > ours => {
            Err(redis::Error::Fenced { key: keys.epoch.clone(), found: epoch.to_string(), ours }.into())
        }
        _ => Ok(()),
    }
}

async fn check_server(control: &mut Connection) -> Result<Server, Error> {
    let server = control.server().await?;
    let version = server.version;
    if version < 120_000 {
        return Err(Error::Setting(format!(
            "PostgreSQL {}.{} is too old: version 12 or later is needed",
            version / 10_000,
            version / 100 % 100
        )));
    }
    if server.standby && version < 160_000 {
        let what = format!(
            "it is a standby, and logical replication from a standby needs PostgreSQL 16 (this is {}): connect to \
             the primary, or with several hosts in source.url add target_session_attrs=read-write",
            version / 10_000
        );
        return Err(standby(control, what));
    }
    Ok(server)
}

/// It may be promoted while we wait.
fn standby(control: &Connection, what: String) -> Error {
    postgres::Error::Standby { address: control.address().to_owned(), what }.into()
}

/// Makes the slot; `None` when somebody else was quicker.
async fn create_slot(
    control: &mut Connection,
    pipeline: &Pipeline,
    (checkpoint, begun): (Option<&Checkpoint>, &Begun),
    server: Server,
) -> Result<Option<Slot>, Error> {
    let source = &pipeline.config.source;
    let name = &source.slot;
    if server.standby && checkpoint.is_some() && (begun.primary || source.url.hosts.len() > 1) {
        // The slot can be where it was, on a primary that is only away for a moment.
        let what = format!(
            "it is a standby and has no slot {name}: waiting for the primary, or until this server is promoted. To \
             stay with the primary add target_session_attrs=read-write to source.url; to read from this standby \
             name it alone"
        );
        return Err(standby(control, what));
    }
    if let Some(checkpoint) = checkpoint
        && begun.gap.is_none()
    {
        let reason = format!(
            "the replication slot {name} does not exist any more, but Redis has a checkpoint at {}: changes since \
             then can be lost",
            checkpoint.position.lsn
        );
        return Err(Error::gap(reason, SlotUse::Useless));
    }
    match create_patiently(control, name, server).await {
        Ok(lsn) => tracing::info!(event = "slot_made", slot = name, %lsn, "replication slot made"),
        Err(error) if error.sqlstate() == Some("42710") => {}
        Err(error) => return Err(error.into()),
    }
    Ok(slot::find(control, name).await?)
}

/// Says what PostgreSQL waits for when it takes its time.
async fn create_patiently(
    control: &mut Connection,
    name: &str,
    server: Server,
) -> Result<Lsn, postgres::Error> {
    let mut create = pin!(slot::create(control, name, server));
    if let Ok(made) = timeout(SLOT_PATIENCE, &mut create).await {
        return made;
    }
    if server.standby {
        tracing::warn!(
            slot = name,
            "a standby can make a slot only when the primary logs what is running there; on the primary run: SELECT \
             pg_log_standby_snapshot()"
        );
    } else {
        tracing::warn!(
            slot = name,
            "PostgreSQL makes the slot when all transactions are over that are open now: SELECT pid, xact_start, \
             query FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY xact_start"
        );
    }
    create.await
}

fn check_slot(slot: &Slot, pipeline: &Pipeline, checkpoint: Option<&Checkpoint>) -> Result<(), Error> {
    let name = &pipeline.config.source.slot;
    if let Some(problem) = foreign_slot(slot, &pipeline.config.source) {
        return Err(problem.into());
    }
    if let Some(loss) = slot.lost {
        let at = checkpoint.map_or(slot.confirmed, |checkpoint| checkpoint.position.lsn);
        let reason = format!(
            "the replication slot {name} is invalidated: {}. Changes from {at} on are lost",
            loss.words()
        );
        return Err(Error::gap(reason, SlotUse::Useless));
    }
    Ok(())
}

/// A slot of our name that was made for something else. One that another instance is just making has no plugin yet.
pub(crate) fn foreign_slot(slot: &Slot, source: &Source) -> Option<Problem> {
    (!matches!(slot.plugin.as_str(), "pgoutput" | "") || slot.database != source.url.dbname).then(|| Problem {
        found: format!(
            "the replication slot {} belongs to database {} and plugin {}, but is needed for {} and pgoutput",
            source.slot, slot.database, slot.plugin, source.url.dbname
        ),
        mend: "set source.slot to another name".to_owned(),
    })
}

async fn start_stream(
    pipeline: &Pipeline,
    (checkpoint, slot): (Option<&Checkpoint>, &Slot),
    version: u32,
) -> Result<(Stream, Origin, Vec<(u32, Lsn)>), Error> {
    let source = &pipeline.config.source;
    let mut connection = Connection::open(source, Purpose::Replication).await?;
    let (system_id, timeline) = connection.identify_system().await?;
    let origin = Origin { system_id, timeline, slot: source.slot.clone() };
    let history = gap::history(&mut connection, &origin, checkpoint).await?;
    if let Some(checkpoint) = checkpoint {
        gap::check(checkpoint, &Found { origin: &origin, history: &history, slot }, &pipeline.config)?;
    }
    let from = checkpoint.map_or(slot.confirmed, |checkpoint| checkpoint.before.lsn);
    let publication = crate::postgres::literal(&crate::postgres::identifier(&source.publication));
    // Logical messages came with PostgreSQL 14.
    let messages = if version >= 140_000 { ", messages 'true'" } else { "" };
    let options = format!("proto_version '1', publication_names {publication}{messages}");
    match Stream::start(connection, &source.slot, from, &options).await {
        Ok(stream) => Ok((stream, origin, history)),
        Err((connection, error)) => {
            connection.close().await;
            Err(match error.sqlstate() {
                // The slot is invalidated, or its log is gone.
                Some("55000" | "58P01") => Error::gap(error.to_string(), SlotUse::Useless),
                _ => error.into(),
            })
        }
    }
}

/// SQLSTATE undefined_object: the slot was there a moment ago.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Postgres(error) if error.sqlstate() == Some("42704"))
}

/// SQLSTATE object_in_use: another process reads the slot.
fn in_use(error: &Error) -> bool {
    matches!(error, Error::Postgres(error) if error.sqlstate() == Some("55006"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Arguments, Config};

    #[test]
    fn whose_slot_it_is() {
        let arguments = Arguments {
            source: "postgresql://127.0.0.1/hr".to_owned(),
            target: "redis://127.0.0.1".to_owned(),
            tables: Vec::new(),
            kind: None,
        };
        let source = Config::from_arguments(arguments).unwrap().source;
        let is_foreign = |plugin: &str, database: &str| {
            let slot = Slot {
                plugin: plugin.to_owned(),
                database: database.to_owned(),
                active_pid: None,
                confirmed: Lsn(1),
                lost: None,
                synced: false,
                restart: None,
                safe: None,
                status: String::new(),
            };
            foreign_slot(&slot, &source).is_some()
        };
        assert!(!is_foreign("pgoutput", "hr"));
        // Another instance is making it.
        assert!(!is_foreign("", "hr"));
        assert!(is_foreign("test_decoding", "hr"));
        assert!(is_foreign("pgoutput", "sales"));
        // A physical one.
        assert!(is_foreign("", ""));
    }
}
