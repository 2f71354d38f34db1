//! What the URLs of both servers have in common: authority, hosts, percent-encoding.
//!
//! No message quotes any piece of the URL. When a password contains `/`, `?` or `:` unencoded, a
//! part of it ends up where a host, a port or an option should be, and would be shown.

use std::fmt;
use std::net::Ipv6Addr;

/// Why a URL cannot be used. Says which part is wrong, without quoting it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

impl UrlError {
    pub(super) fn new(message: impl Into<String>) -> UrlError {
        UrlError(message.into())
    }
}

/// A URL behind its `scheme://`, percent-decoded except for the path.
pub(super) struct Parts<'a> {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// Host and port as far as they are given; one entry with neither for an empty authority.
    pub(super) hosts: Vec<(String, Option<u16>)>,
    /// From its `/` on.
    pub(super) path: &'a str,
    pub(super) options: Vec<(String, String)>,
}

/// Takes a URL apart behind its `scheme://`.
pub(super) fn split(rest: &str) -> Result<Parts<'_>, UrlError> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if tail.contains('@') {
        return Err(UrlError::new(
            "there is a `@` behind the host; in user name and password write `/`, `?`, `#` and `@` as %2F, %3F, %23 and %40",
        ));
    }
    let (userinfo, hosts) = match authority.rsplit_once('@') {
        Some((userinfo, hosts)) => (userinfo, hosts),
        None => ("", authority),
    };
    let (user, password) = match userinfo.split_once(':') {
        Some((user, password)) => (user, password),
        None => (userinfo, ""),
    };
    let (path, query) = match tail.split_once('?') {
        Some((path, query)) => (path, query),
        None => (tail, ""),
    };
    let given = |text: String| (!text.is_empty()).then_some(text);
    Ok(Parts {
        user: given(decode(user, "user name")?),
        password: given(decode(password, "password")?),
        hosts: hosts.split(',').map(host).collect::<Result<_, _>>()?,
        path,
        options: query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair
                    .split_once('=')
                    .ok_or_else(|| UrlError::new("an option behind the `?` is not written `name=value`"))?;
                Ok((decode(key, "options")?, decode(value, "options")?))
            })
            .collect::<Result<_, _>>()?,
    })
}

/// `name`, `name:port`, `[address]`, `[address]:port`.
fn host(text: &str) -> Result<(String, Option<u16>), UrlError> {
    let (name, rest) = if let Some(body) = text.strip_prefix('[') {
        let (address, rest) =
            body.split_once(']').ok_or_else(|| UrlError::new("the `[` of an IPv6 address is not closed"))?;
        let address = decode(address, "host")?;
        if !is_ipv6(&address) {
            return Err(UrlError::new("there is no IPv6 address between `[` and `]`"));
        }
        (address, rest)
    } else {
        let at = text.find(':').unwrap_or(text.len());
        let (name, rest) = text.split_at(at);
        if rest.matches(':').count() > 1 {
            return Err(UrlError::new(
                "there is more than one `:` in the host; write an IPv6 address as `[::1]`, and `:` and `@` in a password as %3A and %40",
            ));
        }
        (decode(name, "host")?, rest)
    };
    let port_text = match rest.strip_prefix(':') {
        Some(port) => port,
        None if rest.is_empty() => "",
        None => return Err(UrlError::new("there is text between the host and its port")),
    };
    let port = match port_text {
        "" => None,
        digits => Some(port(digits)?),
    };
    Ok((name, port))
}

/// A port number.
pub(super) fn port(text: &str) -> Result<u16, UrlError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(UrlError::new("the port is not a number from 1 to 65535")),
    }
}

/// Refuses what can be no host name or address, before it reaches the resolver.
pub(super) fn check_host(name: &str) -> Result<(), UrlError> {
    let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if is_ipv6(name) || !name.is_empty() && name.bytes().all(named) {
        return Ok(());
    }
    Err(UrlError::new(if name.is_empty() {
        "a host is empty"
    } else {
        "the host has a character that no host name has"
    }))
}

/// With or without a zone (`fe80::1%eth0`).
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && zone.bytes().all(named)
}

/// Undoes percent-encoding; `what` names the part for the message.
pub(super) fn decode(text: &str, what: &str) -> Result<String, UrlError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(UrlError::new(format!(
                "a `%` in the {what} is not followed by two hexadecimal digits; write `%25` for a percent sign"
            )));
        };
        out.push((high * 16 + low) as u8);
    }
    match String::from_utf8(out) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(UrlError::new(format!("the percent-encoding in the {what} gives no text in UTF-8"))),
    }
}

/// Percent-encodes all but letters, digits, `-._~` and the characters in `also`.
pub(super) struct Encoded<'a>(pub(super) &'a str, pub(super) &'static str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            let c = char::from(byte);
            if byte.is_ascii_alphanumeric() || "-._~".contains(c) || self.1.contains(c) {
                write!(f, "{c}")?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

/// Host and port as a URL has them.
pub(super) struct HostPort<'a>(pub(super) &'a str, pub(super) u16);

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = Encoded(self.0, ":");
        if self.0.contains(':') { write!(f, "[{host}]:{}", self.1) } else { write!(f, "{host}:{}", self.1) }
    }
}
