//! Services: connection settings that have a name, in a file of libpq's.
//!
//! ```text
//! [hr]
//! host=db1.example,db2.example
//! dbname=hr
//! ```
//!
//! Source: PostgreSQL documentation, "The Connection Service File".

use std::fs;
use std::path::{Path, PathBuf};

use super::env::Lookup;
use super::postgres_settings::Setting;
use super::url::UrlError;

/// More than any service file; a wrong path must not fill the memory.
const LARGEST: u64 = 1 << 20;

/// The settings of a service. The first file that has it counts: `file` (or `PGSERVICEFILE`, or
/// `~/.pg_service.conf`), then the system's.
pub(super) fn settings(service: &str, file: Option<&str>, env: Lookup<'_>) -> Result<Vec<Setting>, UrlError> {
    let given = |name: &str| env(name).filter(|value| !value.is_empty());
    let named = file.map(str::to_owned).or_else(|| given("PGSERVICEFILE")).map(PathBuf::from);
    if let Some(path) = &named
        && !path.is_file()
    {
        return Err(UrlError::new("the service file that servicefile or PGSERVICEFILE names does not exist"));
    }
    let own = named.or_else(|| Some(PathBuf::from(given("HOME")?).join(".pg_service.conf")));
    // Where the packages of Debian and of others look.
    let directories = match given("PGSYSCONFDIR") {
        Some(directory) => vec![directory],
        None => vec!["/etc/postgresql-common".to_owned(), "/etc".to_owned()],
    };
    let system = directories.into_iter().map(|directory| PathBuf::from(directory).join("pg_service.conf"));
    for path in own.into_iter().chain(system).filter(|path| path.is_file()) {
        if let Some(settings) = read(&path, service)? {
            return Ok(settings);
        }
    }
    Err(UrlError::new(
        "the service is in no service file; it is looked for in PGSERVICEFILE or ~/.pg_service.conf, then in \
         PGSYSCONFDIR/pg_service.conf",
    ))
}

fn read(path: &Path, service: &str) -> Result<Option<Vec<Setting>>, UrlError> {
    let wrong = |what: String| UrlError::new(format!("the service file {} {what}", path.display()));
    let size = fs::metadata(path).map_err(|e| wrong(format!("can't be read: {e}")))?.len();
    if size > LARGEST {
        return Err(wrong("is larger than 1 MiB".to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|e| wrong(format!("can't be read: {e}")))?;
    let mut found: Option<Vec<Setting>> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            let name = name.split_once(']').map(|(name, _)| name);
            found = (name == Some(service)).then(Vec::new);
            continue;
        }
        let Some(settings) = &mut found else { continue };
        let at = |what: &str| wrong(format!("has {what} in line {}", number + 1));
        if line.starts_with("ldap") {
            return Err(at("an LDAP lookup, which is not supported,"));
        }
        let (key, value) = line.split_once('=').ok_or_else(|| at("no `name=value`"))?;
        if matches!(key, "service" | "servicefile") {
            return Err(at("another service, which can't be"));
        }
        settings.push(Setting { key: key.to_owned(), value: value.to_owned() });
    }
    Ok(found)
}
