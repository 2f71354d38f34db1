//! What is in contrib/ for Prometheus and Grafana, against a real Prometheus.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis_connect_postgres::throwaway::port;
use serde_json::Value;

use super::{Browser, Served, TABLE};
use crate::harness::{World, skip};

const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/prometheus/alerts.yaml");
const DASHBOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/grafana/dashboard.json");

/// Names of ours in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_name(c))
        .filter(|word| word.starts_with("redis_connect_postgres_"))
        .map(str::to_owned)
        .collect()
}

/// What the dashboard asks for.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(DASHBOARD).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap().iter());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn nothing_is_asked_for_that_is_not_there() {
    let page = names(&fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap());
    let asked = format!("{}{}", fs::read_to_string(ALERTS).unwrap(), expressions().join("\n"));
    let asked = names(&asked);
    assert!(asked.len() > 15, "{asked:?}");
    for name in asked {
        let family =
            ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
        assert!(page.contains(&name) || page.contains(family), "{name} is not in docs/metrics.md");
    }
}

struct Prometheus {
    process: Child,
    browser: Browser,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    fn start(directory: &Path, scraped: u16) -> Prometheus {
        let port = port::free().unwrap();
        let file = directory.join("prometheus.yml");
        fs::write(
            &file,
            format!(
                "global: {{ scrape_interval: 200ms, evaluation_interval: 200ms }}\n\
                 rule_files: ['{ALERTS}']\n\
                 scrape_configs:\n  - job_name: hr\n    static_configs: [{{ targets: ['127.0.0.1:{scraped}'] }}]\n"
            ),
        )
        .unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("prometheus").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.join("prometheus.log")).unwrap())
            .spawn()
            .unwrap();
        Prometheus { process, browser: Browser::at(port) }
    }

    fn query(&self, expression: &str) -> Value {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = self.browser.get(&format!("/api/v1/query?query={encoded}"));
        let json = answer.json();
        assert_eq!(json["status"], "success", "{expression}: {json}");
        json["data"]["result"].clone()
    }
}

#[test]
fn a_real_prometheus_takes_all_of_it() {
    if Command::new("prometheus").arg("--version").output().is_err() {
        skip!("there is no prometheus; Debian has it as a package");
    }
    let rules = Command::new("promtool").args(["check", "rules", ALERTS]).output().unwrap();
    assert!(rules.status.success(), "{}", String::from_utf8_lossy(&rules.stderr));
    let world = World::new();
    world.sql(&format!("{TABLE}; INSERT INTO emp VALUES (1, 'x')"));
    let served = Served::tables(&world, "public.emp: { type: hash }");
    served.live.sql("INSERT INTO emp VALUES (2, 'y')");
    let prometheus = Prometheus::start(world.directory(), served.browser.port);
    let is_up = || {
        std::net::TcpStream::connect(("127.0.0.1", prometheus.browser.port)).is_ok()
            && prometheus.browser.get("/-/ready").status == 200
    };
    world.within(Duration::from_secs(60), "Prometheus answers", is_up);
    world.eventually("it was scraped twice", || {
        let times = prometheus.query("count_over_time(up{job=\"hr\"}[1m])");
        times[0]["value"][1].as_str().is_some_and(|times| times.parse::<f64>().unwrap() >= 2.0)
    });
    assert_eq!(prometheus.query("up")[0]["value"][1], "1", "{}", world.directory().display());
    let rows =
        prometheus.query("redis_connect_postgres_rows_total{table=\"public.emp\",operation=\"insert\"}");
    assert_eq!(rows[0]["value"][1], "1", "{rows}");
    // Every panel's question is understood, and most have an answer by now.
    let mut answered = 0;
    let all = expressions();
    for expression in &all {
        let asked = expression.replace("$__rate_interval", "1m").replace("$instance", ".*");
        answered += usize::from(prometheus.query(&asked).as_array().is_some_and(|series| !series.is_empty()));
    }
    assert!(answered * 4 >= all.len() * 3, "{answered} of {} have an answer", all.len());
    // The rules are evaluated without an error, and nothing is wrong.
    let rules = || prometheus.browser.json("/api/v1/rules")["data"]["groups"][0]["rules"].clone();
    world.eventually("the rules were evaluated", || {
        rules().as_array().is_some_and(|rules| rules.iter().all(|rule| rule["health"] == "ok"))
    });
    for rule in rules().as_array().unwrap() {
        assert_eq!(rule["state"], "inactive", "{rule:#}");
    }
    // And then something is.
    served.browser.post("/api/v1/pause", None);
    world.eventually("one is", || {
        rules()
            .as_array()
            .unwrap()
            .iter()
            .any(|rule| rule["name"] == "RedisConnectNotReady" && rule["state"] == "pending")
    });
    // What it makes of the text itself.
    let text = served.browser.get("/metrics").text;
    let mut lint = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut lint.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let lint = lint.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&lint.stdout), String::from_utf8_lossy(&lint.stderr));
    assert!(lint.status.success(), "{said}");
}
