//! What is printed: medians, and their ratios to the references of the same run.

use std::fmt::Write;

use serde::Serialize;

use crate::latency::Latency;
use crate::measure::Reading;
use crate::memory::Peak;
use crate::options::ShapeGroup;
use crate::shapes::Shaped;
use crate::start::Started;

pub(crate) const RECVLOGICAL: &str = "pg_recvlogical";
pub(crate) const COPY: &str = "psql COPY";
pub(crate) const REDIS_CLI: &str = "redis-cli --pipe";
pub(crate) const BOTH: &str = "both at once";
pub(crate) const DEBEZIUM: &str = "Debezium engine";
pub(crate) const OURS: &str = "redis-connect-postgres";

/// Measurements that are compared with one another.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) title: String,
    /// What the rows became.
    pub(crate) structure: &'static str,
    /// What the others are divided by.
    pub(crate) references: Vec<&'static str>,
    pub(crate) readings: Vec<Reading>,
}

impl Group {
    fn median(&self, name: &str, of: impl Fn(&Reading) -> f64) -> f64 {
        median(self.readings.iter().filter(|reading| reading.name == name).map(of))
    }

    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n\n{:<24}{:>10}{:>20}", self.title, "", "rows/s", "from … to");
        for reference in &self.references {
            let _ = write!(text, "{:>8}", short(reference));
        }
        let _ =
            writeln!(text, "{:>9}{:>9}{:>9}{:>9}{:>8}", "own µs", "PG µs", "Redis µs", "peak MB", "others");
        for name in self.references.iter().copied().chain([OURS]) {
            let rates = self.readings.iter().filter(|r| r.name == name).map(Reading::rows_per_second);
            let (low, high) = rates.fold((f64::MAX, 0_f64), |(low, high), r| (low.min(r), high.max(r)));
            let rate = self.median(name, Reading::rows_per_second);
            let _ = write!(text, "{name:<24}{rate:>10.0}{:>20}", format!("{low:.0} … {high:.0}"));
            for reference in &self.references {
                let _ = write!(text, "{:>8.2}", rate / self.median(reference, Reading::rows_per_second));
            }
            let _ = writeln!(
                text,
                "{:>9.2}{:>9.2}{:>9.2}{:>9.1}{:>7.0}%",
                self.median(name, |r| r.per_row(r.cpu_seconds)),
                self.median(name, |r| r.per_row(r.postgres_cpu_seconds)),
                self.median(name, |r| r.per_row(r.redis_cpu_seconds)),
                self.median(name, |r| megabytes(r.peak_bytes)),
                self.median(name, |r| r.elsewhere_cpu_seconds / r.seconds * 100.0),
            );
        }
        text
    }
}

/// A line for each structure, of groups that were measured alike.
pub(crate) fn structures(groups: &[Group]) -> String {
    let Some(first) = groups.first() else { return String::new() };
    let mut text = format!("{}, as each structure\n\n{:<16}{:>10}", first.title, "", "rows/s");
    for reference in &first.references {
        let _ = write!(text, "{:>8}", short(reference));
    }
    for head in ["own µs", "cli µs", "PG µs", "Redis µs", "peak MB", "bytes", "others"] {
        let _ = write!(text, "{head:>9}");
    }
    text.push('\n');
    for group in groups {
        let rate = |name| group.median(name, Reading::rows_per_second);
        let _ = write!(text, "{:<16}{:>10.0}", group.structure, rate(OURS));
        for reference in &group.references {
            let _ = write!(text, "{:>8.2}", rate(OURS) / rate(reference));
        }
        let _ = writeln!(
            text,
            "{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.1}{:>9.0}{:>8.0}%",
            group.median(OURS, |r| r.per_row(r.cpu_seconds)),
            group.median(REDIS_CLI, |r| r.per_row(r.cpu_seconds)),
            group.median(OURS, |r| r.per_row(r.postgres_cpu_seconds)),
            group.median(OURS, |r| r.per_row(r.redis_cpu_seconds)),
            group.median(OURS, |r| megabytes(r.peak_bytes)),
            group.median(OURS, Reading::bytes_per_row),
            group.median(OURS, |r| r.elsewhere_cpu_seconds / r.seconds * 100.0),
        );
    }
    text
}

/// The head of the column with the ratios to a reference.
fn short(reference: &str) -> &str {
    match reference {
        RECVLOGICAL => "/ recv",
        COPY => "/ COPY",
        REDIS_CLI => "/ cli",
        BOTH => "/ both",
        DEBEZIUM => "/ dbz",
        other => other,
    }
}

