//! Settings of libpq whose value is one of a few words, or a number.
//!
//! Source: PostgreSQL documentation, "Parameter Key Words" of "Database Connection Control Functions".

use std::time::Duration;

use super::nearest::nearest;
use super::url::UrlError;

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
    /// TLS; the certificate is checked only if there is a file of authorities.
    Require,
    /// TLS with a trusted certificate.
    VerifyCa,
    /// TLS with a trusted certificate for this host name.
    VerifyFull,
}

pub(super) const SSL_MODES: &[(&str, SslMode)] = &[
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

/// libpq's `sslnegotiation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslNegotiation {
    /// The server is asked in PostgreSQL's protocol whether it has TLS.
    #[default]
    Postgres,
    /// TLS from the first byte (PostgreSQL 17).
    Direct,
}

pub(super) const NEGOTIATIONS: &[(&str, SslNegotiation)] =
    &[("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)];

/// libpq's `channel_binding`: whether the password's proof is tied to the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where the server offers it.
    #[default]
    Prefer,
    /// Always, or no connection.
    Require,
}

pub(super) const BINDINGS: &[(&str, ChannelBinding)] = &[
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];

/// libpq's `target_session_attrs`: which of several servers is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetSession {
    /// The first that lets us in.
    #[default]
    Any,
    /// One that accepts changes.
    ReadWrite,
    /// One that accepts none.
    ReadOnly,
    /// One that is no standby.
    Primary,
    /// A standby.
    Standby,
    /// A standby, or another one where there is none.
    PreferStandby,
}

pub(super) const TARGETS: &[(&str, TargetSession)] = &[
    ("any", TargetSession::Any),
    ("read-write", TargetSession::ReadWrite),
    ("read-only", TargetSession::ReadOnly),
    ("primary", TargetSession::Primary),
    ("standby", TargetSession::Standby),
    ("prefer-standby", TargetSession::PreferStandby),
];

pub(super) const LOAD_BALANCE: &[(&str, bool)] = &[("disable", false), ("random", true)];

/// Whether the client's certificate is shown.
pub(super) const CERT_MODES: &[(&str, bool)] = &[("allow", true), ("disable", false)];

/// How a server makes sure who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// It does not ask, or looks at our certificate only.
    None,
    /// The password as it is.
    Password,
    /// The password's MD5 hash.
    Md5,
    /// A proof of knowing the password.
    ScramSha256,
    /// Kerberos, which does not exist here.
    Gss,
    /// Kerberos on Windows, which does not exist here.
    Sspi,
}

impl AuthMethod {
    /// libpq's word for it.
    pub fn as_str(self) -> &'static str {
        word_of(&self, METHODS)
    }
}

pub(super) const METHODS: &[(&str, AuthMethod)] = &[
    ("none", AuthMethod::None),
    ("password", AuthMethod::Password),
    ("md5", AuthMethod::Md5),
    ("scram-sha-256", AuthMethod::ScramSha256),
    ("gss", AuthMethod::Gss),
    ("sspi", AuthMethod::Sspi),
];

/// `require_auth`: methods, or methods that are not to be, each with a `!`.
pub(super) fn require_auth(value: &str) -> Result<Vec<AuthMethod>, UrlError> {
    let words: Vec<&str> = value.split(',').map(str::trim).collect();
    let excluded = words.iter().filter(|word| word.starts_with('!')).count();
    if excluded != 0 && excluded != words.len() {
        return Err(UrlError::new(
            "require_auth has methods with and without `!`; write all with it, or none",
        ));
    }
    let named = words
        .iter()
        .map(|word| one_of("require_auth", word.trim_start_matches('!'), METHODS))
        .collect::<Result<Vec<_>, _>>()?;
    if excluded == 0 {
        return Ok(named);
    }
    Ok(METHODS.iter().map(|(_, method)| *method).filter(|method| !named.contains(method)).collect())
}

/// How the kernel finds out that the server is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// Probes are sent at all.
    pub enabled: bool,
    /// After so much silence.
    pub idle: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
    /// Unanswered probes that end the connection.
    pub count: Option<u32>,
    /// How long sent bytes may stay unconfirmed.
    pub user_timeout: Option<Duration>,
}

impl Default for KeepAlive {
    /// The system's own would take two hours to begin.
    fn default() -> KeepAlive {
        KeepAlive {
            enabled: true,
            idle: Some(Duration::from_secs(30)),
            interval: Some(Duration::from_secs(10)),
            count: Some(3),
            user_timeout: None,
        }
    }
}

impl KeepAlive {
    /// Takes one of its settings; false for another name. Zero stands for the system's value.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, UrlError> {
        let seconds = |number: u32| (number > 0).then(|| Duration::from_secs(number.into()));
        match key {
            "keepalives" => self.enabled = number(key, value)? != 0,
            "keepalives_idle" => self.idle = seconds(number(key, value)?),
            "keepalives_interval" => self.interval = seconds(number(key, value)?),
            "keepalives_count" => self.count = Some(number(key, value)?).filter(|count| *count > 0),
            "tcp_user_timeout" => {
                let milliseconds = u64::from(number(key, value)?);
                self.user_timeout = (milliseconds > 0).then(|| Duration::from_millis(milliseconds));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn number(name: &str, value: &str) -> Result<u32, UrlError> {
    let wrong = || UrlError::new(format!("{name} is not a whole number"));
    // The kernel's own limits are lower; a negative number stands for the system's value, as in libpq.
    let number: i64 = value.trim().parse().map_err(|_| wrong())?;
    u32::try_from(number.clamp(0, 32_767 * 1000)).map_err(|_| wrong())
}

/// One of these words.
pub(super) fn one_of<T: Copy>(name: &str, value: &str, words: &[(&str, T)]) -> Result<T, UrlError> {
    if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == value) {
        return Ok(*meaning);
    }
    let known = words.iter().map(|(word, _)| *word);
    let advice = nearest(value, known.clone()).map_or(String::new(), |w| format!("; did you mean `{w}`?"));
    let known: Vec<&str> = known.collect();
    Err(UrlError::new(format!("{name} is not one of {}{advice}", known.join(", "))))
}

/// The word that stands for a meaning.
pub(super) fn word_of<T: PartialEq>(meaning: &T, words: &[(&'static str, T)]) -> &'static str {
    words.iter().find(|(_, known)| known == meaning).map_or("", |(word, _)| word)
}
