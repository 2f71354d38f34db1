//! The two spellings of PostgreSQL's connection settings, and which settings there are.

use super::url::{UrlError, decode, split};

/// One setting, decoded.
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: String,
}

/// Settings that mean something here.
pub(super) const KNOWN: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "passfile",
    "dbname",
    "service",
    "servicefile",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcertmode",
    "channel_binding",
    "require_auth",
    "target_session_attrs",
    "load_balance_hosts",
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "options",
    "application_name",
    "fallback_application_name",
];

/// Variables of libpq that stand for a setting which is given nowhere else. `PGPASSWORD` is not among
/// them: it stands behind the password of the configuration file.
pub(super) const ENVIRONMENT: &[(&str, &str)] = &[
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGUSER", "user"),
    ("PGPASSFILE", "passfile"),
    ("PGDATABASE", "dbname"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLCERTMODE", "sslcertmode"),
    ("PGSSLCRL", "sslcrl"),
    ("PGSSLCRLDIR", "sslcrldir"),
    ("PGSSLSNI", "sslsni"),
    ("PGSSLCOMPRESSION", "sslcompression"),
    ("PGSSLMINPROTOCOLVERSION", "ssl_min_protocol_version"),
    ("PGSSLMAXPROTOCOLVERSION", "ssl_max_protocol_version"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGREQUIREAUTH", "require_auth"),
    ("PGREQUIREPEER", "requirepeer"),
    ("PGREQUIRESSL", "requiressl"),
    ("PGGSSENCMODE", "gssencmode"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGOPTIONS", "options"),
    ("PGAPPNAME", "application_name"),
];

/// Settings that may be left unheeded without anybody being deceived, with the values for which
/// that is true (none listed: all). The encoding is always UTF-8, GSSAPI and TLS compression do not
/// exist here, the server name is always sent, and TLS is of version 1.2 or 1.3.
pub(super) const IGNORED: &[(&str, &[&str])] = &[
    ("client_encoding", &["UTF8", "utf8", "UTF-8", "utf-8", "auto"]),
    ("gssencmode", &["disable", "prefer"]),
    ("krbsrvname", &[]),
    ("gsslib", &[]),
    ("gssdelegation", &[]),
    ("sslcompression", &["0"]),
    ("sslsni", &["1"]),
    ("ssl_min_protocol_version", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ("ssl_max_protocol_version", &["TLSv1.3"]),
    ("requiressl", &["0"]),
];

/// Settings of libpq that ask for something which is not done here. To ignore them would be less
/// security, another server or another session than was asked for.
pub(super) const REFUSED: &[&str] = &[
    "replication",
    "requirepeer",
    "sslpassword",
    "sslcrl",
    "sslcrldir",
    "sslkeylogfile",
    "min_protocol_version",
    "max_protocol_version",
    "scram_client_key",
    "scram_server_key",
];

/// Reads either spelling.
pub(super) fn settings(text: &str) -> Result<Vec<Setting>, UrlError> {
    let schemes = ["postgresql://", "postgres://"];
    if let Some(rest) = schemes.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        return from_url(rest);
    }
    // `mysql://h/d?x=y` has a `=` too, but no name before it.
    let named = |key: &str| key.trim().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if text.split_once('=').is_some_and(|(key, _)| named(key)) {
        return from_words(text);
    }
    Err(UrlError::new("it does not begin with postgresql:// or postgres://"))
}

fn from_url(rest: &str) -> Result<Vec<Setting>, UrlError> {
    let parts = split(rest)?;
    let comma_free = |name: &str| {
        // Commas separate hosts; an encoded one would come apart.
        match name.contains(',') {
            true => Err(UrlError::new("a host contains a comma")),
            false => Ok(name.to_owned()),
        }
    };
    let hosts: Vec<String> =
        parts.hosts.iter().map(|(name, _)| comma_free(name)).collect::<Result<_, _>>()?;
    let ports: Vec<String> =
        parts.hosts.iter().map(|(_, port)| port.map_or(String::new(), |port| port.to_string())).collect();
    let dbname = decode(parts.path.strip_prefix('/').unwrap_or_default(), "database name")?;
    let mut settings: Vec<Setting> = [
        // Nothing at all leaves it to the variables of libpq.
        ("host", Some(hosts.join(",")).filter(|hosts| !hosts.is_empty())),
        ("port", ports.iter().any(|p| !p.is_empty()).then(|| ports.join(","))),
        ("user", parts.user),
        ("password", parts.password),
        ("dbname", Some(dbname).filter(|name| !name.is_empty())),
    ]
    .into_iter()
    .filter_map(|(key, value)| {
        let key = key.to_owned();
        Some(Setting { key, value: value? })
    })
    .collect();
    settings.extend(parts.options.into_iter().map(|(key, value)| {
        // libpq takes this JDBC spelling too.
        match (key.as_str(), value.as_str()) {
            ("ssl", "true") => Setting { key: "sslmode".to_owned(), value: "require".to_owned() },
            _ => Setting { key, value },
        }
    }));
    Ok(settings)
}

/// `key=value` words; values with spaces in single quotes, `\` before a quote or a backslash.
fn from_words(text: &str) -> Result<Vec<Setting>, UrlError> {
    let mut settings = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, tail) =
            rest.split_once('=').ok_or_else(|| UrlError::new("a word is not written `name=value`"))?;
        let key = key.trim_end();
        if key.contains(char::is_whitespace) {
            return Err(UrlError::new("a word is not written `name=value`"));
        }
        let (value, tail) = word(tail.trim_start())?;
        let key = key.to_owned();
        settings.push(Setting { key, value });
        rest = tail.trim_start();
    }
    Ok(settings)
}

fn word(text: &str) -> Result<(String, &str), UrlError> {
    let (quoted, body) = match text.strip_prefix('\'') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let mut value = String::new();
    let mut chars = body.chars();
    loop {
        let rest = chars.as_str();
        match chars.next() {
            Some('\'') if quoted => return Ok((value, chars.as_str())),
            Some(c) if !quoted && c.is_whitespace() => return Ok((value, rest)),
            Some('\\') => value.extend(chars.next()),
            Some('\0') => return Err(UrlError::new("it contains a NUL character")),
            Some(c) => value.push(c),
            None if quoted => return Err(UrlError::new("a `'` is not closed")),
            None => return Ok((value, rest)),
        }
    }
}
