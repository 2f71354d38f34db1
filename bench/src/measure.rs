//! One measurement: processes side by side, from the start of the first to the end of the last.

use std::process::Command;
use std::thread;
use std::time::Duration;

use redis_connect_postgres::throwaway::{Directory, Postgres, Redis};
use serde::Serialize;

use crate::error::{Doing, Result, failed};
use crate::process::Process;
use crate::{cpu, servers};

/// What was read in one measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Reading {
    pub(crate) name: &'static str,
    pub(crate) run: u32,
    pub(crate) rows: u32,
    pub(crate) seconds: f64,
    /// Of the measured processes, without the servers.
    pub(crate) cpu_seconds: f64,
    /// The largest of the measured processes.
    pub(crate) peak_bytes: u64,
    pub(crate) postgres_cpu_seconds: f64,
    pub(crate) redis_cpu_seconds: f64,
    /// What Redis received.
    pub(crate) redis_input_bytes: u64,
    /// Of everything else on the machine: what this was disturbed by.
    pub(crate) elsewhere_cpu_seconds: f64,
}

impl Reading {
    pub(crate) fn rows_per_second(&self) -> f64 {
        f64::from(self.rows) / self.seconds
    }

    /// Of commands and what keeps them together.
    pub(crate) fn bytes_per_row(&self) -> f64 {
        self.redis_input_bytes as f64 / f64::from(self.rows)
    }

    /// µs a row.
    pub(crate) fn per_row(&self, seconds: f64) -> f64 {
        seconds * 1e6 / f64::from(self.rows)
    }
}

/// The servers that take part.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Servers<'a> {
    pub(crate) postgres: Option<&'a Postgres>,
    pub(crate) redis: Option<&'a Redis>,
}

/// CPU times, and what Redis has received, at one moment.
struct Clock {
    postgres: Duration,
    redis: Duration,
    redis_input: u64,
    ourselves: Duration,
    machine: Duration,
}

impl Clock {
    fn read(servers: Servers<'_>) -> Result<Self> {
        let pid = |pid: Option<u32>, of: fn(u32) -> Duration| pid.map_or(Duration::ZERO, of);
        Ok(Self {
            postgres: pid(servers.postgres.and_then(Postgres::pid), cpu::with_children),
            redis: pid(servers.redis.and_then(Redis::pid), cpu::own),
            redis_input: servers.redis.map_or(Ok(0), received)?,
            ourselves: cpu::own(std::process::id()),
            machine: cpu::machine(),
        })
    }
}

/// The bytes that a server has received from all its clients.
fn received(redis: &Redis) -> Result<u64> {
    let found = servers::redis_info(redis, "stats", "total_net_input_bytes")?;
    found.parse().doing(|| format!("read {found} as a number of bytes"))
}

/// Runs the commands at the same time and reads what it took until all have ended.
pub(crate) fn measure(
    name: &'static str,
    (run, rows): (u32, u32),
    servers: Servers<'_>,
    commands: &mut [Command],
    logs: &Directory,
) -> Result<Reading> {
    eprintln!("  {name} …");
    let before = Clock::read(servers)?;
    let processes: Vec<Process> =
        commands.iter_mut().map(|command| Process::start(command, logs)).collect::<Result<_>>()?;
    let began = processes.iter().map(Process::began).min().ok_or_else(|| failed("nothing to measure"))?;
    let usages = thread::scope(|scope| {
        let waiting: Vec<_> = processes.into_iter().map(|process| scope.spawn(|| process.wait())).collect();
        let ended = waiting.into_iter().map(|thread| thread.join());
        ended
            .map(|usage| usage.unwrap_or_else(|_| Err(failed("a waiting thread failed"))))
            .collect::<Result<Vec<_>>>()
    })?;
    let after = Clock::read(servers)?;
    let ended = usages.iter().map(|usage| usage.ended).max().unwrap_or(began);
    let cpu: Duration = usages.iter().map(|usage| usage.cpu).sum();
    let postgres = after.postgres.saturating_sub(before.postgres);
    let redis = after.redis.saturating_sub(before.redis);
    let known = cpu + postgres + redis + after.ourselves.saturating_sub(before.ourselves);
    let machine = after.machine.saturating_sub(before.machine);
    Ok(Reading {
        name,
        run,
        rows,
        seconds: ended.duration_since(began).as_secs_f64(),
        cpu_seconds: cpu.as_secs_f64(),
        peak_bytes: usages.iter().map(|usage| usage.peak).max().unwrap_or(0),
        postgres_cpu_seconds: postgres.as_secs_f64(),
        redis_cpu_seconds: redis.as_secs_f64(),
        redis_input_bytes: after.redis_input.saturating_sub(before.redis_input),
        elsewhere_cpu_seconds: machine.saturating_sub(known).as_secs_f64(),
    })
}
