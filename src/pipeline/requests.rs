//! What other processes ask the running one to do, by way of Redis: `snapshot` asks for tables to be read
//! again, `pause` and `resume` to do nothing for a while.
//!
//! ```text
//!   snapshot TABLE ─> HSET …:requests snapshot:TABLE ─> running instance: marks the table as unread and
//!                                                        removes the request, in one transaction
//!   pause ──────────> HSET …:requests paused TIME ────> every instance, until `resume` removes it
//! ```
//!
//! The request for a table is removed in the transaction that writes it into the checkpoint, so it is
//! neither lost nor carried out twice. The other one stays, so that whoever takes over is paused too.
//!
//! A task beside the data loop looks for requests once a second over a connection of its own
//! ([`watch`]), so that the data loop pays for them only when there are some.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::checkpoint::Keys;
use super::session::{Recovery, Session};
use super::supervise::Until;
use crate::config::Target;
use crate::dlq;
use crate::error::Error;
use crate::progress::{Phase, Progress, now, timestamp};
use crate::redis::resp::Reply;
use crate::redis::{self, Client};

/// How long an answer is waited for: nobody else is served meanwhile.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often requests are looked for.
const PERIOD: Duration = Duration::from_secs(1);

/// How soon a pause ends.
const RESUME_POLL: Duration = Duration::from_millis(50);

/// What a request for a table's snapshot is called.
pub(crate) const SNAPSHOT: &str = "snapshot:";

/// What the wish to pause is called.
pub(crate) const PAUSED: &str = "paused";

/// Looks for requests, and at the number of dead letters. Never ends; failures are not worth a word here,
/// since the pipeline has the same and says so.
pub(crate) async fn watch(target: Target, progress: Arc<Progress>) {
    let mut connection: Option<(Client, Keys)> = None;
    for look in 0_u64.. {
        sleep(PERIOD).await;
        if !matches!(progress.phase(), Phase::Snapshot | Phase::Streaming | Phase::Paused) {
            connection = None;
            continue;
        }
        let asked = timeout(4 * PERIOD, ask(&target, &mut connection, look % 5 == 0)).await;
        let Ok(Ok(answer)) = asked else {
            connection = None;
            continue;
        };
        progress.round_trip.store(answer.round_trip, Relaxed);
        if let Some(letters) = answer.letters {
            progress.dead_letters.store(letters, Relaxed);
        }
        progress.set_paused(answer.requests.iter().any(|request| request == PAUSED));
        if answer.requests.iter().any(|request| request.starts_with(SNAPSHOT)) {
            progress.set_requested();
        }
    }
}

struct Answer {
    requests: Vec<String>,
    letters: Option<u64>,
    /// µs
    round_trip: u64,
}

async fn ask(
    target: &Target,
    connection: &mut Option<(Client, Keys)>,
    count: bool,
) -> Result<Answer, redis::Error> {
    let (redis, keys) = match connection {
        Some(connection) => connection,
        None => {
            let redis = Client::open(target).await?;
            let keys = Keys::new(&target.name, redis.spread());
            connection.insert((redis, keys))
        }
    };
    let began = Instant::now();
    let requests = match pending(redis, &keys.requests).await {
        // Without the right to ask there is nobody to be asked by.
        Err(redis::Error::Refused { .. }) => Vec::new(),
        answer => answer?,
    };
    let round_trip = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let letters = match count {
        true => match dlq::count(redis, &keys.dead_letters).await {
            Err(redis::Error::Refused { .. }) => None,
            letters => Some(letters?),
        },
        false => None,
    };
    Ok(Answer { requests, letters, round_trip })
}

