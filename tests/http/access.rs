//! Who may ask, and where it listens.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use redis_connect_postgres::throwaway::port;
use serde_json::json;

use super::{Browser, TABLE, answers};
use crate::harness::{Authority, Certificate, Config, World};

#[test]
fn a_token_is_asked_for() {
    let world = World::new();
    world.sql(TABLE);
    let (port, file) = (port::free().unwrap(), world.directory().join("token"));
    fs::write(&file, "first-token\n").unwrap();
    world.configure(&Config {
        top: &format!("http: {{ listen: 'localhost:{port}', token_file: '{}' }}", file.display()),
        ..Config::default()
    });
    let connector = world.run();
    let browser = Browser::at(port);
    answers(&world, &browser, &connector);
    for open in ["/healthz", "/", "/dashboard.js"] {
        assert_eq!(browser.get(open).status, 200, "{open}");
    }
    world.eventually("it is ready", || browser.get("/readyz").status == 200);
    for closed in ["/metrics", "/api/v1/status", "/api/v1/live", "/api/openapi.json"] {
        let answer = browser.get(closed);
        assert_eq!(answer.status, 401, "{closed}");
        assert!(answer.headers.contains("www-authenticate: bearer"), "{}", answer.headers);
    }
    assert_eq!(browser.post("/api/v1/pause", None).status, 401);
    let first = browser.with("authorization", "Bearer first-token");
    assert_eq!(first.get("/metrics").status, 200);
    assert_eq!(browser.with("authorization", "Bearer second-token").get("/metrics").status, 401);
    // Read again for each request, so that it can be changed.
    fs::write(&file, "second-token").unwrap();
    assert_eq!(first.get("/metrics").status, 401);
    assert_eq!(browser.with("authorization", "Bearer second-token").get("/metrics").status, 200);
    let shown = browser.with("authorization", "Bearer second-token").get("/api/v1/config").text;
    assert!(!shown.contains("second-token") && shown.contains("token_file"), "{shown}");
    fs::remove_file(&file).unwrap();
    assert_eq!(first.get("/metrics").status, 500);
    assert!(!connector.log().contains("-token"), "{}", connector.log());
}

/// A page in a browser on the same machine must not be able to do anything.
#[test]
fn other_sites_are_refused() {
    let world = World::new();
    world.sql(TABLE);
    let port = port::free().unwrap();
    world.config("");
    let connector = world.run_with(&["--http", &port.to_string()]);
    let browser = Browser::at(port);
    answers(&world, &browser, &connector);
    world.eventually("it is ready", || browser.get("/readyz").status == 200);
    let foreign = browser.with("origin", "https://evil.example");
    assert_eq!(foreign.post("/api/v1/pause", None).status, 403);
    assert_eq!(browser.with("sec-fetch-site", "cross-site").post("/api/v1/pause", None).status, 403);
    let rebound = browser.with("host", "evil.example");
    assert_eq!(rebound.get("/api/v1/status").status, 403);
    assert_eq!(rebound.post("/api/v1/pause", None).status, 403);
    assert_eq!(browser.json("/api/v1/status")["state"], "streaming");
}

#[test]
fn over_tls() {
    let world = World::new();
    world.sql(TABLE);
    let authority = Authority::new(world.directory(), "ca");
    let Certificate { certificate, key } = authority.server("http", &["localhost"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let port = port::free().unwrap();
    let token = world.directory().join("token");
    fs::write(&token, "secret").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let top = format!(
        "http:\n  listen: '0.0.0.0:{port}'\n  token_file: '{}'\n  tls: {{ cert_file: '{}', key_file: '{}' }}",
        token.display(),
        certificate.display(),
        key.display()
    );
    world.configure(&Config { top: &top, ..Config::default() });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming from"));
    assert!(connector.log_contains(&format!("at https://0.0.0.0:{port}/")), "{}", connector.log());
    let file = world.config_file().to_string_lossy().into_owned();
    let (code, told) = world.finish(&["status", "-c", &file, "--json"]);
    assert_eq!(code, Some(0), "{}", told.story());
    let shown: serde_json::Value = serde_json::from_str(&told.stdout()).unwrap();
    assert_eq!((&shown["origin"], &shown["state"]), (&"process".into(), &"streaming".into()));
    // Another certificate than the one in the file is not taken for our own.
    let Certificate { certificate: other, key: other_key } = authority.server("other", &["localhost"]);
    fs::set_permissions(&other_key, fs::Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(&certificate.display().to_string(), &other.display().to_string())).unwrap();
    let (_, told) = world.finish(&["status", "-c", &file, "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&told.stdout()).unwrap();
    assert_eq!(shown["origin"], "checkpoint");
}

/// What would open the door to everybody is refused, with what to do.
#[test]
fn elsewhere_it_does_not_start_without_protection() {
    let world = World::new();
    world.sql(TABLE);
    world.config("");
    let file = world.config_file().to_string_lossy().into_owned();
    for (typed, words) in [
        (
            "0.0.0.0:8080",
            "set http.token_file, and http.tls with cert_file and key_file; or listen on 127.0.0.1",
        ),
        ("[::]:8080", "can be reached from other machines"),
        ("example.com:80", "--http: must be an address and a port"),
    ] {
        let (code, told) = world.finish(&["run", "-c", &file, "--http", typed]);
        assert_eq!(code, Some(2), "{typed}: {}", told.story());
        assert!(told.log_contains(words), "{typed}: {}", told.log());
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, told) = world.finish(&["run", "-c", &file, "--http", &address]);
    assert_eq!(code, Some(1), "{}", told.story());
    assert!(told.log_contains("another process listens there"), "{}", told.log());
    assert_eq!(json!(world.keys("*")), json!([]), "something was done before");
}
