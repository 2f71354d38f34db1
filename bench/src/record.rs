//! What is kept: one line of JSON a run, in `bench/results/DATE-PROCESSOR.jsonl`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::connector::repository;
use crate::error::{Doing, Result};
use crate::servers;

/// Appends a run to the results of the day.
///
/// `program` is what was measured, if it was not built from this checkout.
pub(crate) fn append(
    command: &str,
    program: Option<&Path>,
    options: &impl Serialize,
    results: Value,
) -> Result<PathBuf> {
    let now = Timestamp::now().to_string();
    let (date, _) = now.split_once('T').unwrap_or((&now, ""));
    let processor = processor();
    let line = json!({
        "date": now,
        "command": command,
        "options": options,
        "machine": {
            "processor": processor,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "memory_bytes": rustix::system::sysinfo().totalram,
            "kernel": rustix::system::uname().release().to_string_lossy(),
        },
        "versions": versions()?,
        "settings": servers::POSTGRES.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        "program": program,
        "commit": git(&["rev-parse", "HEAD"]),
        "modified": !git(&["status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock"]).is_empty(),
        "results": results,
    });
    let directory = repository().join("bench/results");
    fs::create_dir_all(&directory).doing(|| format!("create {}", directory.display()))?;
    let path = directory.join(format!("{date}-{}.jsonl", slug(&processor)));
    let file = OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| writeln!(file, "{line}")).doing(|| format!("append to {}", path.display()))?;
    Ok(path)
}

fn versions() -> Result<Value> {
    let postgres = servers::postgres()?;
    let postgres =
        servers::query(&mut servers::connect(&postgres)?, "SELECT current_setting('server_version')")?;
    let redis = servers::redis_info(&servers::redis()?, "server", "redis_version")?;
    Ok(json!({ "postgres": postgres, "redis": redis }))
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim());
    name.unwrap_or(std::env::consts::ARCH).to_owned()
}

/// Lower case, and a hyphen for whatever is not a letter or a digit.
fn slug(text: &str) -> String {
    let plain = text.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), " ");
    plain.split_whitespace().collect::<Vec<_>>().join("-")
}

fn git(arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).current_dir(repository()).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_processor_names_a_file() {
        assert_eq!(
            super::slug("Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz"),
            "intel-r-core-tm-i7-8700-cpu-3-20ghz"
        );
    }
}
