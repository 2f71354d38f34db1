//! Where Redis is: `rediss://app@redis.example:6379/0` and its relatives.
//!
//! | URL | means |
//! |---|---|
//! | `redis://user:password@host:6379/0` | one server; `rediss://` with TLS |
//! | `redis-cluster://host1:6379,host2` | a cluster, asked at any of these hosts; `rediss-cluster://` |
//! | `redis-sentinel://host1:26379,host2/service/0` | the master of `service`; `rediss-sentinel://` |
//! | `redis+unix:///run/redis.sock?db=0` | a socket; `unix://` too; `user=` and `pass=` are options |
//!
//! All of them take the option `protocol=2` or `protocol=3`: the version of RESP that is spoken.

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;

use super::url::{Encoded, HostPort, UrlError, check_host, decode, split};

/// A parsed Redis URL. Displays as a URL without the password; `Debug` hides it too.
#[derive(Debug, Clone)]
pub struct RedisUrl {
    /// Whether the connections are encrypted.
    pub tls: bool,
    /// What stands behind the hosts.
    pub topology: Topology,
    /// One for a standalone server; one or more otherwise.
    pub hosts: Vec<RedisHost>,
    /// The ACL user; the server's `default` when there is none.
    pub username: Option<String>,
    /// The password in the URL. [`Target::password`](super::Target) is what counts.
    pub password: Option<SecretString>,
    /// The database number, default 0; always 0 for a cluster.
    pub database: u32,
    /// The version of the protocol that is asked for.
    pub protocol: Protocol,
}

/// A version of RESP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Every server speaks it without being asked.
    #[default]
    Resp2,
    /// Asked for with HELLO, from Redis 6 on.
    Resp3,
}

/// How the keys are spread over servers, and who knows where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Standalone,
    /// A cluster; the hosts are where its layout is asked for.
    Cluster,
    /// One master that sentinels know; the hosts are the sentinels.
    Sentinel {
        /// The name of the master.
        service: String,
    },
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RedisHost {
    /// A host name or address, and its port (default 6379, of sentinels 26379).
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// A socket.
    Unix(PathBuf),
}

const SCHEMES: &str = "redis://, rediss://, redis-cluster://, rediss-cluster://, redis-sentinel://, rediss-sentinel:// or redis+unix://";

/// As messages name it.
impl fmt::Display for RedisHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RedisHost::Tcp { host, port } => HostPort(host, *port).fmt(f),
            RedisHost::Unix(path) => path.display().fmt(f),
        }
    }
}

impl RedisUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// If the text is no URL of the kinds above; the message says which part is wrong, without
    /// quoting it.
    pub fn parse(text: &str) -> Result<RedisUrl, UrlError> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| UrlError::new(format!("it does not begin with {SCHEMES}")))?;
        match scheme.to_ascii_lowercase().as_str() {
            "redis" => server(rest, false),
            "rediss" => server(rest, true),
            "redis-cluster" => cluster(rest, false),
            "rediss-cluster" => cluster(rest, true),
            "redis-sentinel" => sentinel(rest, false),
            "rediss-sentinel" => sentinel(rest, true),
            "redis+unix" | "unix" => socket(rest),
            _ => Err(UrlError::new(format!("it does not begin with {SCHEMES}"))),
        }
    }
}

fn server(rest: &str, tls: bool) -> Result<RedisUrl, UrlError> {
    let (mut url, path) = networked(rest, tls, 6379)?;
    if url.hosts.len() > 1 {
        return Err(UrlError::new(
            "there are several hosts; use redis-cluster:// or redis-sentinel://, or name one",
        ));
    }
    url.database = database(path)?;
    Ok(url)
}

fn cluster(rest: &str, tls: bool) -> Result<RedisUrl, UrlError> {
    let (mut url, path) = networked(rest, tls, 6379)?;
    url.topology = Topology::Cluster;
    if database(path)? != 0 {
        return Err(UrlError::new("a cluster has only the database 0"));
    }
    Ok(url)
}

