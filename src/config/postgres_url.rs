//! Where PostgreSQL is, in the words of libpq: a URL such as
//! `postgresql://repl@db1.example:5432,db2/hr?sslmode=verify-full`, or `host=db1 dbname=hr`.
//!
//! Both forms become the same list of settings ([`super::postgres_settings`]), and from there one
//! function gives them their meaning.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::env::Lookup;
use super::nearest::nearest;
use super::postgres_settings::{IGNORED, KNOWN, REFUSED, Setting, settings};
use super::url::{Encoded, HostPort, UrlError, check_host, port};

/// A parsed PostgreSQL URL. Displays as a URL without the password; `Debug` hides it too.
#[derive(Debug, Clone)]
pub struct PostgresUrl {
    /// Tried in this order; at least one.
    pub hosts: Vec<PostgresHost>,
    /// Default `PGUSER`, then the user of the operating system.
    pub user: String,
    /// Default the user's name.
    pub dbname: String,
    /// The password in the URL. [`Source::password`](super::Source) is what counts.
    pub password: Option<SecretString>,
    /// Default `prefer`; `verify-full` with `sslrootcert=system`.
    pub sslmode: SslMode,
    /// The certificates to trust; the system's where nothing is given.
    pub sslrootcert: Option<RootCert>,
    /// The client's certificate; never without `sslkey`.
    pub sslcert: Option<PathBuf>,
    /// The key of `sslcert`.
    pub sslkey: Option<PathBuf>,
    /// For each host; whole seconds. `None`: no limit was given.
    pub connect_timeout: Option<Duration>,
    /// What `pg_stat_activity` shows.
    pub application_name: Option<String>,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostgresHost {
    /// A host name or address, and its port (default 5432).
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// The socket `.s.PGSQL.{port}` in a directory. Where the URL has no host at all, this is
    /// `/var/run/postgresql`, as in the packages of most distributions.
    Unix {
        /// The directory of the socket.
        dir: PathBuf,
        /// The port in its name.
        port: u16,
    },
}

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS only if the server refuses to do without.
    Allow,
    /// TLS if the server has it.
    #[default]
    Prefer,
    /// TLS; the certificate is checked only if `sslrootcert` is given.
    Require,
    /// TLS with a trusted certificate.
    VerifyCa,
    /// TLS with a trusted certificate for this host name.
    VerifyFull,
}

/// libpq's `sslrootcert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCert {
    /// The certificates that the system trusts.
    System,
    /// A file of PEM certificates.
    File(PathBuf),
}

/// As messages name it.
impl fmt::Display for PostgresHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PostgresHost::Tcp { host, port } => HostPort(host, *port).fmt(f),
            PostgresHost::Unix { dir, port } => write!(f, "{}/.s.PGSQL.{port}", dir.display()),
        }
    }
}

const MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

impl SslMode {
    /// libpq's word for it.
    pub fn as_str(self) -> &'static str {
        let found = MODES.iter().find(|(_, mode)| *mode == self);
        found.map_or("", |(word, _)| word)
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PostgresUrl {
    /// Parses a URL or a list of `key=value` words. `env` is asked for `PGUSER`.
    ///
    /// # Errors
    /// If the text is neither, has an option that is not known or not supported, or contradicts
    /// itself; the message says which part is wrong, without quoting it.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<PostgresUrl, UrlError> {
        meaning(settings(text)?, env)
    }
}

fn meaning(settings: Vec<Setting>, env: Lookup<'_>) -> Result<PostgresUrl, UrlError> {
    let mut typed = Typed::default();
    for Setting { key, value } in settings {
        // As in libpq, the last of a repeated key counts and an empty value is no value.
        let value = (!value.is_empty()).then_some(value);
        match key.as_str() {
            "host" => typed.host = value,
            "port" => typed.port = value,
            "user" => typed.user = value,
            "password" => typed.password = value.map(SecretString::from),
            "dbname" => typed.dbname = value,
            "sslmode" => typed.sslmode = value.as_deref().map(sslmode).transpose()?,
            "sslrootcert" => typed.sslrootcert = value,
            "sslcert" => typed.sslcert = value,
            "sslkey" => typed.sslkey = value,
            "connect_timeout" => {
                typed.connect_timeout = value.as_deref().map(timeout).transpose()?.flatten();
            }
            "application_name" => typed.application_name = value,
            "fallback_application_name" => typed.fallback_application_name = value,
            name => check_other(name, value.as_deref().unwrap_or_default())?,
        }
    }
    typed.complete(env)
}

#[derive(Default)]
struct Typed {
    host: Option<String>,
    port: Option<String>,
    user: Option<String>,
    password: Option<SecretString>,
    dbname: Option<String>,
    sslmode: Option<SslMode>,
    sslrootcert: Option<String>,
    sslcert: Option<String>,
    sslkey: Option<String>,
    connect_timeout: Option<Duration>,
    application_name: Option<String>,
    fallback_application_name: Option<String>,
}

