//! `check`: what it finds, what it says, and that it changes nothing.

mod clusters;
mod postgres;
mod redis;
mod report;
mod services;
mod tables;

use serde_json::Value;

use crate::harness::World;

/// What `check --json` says of the world's configuration.
struct Report {
    code: i32,
    json: Value,
}

#[track_caller]
fn check(world: &World) -> Report {
    let file = world.config_file();
    if !file.exists() {
        world.config("");
    }
    let (code, connector) = world.finish(&["check", "--json", "-c", &file.to_string_lossy()]);
    let json = serde_json::from_str(&connector.stdout()).unwrap_or_else(|_| panic!("{}", connector.story()));
    let report = Report { code: code.unwrap(), json };
    assert_eq!(report.code, i32::from(report.json["ready"] == false), "{:#}", report.json);
    report
}

impl Report {
    /// What a check found: each its outcome, and its words with what mends it.
    fn of(&self, check: &str) -> Vec<(&str, String)> {
        let all = self.json["findings"].as_array().unwrap();
        let found = all.iter().filter(|finding| finding["check"] == check);
        let words = |finding: &Value| {
            let mend = finding["mend"].as_str().unwrap_or_default();
            format!("{} -> {mend}", finding["found"].as_str().unwrap())
        };
        found.map(|finding| (finding["outcome"].as_str().unwrap(), words(finding))).collect()
    }

    /// A check found this outcome, with all of these words in one finding.
    #[track_caller]
    fn says(&self, check: &str, outcome: &str, words: &[&str]) {
        let found = self.of(check);
        let fits = |(o, text): &(&str, String)| *o == outcome && words.iter().all(|word| text.contains(word));
        assert!(found.iter().any(fits), "{check}: {outcome} {words:?} is not in {found:#?}");
    }

    #[track_caller]
    fn is_ready(&self) {
        assert_eq!(self.code, 0, "{:#}", self.json);
    }

    #[track_caller]
    fn is_not_ready(&self) {
        assert_eq!(self.code, 1, "{:#}", self.json);
    }
}

/// `run` refuses with the words of a finding.
#[track_caller]
fn run_refuses(world: &World, words: &[&str]) {
    let file = world.config_file();
    let (code, connector) = world.finish(&["run", "--once", "-c", &file.to_string_lossy()]);
    let log = connector.log();
    let line = log.lines().last().unwrap_or_default();
    assert_eq!(code, Some(1), "{log}");
    for word in words {
        assert!(line.contains(word), "`{word}` is missing in {line}");
    }
    let slots: i64 =
        world.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()");
    let publications: i64 = world.value(&format!(
        "SELECT count(*) FROM pg_publication WHERE pubname = 'redis_connect_{}' AND obj_description(oid) IS NOT NULL",
        world.name
    ));
    assert_eq!((slots, publications), (0, 0), "something was made before it was refused: {line}");
}
