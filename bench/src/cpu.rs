//! CPU time and memory of processes, as /proc tells them.

use std::fs;
use std::time::Duration;

/// User and system time of a process and all its threads; also of one that has ended and was not
/// yet collected. Zero when it is gone.
pub(crate) fn own(pid: u32) -> Duration {
    stat(pid).map_or(Duration::ZERO, |stat| stat.own)
}

/// The same of a process with its children, those included that have ended and were collected.
pub(crate) fn with_children(pid: u32) -> Duration {
    loop {
        let Some(parent) = stat(pid) else { return Duration::ZERO };
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let children: Duration = processes
            .filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?))
            .filter(|stat| stat.parent == pid)
            .map(|stat| stat.own)
            .sum();
        // A child that was collected meanwhile is in neither sum.
        if stat(pid).is_none_or(|after| after.collected == parent.collected) {
            return parent.own + parent.collected + children;
        }
    }
}

/// What all processors of the machine have worked, in all processes and in the kernel.
pub(crate) fn machine() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, (idle, iowait,) irq, softirq
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|&index| fields.get(index)).sum();
    ticks(busy)
}

/// The most memory that a running process had at any time, in bytes.
pub(crate) fn peak(pid: u32) -> Option<u64> {
    memory(pid, "VmHWM:")
}

/// The memory that it has now, in bytes.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

struct Stat {
    parent: u32,
    own: Duration,
    collected: Duration,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything; the state follows it.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        own: ticks(number(11)? + number(12)?),
        collected: ticks(number(13)? + number(14)?),
    })
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / rustix::param::clock_ticks_per_second().max(1))
}
