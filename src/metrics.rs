//! What is counted, as Prometheus reads it.
//!
//! The data loop counts in [`Progress`]; this puts its numbers into families when somebody scrapes, so a metric costs
//! nothing between two scrapes. `docs/metrics.md` has the same list, and a test compares them.

use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::config::Config;
use crate::progress::{Counted, Histogram, OPERATIONS, PHASES, Progress, STATUSES};

/// Prometheus' text format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What every name begins with.
const PREFIX: &str = "redis_connect_postgres";

/// Everything in Prometheus' text format.
pub(crate) fn text(config: &Config, progress: &std::sync::Arc<Progress>, ready: bool) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    let names = [config.name.clone(), config.source.slot.clone(), config.source.publication.clone()];
    registry.register_collector(Box::new(Pipeline {
        names,
        progress: std::sync::Arc::clone(progress),
        ready,
    }));
    let mut standard = Registry::default();
    standard.register_collector(Box::new(Process { started: progress.started }));
    let mut text = String::new();
    for registry in [&registry, &standard] {
        // It fails only where the text can't grow.
        let _ = prometheus_text::encode(&mut text, registry);
    }
    text
}

type Encoded = Result<(), std::fmt::Error>;

#[derive(Debug)]
struct Pipeline {
    /// Of the pipeline, the slot and the publication.
    names: [String; 3],
    progress: std::sync::Arc<Progress>,
    ready: bool,
}

