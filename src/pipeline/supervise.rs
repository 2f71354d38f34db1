//! Sessions, one after the other, for as long as it makes sense.
//!
//! What passes by itself is retried with a growing, randomised pause, for ever, and shown. What does
//! not is returned. The first contact is no exception to be waited for: a wrong host name should be
//! told at once. A right, password or certificate that Redis does not accept is a mistake until a batch was
//! written, and from then on something that its owner is just changing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use super::denied;
use super::gap::Gap;
use super::session::{End, Recovery, Session};
use super::snapshot::Read;
use super::stream::Goal;
use crate::config::{Config, OnGap};
use crate::error::{Error, Family};
use crate::progress::{Phase, Progress, Totals, Trouble};
use crate::redis;

/// When a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Stopped,
    /// `--once`
    SnapshotDone,
    /// `--until-caught-up`
    CaughtUp,
}

/// What all sessions of a process share.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) config: Config,
    /// The configuration file, for messages.
    pub(crate) file: String,
    pub(crate) until: Until,
    /// Becomes true when the process is to stop.
    pub(crate) shutdown: watch::Receiver<bool>,
    pub(crate) progress: Arc<Progress>,
}

/// A snapshot has every table locked that it reads, and PostgreSQL's room for locks is limited
/// (`max_locks_per_transaction`, 64 for each connection). So of very many tables not all are read in one.
const TABLES_AT_ONCE: usize = 500;

/// What outlives a session.
#[derive(Debug)]
pub(super) struct Begun {
    /// How many tables are read in one snapshot at most.
    pub(super) tables_at_once: usize,
    /// Both servers were reached once.
    pub(super) connected: bool,
    /// The slot was seen on a server that is no standby.
    pub(super) primary: bool,
    /// The epoch that we wrote last, or would have if the command arrived.
    pub(super) epoch: Option<u64>,
    /// The last walsender of ours.
    pub(super) walsender: Option<u32>,
    /// A checkpoint was found or written: one that is missing from now on is lost.
    pub(super) checkpoint: bool,
    /// RESTORE was refused: rows are set by HSET from then on.
    pub(super) not_restored: bool,
    /// Changes are missing: the next session reads everything again.
    pub(super) gap: Option<Gap>,
}

impl Begun {
    fn new() -> Begun {
        Begun {
            tables_at_once: TABLES_AT_ONCE,
            connected: false,
            primary: false,
            epoch: None,
            walsender: None,
            checkpoint: false,
            not_restored: false,
            gap: None,
        }
    }
}

/// Runs until the end that was asked for, a signal, or an error that does not pass.
pub(crate) async fn run(pipeline: &Pipeline) -> Result<(), Error> {
    let mut begun = Begun::new();
    let mut retry: Option<Retry> = None;
    let mut gaps = 0;
    loop {
        let started = Instant::now();
        let error = match Box::pin(one_session(pipeline, &mut begun, retry.as_ref())).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if error.is_out_of_locks() {
            begun.tables_at_once = (begun.tables_at_once / 2).max(1);
        }
        begun.not_restored |= matches!(error, Error::NotRestored(_));
        if *pipeline.shutdown.borrow() && error.family() != Family::Definite {
            return Ok(());
        }
        if let Error::Gap { reason, slot } = &error
            && pipeline.config.on_gap == OnGap::Resnapshot
        {
            tracing::warn!(event = "resnapshot", "{reason}. All tables are read again (on_gap: resnapshot)");
            Totals::add(&pipeline.progress.totals.gaps, 1);
            begun.gap = Some(Gap { reason: reason.clone(), slot: *slot });
            gaps += 1;
            // Should it not mend it, it must not go on at full speed.
            sleep(FIRST_PAUSE.saturating_mul(1 << gaps.min(8))).await;
            continue;
        }
        match error.family() {
            Family::Usage => return Err(error),
            Family::Definite => return Err(denied::explain(pipeline, error).await),
            Family::Transient if !begun.connected => return Err(error),
            Family::Denied if !pipeline.progress.has_written() => return Err(error),
            Family::Restart => {
                pipeline.progress.count_retry(&error);
                pipeline.progress.set_trouble(None);
                if error.is_rewind() {
                    Totals::add(&pipeline.progress.totals.rewinds, 1);
                    tracing::warn!(event = "rewound", "{error}");
                } else {
                    tracing::warn!(event = "begins_again", "{error}");
                }
                // Should it go on like this, it must not go on at full speed.
                sleep(FIRST_PAUSE).await;
                retry = None;
                continue;
            }
            Family::Transient | Family::Denied => {}
        }
        pipeline.progress.set_phase(Phase::Retrying);
        // A session that worked for a while was a success; its end is a new trouble.
        let lasted = started.elapsed() > Duration::from_secs(10);
        let retry = match &mut retry {
            Some(retry) if !lasted => {
                retry.failed(&error);
                retry
            }
            _ => retry.insert(Retry::new("capturing", &error, &pipeline.progress)),
        };
        let mut shutdown = pipeline.shutdown.clone();
        tokio::select! {
            () = sleep(retry.pause()) => {}
            _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
        }
    }
}

