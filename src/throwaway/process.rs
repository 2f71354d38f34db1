//! A running server: its process, its log, and waiting for it without guessing how long.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::home::Leash;
use super::{Doing, Error, Result};

#[derive(Debug)]
pub(super) struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    /// Length of the log when this process began: what is after that is its own.
    began: usize,
    _leash: Leash,
}

impl Process {
    /// Starts a server in the background; its output goes to the end of the log file.
    pub(super) fn spawn(name: String, command: &mut Command, log: &Path, orphaned: Signal) -> Result<Self> {
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .doing(|| format!("open {}", log.display()))?;
        let began = fs::metadata(log).map_or(0, |m| usize::try_from(m.len()).unwrap_or(0));
        let err = out.try_clone().doing(|| format!("open {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            // Ctrl-C is for us; we stop the server in our own order.
            .process_group(0)
            .spawn()
            .doing(|| format!("start {}", command.get_program().display()))?;
        let leash = Leash::ending_with(&child, orphaned).inspect_err(|_| {
            let _ = child.kill();
            let _ = child.wait();
        })?;
        Ok(Self { name, log: log.to_owned(), child, began, _leash: leash })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn signal(&self, signal: Signal) {
        // It fails only for a process that is gone, which is what the next wait will find.
        let _ = send(self.child.id(), signal);
    }

    pub(super) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().doing(|| format!("wait for {}", self.name))
    }

    /// What this process has logged, without what an earlier one on the same directory did.
    pub(super) fn own_log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(self.began..).unwrap_or_default()).into_owned()
    }

    /// Waits until `ready` says so; an error when the process ends before or the time is over.
    pub(super) fn until_ready(&mut self, limit: Duration, mut ready: impl FnMut(u32) -> bool) -> Result<()> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.exited()? {
                return Err(Error::Ended { server: self.name.clone(), status, log: tail(&self.own_log()) });
            }
            if ready(self.child.id()) {
                return Ok(());
            }
            if began.elapsed() > limit {
                return Err(self.late("answer", limit));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn until_exited(&mut self, limit: Duration) -> Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if began.elapsed() > limit {
                return Err(self.late("stop", limit));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn late(&self, what: &'static str, limit: Duration) -> Error {
        Error::Deadline { server: self.name.clone(), what, limit, log: tail(&self.own_log()) }
    }

    /// Ends the process for certain.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(super) fn send(pid: u32, signal: Signal) -> std::io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::InvalidInput)?;
    Ok(kill_process(pid, signal)?)
}

/// True for a failed start that another port would mend.
pub(super) fn port_taken(error: &Error) -> bool {
    matches!(error, Error::Ended { log, .. } if log.contains("Address already in use"))
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(20);
    lines.get(from..).unwrap_or_default().join("\n")
}
