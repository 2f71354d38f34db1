//! `status`, `pause` and `resume`, with a process that answers, with one that does not, and without one.

use serde_json::Value;

use super::{Served, TABLE};
use crate::harness::World;
use crate::hashes::Live;

fn status(world: &World, flags: &[&str]) -> (Option<i32>, String) {
    let file = world.config_file().to_string_lossy().into_owned();
    let (code, told) = world.finish(&[&["status", "-c", &file], flags].concat());
    (code, if code == Some(0) { told.stdout() } else { told.log() })
}

fn json(world: &World) -> Value {
    let (code, text) = status(world, &["--json"]);
    assert_eq!(code, Some(0), "{text}");
    serde_json::from_str(&text).unwrap()
}

fn command(world: &World, name: &str) -> (Option<i32>, String) {
    let file = world.config_file().to_string_lossy().into_owned();
    let (code, told) = world.finish(&[name, "-c", &file]);
    (code, format!("{}{}", told.stdout(), told.log()))
}

#[test]
fn of_a_process_that_answers() {
    let world = World::new();
    world.sql(&format!("{TABLE}; INSERT INTO emp VALUES (1, 'x')"));
    let served = Served::tables(&world, "public.emp: { type: hash }");
    let shown = json(&world);
    assert_eq!((&shown["origin"], &shown["state"]), (&"process".into(), &"streaming".into()), "{shown:#}");
    assert_eq!(shown["totals"]["sessions"], 1);
    assert_eq!(status(&world, &["--ready"]), (Some(0), String::new()));
    let (_, words) = status(&world, &[]);
    assert!(words.contains("state          streaming since 20"), "{words}");
    assert!(words.lines().any(|line| line.starts_with("public.emp") && line.contains("done")), "{words}");
    // The process answers when it has come to rest, so the command need not be waited for.
    let (code, words) = command(&world, "pause");
    assert!(code == Some(0) && words.contains("pauses; PostgreSQL keeps its log"), "{words}");
    assert_eq!(served.state(), "paused");
    let (code, words) = status(&world, &["--ready"]);
    assert_eq!(code, Some(1));
    assert!(words.contains("is not ready: paused"), "{words}");
    let (code, words) = command(&world, "resume");
    assert!(code == Some(0) && words.contains("goes on"), "{words}");
    assert_eq!(served.state(), "streaming");
    let (code, words) = command(&world, "resume");
    assert!(code == Some(0) && words.contains("was not paused"), "{words}");
    world.redis::<()>(&["DEL", "emp:1"]);
    let file = world.config_file().to_string_lossy().into_owned();
    let (code, told) = world.finish(&["snapshot", "-c", &file, "public.emp"]);
    assert_eq!((code, told.stdout().as_str()), (Some(0), "public.emp: 1 rows read\n"), "{}", told.story());
    assert_eq!(world.hash("emp:1")["name"], "x");
}

#[test]
fn without_http() {
    let world = World::new();
    world.sql(&format!("{TABLE}; INSERT INTO emp VALUES (1, 'x')"));
    world.config("public.emp: { type: hash }");
    let (code, words) = status(&world, &[]);
    assert_eq!(code, Some(1));
    assert!(words.contains("nothing was captured yet: redis-connect-postgres run"), "{words}");
    let (code, words) = command(&world, "pause");
    assert_eq!(code, Some(1), "{words}");
    let live = Live::tables(&world, "public.emp: { type: hash }");
    let shown = json(&world);
    assert_eq!((&shown["origin"], &shown["state"]), (&"checkpoint".into(), &"streaming".into()), "{shown:#}");
    let table = shown["tables"].as_array().unwrap().iter().find(|t| t["name"] == "public.emp").unwrap();
    assert_eq!((&table["snapshot"]["rows"], &table["snapshot"]["done"]), (&1.into(), &true.into()));
    assert!(shown["position"].as_str().unwrap().contains('/') && shown["lag"]["bytes"].is_u64(), "{shown:#}");
    assert_eq!(shown["slot_state"]["status"], "reserved");
    assert_eq!(status(&world, &["--ready"]).0, Some(0));

    let (code, words) = command(&world, "pause");
    assert!(code == Some(0) && words.contains("pauses; PostgreSQL keeps its log"), "{words}");
    live.eventually("it pauses", || live.connector.log_contains("paused; PostgreSQL keeps"));
    assert_eq!(json(&world)["state"], "paused");
    world.sql("INSERT INTO emp VALUES (2, 'y')");
    // One that is to end by itself would never end.
    live.connector.term();
    assert!(live.connector.wait(std::time::Duration::from_secs(10)).success());
    let (_, shown) = (0, json(&world));
    assert_eq!((&shown["state"], &shown["ready"]), (&"stopped".into(), &false.into()), "{shown:#}");
    let file = world.config_file().to_string_lossy().into_owned();
    let (code, told) = world.finish(&["run", "-c", &file, "--until-caught-up"]);
    assert_eq!(code, Some(1), "{}", told.story());
    assert!(
        told.log_contains("is paused, so this would never end: redis-connect-postgres resume"),
        "{}",
        told.log()
    );
    assert!(world.hash("emp:2").is_empty());

    let (code, words) = command(&world, "resume");
    assert!(code == Some(0) && words.contains("goes on"), "{words}");
    let (code, words) = command(&world, "resume");
    assert!(code == Some(0) && words.contains("was not paused"), "{words}");
    world.run_until_caught_up();
    assert_eq!(world.hash("emp:2")["name"], "y");
}

/// One waits, and says so; when it takes over, that is counted.
#[test]
fn of_one_that_waits() {
    let world = World::own();
    world.sql(TABLE);
    let first = Live::tables(&world, "public.emp: { type: hash }");
    let port = redis_connect_postgres::throwaway::port::free().unwrap();
    let second = world.run_with(&["--http", &port.to_string()]);
    let browser = super::Browser::at(port);
    super::answers(&world, &browser, &second);
    world.eventually_eq("it waits", &"waiting".to_owned(), || {
        browser.json("/api/v1/status")["state"].as_str().unwrap().to_owned()
    });
    let ready = browser.get("/readyz");
    assert_eq!((ready.status, ready.text.contains("another instance")), (503, true), "{}", ready.text);
    assert_eq!(browser.get("/healthz").status, 200);
    first.connector.kill9();
    world.eventually("it took over", || browser.get("/readyz").status == 200);
    assert_eq!(browser.json("/api/v1/status")["totals"]["takeovers"], 1);
    let events = browser.json("/api/v1/events").to_string();
    assert!(events.contains("\"took_over\""), "{events}");
}
