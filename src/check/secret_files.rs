//! Files with passwords and keys that others on this machine may read.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::report::Findings;
use super::{Check, Look};
use crate::config::{Config, Secret};
use crate::error::Problem;

pub(super) const CHECK: Check =
    Check { name: "secret_files", about: "files with passwords and keys", look: Look::Files(look) };

fn look(config: &Config, file: &str, findings: &mut Findings<'_>) {
    let files: Vec<&Path> = secret_files(config, file).collect();
    let open: Vec<Problem> = files.iter().filter_map(|path| open_to_all(path)).collect();
    if open.is_empty() {
        findings.ok(match files.is_empty() {
            true => "none is named, and no password stands in the configuration".to_owned(),
            false => "not everybody on this machine may read them".to_owned(),
        });
    }
    for Problem { found, mend } in open {
        findings.warn(found, mend);
    }
}

/// The same warnings in the log of `run`.
pub(super) fn warn(config: &Config, file: &str) {
    for problem in secret_files(config, file).filter_map(open_to_all) {
        tracing::warn!("{problem}");
    }
}

/// The files that hold secrets: those that hold nothing else, and the configuration with a password in it.
fn secret_files<'a>(config: &'a Config, file: &'a str) -> impl Iterator<Item = &'a Path> {
    let passwords = [&config.source.password, &config.target.password, &config.target.sentinel.password]
        .into_iter()
        .filter_map(|secret| {
            let Secret::File(path) = secret else { return None };
            Some(path.as_path())
        });
    // What is no file, the command line, has no permissions to look at.
    let configuration = config.has_typed_secret.then(|| Path::new(file));
    let keys = [
        config.source.url.sslkey.as_deref(),
        config.target.tls.identity.as_ref().map(|(_, key)| key.as_path()),
    ];
    passwords.chain(keys.into_iter().flatten()).chain(configuration)
}

/// A file that everybody may read. One that can't be looked at is told by whoever reads it.
fn open_to_all(path: &Path) -> Option<Problem> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let shown = path.display();
    (mode & 0o004 != 0).then(|| Problem {
        found: format!("{shown} holds a secret, and everybody on this machine may read it (mode {mode:03o})"),
        mend: format!("chmod o-r {shown}"),
    })
}