pub(crate) fn latencies(all: &[Latency]) -> String {
    let mut rates: Vec<u32> = all.iter().map(|latency| latency.rate).collect();
    rates.dedup();
    rates.sort_unstable();
    rates.dedup();
    let mut text = format!(
        "from COMMIT to visible in Redis, ms\n\n{:>16}{:>10}{:>10}{:>10}{:>10}{:>10}{:>14}{:>12}{:>9}\n",
        "transactions/s", "achieved", "p50", "p99", "p99.9", "max", "COMMIT p99", "own µs/row", "peak MB"
    );
    for rate in rates {
        let of = |value: fn(&Latency) -> f64| median(all.iter().filter(|l| l.rate == rate).map(value));
        let _ = writeln!(
            text,
            "{rate:>16}{:>10.0}{:>10.2}{:>10.2}{:>10.2}{:>10.2}{:>14.2}{:>12.1}{:>9.1}",
            of(|l| l.achieved),
            of(|l| l.p50) / 1e3,
            of(|l| l.p99) / 1e3,
            of(|l| l.p999) / 1e3,
            of(|l| l.max) / 1e3,
            of(|l| l.commit_p99) / 1e3,
            of(|l| l.cpu_seconds * 1e6 / (l.samples as f64 + f64::from(l.rate))),
            of(|l| megabytes(l.peak_bytes)),
        );
    }
    text
}

pub(crate) fn peaks(all: &[Peak]) -> String {
    let mut text = format!(
        "peak memory of the connector\n\n{:<26}{:>10}{:>10}{:>10}{:>12}{:>14}\n",
        "", "rows", "seconds", "peak MB", "own µs/row", "catching up s"
    );
    for peak in all {
        let caught_up = peak.catch_up_seconds.map_or_else(String::new, |seconds| format!("{seconds:.1}"));
        let _ = writeln!(
            text,
            "{:<26}{:>10}{:>10.1}{:>10.1}{:>12.2}{caught_up:>14}",
            peak.name,
            peak.rows,
            peak.seconds,
            megabytes(peak.peak_bytes),
            peak.cpu_seconds * 1e6 / f64::from(peak.rows),
        );
    }
    text
}

/// A line for each shape; the first of a group is what the others are compared with.
pub(crate) fn shapes(all: &[Shaped]) -> String {
    let mut text = format!("{:<30}", "stream of a backlog");
    for head in
        ["rows/s", "first = 1", "/ recv", "own µs", "a value ns", "PG µs", "Redis µs", "peak MB", "start s"]
    {
        let _ = write!(text, "{head:>11}");
    }
    text.push('\n');
    let mut first: Option<(ShapeGroup, f64)> = None;
    for shaped in all {
        let of = |name: &str, of: &dyn Fn(&Reading) -> f64| {
            median(shaped.readings.iter().filter(|reading| reading.name == name).map(of))
        };
        let rate = |reading: &Reading| f64::from(reading.rows) / (reading.seconds - shaped.start_seconds);
        let (ours, received) = (of(OURS, &rate), of(RECVLOGICAL, &Reading::rows_per_second));
        let first = match first {
            Some((group, rate)) if group == shaped.group => rate,
            _ => first.insert((shaped.group, ours)).1,
        };
        let own = of(OURS, &|r| r.per_row(r.cpu_seconds));
        let _ = writeln!(
            text,
            "{:<30}{ours:>11.0}{:>11.2}{:>11.2}{own:>11.2}{:>11.1}{:>11.2}{:>11.2}{:>11.1}{:>11.3}",
            format!("{}: {}", shaped.group.title(), shaped.name),
            ours / first,
            ours / received,
            own * 1000.0 / f64::from(shaped.columns),
            of(OURS, &|r| r.per_row(r.postgres_cpu_seconds)),
            of(OURS, &|r| r.per_row(r.redis_cpu_seconds)),
            of(OURS, &|r| megabytes(r.peak_bytes)),
            shaped.start_seconds,
        );
    }
    text
}

pub(crate) fn starts(all: &[Started]) -> String {
    let mut text = format!("{:<16}", "tables");
    for head in ["first row s", "from", "to", "peak MB", "idle MB", "idle CPU %"] {
        let _ = write!(text, "{head:>12}");
    }
    text.push('\n');
    for started in all {
        let (low, high) =
            started.seconds.iter().fold((f64::MAX, 0_f64), |(low, high), &s| (low.min(s), high.max(s)));
        let _ = writeln!(
            text,
            "{:<16}{:>12.3}{low:>12.3}{high:>12.3}{:>12.1}{:>12.1}{:>12.2}",
            started.tables,
            median(started.seconds.iter().copied()),
            megabytes(started.peak_bytes),
            megabytes(started.idle_bytes),
            started.idle_cpu * 100.0,
        );
    }
    text
}

/// What the columns mean.
pub(crate) const LEGEND: &str = "\
/ recv, / COPY, / cli, / both: the rate divided by that reference's rate in the same group
own, PG, Redis µs: CPU time a row of the measured processes, of PostgreSQL, of Redis
cli µs: the same of redis-cli --pipe, which reads the commands from a file and sends them
bytes: what Redis received a row
others: what everything else on the machine used meanwhile, in per cent of one core; the figures of a
        machine that was busy otherwise are worth little
";

/// Of 1,048,576 bytes.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    if values.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.wrapping_sub(1)), at(middle)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert!(median(std::iter::empty()).is_nan());
    }
}