async fn one_session(pipeline: &Pipeline, begun: &mut Begun, trouble: Option<&Retry>) -> Result<(), Error> {
    if pipeline.progress.phase() != Phase::Retrying {
        pipeline.progress.set_phase(Phase::Starting);
    }
    let mut shutdown = pipeline.shutdown.clone();
    let session = tokio::select! {
        session = Session::begin(pipeline, begun) => session?,
        _ = shutdown.wait_for(|stop| *stop) => None,
    };
    let Some(mut session) = session else { return Ok(()) };
    Totals::add(&pipeline.progress.totals.sessions, 1);
    session.trouble = trouble;
    let end = loop {
        if session.progress.is_to_pause() {
            session.works();
        }
        if session.stay_paused().await? == Recovery::Stopped {
            break End::Stopped;
        }
        let read = session.read_tables().await?;
        begun.checkpoint = true;
        match read {
            Read::Ended(end) => break end,
            Read::Done if pipeline.until == Until::SnapshotDone => break End::SnapshotDone,
            Read::Done => {
                session.works();
                let goal = if pipeline.until == Until::CaughtUp { Goal::CaughtUp } else { Goal::None };
                break Box::pin(session.follow(goal)).await?;
            }
            // What was committed meanwhile comes first, then the next rows.
            Read::More => match Box::pin(session.follow(Goal::CaughtUp)).await? {
                End::CaughtUp => {}
                end => break end,
            },
        }
    };
    session.finish().await?;
    tracing::info!(
        event = "ended",
        position = %pipeline.progress.position(),
        "{}",
        match end {
            End::SnapshotDone => "snapshot done",
            End::CaughtUp => "caught up",
            End::Stopped => "stopped",
        }
    );
    Ok(())
}

/// A condition that passes by itself: said once, when it is another one, once a minute, and when it is over.
#[derive(Debug)]
pub(super) struct Retry {
    trouble: Trouble,
    progress: Arc<Progress>,
    since: Instant,
    said: Instant,
    /// It was said that somebody keeps us out, which takes a person to end.
    denied: bool,
    attempts: u32,
    /// The error that was said last.
    last: String,
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Retry {
    pub(super) fn new(what: &'static str, error: &Error, progress: &Arc<Progress>) -> Retry {
        let trouble = Trouble::new(what, error);
        progress.count_retry(error);
        progress.set_trouble(Some(trouble.clone()));
        let last = error.to_string();
        tracing::warn!(event = "fails", reason = trouble.reason, "{last}; trying again until it works");
        let denied = error.family() == Family::Denied;
        let progress = Arc::clone(progress);
        Retry { trouble, progress, since: Instant::now(), said: Instant::now(), denied, attempts: 0, last }
    }

    pub(super) fn failed(&mut self, error: &Error) {
        self.trouble.failed_again(error);
        self.progress.count_retry(error);
        if matches!(error, Error::Redis(redis::Error::NoMaster { .. })) {
            // A failover is a matter of seconds.
            self.attempts = self.attempts.min(3);
        }
        let denied = error.family() == Family::Denied && !self.denied;
        let error = error.to_string();
        let pause = Duration::from_secs(if error == self.last { 60 } else { 3 });
        if denied || self.said.elapsed() >= pause {
            self.denied |= denied;
            self.said = Instant::now();
            tracing::warn!(
                event = "fails",
                reason = self.trouble.reason,
                attempts = self.attempts,
                "{} fails for {} s: {error}; the next try is within {} s",
                self.trouble.what,
                self.since.elapsed().as_secs(),
                LONGEST_PAUSE.as_secs()
            );
            self.last = error;
        }
    }

    /// Doubles up to two seconds, less a random part, so that many instances don't come at once.
    pub(super) fn pause(&mut self) -> Duration {
        let full = FIRST_PAUSE.saturating_mul(1 << self.attempts.min(10)).min(LONGEST_PAUSE);
        self.attempts += 1;
        // The clock's nanoseconds are random enough for that.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let pause = full.mul_f64(0.5 + f64::from(now.subsec_nanos() % 1000) / 2000.0);
        self.trouble.tries_in(pause);
        self.progress.set_trouble(Some(self.trouble.clone()));
        pause
    }

    pub(super) fn over(&self) {
        self.progress.set_trouble(None);
        tracing::info!(
            event = "works_again",
            "{} works again after {:.1} s",
            self.trouble.what,
            self.since.elapsed().as_secs_f64()
        );
    }
}
