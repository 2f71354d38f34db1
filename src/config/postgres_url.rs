//! Where PostgreSQL is, in the words of libpq: a URL such as
//! `postgresql://repl@db1.example:5432,db2/hr?sslmode=verify-full`, or `host=db1 dbname=hr`.
//!
//! Both forms become the same list of settings ([`super::postgres_settings`]). What they leave open is
//! taken from a service ([`super::postgres_service`]), then from libpq's variables, and from there one
//! function gives all of it a meaning.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use secrecy::SecretString;

use super::env::Lookup;
use super::nearest::nearest;
use super::postgres_options::{
    AuthMethod, BINDINGS, CERT_MODES, ChannelBinding, KeepAlive, LOAD_BALANCE, NEGOTIATIONS, SSL_MODES,
    SslMode, SslNegotiation, TARGETS, TargetSession, one_of, require_auth, word_of,
};
use super::postgres_service;
use super::postgres_settings::{ENVIRONMENT, IGNORED, KNOWN, REFUSED, Setting, settings};
use super::url::{Encoded, HostPort, UrlError, check_host, port};

/// A parsed PostgreSQL URL. Displays as a URL without the password; `Debug` hides it too.
#[derive(Debug, Clone)]
pub struct PostgresUrl {
    /// At least one.
    pub hosts: Vec<PostgresHost>,
    /// For each host the address to connect to, where it is not to be looked up.
    pub hostaddrs: Vec<Option<IpAddr>>,
    /// Default the user of the operating system.
    pub user: String,
    /// Default the user's name.
    pub dbname: String,
    /// The password in the URL or the service. [`Source::password`](super::Source) is what counts.
    pub password: Option<SecretString>,
    /// Where passwords are looked for when there is none; default `~/.pgpass`.
    pub passfile: Option<PathBuf>,
    /// Default `prefer`; `verify-full` with `sslrootcert=system`.
    pub sslmode: SslMode,
    /// How TLS begins.
    pub sslnegotiation: SslNegotiation,
    /// The certificates to trust. Where nothing is given, `~/.postgresql/root.crt`, else the system's.
    pub sslrootcert: Option<RootCert>,
    /// The client's certificate; never without `sslkey`. Where nothing is given,
    /// `~/.postgresql/postgresql.crt` if there is one.
    pub sslcert: Option<PathBuf>,
    /// The key of `sslcert`.
    pub sslkey: Option<PathBuf>,
    /// A client's certificate is shown to a server that asks for one.
    pub sslcert_is_shown: bool,
    /// Whether the proof of the password is tied to the server's certificate.
    pub channel_binding: ChannelBinding,
    /// The ways of logging in that are accepted; `None`: all.
    pub require_auth: Option<Vec<AuthMethod>>,
    /// Which of the hosts is meant.
    pub target_session_attrs: TargetSession,
    /// The hosts are tried in a random order.
    pub load_balance_hosts: bool,
    /// For each host; whole seconds. `None`: no limit was given.
    pub connect_timeout: Option<Duration>,
    /// How the kernel finds out that the server is gone.
    pub keep_alive: KeepAlive,
    /// Settings for the session, as on the server's command line.
    pub options: Option<String>,
    /// What `pg_stat_activity` shows.
    pub application_name: Option<String>,
    /// Where files are that nothing was said of.
    pub(crate) home: Option<PathBuf>,
    /// The host that let us in last.
    pub(crate) last_host: LastHost,
}

/// Which host let us in last, for all connections of the process: it is tried first, so that one that is
/// dead costs its timeout once, and so that all connections are of the same server.
#[derive(Debug, Clone)]
pub(crate) struct LastHost(Arc<AtomicUsize>);

impl Default for LastHost {
    fn default() -> LastHost {
        LastHost(Arc::new(AtomicUsize::new(usize::MAX)))
    }
}

impl LastHost {
    pub(crate) fn get(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|index| *index != usize::MAX)
    }

    pub(crate) fn set(&self, index: usize) {
        self.0.store(index, Ordering::Relaxed);
    }
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

