//! The files in contrib/: what they name exists, and the tools that read them find nothing wrong.

mod containers;
mod kubernetes;
mod systemd;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use redis_connect_postgres::config::Config;
use serde_json::Value;

use crate::harness::Connector;

fn contrib(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(file)
}

fn text(file: &str) -> String {
    fs::read_to_string(contrib(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The documents of a YAML file.
fn documents(file: &str) -> Vec<Value> {
    let text = text(file);
    let parse = |part: &str| serde_saphyr::from_str(part).unwrap_or_else(|e| panic!("{file}: {e}"));
    text.split("\n---\n").map(parse).collect()
}

fn document(file: &str) -> Value {
    documents(file).remove(0)
}

/// A configuration that is given to users; variables have values.
#[track_caller]
fn configuration(yaml: &str, name: &str) -> Config {
    let variable = |name: &str| yaml.contains(&format!("${{{name}")).then(|| "/run/variable".to_owned());
    Config::parse(yaml, name, &variable).unwrap_or_else(|error| panic!("{error}"))
}

/// Fails if the program does not know this command or one of its options.
#[track_caller]
fn is_understood(arguments: &[&str]) {
    let mut command = Connector::command();
    // It stops there, after it has looked at everything before.
    command.args(arguments).arg("--help");
    let connector = Connector::spawn(command);
    assert!(connector.wait(Duration::from_secs(20)).success(), "{}", connector.story());
}

/// The arguments of a list such as `["run", "-c", "FILE"]`.
fn words(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

/// A program that may not be there: in PATH, or where `.ci/validators` installs it.
fn tool(name: &str) -> Option<Command> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let places = [Some(PathBuf::from("/var/cache")), home];
    let places =
        places.into_iter().flatten().map(|place| place.join("redis-connect-postgres/validators/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        places.chain(std::env::split_paths(&path)).map(|place| place.join(name)).find(|f| f.is_file());
    found.map(Command::new)
}

#[track_caller]
fn assert_content(output: &Output) {
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}

/// Every YAML file is one, and nothing is forgotten by the tests here.
#[test]
fn every_file_is_looked_at() {
    let mut found = Vec::new();
    for directory in ["systemd", "docker", "kubernetes"] {
        for file in fs::read_dir(contrib(directory)).unwrap() {
            found.push(format!("{directory}/{}", file.unwrap().file_name().into_string().unwrap()));
        }
    }
    found.sort();
    for file in found.iter().filter(|file| file.ends_with(".yaml")) {
        assert!(documents(file).iter().all(Value::is_object), "{file}");
    }
    let known = [
        "docker/Dockerfile",
        "docker/Dockerfile.dockerignore",
        "docker/compose.yaml",
        "docker/role.sql",
        "docker/shop.yaml",
        "kubernetes/configmap.yaml",
        "kubernetes/deployment.yaml",
        "kubernetes/kustomization.yaml",
        "kubernetes/poddisruptionbudget.yaml",
        "kubernetes/secret.yaml",
        "kubernetes/service.yaml",
        "kubernetes/serviceaccount.yaml",
        "systemd/hr.yaml",
        "systemd/redis-connect-postgres@.service",
    ];
    assert_eq!(found, known);
    // docs/deploy.md says of each what it is for.
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/deploy.md")).unwrap();
    for directory in ["contrib/systemd", "contrib/docker", "contrib/kubernetes"] {
        assert!(page.contains(directory), "{directory}");
    }
}
