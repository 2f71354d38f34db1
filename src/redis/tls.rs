//! TLS to a node: the handshake, and its failures in words that say what to set.
//!
//! ```text
//!   target.tls ──> TlsSettings ──> handshake ──> Transport
//!                                     └── rustls' error ──> who is not trusted, by whom, and the key to set
//! ```
//!
//! With TLS 1.3 the server refuses a client's certificate after our side of the handshake is over, so that
//! refusal comes with a later read ([`told`]).

use std::io;

use rustls::{AlertDescription, CertificateError};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::Error;
use crate::config::{RedisHost, Tls, Verify};
use crate::net::{Socket, TlsSettings, Transport, Trust, client_config};

pub(super) async fn start(
    host: &RedisHost,
    name: &str,
    tls: &Tls,
    socket: Socket,
) -> Result<Transport, Error> {
    let trust = match tls.verify {
        Verify::Full => Trust::Full,
        Verify::Ca => Trust::Authority,
        Verify::None => Trust::Any,
    };
    let settings = TlsSettings { trust, roots: tls.ca_file.clone(), identity: tls.identity.clone() };
    let address = host.to_string();
    let config = client_config(&settings)
        .map_err(|what| Error::Tls { address: address.clone(), what: format!("target.tls: {what}") })?;
    let name = tls.server_name.as_deref().unwrap_or(name);
    let server = ServerName::try_from(name.to_owned())
        .map_err(|_| Error::Setting(format!("`{name}` is not a name that a certificate can be for")))?;
    let stream = TlsConnector::from(config).connect(server, socket).await.map_err(|source| {
        match source.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
            Some(error) => Error::Tls { address, what: explain(error, name, tls) },
            None => Error::Io { address, source },
        }
    })?;
    Ok(Transport::Tls(Box::new(stream)))
}

/// What an error on a connection that has begun says of TLS.
pub(super) fn told(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(alert_received(*alert)),
        other => Some(other.to_string()),
    }
}

fn explain(error: &rustls::Error, name: &str, tls: &Tls) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate(error, name, tls),
        rustls::Error::AlertReceived(alert) => alert_received(*alert),
        rustls::Error::InvalidMessage(_) => {
            "the answer is no TLS: this port is one without, write redis:// (redis-sentinel://, redis-cluster://) in \
             target.url, or name the port for TLS"
                .to_owned()
        }
        other => other.to_string(),
    }
}

fn certificate(error: &CertificateError, name: &str, tls: &Tls) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let trusted = match &tls.ca_file {
                Some(file) => format!("none in {} (target.tls.ca_file)", file.display()),
                None => "none that this system trusts".to_owned(),
            };
            format!(
                "the server's certificate is signed by {trusted}: name the PEM file with the certificate of its \
                 authority in target.tls.ca_file"
            )
        }
        CertificateError::NotValidForName => not_for(name, ""),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<String> = presented.iter().take(8).map(|name| readable(name)).collect();
            not_for(name, &format!(", but for {}", names.join(", ")))
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired: renew it (tls-cert-file in redis.conf)".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: look at the clocks of both machines".to_owned()
        }
        other => format!("the server's certificate can't be used: {other}"),
    }
}

fn not_for(name: &str, but: &str) -> String {
    format!(
        "the server's certificate is not for {name}{but}: use a name that it is for in target.url, or name it in \
         target.tls.server_name"
    )
}

/// `DnsName("redis.example")` without its frame.
fn readable(name: &str) -> String {
    name.split('"').nth(1).unwrap_or(name).to_owned()
}

fn alert_received(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure => format!(
            "the server ends the handshake ({alert:?}): it asks for a client certificate, set target.tls.cert_file and \
             target.tls.key_file (or in redis.conf tls-auth-clients optional)"
        ),
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => format!(
            "the server does not accept the certificate in target.tls.cert_file ({alert:?}): it must be one for clients, \
             signed by an authority in the server's tls-ca-cert-file"
        ),
        other => format!("the server ends the handshake ({other:?})"),
    }
}