fn sentinel(rest: &str, tls: bool) -> Result<RedisUrl, UrlError> {
    let (mut url, path) = networked(rest, tls, 26379)?;
    let (service, path) = match path.split_once('/') {
        Some((service, path)) => (service, path),
        None => (path, ""),
    };
    let service = decode(service, "service name")?;
    if service.is_empty() {
        return Err(UrlError::new(
            "the name of the service is missing; write redis-sentinel://host:26379/service/0",
        ));
    }
    url.topology = Topology::Sentinel { service };
    url.database = database(path)?;
    Ok(url)
}

fn socket(rest: &str) -> Result<RedisUrl, UrlError> {
    let parts = split(rest)?;
    if parts.hosts.iter().any(|(h, p)| !h.is_empty() || p.is_some()) || parts.hosts.len() > 1 {
        return Err(UrlError::new("a socket has no host; write redis+unix:///path/to/redis.sock"));
    }
    let path = decode(parts.path, "path")?;
    if path.len() < 2 {
        return Err(UrlError::new(
            "the path of the socket is missing; write redis+unix:///path/to/redis.sock",
        ));
    }
    let mut url = RedisUrl {
        tls: false,
        topology: Topology::Standalone,
        hosts: vec![RedisHost::Unix(PathBuf::from(path))],
        username: parts.user,
        password: parts.password.map(SecretString::from),
        database: 0,
        protocol: Protocol::default(),
    };
    for (name, value) in parts.options {
        match name.as_str() {
            "db" => url.database = database(&value)?,
            "user" => url.username = Some(value).filter(|v| !v.is_empty()),
            "protocol" => url.protocol = protocol(&value)?,
            "pass" => url.password = Some(value).filter(|v| !v.is_empty()).map(Into::into),
            _ => {
                return Err(UrlError::new(
                    "an option behind the `?` is not known; known options: db, user, pass, protocol",
                ));
            }
        }
    }
    Ok(url)
}

/// What all but sockets share; gives the path behind its first `/`.
fn networked(rest: &str, tls: bool, default: u16) -> Result<(RedisUrl, &str), UrlError> {
    let parts = split(rest)?;
    let mut version = Protocol::default();
    for (name, value) in parts.options {
        if name != "protocol" {
            return Err(UrlError::new("an option behind the `?` is not known; the only one is protocol"));
        }
        version = protocol(&value)?;
    }
    let hosts = parts.hosts.into_iter().map(|(host, port)| {
        check_host(&host)?;
        let port = port.unwrap_or(default);
        Ok(RedisHost::Tcp { host, port })
    });
    let url = RedisUrl {
        tls,
        topology: Topology::Standalone,
        hosts: hosts.collect::<Result<_, _>>()?,
        username: parts.user,
        password: parts.password.map(SecretString::from),
        database: 0,
        protocol: version,
    };
    Ok((url, parts.path.strip_prefix('/').unwrap_or_default()))
}

fn protocol(text: &str) -> Result<Protocol, UrlError> {
    match text {
        "2" => Ok(Protocol::Resp2),
        "3" => Ok(Protocol::Resp3),
        _ => Err(UrlError::new("the protocol is 2 or 3")),
    }
}