impl Typed {
    fn complete(self, env: Lookup<'_>) -> Result<PostgresUrl, UrlError> {
        let user =
            self.user
                .or_else(|| env("PGUSER").filter(|user| !user.is_empty()))
                .or_else(system_user)
                .ok_or_else(|| UrlError::new("the user is missing; write it before the host: user@host"))?;
        let sslrootcert = self.sslrootcert.map(|value| match value.as_str() {
            "system" => RootCert::System,
            path => RootCert::File(PathBuf::from(path)),
        });
        let system = sslrootcert == Some(RootCert::System);
        let sslmode = match self.sslmode {
            None if system => SslMode::VerifyFull,
            Some(mode) if system && mode != SslMode::VerifyFull => {
                return Err(UrlError::new(
                    "sslrootcert=system needs sslmode=verify-full: anybody can have a certificate that the system trusts",
                ));
            }
            mode => mode.unwrap_or_default(),
        };
        if self.sslcert.is_some() != self.sslkey.is_some() {
            return Err(UrlError::new("sslcert and sslkey belong together; give both or none"));
        }
        Ok(PostgresUrl {
            hosts: hosts(self.host.as_deref(), self.port.as_deref())?,
            dbname: self.dbname.unwrap_or_else(|| user.clone()),
            user,
            password: self.password,
            sslmode,
            sslrootcert,
            sslcert: self.sslcert.map(PathBuf::from),
            sslkey: self.sslkey.map(PathBuf::from),
            connect_timeout: self.connect_timeout,
            application_name: self.application_name.or(self.fallback_application_name),
        })
    }
}

fn hosts(hosts: Option<&str>, ports: Option<&str>) -> Result<Vec<PostgresHost>, UrlError> {
    let hosts: Vec<&str> = hosts.unwrap_or_default().split(',').collect();
    let ports: Vec<&str> = ports.unwrap_or_default().split(',').collect();
    if ports.len() != 1 && ports.len() != hosts.len() {
        return Err(UrlError::new(
            "there are more or fewer ports than hosts; give one port for all, or one for each",
        ));
    }
    let ports = ports.iter().cycle();
    hosts
        .into_iter()
        .zip(ports)
        .map(|(host, number)| {
            let port = if number.is_empty() { 5432 } else { port(number)? };
            if host.is_empty() || host.starts_with('/') {
                let dir = if host.is_empty() { "/var/run/postgresql" } else { host };
                let dir = PathBuf::from(dir);
                return Ok(PostgresHost::Unix { dir, port });
            }
            check_host(host)?;
            let host = host.to_owned();
            Ok(PostgresHost::Tcp { host, port })
        })
        .collect()
}

fn sslmode(value: &str) -> Result<SslMode, UrlError> {
    if let Some((_, mode)) = MODES.iter().find(|(word, _)| *word == value) {
        return Ok(*mode);
    }
    let words = MODES.map(|(word, _)| word);
    let advice = nearest(value, words).map_or(String::new(), |w| format!("; did you mean `{w}`?"));
    let words = words.join(", ");
    Err(UrlError::new(format!("sslmode is not one of {words}{advice}")))
}

fn timeout(value: &str) -> Result<Option<Duration>, UrlError> {
    match value.parse::<i32>() {
        Ok(seconds) => Ok(u64::try_from(seconds).ok().filter(|s| *s > 0).map(Duration::from_secs)),
        Err(_) => Err(UrlError::new("connect_timeout is not a whole number of seconds")),
    }
}

/// Options that have no field: ignored, refused or unknown. Only names of our own lists are shown.
fn check_other(name: &str, value: &str) -> Result<(), UrlError> {
    if let Some((name, harmless)) = IGNORED.iter().find(|(ignored, _)| *ignored == name) {
        if harmless.is_empty() || value.is_empty() || harmless.contains(&value) {
            return Ok(());
        }
        let words = harmless.join(" or ");
        return Err(UrlError::new(format!("the option {name} is supported only with {words}")));
    }
    if let Some(known) = REFUSED.iter().find(|refused| **refused == name) {
        return Err(UrlError::new(format!("the option {known} is not supported")));
    }
    let known = KNOWN.iter().copied().chain(IGNORED.iter().map(|(n, _)| *n));
    Err(UrlError::new(match nearest(name, known) {
        Some(known) => format!("an option is not known; did you mean `{known}`?"),
        None => format!("an option is not known; known options: {}", KNOWN.join(", ")),
    }))
}

/// The name of the user that runs the process, as libpq takes it.
fn system_user() -> Option<String> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let file = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = file.lines().find(|line| line.split(':').nth(2) == Some(&uid));
    line.and_then(|line| line.split(':').next())
        .map(str::to_owned)
        .or_else(|| std::env::var("USER").ok())
        .filter(|name| !name.is_empty())
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgresql://{}@", Encoded(&self.user, ""))?;
        for (index, host) in self.hosts.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match host {
                PostgresHost::Tcp { host, port } => write!(f, "{}", HostPort(host, *port))?,
                PostgresHost::Unix { dir, port } => {
                    write!(f, "{}:{port}", Encoded(&dir.to_string_lossy(), ""))?;
                }
            }
        }
        write!(f, "/{}", Encoded(&self.dbname, ""))?;
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let timeout = self.connect_timeout.map(|t| t.as_secs().to_string());
        let rootcert = self.sslrootcert.as_ref().map(|cert| match cert {
            RootCert::System => "system".to_owned(),
            RootCert::File(file) => path(file),
        });
        let sslmode = (self.sslmode != SslMode::default()).then(|| self.sslmode.to_string());
        let options = [
            ("sslmode", sslmode),
            ("sslrootcert", rootcert),
            ("sslcert", self.sslcert.as_ref().map(path)),
            ("sslkey", self.sslkey.as_ref().map(path)),
            ("connect_timeout", timeout),
            ("application_name", self.application_name.clone()),
        ];
        let mut separator = '?';
        for (key, value) in options {
            if let Some(value) = value {
                write!(f, "{separator}{key}={}", Encoded(&value, "/"))?;
                separator = '&';
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
