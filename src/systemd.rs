//! What a service manager is told of a run, where it asks for it (`Type=notify`).
//!
//! ```text
//!   pipeline's future ── polled ──> Turns ──┐
//!     └──────── phase, position ──> Progress ┴─> once a second, by the same thread ──> NOTIFY_SOCKET
//! ```
//!
//! - `READY=1` as soon as tables are read, the stream is followed, or another instance or `resume` is waited for:
//!   then the servers were reached and everything fits. Not before.
//! - `EXTEND_TIMEOUT_USEC` until then: PostgreSQL makes a slot when all transactions are over that are open, and
//!   that can take hours.
//! - `WATCHDOG=1` for as long as the data loop turns. It comes from the loop's own thread, so it ends when that
//!   thread is stuck. While rows are read or followed, the loop's own timers wake it once a second; when its
//!   future is not polled any more although the thread has time, it is lost, and `WATCHDOG=1` ends too. In all
//!   other phases it may wait for a server's answer, for as long as that takes.
//! - `STATUS` in words, and `STOPPING=1` on a signal and at the end.
//!
//! Source: sd_notify(3), sd_watchdog_enabled(3) of systemd 252.

use std::ffi::OsString;
use std::future::poll_fn;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use crate::progress::{Phase, Progress};
use crate::view;

/// Runs the pipeline and tells of it what the service manager wants to know.
pub(crate) async fn accompany<T>(
    work: impl Future<Output = T>,
    progress: &Arc<Progress>,
    shutdown: watch::Receiver<bool>,
) -> T {
    let mut work = Box::pin(work);
    let manager = match Manager::of(&|name| std::env::var_os(name)) {
        Ok(Some(manager)) => Arc::new(manager),
        Ok(None) => return work.await,
        Err(error) => {
            tracing::warn!("NOTIFY_SOCKET can't be used, so the service manager is told nothing: {error}");
            return work.await;
        }
    };
    let turns = Arc::new(AtomicU64::new(0));
    // A task of its own, so that its timer does not wake the pipeline's.
    let telling =
        tokio::spawn(tell(Arc::clone(&manager), Arc::clone(progress), Arc::clone(&turns), shutdown));
    let result = poll_fn(|cx| {
        let polled = work.as_mut().poll(cx);
        turns.fetch_add(1, Relaxed);
        polled
    })
    .await;
    telling.abort();
    manager.send(STOPPING);
    result
}

const STOPPING: &str = "STOPPING=1\nSTATUS=stopping";

async fn tell(
    manager: Arc<Manager>,
    progress: Arc<Progress>,
    turns: Arc<AtomicU64>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut told = Told::new(Instant::now());
    loop {
        // Somebody waits for it.
        let pause = if told.ready { manager.period() } else { manager.period().min(LOOK) };
        tokio::select! {
            () = sleep(pause) => {}
            _ = shutdown.wait_for(|stop| *stop) => return manager.send(STOPPING),
        }
        let seen = Seen { phase: progress.phase(), turns: turns.load(Relaxed), status: status(&progress) };
        manager.send(&told.next(Instant::now(), seen, manager.watchdog.is_some()));
    }
}

fn status(progress: &Progress) -> String {
    let phase = progress.phase();
    let words = view::words(phase);
    if !matches!(phase, Phase::Snapshot | Phase::Streaming) {
        return words.to_owned();
    }
    let (bytes, seconds) = (progress.lag_bytes(), progress.lag_seconds());
    let rows = progress.totals.changes.load(Relaxed);
    let position = progress.position();
    format!("{words}: {rows} rows written; behind by {bytes} bytes and {seconds:.0} s; at {position}")
}

/// How often the status is told while only its numbers change.
const NUMBERS: Duration = Duration::from_secs(5);

/// For how long the data loop may not turn where its timers would have it turn every second.
const STILL: Duration = Duration::from_secs(5);

/// How soon `READY=1` is said.
const LOOK: Duration = Duration::from_millis(50);

/// How often more time is asked for.
const EXTEND: Duration = Duration::from_secs(1);

/// Until when the next word has to come before `READY=1`.
const EXTENSION: &str = "EXTEND_TIMEOUT_USEC=30000000";

struct Seen {
    phase: Phase,
    turns: u64,
    status: String,
}

/// What was told so far.
#[derive(Debug)]
struct Told {
    ready: bool,
    turns: u64,
    turned: Instant,
    status: String,
    phase: Option<Phase>,
    status_told: Instant,
    extended: Option<Instant>,
}

impl Told {
    fn new(now: Instant) -> Told {
        Told {
            ready: false,
            turns: 0,
            turned: now,
            status: String::new(),
            phase: None,
            status_told: now,
            extended: None,
        }
    }

    /// The lines to send now.
    fn next(&mut self, now: Instant, seen: Seen, watchdog: bool) -> String {
        let mut lines = Vec::new();
        if seen.turns != self.turns {
            self.turns = seen.turns;
            self.turned = now;
        }
        let begins = matches!(seen.phase, Phase::Starting | Phase::Retrying | Phase::Stopping);
        if !self.ready && !begins {
            self.ready = true;
            lines.push("READY=1".to_owned());
        } else if !self.ready && self.extended.is_none_or(|last| now.duration_since(last) >= EXTEND) {
            self.extended = Some(now);
            lines.push(EXTENSION.to_owned());
        }
        let must_turn = matches!(seen.phase, Phase::Snapshot | Phase::Streaming | Phase::Paused);
        if watchdog && self.ready && (!must_turn || now.duration_since(self.turned) <= STILL) {
            lines.push("WATCHDOG=1".to_owned());
        }
        let is_due = self.phase != Some(seen.phase) || now.duration_since(self.status_told) >= NUMBERS;
        if is_due && seen.status != self.status {
            lines.push(format!("STATUS={}", seen.status));
            self.status = seen.status;
            self.phase = Some(seen.phase);
            self.status_told = now;
        }
        lines.join("\n")
    }
}

