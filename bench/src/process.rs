//! A process that is measured: its time, its CPU and its peak memory.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redis_connect_postgres::throwaway::{Directory, Leash};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::cpu;
use crate::error::{Doing, Result, failed};

/// How often the peak of a running process is read. It only ever grows, so what can be missed is
/// what it grew in the last moment of its life.
const SAMPLE: Duration = Duration::from_millis(20);

/// A running process. What it says on stderr goes into a file.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    began: Instant,
    words: String,
    log: PathBuf,
    _leash: Leash,
}

/// What a process took from its start to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) ended: Instant,
    pub(crate) cpu: Duration,
    pub(crate) peak: u64,
}

impl Process {
    pub(crate) fn start(command: &mut Command, logs: &Directory) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let log = logs.path().join(format!("log{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let file = File::create(&log).doing(|| format!("create {}", log.display()))?;
        let words = format!("{command:?}");
        let began = Instant::now();
        let child = command.stderr(file).spawn().doing(|| format!("start {words}"))?;
        let leash = Leash::new(&child)?;
        Ok(Self { child, began, words, log, _leash: leash })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn peak(&self) -> u64 {
        cpu::peak(self.id()).unwrap_or(0)
    }

    /// An error with the end of its log if the process has ended.
    pub(crate) fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait().doing(|| format!("wait for {}", self.words))? {
            None => Ok(()),
            Some(status) => Err(self.failure(status)),
        }
    }

    /// Waits for its end and reads what it took before it is collected.
    pub(crate) fn wait(mut self) -> Result<Usage> {
        let id = self.id();
        let ended = AtomicBool::new(false);
        let (waited, peak) = thread::scope(|scope| {
            let sampler = scope.spawn(|| {
                let mut peak = 0;
                while !ended.load(Ordering::Relaxed) {
                    peak = cpu::peak(id).unwrap_or(0).max(peak);
                    thread::sleep(SAMPLE);
                }
                peak
            });
            let waited = until_ended(id);
            ended.store(true, Ordering::Relaxed);
            (waited, sampler.join().unwrap_or(0))
        });
        let usage =
            Usage { ended: waited.doing(|| format!("wait for {}", self.words))?, cpu: cpu::own(id), peak };
        let status = self.child.wait().doing(|| format!("wait for {}", self.words))?;
        if status.success() { Ok(usage) } else { Err(self.failure(status)) }
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(self) -> Result<Usage> {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| failed("a process without an id"))?;
        kill_process(pid, Signal::TERM).doing(|| format!("stop {}", self.words))?;
        self.wait()
    }

    fn failure(&self, status: ExitStatus) -> crate::error::Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n");
        failed(format!("{} ended: {status}\n{tail}", self.words))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits without collecting the process, so that /proc still tells its times.
fn until_ended(id: u32) -> rustix::io::Result<Instant> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(Errno::INTR) => {}
            other => return other.map(|_| Instant::now()),
        }
    }
}
