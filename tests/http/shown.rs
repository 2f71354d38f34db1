//! What is shown: status, tables, metrics, events, history, configuration.

use std::io::BufRead as _;

use serde_json::Value;

use super::{Served, TABLE, browser};
use crate::harness::World;

/// The value of a series.
fn metric(text: &str, series: &str) -> f64 {
    let full = format!("redis_connect_postgres_{series} ");
    let line = text.lines().find_map(|line| line.strip_prefix(full.as_str()));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[test]
fn rows_are_counted() {
    let world = World::new();
    world.sql(&format!("{TABLE}; INSERT INTO emp SELECT g, 'x' FROM generate_series(1, 10) g; ANALYZE emp"));
    let served = Served::tables(&world, "public.emp: [{ type: hash }, { type: stream }]");
    served.live.sql("INSERT INTO emp SELECT g, 'y' FROM generate_series(11, 13) g");
    served.live.sql("UPDATE emp SET name = 'z' WHERE id < 3");
    served.live.sql("DELETE FROM emp WHERE id = 1");
    let status = served.browser.json("/api/v1/status");
    let table = status["tables"].as_array().unwrap().iter().find(|t| t["name"] == "public.emp").unwrap();
    let rows = &table["rows"];
    let count = |name: &str| rows[name].as_u64().unwrap();
    let counts = ["read", "inserted", "updated", "deleted", "truncated"].map(count);
    assert_eq!(counts, [10, 3, 2, 1, 0], "{table:#}");
    assert_eq!(
        table["outputs"][0],
        serde_json::json!({ "type": "hash", "key": "{table}:{pk}", "dead_letters": 0 })
    );
    assert_eq!(table["outputs"][1]["type"], "stream");
    assert_eq!((&table["snapshot"]["rows"], &table["snapshot"]["done"]), (&10.into(), &true.into()));
    assert_eq!(table["converging"], false, "{table:#}");
    assert!(table["last_change"].as_str().unwrap().starts_with("20"), "{table:#}");
    assert_eq!(status["state"], "streaming");
    assert_eq!((&status["ready"], &status["dead_letters"]), (&true.into(), &0.into()));
    // Three statements, and four markers of the test's own.
    assert_eq!(status["totals"]["transactions"], 7, "{status:#}");
    assert!(status["memory_bytes"].as_u64().unwrap() > 1_000_000 || !cfg!(target_os = "linux"));

    let text = served.browser.get("/metrics");
    assert!(text.headers.contains("content-type: text/plain; version=0.0.4"), "{}", text.headers);
    let rows = |operation: &str| {
        metric(&text.text, &format!("rows_total{{table=\"public.emp\",operation=\"{operation}\"}}"))
    };
    assert_eq!(["read", "insert", "update", "delete", "truncate"].map(rows), [10.0, 3.0, 2.0, 1.0, 0.0]);
    assert_eq!(metric(&text.text, "transactions_total"), 7.0);
    assert_eq!(metric(&text.text, "commit_to_redis_seconds_count"), 7.0);
    assert_eq!(metric(&text.text, "state{state=\"streaming\"}"), 1.0);
    assert_eq!(metric(&text.text, "ready"), 1.0);
    assert_eq!(metric(&text.text, "snapshot_fraction{table=\"public.emp\"}"), 1.0);
    assert!(metric(&text.text, "received_bytes_total") > 100.0);
    assert!(metric(&text.text, "sent_bytes_total") > 100.0);
    served.live.eventually("the slot was looked at", || {
        served.browser.get("/metrics").text.contains("slot_status{status=\"reserved\"} 1")
    });
    served.live.sql("TRUNCATE emp");
    let text = served.browser.get("/metrics").text;
    assert_eq!(metric(&text, "rows_total{table=\"public.emp\",operation=\"truncate\"}"), 1.0);
}

/// What is done again after an interruption is not counted twice.
#[test]
fn changes_are_counted_once() {
    let world = World::own();
    world.sql(TABLE);
    let served = Served::tables(&world, "public.emp: { type: hash }");
    for round in 0..5 {
        served
            .live
            .sql(&format!("INSERT INTO emp SELECT g, 'x' FROM generate_series({round}00, {round}99) g"));
        world.redis_server().kill9();
        world.redis_server().start_again().unwrap();
    }
    served.live.sql("INSERT INTO emp VALUES (1000, 'last')");
    let text = served.browser.get("/metrics").text;
    assert_eq!(metric(&text, "rows_total{table=\"public.emp\",operation=\"insert\"}"), 501.0);
}

#[test]
fn everything_that_is_described_answers() {
    let world = World::new();
    world.sql(TABLE);
    let served = Served::tables(&world, "public.emp: { type: hash }");
    let description = served.browser.json("/api/openapi.json");
    let mut asked = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        if methods.get("get").is_none() || path == "/api/v1/live" {
            continue;
        }
        asked += 1;
        let answer = served.browser.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    assert!(asked >= 8, "{asked}");
    for path in ["/", "/dashboard.css", "/dashboard.js"] {
        let answer = served.browser.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.headers.contains("content-security-policy: default-src 'none'"), "{}", answer.headers);
    }
    let nothing = served.browser.get("/api/v1/nothing");
    assert_eq!(nothing.status, 404);
    assert!(nothing.json()["error"].as_str().unwrap().contains("/api/openapi.json"));
    assert_eq!(served.browser.post("/api/v1/status", None).status, 405);
}