/// The service manager's socket.
#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// How long the manager waits for a sign of life.
    watchdog: Option<Duration>,
}

impl Manager {
    /// `None` when nobody wants to be told.
    fn of(variable: &dyn Fn(&str) -> Option<OsString>) -> io::Result<Option<Manager>> {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(None) };
        let address = address(name.as_bytes())?;
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not hold up the data loop.
        socket.set_nonblocking(true)?;
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let is_meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|_| is_meant).map(Duration::from_micros);
        Ok(Some(Manager { socket, address, watchdog }))
    }

    /// Often enough that the watchdog hears of us twice before it bites.
    fn period(&self) -> Duration {
        let second = Duration::from_secs(1);
        self.watchdog.map_or(second, |patience| second.min(patience / 3)).max(Duration::from_millis(10))
    }

    /// What does not get through is told again, or not needed any more.
    fn send(&self, lines: &str) {
        if !lines.is_empty() {
            let _ = self.socket.send_to_addr(lines.as_bytes(), &self.address);
        }
    }
}

/// A path, or with `@` before it a name of Linux that is no file.
fn address(name: &[u8]) -> io::Result<SocketAddr> {
    match name.split_first() {
        #[cfg(target_os = "linux")]
        Some((b'@', name)) => {
            use std::os::linux::net::SocketAddrExt as _;
            SocketAddr::from_abstract_name(name)
        }
        Some((b'/', _)) => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a path nor an abstract name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(phase: Phase, turns: u64, status: &str) -> Seen {
        Seen { phase, turns, status: status.to_owned() }
    }

    fn after(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    #[test]
    fn ready_is_said_once_and_not_too_early() {
        let began = Instant::now();
        for phase in [Phase::Waiting, Phase::Snapshot, Phase::Streaming, Phase::Paused] {
            let mut told = Told::new(began);
            assert_eq!(
                told.next(began, seen(Phase::Starting, 1, "a"), false),
                "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=a"
            );
            assert_eq!(told.next(began, seen(Phase::Retrying, 1, "a"), false), "");
            assert_eq!(told.next(after(began, 1), seen(Phase::Retrying, 1, "a"), false), EXTENSION);
            assert_eq!(told.next(began, seen(phase, 2, "b"), false), "READY=1\nSTATUS=b");
            assert_eq!(told.next(began, seen(phase, 2, "b"), false), "");
            assert_eq!(told.next(began, seen(Phase::Retrying, 2, "b"), false), "");
        }
    }

    #[test]
    fn a_loop_that_does_not_turn_is_not_alive() {
        let began = Instant::now();
        for phase in [Phase::Snapshot, Phase::Streaming] {
            let mut told = Told::new(began);
            let mut lives = |seconds, phase, turns| {
                told.next(after(began, seconds), seen(phase, turns, ""), true).contains("WATCHDOG=1")
            };
            // Nobody waits for it before `READY=1`.
            assert!(!lives(0, Phase::Starting, 1));
            // It may wait for a server there.
            assert!(lives(1000, Phase::Waiting, 1) && lives(2000, Phase::Starting, 1));
            assert!(!lives(3000, phase, 1));
            assert!(lives(3001, phase, 2) && lives(3006, phase, 2));
            assert!(!lives(3007, phase, 2));
            assert!(lives(3008, phase, 3));
            assert!(lives(3100, Phase::Retrying, 3));
        }
        assert!(!Told::new(began).next(began, seen(Phase::Streaming, 1, ""), false).contains("WATCHDOG"));
    }

    #[test]
    fn numbers_are_told_now_and_then() {
        let began = Instant::now();
        let mut told = Told::new(began);
        let mut status = |seconds, phase, text: &str| {
            told.next(after(began, seconds), seen(phase, seconds, text), false).contains("STATUS=")
        };
        assert!(status(0, Phase::Streaming, "1"));
        assert!(!status(1, Phase::Streaming, "2"));
        assert!(status(1, Phase::Waiting, "3"));
        assert!(status(6, Phase::Waiting, "4"));
        assert!(!status(20, Phase::Waiting, "4"));
    }

    #[test]
    fn what_the_environment_says() {
        let manager = |pairs: &'static [(&str, &str)]| {
            Manager::of(&move |name| {
                pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
            })
        };
        assert!(manager(&[]).unwrap().is_none() && manager(&[("NOTIFY_SOCKET", "")]).unwrap().is_none());
        assert!(manager(&[("NOTIFY_SOCKET", "vsock:2:1")]).is_err());
        let path = ("NOTIFY_SOCKET", "/run/x");
        let plain = manager(&[("NOTIFY_SOCKET", "/run/x")]).unwrap().unwrap();
        assert_eq!((plain.watchdog, plain.period()), (None, Duration::from_secs(1)));
        assert_eq!(plain.address.as_pathname().unwrap(), std::path::Path::new(path.1));
        let watched = manager(&[("NOTIFY_SOCKET", "/run/x"), ("WATCHDOG_USEC", "600000")]).unwrap().unwrap();
        assert_eq!(watched.period(), Duration::from_millis(200));
        let other =
            manager(&[("NOTIFY_SOCKET", "/run/x"), ("WATCHDOG_USEC", "600000"), ("WATCHDOG_PID", "1")])
                .unwrap();
        assert_eq!(other.unwrap().watchdog, None);
    }
}
