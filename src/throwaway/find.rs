//! Where the server binaries are.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, Result};

/// A PostgreSQL server that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The directory of `postgres`, `initdb` and the others.
    pub bin: PathBuf,
    /// The major version.
    pub version: u32,
}

/// Every PostgreSQL on this machine, in order of preference: the directory named by
/// `TEST_POSTGRES_BIN`, then `PATH`, then the packages' places with the newest first, then those that
/// were installed for tests only.
pub fn postgres_installations() -> Vec<Installation> {
    let mut found: Vec<Installation> = Vec::new();
    let mut packaged: Vec<Installation> =
        packaged_directories().filter_map(|bin| installation(&bin)).collect();
    packaged.sort_by_key(|i| std::cmp::Reverse(i.version));
    let mut cached: Vec<Installation> = cached_directories().filter_map(|bin| installation(&bin)).collect();
    cached.sort_by_key(|i| std::cmp::Reverse(i.version));
    let named = env::var_os("TEST_POSTGRES_BIN").map(PathBuf::from);
    let preferred = named.into_iter().chain(path_directories());
    for installation in preferred.filter_map(|bin| installation(&bin)).chain(packaged).chain(cached) {
        if !found.contains(&installation) {
            found.push(installation);
        }
    }
    found
}

/// Whether both servers are there; the error tells of both at once.
pub fn installed() -> Result<()> {
    match (postgres(None), redis()) {
        (Err(one), Err(other)) => Err(Error::BothNotInstalled(Box::new(one), Box::new(other))),
        (one, other) => one.map(|_| ()).and(other.map(|_| ())),
    }
}

/// The PostgreSQL to use: the first one, or the first one of the wanted major version.
pub(super) fn postgres(version: Option<u32>) -> Result<Installation> {
    if let Some(bin) = env::var_os("TEST_POSTGRES_BIN") {
        let bin = PathBuf::from(bin);
        if installation(&bin).is_none() {
            return Err(Error::NotInstalled {
                what: format!("PostgreSQL server in {}", bin.display()),
                hint: "TEST_POSTGRES_BIN must name the directory that holds `postgres` and `initdb`"
                    .to_owned(),
            });
        }
    }
    postgres_installations().into_iter().find(|i| version.is_none_or(|v| v == i.version)).ok_or_else(|| {
        let (name, debian, fedora, brew) = match version {
            None => ("PostgreSQL server".to_owned(), "postgresql".to_owned(), String::new(), 17),
            Some(v) => (format!("PostgreSQL {v} server"), format!("postgresql-{v}"), v.to_string(), v),
        };
        Error::NotInstalled {
            what: name,
            hint: format!(
                "install it with `apt-get install {debian}` (Debian, Ubuntu), \
                 `dnf install postgresql{fedora}-server` (Fedora) or `brew install postgresql@{brew}` (Homebrew), \
                 or name its bin directory in TEST_POSTGRES_BIN"
            ),
        }
    })
}

/// The Redis (or Valkey) server to use.
pub(super) fn redis() -> Result<PathBuf> {
    if let Some(named) = env::var_os("TEST_REDIS_SERVER") {
        let named = PathBuf::from(named);
        if named.is_file() {
            return Ok(named);
        }
        return Err(Error::NotInstalled {
            what: format!("Redis server at {}", named.display()),
            hint: "TEST_REDIS_SERVER must name the program itself, such as /usr/bin/redis-server".to_owned(),
        });
    }
    ["redis-server", "valkey-server"]
        .iter()
        .find_map(|name| {
            path_directories()
                .chain(homebrew().map(|prefix| prefix.join("bin")))
                .map(|directory| directory.join(name))
                .find(|program| program.is_file())
        })
        .ok_or_else(|| Error::NotInstalled {
            what: "Redis server".to_owned(),
            hint: "install it with `apt-get install redis-server` (Debian, Ubuntu), `dnf install valkey` (Fedora) \
                   or `brew install redis` (Homebrew), or name the program in TEST_REDIS_SERVER"
                .to_owned(),
        })
}

fn path_directories() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

fn homebrew() -> impl Iterator<Item = PathBuf> {
    ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"].into_iter().map(PathBuf::from)
}

/// Debian keeps versions side by side and out of `PATH`, and so does Homebrew with older ones.
fn packaged_directories() -> impl Iterator<Item = PathBuf> {
    let debian = subdirectories(Path::new("/usr/lib/postgresql"), "");
    let red_hat = subdirectories(Path::new("/usr"), "pgsql-");
    let brew = homebrew().flat_map(|prefix| subdirectories(&prefix.join("opt"), "postgresql"));
    debian.into_iter().chain(red_hat).chain(brew).map(|directory| directory.join("bin"))
}

/// Where `.ci/postgres` installs other versions.
fn cached_directories() -> impl Iterator<Item = PathBuf> {
    let cache = if rustix::process::geteuid().is_root() {
        // The home of root is closed to the user that runs the servers.
        Some(PathBuf::from("/var/cache"))
    } else {
        let named = env::var_os("XDG_CACHE_HOME").filter(|name| !name.is_empty()).map(PathBuf::from);
        named.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
    };
    let found = cache.map(|cache| subdirectories(&cache.join("redis-connect-postgres/postgres"), ""));
    found.into_iter().flatten().map(|directory| directory.join("bin"))
}

fn subdirectories(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with(prefix))
        .map(|e| e.path())
        .collect()
}

fn installation(bin: &Path) -> Option<Installation> {
    let server = bin.join("postgres");
    if !server.is_file() || !bin.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(server).arg(OsStr::new("--version")).output().ok()?;
    // "postgres (PostgreSQL) 15.20 (Debian …)", "postgres (PostgreSQL) 18beta1"
    let text = String::from_utf8_lossy(&output.stdout);
    let digits: String = text.split_whitespace().nth(2)?.chars().take_while(char::is_ascii_digit).collect();
    Some(Installation { bin: bin.to_owned(), version: digits.parse().ok()? })
}