fn database(text: &str) -> Result<u32, UrlError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        _ if text.is_empty() => Ok(0),
        Ok(number) if digits => Ok(number),
        _ => Err(UrlError::new("the database is not a number")),
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unix = matches!(self.hosts.first(), Some(RedisHost::Unix(_)));
        f.write_str(if self.tls { "rediss" } else { "redis" })?;
        f.write_str(match self.topology {
            Topology::Standalone if unix => "+unix://",
            Topology::Standalone => "://",
            Topology::Cluster => "-cluster://",
            Topology::Sentinel { .. } => "-sentinel://",
        })?;
        if let Some(user) = &self.username {
            write!(f, "{}@", Encoded(user, ""))?;
        }
        for (index, host) in self.hosts.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match host {
                RedisHost::Tcp { host, port } => write!(f, "{}", HostPort(host, *port))?,
                RedisHost::Unix(path) => write!(f, "{}", Encoded(&path.to_string_lossy(), "/"))?,
            }
        }
        match &self.topology {
            Topology::Standalone if unix => write!(f, "?db={}", self.database)?,
            Topology::Standalone => write!(f, "/{}", self.database)?,
            Topology::Cluster => {}
            Topology::Sentinel { service } => {
                write!(f, "/{}/{}", Encoded(service, ""), self.database)?;
            }
        }
        match self.protocol {
            Protocol::Resp2 => Ok(()),
            Protocol::Resp3 => f.write_str(if unix { "&protocol=3" } else { "?protocol=3" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RedisHost, RedisUrl, Topology};
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    fn parse(text: &str) -> RedisUrl {
        RedisUrl::parse(text).unwrap()
    }

    #[test]
    fn urls_and_how_they_display() {
        for (typed, shown) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("rediss://app@redis.example:6379/0", "rediss://app@redis.example:6379/0"),
            ("REDIS://:pw@h:7/3", "redis://h:7/3"),
            ("redis://u:p%40w@[::1]:7/", "redis://u@[::1]:7/0"),
            ("redis://[fe80::1%25eth0]", "redis://[fe80::1%25eth0]:6379/0"),
            ("redis://u:p@w@h", "redis://u@h:6379/0"),
            ("redis-cluster://a:1,b,c:3", "redis-cluster://a:1,b:6379,c:3"),
            ("rediss-cluster://a/0", "rediss-cluster://a:6379"),
            ("redis-sentinel://a:26379,b/my%20master/2", "redis-sentinel://a:26379,b:26379/my%20master/2"),
            ("rediss-sentinel://a/m", "rediss-sentinel://a:26379/m/0"),
            ("unix:///run/redis.sock", "redis+unix:///run/redis.sock?db=0"),
            ("redis://h/1?protocol=3", "redis://h:6379/1?protocol=3"),
            ("rediss://h?protocol=2", "rediss://h:6379/0"),
            ("redis-cluster://a,b?protocol=3", "redis-cluster://a:6379,b:6379?protocol=3"),
            ("redis-sentinel://a/m?protocol=3", "redis-sentinel://a:26379/m/0?protocol=3"),
            ("unix:///s?protocol=3", "redis+unix:///s?db=0&protocol=3"),
            ("redis+unix:///r%20s?db=3&user=u&pass=p", "redis+unix://u@/r%20s?db=3"),
        ] {
            assert_eq!(parse(typed).to_string(), shown, "{typed}");
            assert_eq!(parse(shown).to_string(), shown);
        }
    }

    #[test]
    fn parts() {
        let url = parse("rediss-sentinel://us%3Aer:p%2Fw@a:1,b/svc/4");
        assert!(url.tls);
        assert_eq!(url.topology, Topology::Sentinel { service: "svc".into() });
        let host = |host: &str, port| RedisHost::Tcp { host: host.into(), port };
        assert_eq!(url.hosts, [host("a", 1), host("b", 26379)]);
        assert_eq!(url.username.as_deref(), Some("us:er"));
        assert_eq!(url.password.as_ref().unwrap().expose_secret(), "p/w");
        assert_eq!(url.database, 4);
        assert_eq!(parse("unix:///s").hosts, [RedisHost::Unix("/s".into())]);
        assert!(parse("redis://:@h").password.is_none());
    }

    #[test]
    fn errors() {
        let mut wrong = String::new();
        for (typed, expected) in [
            (
                "",
                "it does not begin with redis://, rediss://, redis-cluster://, rediss-cluster://, redis-sentinel://, rediss-sentinel:// or redis+unix://",
            ),
            (
                "hunter2",
                "it does not begin with redis://, rediss://, redis-cluster://, rediss-cluster://, redis-sentinel://, rediss-sentinel:// or redis+unix://",
            ),
            (
                "http://h",
                "it does not begin with redis://, rediss://, redis-cluster://, rediss-cluster://, redis-sentinel://, rediss-sentinel:// or redis+unix://",
            ),
            ("redis://", "a host is empty"),
            ("redis://:hunter2", "the port is not a number from 1 to 65535"),
            ("redis://h:0", "the port is not a number from 1 to 65535"),
            ("redis://h:+1", "the port is not a number from 1 to 65535"),
            ("redis://h:65536", "the port is not a number from 1 to 65535"),
            (
                "redis://a,b",
                "there are several hosts; use redis-cluster:// or redis-sentinel://, or name one",
            ),
            ("redis://h/x", "the database is not a number"),
            ("redis://h/-1", "the database is not a number"),
            ("redis://h?x=1", "an option behind the `?` is not known; the only one is protocol"),
            ("redis://h?protocol=hunter2", "the protocol is 2 or 3"),
            (
                "redis://u:hun/ter2@h",
                "there is a `@` behind the host; in user name and password write `/`, `?`, `#` and `@` as %2F, %3F, %23 and %40",
            ),
            (
                "redis://u:hun%ter2@h",
                "a `%` in the password is not followed by two hexadecimal digits; write `%25` for a percent sign",
            ),
            ("redis://u:%ff@h", "the percent-encoding in the password gives no text in UTF-8"),
            ("redis://h%20h", "the host has a character that no host name has"),
            (
                "redis://::1",
                "there is more than one `:` in the host; write an IPv6 address as `[::1]`, and `:` and `@` in a password as %3A and %40",
            ),
            ("redis://[::1", "the `[` of an IPv6 address is not closed"),
            ("redis://[hunter2]", "there is no IPv6 address between `[` and `]`"),
            ("redis://[::1]x", "there is text between the host and its port"),
            ("redis-cluster://h/1", "a cluster has only the database 0"),
            ("redis-cluster://a,,b", "a host is empty"),
            (
                "redis-sentinel://h",
                "the name of the service is missing; write redis-sentinel://host:26379/service/0",
            ),
            (
                "redis-sentinel://h//1",
                "the name of the service is missing; write redis-sentinel://host:26379/service/0",
            ),
            ("unix://h/s", "a socket has no host; write redis+unix:///path/to/redis.sock"),
            ("unix://", "the path of the socket is missing; write redis+unix:///path/to/redis.sock"),
            ("unix:///s?hunter2", "an option behind the `?` is not written `name=value`"),
            (
                "unix:///s?hunter2=1",
                "an option behind the `?` is not known; known options: db, user, pass, protocol",
            ),
        ] {
            let found = RedisUrl::parse(typed).unwrap_err().to_string();
            assert!(!found.contains("hunter2"), "{found}");
            if found != expected {
                wrong += &format!("{typed:?}\n  {found:?}\n");
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
    }

    #[test]
    fn debug_shows_no_password() {
        assert!(!format!("{:?}", parse("redis://u:hunter2@h")).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn any_text(
            scheme in "redis://|rediss://|redis-cluster://|rediss-sentinel://|unix://|\\PC{0,3}",
            rest in "[a-c:@/?,=&%2\\[\\]é.]{0,20}|\\PC{0,30}",
        ) {
            if let Ok(url) = RedisUrl::parse(&format!("{scheme}{rest}")) {
                let shown = url.to_string();
                let again = RedisUrl::parse(&shown).unwrap();
                prop_assert_eq!(again.to_string(), shown);
                prop_assert_eq!(again.hosts, url.hosts);
                prop_assert_eq!(again.topology, url.topology);
                prop_assert_eq!(again.username, url.username);
                prop_assert_eq!(again.database, url.database);
                prop_assert_eq!(again.protocol, url.protocol);
            }
        }

        #[test]
        fn no_broken_url_shows_its_password(
            url in "rediss?(-sentinel)?://[a-z:@/?,=&%\\[\\]]{0,6}hunter2[a-z:@/?,=&%\\[\\]]{0,12}"
        ) {
            if let Err(error) = RedisUrl::parse(&url) {
                prop_assert!(!error.to_string().contains("hunter2"));
            }
        }
    }
}
