//! What can be asked for: pause and resume, tables read again, verify, log level.

use serde_json::json;

use super::{Served, TABLE};
use crate::harness::{Proxy, World};

#[test]
fn pause_and_resume() {
    let world = World::new();
    world.sql(&format!("{TABLE}; INSERT INTO emp VALUES (1, 'x')"));
    let mut served = Served::tables(&world, "public.emp: { type: hash }");
    let answer = served.browser.post("/api/v1/pause", None);
    assert_eq!((answer.status, &answer.json()["state"]), (200, &"paused".into()), "{}", answer.text);
    world.sql("INSERT INTO emp VALUES (2, 'y')");
    served.live.eventually("it is behind", || {
        served.browser.json("/api/v1/status")["lag"]["bytes"].as_u64().unwrap() > 0
    });
    assert!(world.hash("emp:2").is_empty(), "written although it is paused");
    assert_eq!(served.browser.get("/readyz").status, 503);
    assert_eq!(served.browser.get("/healthz").status, 200);
    // Whoever starts meanwhile is paused too.
    served.live.connector.term();
    assert!(served.live.connector.wait(std::time::Duration::from_secs(10)).success());
    served.live.start_again();
    super::answers(&world, &served.browser, &served.live.connector);
    served.becomes("paused");
    assert!(world.hash("emp:2").is_empty(), "written although it is paused");
    let answer = served.browser.post("/api/v1/resume", None);
    assert_eq!(answer.status, 200, "{}", answer.text);
    world.eventually("the row", || !world.hash("emp:2").is_empty());
    served.becomes("streaming");
    let kinds = served.events();
    assert!(kinds.contains(&"paused".to_owned()) && kinds.contains(&"resumed".to_owned()), "{kinds:?}");
}

/// PostgreSQL keeps the connection for as long as a pause lasts, also when there is much to send.
#[test]
fn a_pause_outlasts_wal_sender_timeout() {
    let world = World::own_of(15, &[("wal_sender_timeout", "2s")]);
    world.sql(TABLE);
    let served = Served::tables(&world, "public.emp: { type: hash }");
    served.browser.post("/api/v1/pause", None);
    served.becomes("paused");
    // More than socket buffers hold.
    world.sql("INSERT INTO emp SELECT g, repeat('x', 1000) FROM generate_series(1, 30000) g");
    let began = std::time::Instant::now();
    world.within(std::time::Duration::from_secs(20), "three timeouts", || began.elapsed().as_secs() >= 6);
    assert_eq!(served.state(), "paused");
    served.browser.post("/api/v1/resume", None);
    world.eventually("all rows", || world.redis::<u64>(&["EXISTS", "emp:30000"]) == 1);
    let sessions = served.browser.json("/api/v1/status")["totals"]["sessions"].clone();
    assert_eq!(sessions, 1, "the connection was lost\n{}", world.story());
}

#[test]
fn a_pause_during_the_snapshot() {
    let world = World::new();
    world.sql(&format!(
        "{TABLE}; INSERT INTO emp SELECT g, repeat('x', 500) FROM generate_series(1, 50000) g; ANALYZE emp"
    ));
    // So slow that it can't be over before it is paused.
    let proxy = Proxy::to(world.redis_port());
    proxy.throttle(1_000_000);
    let port = redis_connect_postgres::throwaway::port::free().unwrap();
    world.configure(&crate::harness::Config {
        target_url: Some(world.target_url_at(proxy.port())),
        tables: "public.emp: { type: hash }",
        target: "batch: { rows: 50 }",
        top: &format!("http: {{ listen: '{port}' }}"),
        ..Default::default()
    });
    let connector = world.run();
    let browser = super::Browser::at(port);
    super::answers(&world, &browser, &connector);
    let rows = || {
        let status = browser.json("/api/v1/status");
        status["tables"][0]["snapshot"]["rows"].as_u64().unwrap_or(0)
    };
    world.eventually("rows are read", || rows() > 0);
    let answer = browser.post("/api/v1/pause", None);
    assert_eq!(answer.json()["state"], "paused", "{}", world.story());
    let read = rows();
    assert!(read < 50_000, "it was over before the pause");
    let keys = world.redis::<u64>(&["DBSIZE"]);
    // The pipeline has its heartbeats, and does nothing.
    let looked = std::time::Instant::now();
    world.eventually("two heartbeats", || looked.elapsed().as_secs() >= 2);
    assert_eq!((rows(), world.redis::<u64>(&["DBSIZE"])), (read, keys));
    browser.post("/api/v1/resume", None);
    proxy.throttle(0);
    world.eventually("it streams", || connector.log_contains("streaming from"));
    assert_eq!(world.keys("emp:*").len(), 50_000);
}

