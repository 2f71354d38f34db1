//! The image and the sample with PostgreSQL and Redis beside it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{assert_content, configuration, contrib, document, is_understood, text, tool, words};
use crate::harness::{World, skip};

/// The instructions of the Dockerfile, with what goes on in further lines.
fn instructions() -> Vec<(String, String)> {
    let joined = text("docker/Dockerfile").replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.trim().to_owned())).unwrap())
        .collect()
}

fn list(text: &str) -> Value {
    serde_json::from_str(&text[text.find('[').unwrap()..]).unwrap()
}

#[test]
fn the_image_runs_what_exists() {
    let instructions = instructions();
    let of = |name: &str| -> Vec<&str> {
        instructions.iter().filter(|(found, _)| found == name).map(|(_, rest)| rest.as_str()).collect()
    };
    assert_eq!(list(of("ENTRYPOINT")[0]), serde_json::json!(["redis-connect-postgres"]));
    is_understood(&words(&list(of("CMD")[0])));
    let health = list(of("HEALTHCHECK")[0]);
    assert_eq!(words(&health)[0], "redis-connect-postgres");
    is_understood(&words(&health)[1..]);
    // Both are about the same file, and it is where the sample puts it.
    assert!(of("HEALTHCHECK")[0].contains("\"/etc/redis-connect-postgres.yaml\""));
    assert!(of("CMD")[0].contains("\"/etc/redis-connect-postgres.yaml\""));
    let user: u32 = of("USER")[0].split(':').next().unwrap().parse().unwrap();
    assert!(user > 0);
    // The compiler is the one that the program needs at least.
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    let (_, version) = manifest.split_once("rust-version = \"").unwrap();
    let version = version.split('"').next().unwrap();
    assert!(of("FROM")[0].starts_with(&format!("rust:{version}-")), "{}", of("FROM")[0]);
}

/// What is copied is there, and is let in by the .dockerignore.
#[test]
fn the_image_is_built_from_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let let_in = text("docker/Dockerfile.dockerignore");
    let mut copied = 0;
    for (_, rest) in instructions().iter().filter(|(name, rest)| name == "COPY" && !rest.starts_with("--")) {
        let paths: Vec<&str> = rest.split(' ').collect();
        for path in &paths[..paths.len() - 1] {
            let path = path.trim_start_matches("./");
            assert!(root.join(path).exists(), "{path}");
            assert!(let_in.lines().any(|line| line == format!("!{path}")), "{path} is not let in");
            copied += 1;
        }
    }
    assert_eq!(copied, let_in.lines().filter(|line| line.starts_with('!')).count());
}

#[test]
fn hadolint_finds_nothing_wrong() {
    let Some(mut hadolint) = tool("hadolint") else { skip!("hadolint is not installed") };
    assert_content(&hadolint.arg(contrib("docker/Dockerfile")).output().unwrap());
}

#[test]
fn services_fit_each_other() {
    let compose = document("docker/compose.yaml");
    let services = &compose["services"];
    let config = configuration(&text("docker/shop.yaml"), "shop.yaml");
    assert_eq!(config.source.url.hosts.len(), 1);
    let yaml = text("docker/shop.yaml");
    for (service, url) in [("postgres", "@postgres:5432/"), ("redis", "redis://redis:6379/")] {
        assert!(services[service].is_object() && yaml.contains(url), "{service}");
        assert_eq!(services["connector"]["depends_on"][service]["condition"], "service_healthy");
        assert!(services[service]["healthcheck"]["test"].is_array());
    }
    assert_eq!(services["postgres"]["environment"]["POSTGRES_DB"], config.source.url.dbname);
    assert!(words(&services["postgres"]["command"]).contains(&"wal_level=logical"));
    // Both sides have the same password.
    assert_eq!(
        services["postgres"]["environment"]["REDIS_CONNECT_PASSWORD"],
        services["connector"]["environment"]["PGPASSWORD"]
    );
    let volumes =
        services.as_object().unwrap().values().flat_map(|service| service["volumes"].as_array().unwrap());
    for volume in volumes.map(|volume| volume.as_str().unwrap()) {
        let source = volume.split(':').next().unwrap();
        let exists = contrib("docker").join(source).exists() || compose["volumes"].get(source).is_some();
        assert!(exists, "{volume}");
    }
    let build = &services["connector"]["build"];
    let context = contrib("docker").join(build["context"].as_str().unwrap());
    assert!(context.join(build["dockerfile"].as_str().unwrap()).exists());
}

/// The sample with real servers, on this machine instead of in containers.
#[test]
fn the_sample_works() {
    let world = World::new();
    if world.postgres_version() < 14 {
        skip!("psql knows \\getenv since PostgreSQL 14");
    }
    if tool("psql").is_none() {
        skip!("psql is not installed");
    }
    let role = format!("reader_{}", world.name);
    // Roles and publications are the whole cluster's here.
    let sql = text("docker/role.sql")
        .replace("ROLE redis_connect ", &format!("ROLE {role} "))
        .replace("TO redis_connect;", &format!("TO {role};"));
    let sql = sql.replace("redis_connect_shop", &format!("redis_connect_{}", world.name));
    let shop = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop.sql")).unwrap();
    for (name, sql) in [("1-shop.sql", &shop), ("2-role.sql", &sql)] {
        let file = world.directory().join(name);
        fs::write(&file, sql).unwrap();
        let mut command = tool("psql").unwrap();
        command.args(["-v", "ON_ERROR_STOP=1", "-q", "-f"]).arg(file).arg(world.source_url());
        assert_content(&command.env("REDIS_CONNECT_PASSWORD", "it's").output().unwrap());
    }
    let yaml = text("docker/shop.yaml")
        .replace("name: shop", &format!("name: {}", world.name))
        .replace(
            "postgresql://redis_connect@postgres:5432/shop",
            &world.source_url().replace("postgres@", &format!("{role}@")),
        )
        .replace("redis://redis:6379/0", &world.target_url())
        .replace("127.0.0.1:8080", "127.0.0.1:0");
    fs::write(world.config_file(), yaml).unwrap();
    let mut command = crate::harness::Connector::command();
    command.args(["run", "-c", "config.yaml", "--until-caught-up"]).env("PGPASSWORD", "it's");
    let connector = world.spawn(command);
    let status = connector.wait(std::time::Duration::from_secs(120));
    assert!(status.success(), "{}", connector.story());
    assert_eq!(world.hash("customer:4711")["id"], "4711");
    assert!(!world.hash("customer:4711").contains_key("password_hash"));
    assert!(world.redis::<i64>(&["ZCARD", "bestsellers"]) > 100);
    assert!(world.redis::<i64>(&["XLEN", "orders"]) > 1000);
}
