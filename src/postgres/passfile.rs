//! Passwords from libpq's password file: `host:port:database:user:password`, a line each.
//!
//! The file is read for every connection, so that a password can be changed while we run. A file that others
//! may read is not used, as in libpq; who then lacks a password is told why.
//!
//! Source: PostgreSQL documentation, "The Password File".

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use secrecy::SecretString;

use crate::config::{DEFAULT_SOCKETS, PostgresHost, PostgresUrl};

const LARGEST: u64 = 1 << 20;

/// The password for a host of the URL; `Err` says why the file is not used.
pub(super) fn password(url: &PostgresUrl, host: &PostgresHost) -> Result<Option<SecretString>, String> {
    let Some(path) = &url.passfile else { return Ok(None) };
    // Without such a file there is none, as for most.
    let Ok(file) = File::open(path) else { return Ok(None) };
    let Some(text) = read(path, file)? else { return Ok(None) };
    let (name, port) = match host {
        PostgresHost::Tcp { host, port } => (host.as_str(), port),
        PostgresHost::Unix { dir, port } if dir == Path::new(DEFAULT_SOCKETS) => ("localhost", port),
        PostgresHost::Unix { dir, port } => (dir.to_str().unwrap_or_default(), port),
    };
    let wanted = [name, &port.to_string(), &url.dbname, &url.user];
    let found = text.lines().filter(|line| !line.starts_with('#')).find_map(|line| matching(line, wanted));
    Ok(found.filter(|password| !password.is_empty()).map(SecretString::from))
}

fn read(path: &Path, file: File) -> Result<Option<String>, String> {
    let metadata = file.metadata().map_err(|e| format!("{} is not used: {e}", path.display()))?;
    if !metadata.is_file() {
        return Ok(None);
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(format!("{0} is not used, since others may read it: chmod 600 {0}", path.display()));
    }
    let mut text = String::new();
    file.take(LARGEST)
        .read_to_string(&mut text)
        .map_err(|e| format!("{} is not used: {e}", path.display()))?;
    Ok(Some(text))
}

/// The password of a line whose fields are `*` or the wanted ones.
fn matching(line: &str, wanted: [&str; 4]) -> Option<String> {
    let mut rest = line;
    for word in wanted {
        let (field, after) = field(rest)?;
        if field != word && rest.get(..2) != Some("*:") {
            return None;
        }
        rest = after;
    }
    let mut password = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        password.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    Some(password)
}

/// A field and what is behind its colon.
fn field(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            ':' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let wanted = ["h", "5432", "d", "u"];
        let found = |line| matching(line, wanted);
        assert_eq!(found("h:5432:d:u:p").as_deref(), Some("p"));
        assert_eq!(found("*:*:*:*:a:b").as_deref(), Some("a:b"));
        assert_eq!(found(r"h:*:d:u:a\:b\\c").as_deref(), Some(r"a:b\c"));
        assert_eq!(found("h:5433:d:u:p"), None);
        assert_eq!(found("h:5432:d"), None);
        assert_eq!(found(r"\*:5432:d:u:p"), None);
        assert_eq!(found(""), None);
        assert_eq!(matching(r"\:\:1:*:*:*:p", ["::1", "1", "d", "u"]).as_deref(), Some("p"));
    }
}
