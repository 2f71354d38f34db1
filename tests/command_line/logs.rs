//! What is logged, and what never is.

use std::fs;
use std::time::Duration;

use redis_connect_postgres::throwaway::redis as rd;

use crate::harness::{Config, Settings, World};

#[test]
fn json_lines() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE plain (a int)");
    let connector = world.run_with(&["--until-caught-up", "--log-format", "json"]);
    assert!(connector.wait(Duration::from_secs(20)).success());
    let log = connector.log();
    assert!(log.lines().count() > 3, "{log}");
    for line in log.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(value["timestamp"].is_string() && value["message"].is_string(), "{line}");
        assert!(["INFO", "WARN"].contains(&value["level"].as_str().unwrap()), "{line}");
    }
    assert!(connector.stdout().is_empty());
}

/// Whoever reads the log as JSON reads the reason of the end as JSON too.
#[test]
fn json_lines_to_the_end() {
    let world = World::new();
    world.config("public.nothing: { type: hash }");
    let file = world.config_file().to_string_lossy().into_owned();
    let (code, connector) = world.finish(&["run", "-c", &file, "--log-format", "json"]);
    assert_eq!(code, Some(2));
    let log = connector.log();
    let last = log.lines().last().unwrap();
    // One line that says what happened; the contract asks for it in either form.
    assert!(last.contains("public.nothing"), "{log}");
}

#[test]
fn levels() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let connector = world.run_with(&["--until-caught-up", "--log-level", "error"]);
    assert!(connector.wait(Duration::from_secs(20)).success());
    assert_eq!(connector.log(), "");
    let (code, connector) = world.finish(&["run", "-c", "x", "--log-level", "=="]);
    assert_eq!(code, Some(2), "{}", connector.story());
}

const SECRETS: [&str; 3] = ["s3cret-of-postgres", "s3cret-of-redis", "s3cret-in-a-file"];

#[test]
fn secrets_are_nowhere() {
    let world = World::with(Settings { postgres: None, redis: rd::Settings::default() });
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    world.redis::<()>(&["CONFIG", "SET", "requirepass", SECRETS[1]]);
    let source =
        format!("postgresql://postgres:{}@127.0.0.1:{}/{}", SECRETS[0], world.postgres_port(), world.name);
    let target = format!("redis://:{}@127.0.0.1:{}/0", SECRETS[1], world.redis_port());
    let look = |connector: &crate::harness::Connector| {
        let everything = format!("{}{}", connector.log(), connector.stdout());
        for secret in SECRETS {
            assert!(!everything.contains(secret), "{secret} in {everything}");
        }
    };
    world.configure(&Config {
        source_url: Some(source.clone()),
        target_url: Some(target.clone()),
        ..Config::default()
    });
    let file = world.config_file().to_string_lossy().into_owned();
    let connector = world.run_with(&["--log-level", "trace"]);
    world.eventually("it streams", || connector.log_contains("streaming from"));
    for name in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{}/{name}", connector.pid())).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "{name}: {text}");
    }
    connector.term();
    connector.wait(Duration::from_secs(30));
    assert!(!connector.log().is_empty());
    look(&connector);
    // Nor in what PostgreSQL and Redis were told.
    let query = "SELECT coalesce(string_agg(application_name || query, ' '), '') FROM pg_stat_activity";
    let text: String = world.value::<String>(query);
    assert!(!text.contains("s3cret-of"), "{text}");

    // Every way to get it wrong.
    fs::write(world.directory().join("password"), format!("{}\nsecond line: {}", SECRETS[2], SECRETS[0]))
        .unwrap();
    let broken = [
        format!("name: x\nsource: {{ url: '{source}' }}\ntarget: {{ url: '{target}x' }}\n"),
        format!(
            "name: x\nsource: {{ url: '{}' }}\ntarget: {{ url: '{target}' }}\n",
            source.replace("127.0.0.1:", "127.0.0.1:x")
        ),
        format!(
            "name: x\nsource: {{ url: '{}' }}\ntarget: {{ url: '{target}' }}\n",
            source.replace("postgresql:", "postgres-ql:")
        ),
        format!(
            "name: x\nsource: {{ url: {source}, passwort: {} }}\ntarget: {{ url: '{target}' }}\n",
            SECRETS[0]
        ),
        format!(
            "name: x\nsource: {{ url: '{source}' }}\ntarget: {{ url: '{target}', password: [{}] }}\n",
            SECRETS[1]
        ),
        format!(
            "name: x\nsource: {{ url: '{source}', password: {} }}\ntarget: {{ url: 'redis://:{}wrong@127.0.0.1:{}' }}\n",
            SECRETS[0],
            SECRETS[1],
            world.redis_port()
        ),
        format!(
            "name: x\nsource: {{ url: '{source}', password_file: password }}\ntarget: {{ url: '{target}', password_file: password }}\n"
        ),
        format!("name: x\nsource: {{ url: '{source}nothing' }}\ntarget: {{ url: '{target}' }}\n"),
        format!("source:\n  url: {source}\n   {}\n", SECRETS[1]),
    ];
    for yaml in broken {
        fs::write(&file, &yaml).unwrap();
        let (code, connector) = world.finish(&["run", "-c", &file, "--once", "--log-level", "trace"]);
        assert!(matches!(code, Some(1 | 2)), "{yaml}\n{}", connector.story());
        look(&connector);
    }
    for (source, target) in [
        (format!("{source}?sslmode=nonsense"), target.clone()),
        (source.clone(), format!("{target}/nonsense")),
        (source.replace("postgresql", "mysql"), target.clone()),
    ] {
        let (code, connector) = world.finish(&["run", "--source", &source, "--target", &target]);
        assert_eq!(code, Some(2), "{}", connector.story());
        look(&connector);
    }
}
