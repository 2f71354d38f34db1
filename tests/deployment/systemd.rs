//! The unit for systemd.

use std::fs;

use super::{assert_content, configuration, is_understood, text, tool};
use crate::command_line::tempdir;
use crate::harness::skip;

const UNIT: &str = "systemd/redis-connect-postgres@.service";

/// The values of a key, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn unit_and_configuration_fit() {
    let unit = text(UNIT);
    let [command] = values(&unit, "ExecStart")[..] else { panic!("one ExecStart") };
    let words: Vec<&str> = command.split(' ').collect();
    is_understood(&words[1..]);
    assert!(words.contains(&"/etc/redis-connect-postgres/%i.yaml"));
    let yaml = text("systemd/hr.yaml");
    configuration(&yaml, "hr.yaml");
    let mut named: Vec<&str> = yaml
        .lines()
        .filter_map(|line| line.split_once("${CREDENTIALS_DIRECTORY}/"))
        .map(|(_, name)| name)
        .collect();
    named.sort_unstable();
    let mut given: Vec<&str> =
        values(&unit, "LoadCredential").into_iter().map(|value| value.split(':').next().unwrap()).collect();
    given.sort_unstable();
    assert_eq!(named, given);
    // What is told is in src/systemd.rs; an exit code of 2 is for what a restart does not mend.
    assert_eq!(values(&unit, "Type"), ["notify"]);
    assert_eq!(values(&unit, "RestartPreventExitStatus"), ["2"]);
    assert_eq!(values(&unit, "WatchdogSec"), ["60s"]);
}

#[test]
fn systemd_finds_nothing_wrong() {
    let Some(mut verify) = tool("systemd-analyze") else { skip!("systemd is not installed") };
    let directory = tempdir("unit");
    let file = directory.join("redis-connect-postgres@.service");
    fs::write(
        &file,
        text(UNIT)
            .replace("/usr/local/bin/redis-connect-postgres", env!("CARGO_BIN_EXE_redis-connect-postgres")),
    )
    .unwrap();
    let output = verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("unrecognized option") {
        skip!("systemd is too old");
    }
    // It tells unknown keys as warnings.
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("redis-connect-postgres")).collect();
    assert!(output.status.success() && about_us.is_empty(), "{said}");
    // 0 is shut off, 10 is open; most services have more than 9.
    let mut security = tool("systemd-analyze").unwrap();
    security.args(["security", "--no-pager", "--offline=true", "--threshold=15"]).arg(&file);
    assert_content(&security.output().unwrap());
    fs::remove_dir_all(directory).unwrap();
}