/// Writes one family after the other.
struct Families<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Families<'_, '_> {
    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, std::fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> Encoded {
        ConstCounter::new(value).encode(self.family(name, help, MetricType::Counter)?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> Encoded {
        ConstGauge::new(value).encode(self.family(name, help, MetricType::Gauge)?)
    }

    fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) -> Encoded {
        let name = format!("{name}_info");
        let mut family = self.family(&name, help, MetricType::Gauge)?;
        let labels: Vec<(&str, &str)> = labels.to_vec();
        ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> Encoded {
        let family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(value).encode(family)
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> Encoded {
        let Counted { buckets, sum } = histogram.read();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        family.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
    }

    /// One series for each label, of which one is 1.
    fn one_of(&mut self, name: &str, help: &str, label: &str, (all, now): (&[&str], &str)) -> Encoded {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        for word in all {
            let value = ConstGauge::new(i64::from(*word == now));
            value.encode(family.encode_family(&[(label, *word)])?)?;
        }
        Ok(())
    }
}

impl Collector for Pipeline {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        let mut all = Families(&mut encoder);
        let [pipeline, slot, publication] = &self.names;
        all.info("build", "The program.", &[("version", env!("CARGO_PKG_VERSION"))])?;
        let names = [("pipeline", pipeline.as_str()), ("slot", slot), ("publication", publication)];
        all.info("pipeline", "What is captured.", &names)?;
        self.state(&mut all)?;
        self.totals(&mut all)?;
        self.lag(&mut all)?;
        self.tables(&mut all)
    }
}

impl Pipeline {
    fn state(&self, all: &mut Families<'_, '_>) -> Encoded {
        let progress = &self.progress;
        let states = PHASES.map(|phase| phase.name());
        let now = progress.phase().name();
        all.one_of("state", "1 for the state that the pipeline is in.", "state", (&states, now))?;
        all.gauge(
            "ready",
            "1 while it streams and is not further behind than http.max_lag.",
            f64::from(u8::from(self.ready)),
        )?;
        let retries = progress.retries();
        let mut family =
            all.family("retries", "How often something was tried again.", MetricType::Counter)?;
        for (reason, count) in retries {
            ConstCounter::new(count).encode(family.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }

    fn totals(&self, all: &mut Families<'_, '_>) -> Encoded {
        let (progress, totals) = (&self.progress, &self.progress.totals);
        let counters = [
            ("changes", "Changes that Redis has confirmed, rows of snapshots included.", &totals.changes),
            ("transactions", "Transactions that Redis has confirmed.", &totals.transactions),
            ("batches", "Batches (MULTI/EXEC) that Redis has confirmed.", &totals.batches),
            ("received_bytes", "Bytes of the stream and of tables from PostgreSQL.", &totals.received),
            ("sent_bytes", "Bytes of batches for Redis.", &totals.sent),
            ("dead_letters", "Rows that Redis has refused.", &totals.dead_letters),
            ("sessions", "How often the pipeline began from its checkpoint.", &totals.sessions),
            ("takeovers", "How often this instance took over from another.", &totals.takeovers),
            ("rewinds", "How often Redis had forgotten data, and got it again.", &totals.rewinds),
            ("resnapshots", "How often changes were lost, and all tables were read again.", &totals.gaps),
        ];
        for (name, help, counter) in counters {
            all.counter(name, help, counter.load(Relaxed))?;
        }
        let waiting = progress.dead_letters.load(Relaxed) as f64;
        all.gauge("dead_letters_waiting", "Letters in the dead-letter stream.", waiting)?;
        all.histogram(
            "commit_to_redis",
            "From COMMIT in PostgreSQL to Redis' reply, by the two machines' clocks.",
            &progress.latency,
        )?;
        all.histogram("batch", "From sending a batch to Redis' reply to its EXEC.", &progress.batch_time)?;
        let round_trip = progress.round_trip.load(Relaxed) as f64 / 1e6;
        all.seconds(
            "redis_round_trip",
            "One short question to Redis over a connection of its own.",
            round_trip,
        )
    }

    fn lag(&self, all: &mut Families<'_, '_>) -> Encoded {
        let progress = &self.progress;
        let bytes = progress.lag_bytes() as f64;
        all.gauge(
            "lag_bytes",
            "Write-ahead log that is not in Redis yet; not all of it need be for us.",
            bytes,
        )?;
        let words = "For how long something has waited to be written; 0 when nothing does.";
        all.seconds("lag", words, progress.lag_seconds())?;
        let Some(slot) = progress.slot() else { return Ok(()) };
        let kept = slot.retained as f64;
        all.gauge("slot_retained_bytes", "Write-ahead log that PostgreSQL keeps for the slot.", kept)?;
        if let Some(safe) = slot.safe {
            let words =
                "Write-ahead log that can be written before the slot may be lost (max_slot_wal_keep_size).";
            all.gauge("slot_safe_bytes", words, safe as f64)?;
        }
        let words = "1 for the slot's wal_status in pg_replication_slots.";
        all.one_of("slot_status", words, "status", (&STATUSES, &slot.status))
    }

    fn tables(&self, all: &mut Families<'_, '_>) -> Encoded {
        let tables = self.progress.tables();
        let mut family = all.family(
            "rows",
            "Rows by table and by what happened to them; `truncate` counts statements.",
            MetricType::Counter,
        )?;
        for table in &tables {
            for (operation, name) in OPERATIONS {
                let labels = [("table", table.name.as_str()), ("operation", name)];
                ConstCounter::new(table.counted(operation)).encode(family.encode_family(&labels)?)?;
            }
        }
        let words = "Rows that the snapshot of the table has brought.";
        let mut family = all.family("snapshot_rows", words, MetricType::Gauge)?;
        for table in &tables {
            let rows = table.rows.load(Relaxed) as f64;
            ConstGauge::new(rows).encode(family.encode_family(&[("table", table.name.as_str())])?)?;
        }
        let words = "How much of the table the snapshot has read: 1 when it is done, before that by the planner's estimate.";
        let mut family = all.family("snapshot_fraction", words, MetricType::Gauge)?;
        for table in &tables {
            let fraction = match table.done.load(Relaxed) {
                true => 1.0,
                false => {
                    let (rows, expected) = (table.rows.load(Relaxed), table.expected.load(Relaxed).max(1));
                    (rows as f64 / expected as f64).min(0.99)
                }
            };
            ConstGauge::new(fraction).encode(family.encode_family(&[("table", table.name.as_str())])?)?;
        }
        Ok(())
    }
}

/// What every exporter calls the same.
#[derive(Debug)]
struct Process {
    /// µs since 2000-01-01 UTC.
    started: i64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        let mut all = Families(&mut encoder);
        const Y2000: f64 = 946_684_800.0;
        all.seconds(
            "process_start_time",
            "Start time of the process, since 1970.",
            self.started as f64 / 1e6 + Y2000,
        )?;
        if let Some(bytes) = memory() {
            all.gauge("process_resident_memory_bytes", "Memory that the process has.", bytes as f64)?;
        }
        if let Some(seconds) = cpu() {
            let family = all.0.encode_descriptor(
                "process_cpu",
                "User and system time of the process.",
                Some(&Unit::Seconds),
                MetricType::Counter,
            )?;
            ConstCounter::new(seconds).encode(family)?;
        }
        Ok(())
    }
}

/// Resident memory in bytes, where `/proc` is.
pub(crate) fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// User and system time in seconds.
fn cpu() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in parentheses, can hold anything.
    let (_, fields) = text.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let (user, system) = (ticks()?, ticks()?);
    Some((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::progress::{Operation, SlotSeen};
    use std::collections::BTreeSet;
    use std::sync::Arc;

    /// Something of everything.
    fn scraped() -> String {
        let progress = Arc::new(Progress::default());
        let table = progress.table("public.\"odd\" \\ name");
        table.count(Operation::Update, 5);
        progress.latency.observe(700);
        progress.count_retry(&Error::Restart(String::new()));
        progress.set_slot(SlotSeen { status: "extended".to_owned(), retained: 7, safe: Some(9) });
        let text = "source: { url: postgresql://u@h/hr }\ntarget: { url: redis://h }";
        let config = Config::parse(text, "", &|_| None).unwrap();
        text_of(&config, &progress)
    }

    fn text_of(config: &Config, progress: &Arc<Progress>) -> String {
        super::text(config, progress, true)
    }

    #[test]
    fn as_prometheus_reads_it() {
        let text = scraped();
        for line in [
            "redis_connect_postgres_pipeline_info{pipeline=\"hr\",slot=\"redis_connect_hr\",publication=\"redis_connect_hr\"} 1",
            "redis_connect_postgres_state{state=\"starting\"} 1",
            "redis_connect_postgres_state{state=\"streaming\"} 0",
            "redis_connect_postgres_rows_total{table=\"public.\\\"odd\\\" \\\\ name\",operation=\"update\"} 1",
            "redis_connect_postgres_retries_total{reason=\"begin_again\"} 1",
            "redis_connect_postgres_commit_to_redis_seconds_bucket{le=\"0.0005\"} 0",
            "redis_connect_postgres_commit_to_redis_seconds_bucket{le=\"0.001\"} 1",
            "redis_connect_postgres_commit_to_redis_seconds_bucket{le=\"+Inf\"} 1",
            "redis_connect_postgres_commit_to_redis_seconds_count 1",
            "redis_connect_postgres_slot_status{status=\"extended\"} 1",
            "# TYPE redis_connect_postgres_rows_total counter",
            "# TYPE process_cpu_seconds_total counter",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn all_are_documented() {
        let text = scraped();
        let families: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split(' ').next())
            .collect();
        let page = include_str!("../docs/metrics.md");
        let documented: BTreeSet<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|line| line.split(['`', '{']).next())
            .filter(|name| name.starts_with("redis_connect") || name.starts_with("process_"))
            .collect();
        assert_eq!(families, documented);
        for reason in crate::progress::REASONS {
            assert!(page.contains(&format!("`{reason}`")), "{reason} is not in docs/metrics.md");
        }
    }
}