impl Session<'_> {
    /// Carries out what is asked for; a new session begins if that needs one.
    pub(super) async fn look_for_requests(&mut self) -> Result<(), Error> {
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        let key = self.writer.keys().requests.clone();
        let mut redis = self.open_redis().await?;
        let ask = async { Ok(timeout(PATIENCE, pending(&mut redis, &key)).await) };
        let pending = match Session::meanwhile(&mut self.stream, positions, ask).await? {
            Ok(Ok(pending)) => pending,
            // Without the right to ask there is nobody to be asked by.
            Ok(Err(redis::Error::Refused { .. })) => Vec::new(),
            // A Redis that does not answer is noticed where rows are written.
            Ok(Err(_)) | Err(_) => return Ok(()),
        };
        self.progress.set_paused(pending.iter().any(|request| request == PAUSED));
        let tables: Vec<&str> = pending.iter().filter_map(|request| request.strip_prefix(SNAPSHOT)).collect();
        if tables.is_empty() {
            return Ok(());
        }
        for table in &tables {
            match self.states.get_mut(*table) {
                Some(state) if self.captured.values().any(|captured| captured.name() == **table) => {
                    state.read_again(true);
                    // Streams get the rows once more; what has happened to them since is still an event.
                    state.announced.clear();
                    self.writer.extra().table(table, state);
                }
                _ => tracing::warn!(table, "not captured, so it is not read again"),
            }
            let field = format!("{SNAPSHOT}{table}");
            self.writer.commands().command(&[b"HDEL", key.as_bytes(), field.as_bytes()]);
        }
        self.writer.mark_beside_the_stream();
        if self.drain().await? == Recovery::Stopped {
            return Ok(());
        }
        Err(Error::Restart(format!("asked to read again: {}", tables.join(", "))))
    }

    /// While its user wants that, nothing is read and nothing is written, and PostgreSQL keeps the slot
    /// and the log for us.
    pub(super) async fn stay_paused(&mut self) -> Result<Recovery, Error> {
        if !self.progress.is_to_pause() {
            return Ok(Recovery::Resumed);
        }
        let name = &self.pipeline.config.name;
        if self.pipeline.until != Until::Stopped {
            return Err(Error::Setting(format!(
                "{name} is paused, so this would never end: redis-connect-postgres resume -c {}",
                self.pipeline.file
            )));
        }
        if self.drain().await? == Recovery::Stopped {
            return Ok(Recovery::Stopped);
        }
        let phase = self.progress.phase();
        self.progress.set_phase(Phase::Paused);
        tracing::info!(
            event = "paused",
            position = %self.progress.position(),
            "paused; PostgreSQL keeps its log until redis-connect-postgres resume -c {}",
            self.pipeline.file
        );
        let progress = Arc::clone(&self.progress);
        let resumed = async {
            while progress.is_to_pause() {
                sleep(RESUME_POLL).await;
            }
            Ok(())
        };
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            resumed = Session::meanwhile(&mut self.stream, positions, resumed) => resumed?,
            _ = shutdown.wait_for(|stop| *stop) => return Ok(Recovery::Stopped),
        }
        // Nobody has listened to it.
        self.stream.forgive_silence();
        self.progress.set_phase(phase);
        tracing::info!(event = "resumed", "resumed");
        Ok(Recovery::Resumed)
    }
}

/// Asks every instance to do nothing, from now on.
pub(crate) async fn pause(redis: &mut Client, keys: &Keys) -> Result<(), redis::Error> {
    let since = timestamp(now());
    redis.call(&[b"HSET", keys.requests.as_bytes(), PAUSED.as_bytes(), since.as_bytes()]).await?;
    Ok(())
}

/// Takes that back; false when nobody had asked for it.
pub(crate) async fn resume(redis: &mut Client, keys: &Keys) -> Result<bool, redis::Error> {
    let removed = redis.call(&[b"HDEL", keys.requests.as_bytes(), PAUSED.as_bytes()]).await?;
    Ok(removed.text().as_deref() == Some("1"))
}

/// Asks for a table, as `schema.table`, to be read again.
pub(crate) async fn read_again(redis: &mut Client, keys: &Keys, table: &str) -> Result<(), redis::Error> {
    let field = format!("{SNAPSHOT}{table}");
    redis.call(&[b"HSET", keys.requests.as_bytes(), field.as_bytes(), b"1"]).await?;
    Ok(())
}

/// The names of the requests that nobody has carried out yet.
pub(crate) async fn pending(redis: &mut Client, key: &str) -> Result<Vec<String>, redis::Error> {
    match redis.call(&[b"HKEYS", key.as_bytes()]).await? {
        Reply::Array(names) => Ok(names.iter().filter_map(Reply::text).collect()),
        _ => Ok(Vec::new()),
    }
}
