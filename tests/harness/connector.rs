//! The program under test as a process.

use std::io::Read;
use std::ops::Deref;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redis_connect_postgres::throwaway::Leash;
use rustix::process::{Pid, Signal, kill_process};

/// A running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Connector(Arc<Process>);

/// What of a program outlives its [`Connector`]: its log and how it ended.
#[derive(Debug)]
pub(crate) struct Process {
    arguments: Vec<String>,
    pid: u32,
    child: Mutex<Child>,
    readers: Mutex<Vec<JoinHandle<()>>>,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    /// The last peak that was seen: it cannot be asked for any more when the process has ended.
    peak: AtomicU64,
    _leash: Leash,
}

impl Connector {
    /// A command for the program that inherits no setting from the developer's environment.
    pub(crate) fn command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_redis-connect-postgres"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["PG", "REDIS", "RUST_LOG", "NOTIFY_SOCKET", "WATCHDOG_"]
                .iter()
                .any(|prefix| text.starts_with(prefix))
            {
                command.env_remove(&name);
            }
        }
        command.env("RUST_BACKTRACE", "1");
        command
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", command.get_program().display()));
        let leash = Leash::new(&child).unwrap();
        let (stdout, first) = collect(child.stdout.take().unwrap());
        let (stderr, second) = collect(child.stderr.take().unwrap());
        Self(Arc::new(Process {
            arguments: command.get_args().map(|a| a.to_string_lossy().into_owned()).collect(),
            pid: child.id(),
            child: Mutex::new(child),
            readers: Mutex::new(vec![first, second]),
            stdout,
            stderr,
            peak: AtomicU64::new(0),
            _leash: leash,
        }))
    }

    pub(crate) fn process(&self) -> Arc<Process> {
        Arc::clone(&self.0)
    }
}

impl Deref for Connector {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// What it was started with, for messages.
    pub(crate) fn arguments(&self) -> String {
        self.arguments.join(" ")
    }

    /// Everything on stderr so far.
    pub(crate) fn log(&self) -> String {
        text(&self.stderr)
    }

    /// Everything on stdout so far.
    pub(crate) fn stdout(&self) -> String {
        text(&self.stdout)
    }

    pub(crate) fn log_contains(&self, words: &str) -> bool {
        self.log().contains(words)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.exited().is_none()
    }

    pub(crate) fn kill9(&self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.wait(Duration::from_secs(30))
    }

    pub(crate) fn term(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn cont(&self) {
        self.signal(Signal::CONT);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid).unwrap()).unwrap();
        // Under the lock, so that nobody reaps it and its number stays its own.
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.try_wait().unwrap().is_none() {
            kill_process(pid, signal).unwrap();
        }
    }

    /// Waits for its end; its log is complete then. Panics with the log when it does not end.
    #[track_caller]
    pub(crate) fn wait(&self, limit: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            self.peak_memory();
            if let Some(status) = self.exited() {
                let readers =
                    std::mem::take(&mut *self.readers.lock().unwrap_or_else(PoisonError::into_inner));
                for reader in readers {
                    reader.join().unwrap();
                }
                return status;
            }
            assert!(began.elapsed() < limit, "did not end within {limit:?}\n{}", self.story());
            thread::sleep(Duration::from_millis(3));
        }
    }

    /// The most memory it had at any time, in bytes. Of a process that has ended, what [`wait`]
    /// or an earlier call saw last; 0 where there is no `/proc`.
    ///
    /// [`wait`]: Self::wait
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let peak = status.ok().and_then(|s| {
            let line = s.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        });
        let peak = peak.unwrap_or(0) * 1024;
        self.peak.fetch_max(peak, Ordering::Relaxed).max(peak)
    }

    /// Its arguments, its state and the end of its log, for the message of a failed test.
    pub(crate) fn story(&self) -> String {
        let state = self.exited().map_or("running".to_owned(), |status| status.to_string());
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(60)..].join("\n");
        format!("--- {} [{}, {state}] ---\n{tail}\n---", self.arguments(), self.pid())
    }

    /// Ends it for certain.
    pub(crate) fn end(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }

    fn exited(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().unwrap()
    }
}

fn text(bytes: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

fn collect(mut from: impl Read + Send + 'static) -> (Arc<Mutex<Vec<u8>>>, JoinHandle<()>) {
    let all = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&all);
    let reader = thread::spawn(move || {
        let mut chunk = [0; 8192];
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..n]);
        }
    });
    (all, reader)
}