impl SslMode {
    /// libpq's word for it.
    pub fn as_str(self) -> &'static str {
        word_of(&self, SSL_MODES)
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PostgresUrl {
    /// Parses a URL or a list of `key=value` words. `env` is asked for libpq's variables.
    ///
    /// # Errors
    /// If the text is neither, has an option that is not known or not supported, or contradicts
    /// itself; the message says which part is wrong, without quoting it.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<PostgresUrl, UrlError> {
        let mut given = Given::default();
        for Setting { key, value } in settings(text)? {
            // As in libpq, the last of a repeated key counts and an empty value is the default.
            given.0.insert(key, (value, ""));
        }
        let service = given.value("service").or_else(|| env("PGSERVICE").filter(|name| !name.is_empty()));
        if let Some(service) = service {
            let file = given.value("servicefile");
            for Setting { key, value } in postgres_service::settings(&service, file.as_deref(), env)? {
                given.0.entry(key).or_insert((value, " (in the service file)"));
            }
        }
        for (variable, key) in ENVIRONMENT {
            if let Some(value) = env(variable).filter(|value| !value.is_empty()) {
                given.0.entry((*key).to_owned()).or_insert((value, variable));
            }
        }
        given.meaning(env)
    }
}

/// Settings that are given somewhere, and where, for messages: the text itself, the words for a service
/// file, or a variable.
#[derive(Default)]
struct Given(BTreeMap<String, (String, &'static str)>);

impl Given {
    fn value(&self, key: &str) -> Option<String> {
        self.0.get(key).map(|(value, _)| value.clone()).filter(|value| !value.is_empty())
    }

    /// The meaning of a setting's value; a value that has none is told with the place where it stands.
    fn read<T>(
        &self,
        key: &str,
        meaning: impl FnOnce(&str) -> Result<T, UrlError>,
    ) -> Result<Option<T>, UrlError> {
        self.value(key).map(|value| meaning(&value).map_err(|error| self.at(key, error))).transpose()
    }

    fn word<T: Copy + Default>(&self, key: &str, words: &[(&str, T)]) -> Result<T, UrlError> {
        Ok(self.read(key, |value| one_of(key, value, words))?.unwrap_or_default())
    }

    fn at(&self, key: &str, error: UrlError) -> UrlError {
        match self.0.get(key) {
            Some((_, place)) if place.starts_with("PG") => {
                UrlError::new(format!("{error} (in the variable {place})"))
            }
            Some((_, place)) => UrlError::new(format!("{error}{place}")),
            None => error,
        }
    }

    fn meaning(self, env: Lookup<'_>) -> Result<PostgresUrl, UrlError> {
        let mut keep_alive = KeepAlive::default();
        for (key, (value, _)) in &self.0 {
            if value.is_empty() && KNOWN.contains(&key.as_str()) {
                continue;
            }
            let taken = keep_alive.set(key, value).map_err(|error| self.at(key, error))?;
            if !taken && !KNOWN.contains(&key.as_str()) {
                check_other(key, value).map_err(|error| self.at(key, error))?;
            }
        }
        let user = self
            .value("user")
            .or_else(system_user)
            .ok_or_else(|| UrlError::new("the user is missing; write it before the host: user@host"))?;
        let sslrootcert = self.value("sslrootcert").map(|value| match value.as_str() {
            "system" => RootCert::System,
            path => RootCert::File(PathBuf::from(path)),
        });
        let (sslcert, sslkey) = (self.value("sslcert"), self.value("sslkey"));
        if sslcert.is_some() != sslkey.is_some() {
            return Err(UrlError::new("sslcert and sslkey belong together; give both or none"));
        }
        let (hosts, hostaddrs) = self.hosts()?;
        let home = env("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let named = self.value("passfile").map(PathBuf::from);
        let url = PostgresUrl {
            hosts,
            hostaddrs,
            dbname: self.value("dbname").unwrap_or_else(|| user.clone()),
            user,
            password: self.value("password").map(SecretString::from),
            passfile: named.or_else(|| home.as_ref().map(|home| home.join(".pgpass"))),
            sslmode: match self.read("sslmode", |value| one_of("sslmode", value, SSL_MODES))? {
                None if sslrootcert == Some(RootCert::System) => SslMode::VerifyFull,
                mode => mode.unwrap_or_default(),
            },
            sslnegotiation: self.word("sslnegotiation", NEGOTIATIONS)?,
            sslrootcert,
            sslcert: sslcert.map(PathBuf::from),
            sslkey: sslkey.map(PathBuf::from),
            sslcert_is_shown: self
                .read("sslcertmode", |value| one_of("sslcertmode", value, CERT_MODES))?
                .unwrap_or(true),
            channel_binding: self.word("channel_binding", BINDINGS)?,
            require_auth: self.read("require_auth", require_auth)?,
            target_session_attrs: self.word("target_session_attrs", TARGETS)?,
            load_balance_hosts: self.word("load_balance_hosts", LOAD_BALANCE)?,
            connect_timeout: self.read("connect_timeout", timeout)?.flatten(),
            keep_alive,
            options: self.value("options"),
            application_name: self
                .value("application_name")
                .or_else(|| self.value("fallback_application_name")),
            home,
            last_host: LastHost::default(),
        };
        url.check_tls()?;
        Ok(url)
    }

    fn hosts(&self) -> Result<(Vec<PostgresHost>, Vec<Option<IpAddr>>), UrlError> {
        let addresses = self.value("hostaddr");
        let names = self.value("host").or_else(|| addresses.clone());
        let hosts = hosts(names.as_deref(), self.value("port").as_deref())?;
        let Some(addresses) = addresses else {
            let none = vec![None; hosts.len()];
            return Ok((hosts, none));
        };
        let addresses = addresses
            .split(',')
            .map(|text| match text.trim() {
                "" => Ok(None),
                text => text.parse().map(Some).map_err(|_| UrlError::new("hostaddr is no IP address")),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if addresses.len() != hosts.len() {
            return Err(UrlError::new(
                "there are more or fewer addresses in hostaddr than hosts; give one for each",
            ));
        }
        Ok((hosts, addresses))
    }
}

impl PostgresUrl {
    fn check_tls(&self) -> Result<(), UrlError> {
        if self.sslrootcert == Some(RootCert::System) && self.sslmode != SslMode::VerifyFull {
            return Err(UrlError::new(
                "sslrootcert=system needs sslmode=verify-full: anybody can have a certificate that the system trusts",
            ));
        }
        let weak = matches!(self.sslmode, SslMode::Disable | SslMode::Allow | SslMode::Prefer);
        if self.sslnegotiation == SslNegotiation::Direct && weak {
            return Err(UrlError::new(
                "sslnegotiation=direct needs sslmode=require, verify-ca or verify-full",
            ));
        }
        Ok(())
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
                let dir = if host.is_empty() { DEFAULT_SOCKETS } else { host };
                let dir = PathBuf::from(dir);
                return Ok(PostgresHost::Unix { dir, port });
            }
            check_host(host)?;
            let host = host.to_owned();
            Ok(PostgresHost::Tcp { host, port })
        })
        .collect()
}

/// Where the packages of most distributions have the socket.
pub(crate) const DEFAULT_SOCKETS: &str = "/var/run/postgresql";

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
        if value.is_empty() {
            return Ok(());
        }
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
        let word = |word: &'static str, default: &str| (word != default).then(|| word.to_owned());
        let options = [
            ("sslmode", sslmode),
            ("sslnegotiation", word(word_of(&self.sslnegotiation, NEGOTIATIONS), "postgres")),
            ("channel_binding", word(word_of(&self.channel_binding, BINDINGS), "prefer")),
            ("target_session_attrs", word(word_of(&self.target_session_attrs, TARGETS), "any")),
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