#[test]
fn events_and_what_comes_live() {
    let world = World::new();
    world.sql(&format!("{TABLE}; INSERT INTO emp VALUES (1, 'x')"));
    let served = Served::tables(&world, "public.emp: { type: hash }");
    let kinds = served.events();
    for kind in ["listening", "slot_made", "snapshot_begins", "snapshot_done", "streaming"] {
        assert!(kinds.iter().any(|found| found == kind), "no {kind} in {kinds:?}");
    }
    let events = served.browser.json("/api/v1/events");
    let last = events.as_array().unwrap().last().unwrap()["id"].as_u64().unwrap();
    assert_eq!(served.browser.json(&format!("/api/v1/events?after={last}")), serde_json::json!([]));
    // A tick a second, with the status, and events that are new.
    let mut reader = served.browser.begin("GET", "/api/v1/live", None);
    let (status, headers) = browser::head(&mut reader);
    assert_eq!(status, 200);
    assert!(headers.contains("content-type: text/event-stream"), "{headers}");
    let mut ticks = reader.lines().map(Result::unwrap).filter_map(|line| {
        line.strip_prefix("data: ").map(|data| serde_json::from_str::<Value>(data).unwrap())
    });
    let first = ticks.next().unwrap();
    assert_eq!(first["status"]["state"], "streaming");
    assert_eq!(first["events"].as_array().unwrap().len(), events.as_array().unwrap().len());
    served.live.sql("INSERT INTO emp VALUES (2, 'y')");
    let inserted = |tick: &Value| {
        let tables = tick["status"]["tables"].as_array().unwrap();
        tables.iter().any(|table| table["name"] == "public.emp" && table["rows"]["inserted"] == 1)
    };
    let tick = ticks.take(30).find(inserted).expect("the row in the next ticks");
    assert_eq!(tick["events"], serde_json::json!([]), "nothing happened");
    assert!(tick["sample"]["lag_seconds"].is_number(), "{tick}");
    let history = served.browser.json("/api/v1/history");
    assert!(!history.as_array().unwrap().is_empty());
}

#[test]
fn the_configuration_without_secrets() {
    let world = World::new();
    world.sql(TABLE);
    let served = Served::tables(&world, "public.emp: { type: hash, ttl: 1h }");
    let shown = served.browser.json("/api/v1/config");
    assert_eq!(shown["tables"]["public.emp"]["ttl"], "3600000ms");
    assert_eq!(shown["source"]["retain"], "60000ms");
    assert_eq!(shown["on_gap"], "resnapshot");
}

/// What fails is told: what, since when, the next try.
#[test]
fn trouble_is_shown() {
    let world = World::own();
    world.sql(TABLE);
    let served = Served::tables(&world, "public.emp: { type: hash }");
    world.redis_server().kill9();
    world.sql("INSERT INTO emp VALUES (1, 'x')");
    served.becomes("retrying");
    served.live.eventually("the trouble", || served.browser.json("/api/v1/status")["trouble"].is_object());
    let trouble = served.browser.json("/api/v1/status")["trouble"].clone();
    assert!(trouble["error"].as_str().unwrap().starts_with("Redis at 127.0.0.1"), "{trouble}");
    assert_eq!(trouble["reason"], "redis_connection");
    assert!(trouble["since"].is_string() && trouble["next_try"].is_string(), "{trouble}");
    let ready = served.browser.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("trying again: Redis at"), "{}", ready.text);
    assert_eq!(served.browser.get("/healthz").status, 200);
    let text = served.browser.get("/metrics").text;
    assert!(metric(&text, "retries_total{reason=\"redis_connection\"}") >= 1.0);
    world.redis_server().start_again().unwrap();
    served.becomes("streaming");
    served
        .live
        .eventually("no trouble any more", || served.browser.json("/api/v1/status")["trouble"].is_null());
    assert_eq!(served.browser.get("/readyz").status, 200);
    assert!(served.events().contains(&"works_again".to_owned()));
}