#[test]
fn tables_are_read_again() {
    let world = World::new();
    world.sql(&format!("{TABLE}; INSERT INTO emp VALUES (1, 'x'), (2, 'y')"));
    let served = Served::tables(&world, "public.emp: { type: hash }");
    world.redis::<()>(&["DEL", "emp:1"]);
    world.redis::<()>(&["HSET", "emp:99", "name", "nobody"]);
    let wrong = served.browser.post("/api/v1/snapshots", Some(json!({ "tables": ["public.enp"] })));
    assert_eq!(wrong.status, 404);
    assert!(wrong.text.contains("did you mean `public.emp`?"), "{}", wrong.text);
    let asked = served.browser.post("/api/v1/snapshots", Some(json!({ "tables": ["public.emp"] })));
    assert_eq!(asked.status, 202, "{}", asked.text);
    world.eventually("the row is there again", || world.hash("emp:1").contains_key("name"));
    world.eventually("what has no row is gone", || world.hash("emp:99").is_empty());
}

#[test]
fn verify_in_the_background() {
    let world = World::new();
    world.sql(&format!("{TABLE}; INSERT INTO emp VALUES (1, 'x'), (2, 'y')"));
    let served = Served::tables(&world, "public.emp: { type: hash }");
    assert_eq!(served.browser.json("/api/v1/verify")["state"], "none");
    let verify = |repair: bool| {
        let begun = served.browser.post("/api/v1/verify", Some(json!({ "repair": repair })));
        assert_eq!((begun.status, &begun.json()["state"]), (202, &"running".into()), "{}", begun.text);
        served.live.eventually("it ends", || served.browser.json("/api/v1/verify")["state"] != "running");
        served.browser.json("/api/v1/verify")
    };
    assert_eq!(verify(false)["equal"], true);
    world.redis::<()>(&["HSET", "emp:1", "name", "wrong"]);
    let found = verify(false);
    assert_eq!((&found["state"], &found["equal"]), (&"done".into(), &false.into()), "{found:#}");
    assert!(found["report"].to_string().contains("emp:1"), "{found:#}");
    assert_eq!(verify(true)["equal"], true);
    assert_eq!(world.hash("emp:1")["name"], "x");
    assert_eq!(verify(false)["equal"], true);
}

#[test]
fn the_log_level_changes() {
    let world = World::new();
    world.sql(TABLE);
    let served = Served::tables(&world, "public.emp: { type: hash }");
    assert_eq!(served.browser.json("/api/v1/log-level")["level"], "info");
    let wrong = served.browser.ask("PUT", "/api/v1/log-level", Some(json!({ "level": "info,=" })));
    assert_eq!(wrong.status, 400, "{}", wrong.text);
    let set = served.browser.ask("PUT", "/api/v1/log-level", Some(json!({ "level": "error" })));
    assert_eq!(set.status, 200, "{}", set.text);
    served.browser.post("/api/v1/pause", None);
    served.browser.post("/api/v1/resume", None);
    assert!(!served.live.connector.log_contains("resumed"), "{}", served.live.connector.log());
    // The journal has it all the same.
    assert!(served.events().contains(&"resumed".to_owned()));
    served.browser.ask("PUT", "/api/v1/log-level", Some(json!({ "level": "info" })));
    served.browser.post("/api/v1/pause", None);
    served.browser.post("/api/v1/resume", None);
    served.live.eventually("it is logged", || served.live.connector.log_contains("resumed"));
}
