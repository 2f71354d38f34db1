//! `http`: where the process can be looked at, and by whom.
//!
//! Whoever may ask it can pause the pipeline and read rows out of dead letters. On the loopback interface that is
//! left to those who are on the machine; elsewhere it takes a token, and TLS, so that nobody on the way gets it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::error::{ConfigError, Fault};
use super::fields::Fields;
use super::raw::Node;
use super::secret::Secret;
use super::target;

/// The HTTP side.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What everybody must know who asks; `None`: nothing.
    pub token: Secret,
    /// PEM files of the certificate chain and its key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// When more is behind than this, the process is not ready; default 60 s.
    pub max_lag: Duration,
}

impl Http {
    fn at(listen: SocketAddr) -> Http {
        Http { listen, token: Secret::None, tls: None, max_lag: MAX_LAG }
    }

    /// What `--http` says, beside what the file says.
    ///
    /// # Errors
    /// If it is no address, or one that must not be used like this.
    pub fn with_listen(file: Option<Http>, typed: &str) -> Result<Http, ConfigError> {
        let about = |message: &str| ConfigError::about("--http", message);
        let listen = address(typed).ok_or_else(|| about(ADDRESS))?;
        let http = Http { listen, ..file.unwrap_or_else(|| Http::at(listen)) };
        match http.objection() {
            None => Ok(http),
            Some(message) => Err(about(&message)),
        }
    }

    /// Why it must not be opened like this.
    fn objection(&self) -> Option<String> {
        if self.listen.ip().is_loopback() {
            return None;
        }
        let missing = match (matches!(self.token, Secret::None), self.tls.is_none()) {
            (true, true) => "http.token_file, and http.tls with cert_file and key_file",
            (true, false) => "http.token_file",
            (false, true) => "http.tls with cert_file and key_file",
            (false, false) => return None,
        };
        Some(format!(
            "{} can be reached from other machines, and whoever reaches it can pause the pipeline and read dead \
             letters: set {missing}; or listen on 127.0.0.1",
            self.listen
        ))
    }
}

const MAX_LAG: Duration = Duration::from_secs(60);

const ADDRESS: &str = "must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080; a port alone is one of the \
                       loopback interface";

fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = text.strip_prefix("localhost:").unwrap_or(text).parse::<u16>() {
        return Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().ok()
}

pub(super) fn read(node: &Node) -> Result<Http, Fault> {
    let fields = Fields::open(node, "http")?.only(&["listen", "token", "token_file", "tls", "max_lag"])?;
    let listen = fields.need("listen")?;
    let mut http = Http::at(
        address(listen.filled("http.listen")?)
            .ok_or_else(|| listen.fault(format!("http.listen {ADDRESS}")))?,
    );
    http.token = target::secret(&fields, "http", ("token", "token_file"))?;
    if let Some(node) = fields.get("tls") {
        let fields = Fields::open(node, "http.tls")?.only(&["cert_file", "key_file"])?;
        let file = |key: &str| -> Result<PathBuf, Fault> {
            Ok(PathBuf::from(fields.need(key)?.filled(&format!("http.tls.{key}"))?))
        };
        http.tls = Some((file("cert_file")?, file("key_file")?));
    }
    if let Some(node) = fields.get("max_lag") {
        http.max_lag = node.duration("http.max_lag")?;
    }
    match http.objection() {
        None => Ok(http),
        Some(message) => Err(listen.fault(format!("http.listen: {message}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let show = |text| address(text).map(|address| address.to_string());
        assert_eq!(show("8080").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(show("localhost:9000").as_deref(), Some("127.0.0.1:9000"));
        assert_eq!(show("[::1]:8080").as_deref(), Some("[::1]:8080"));
        assert_eq!(show("0.0.0.0:1").as_deref(), Some("0.0.0.0:1"));
        for wrong in ["", ":8080", "127.0.0.1", "example.com:80", "70000", "http://127.0.0.1:80"] {
            assert_eq!(show(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn elsewhere_it_takes_a_token_and_tls() {
        let anywhere = "0.0.0.0:8080";
        assert!(Http::with_listen(None, "8080").is_ok());
        let refused = Http::with_listen(None, anywhere).unwrap_err().to_string();
        assert!(refused.starts_with("--http: 0.0.0.0:8080 can be reached"), "{refused}");
        let mut http = Http::at("127.0.0.1:1".parse().unwrap());
        http.token = Secret::Value("secret".into());
        assert!(
            Http::with_listen(Some(http.clone()), anywhere).unwrap_err().to_string().contains("http.tls")
        );
        http.tls = Some(("cert".into(), "key".into()));
        assert_eq!(Http::with_listen(Some(http), anywhere).unwrap().listen.port(), 8080);
    }
}
