//! Dead letters over HTTP.

use serde_json::json;

use super::{Served, TABLE};
use crate::harness::World;

#[test]
fn list_replay_and_purge() {
    let world = World::new();
    world.sql(TABLE);
    let served = Served::tables(&world, "public.emp: { type: hash }");
    for id in 1..=3 {
        world.redis::<()>(&["SET", &format!("emp:{id}"), "in the way"]);
    }
    served.live.sql("INSERT INTO emp VALUES (1, 'x'), (2, 'y'), (3, 'z')");
    served.live.eventually_eq("the letters", &3, || {
        served.browser.json("/api/v1/dead-letters")["count"].as_u64().unwrap_or(0)
    });
    let all = served.browser.json("/api/v1/dead-letters");
    let letters = all["letters"].as_array().unwrap();
    assert_eq!(letters.len(), 3);
    // The newest first.
    assert_eq!(letters[0]["row"], json!({ "id": "3", "name": "z" }), "{all:#}");
    assert!(letters[0]["reason"].as_str().unwrap().starts_with("WRONGTYPE"), "{all:#}");
    let newest = letters[0]["id"].as_str().unwrap();
    let page = served.browser.json(&format!("/api/v1/dead-letters?limit=1&before={newest}"));
    assert_eq!(page["letters"][0]["id"], letters[1]["id"]);
    assert_eq!(served.browser.get("/api/v1/dead-letters?before=x").status, 400);

    let status = served.browser.json("/api/v1/status");
    let table = status["tables"].as_array().unwrap().iter().find(|t| t["name"] == "public.emp").unwrap();
    assert_eq!((&status["dead_letters"], &table["dead_letters"]), (&3.into(), &3.into()));
    let output = &table["outputs"][0];
    assert_eq!(output["dead_letters"], 3, "{output}");
    assert!(output["last_error"]["error"].as_str().unwrap().contains("WRONGTYPE"), "{output}");
    assert!(table["last_error"]["error"].as_str().unwrap().contains("WRONGTYPE"), "{table}");

    world.redis::<()>(&["DEL", "emp:1"]);
    let replayed = served.browser.post("/api/v1/dead-letters/replay", None);
    assert_eq!(replayed.status, 200, "{}", replayed.text);
    let replayed = replayed.json();
    assert_eq!((&replayed["replayed"], &replayed["remaining"]), (&1.into(), &2.into()), "{replayed}");
    assert!(replayed["failed"][0]["reason"].as_str().unwrap().contains("WRONGTYPE"), "{replayed}");
    assert_eq!(world.hash("emp:1")["name"], "x");

    let left = served.browser.json("/api/v1/dead-letters");
    let one = json!({ "ids": [left["letters"][0]["id"]] });
    assert_eq!(served.browser.post("/api/v1/dead-letters/purge", Some(one)).json()["removed"], 1);
    assert_eq!(served.browser.post("/api/v1/dead-letters/purge", Some(json!({ "ids": ["x"] }))).status, 400);
    assert_eq!(served.browser.post("/api/v1/dead-letters/purge", Some(json!({}))).json()["removed"], 1);
    assert_eq!(served.browser.json("/api/v1/dead-letters")["count"], 0);
    served.live.eventually("the status knows", || served.browser.json("/api/v1/status")["dead_letters"] == 0);
}
