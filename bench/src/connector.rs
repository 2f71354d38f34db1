//! The program that is measured: its release build, its configuration, its command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use redis_connect_postgres::throwaway::{Postgres, Redis};

use crate::Bench;
use crate::error::{Doing, Result, failed};
use crate::servers::PUBLICATION;
use crate::structure::Structure;

/// The release binary, built if that is needed.
pub(crate) fn build() -> Result<PathBuf> {
    eprintln!("building the release binary");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // `cargo run` describes our package in variables; build scripts that look at them would run anew.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    let output = command
        .args([
            "build",
            "--release",
            "--package",
            "redis-connect-postgres",
            "--bin",
            "redis-connect-postgres",
        ])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(repository())
        .stderr(Stdio::inherit())
        .output()
        .doing(|| "run cargo build".to_owned())?;
    if !output.status.success() {
        return Err(failed(format!("cargo build ended: {}", output.status)));
    }
    // Cargo knows best where it puts things.
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let executable =
        messages.filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?))).next_back();
    executable.ok_or_else(|| failed("cargo build did not say where the binary is"))
}

/// The repository that this benchmark belongs to.
pub(crate) fn repository() -> &'static Path {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    bench.parent().unwrap_or(bench)
}

/// One configuration of the program, by its name.
#[derive(Debug)]
pub(crate) struct Connector {
    program: PathBuf,
    config: PathBuf,
    name: String,
}

impl Connector {
    pub(crate) fn new(
        bench: &Bench,
        name: &str,
        (postgres, redis): (&Postgres, &Redis),
        structure: &Structure,
    ) -> Result<Self> {
        let tables = format!("public.bench: {}", structure.yaml());
        Connector::of(bench, name, (&postgres.url(), &redis.url()), (PUBLICATION, &tables))
    }

    /// With addresses, a publication and rules of its own.
    pub(crate) fn of(
        bench: &Bench,
        name: &str,
        (postgres, redis): (&str, &str),
        (publication, tables): (&str, &str),
    ) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let config = bench.directory.path().join(format!("{name}-{number}.yaml"));
        let text = format!(
            "name: {name}\n\
             source: {{ url: \"{postgres}\", publication: {publication} }}\n\
             target: {{ url: \"{redis}\" }}\n\
             tables: {{ {tables} }}\n",
        );
        fs::write(&config, text).doing(|| format!("write {}", config.display()))?;
        Ok(Self { program: bench.program.clone(), config, name: name.to_owned() })
    }

    /// `run`, with a flag that says when it ends, or with none.
    pub(crate) fn run(&self, until: Option<&str>) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["PG", "REDIS", "RUST_LOG"].iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command.arg("run").arg("-c").arg(&self.config).args(until);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    pub(crate) fn slot(&self) -> String {
        format!("redis_connect_{}", self.name)
    }

    /// The keys that it may have besides those of rows.
    pub(crate) fn own_keys(&self) -> [String; 2] {
        ["checkpoint", "epoch"].map(|key| format!("redis-connect-postgres:{}:{key}", self.name))
    }
}

/// For [`Connector::run`]: ends when the snapshot is done.
pub(crate) const ONCE: Option<&str> = Some("--once");
/// For [`Connector::run`]: ends when all that was committed at its start is in Redis.
pub(crate) const UNTIL_CAUGHT_UP: Option<&str> = Some("--until-caught-up");
