//! The way to a host: TCP or Unix socket, with TLS or without, as `sslmode` has it.
//!
//! `allow` and `prefer` are two attempts: plain and then TLS, or TLS and then plain. The second is made when the
//! server refuses the first by `pg_hba.conf`, or when TLS fails. Certificates are checked wherever there is a
//! file of authorities, as libpq does: `require` with one is `verify-ca`.
//!
//! Source: PostgreSQL documentation, "SSL Support", and `fe-secure-openssl.c` for what it leaves open.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::Error;
use super::connect::not_postgres;
use crate::config::{PostgresHost, PostgresUrl, RootCert, SslMode, SslNegotiation};
use crate::net::{Socket, TlsSettings, Transport, Trust, client_config};

/// One way to speak with a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Plain,
    /// Plain if the server has no TLS.
    TlsIfOffered,
    Tls,
}

/// The ways in the order in which they are tried.
pub(super) fn ways(url: &PostgresUrl, host: &PostgresHost) -> &'static [Way] {
    match (host, url.sslmode) {
        // There is no TLS on them.
        (PostgresHost::Unix { .. }, _) | (_, SslMode::Disable) => &[Way::Plain],
        (_, SslMode::Allow) => &[Way::Plain, Way::Tls],
        (_, SslMode::Prefer) => &[Way::TlsIfOffered, Way::Plain],
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => &[Way::Tls],
    }
}

/// Connects to the host with this index.
pub(super) async fn open(url: &PostgresUrl, index: usize, way: Way) -> Result<Transport, Error> {
    let Some(host) = url.hosts.get(index) else {
        return Err(Error::Setting("source.url names no host".to_owned()));
    };
    let address = host.to_string();
    let io = |source| Error::Io { address: address.clone(), source };
    match host {
        PostgresHost::Unix { dir, port } => {
            let path = dir.join(format!(".s.PGSQL.{port}"));
            Ok(Transport::Plain(Socket::unix(UnixStream::connect(path).await.map_err(io)?)))
        }
        PostgresHost::Tcp { host: name, port } => {
            let stream = match url.hostaddrs.get(index).copied().flatten() {
                Some(ip) => TcpStream::connect((ip, *port)).await,
                None => TcpStream::connect((name.as_str(), *port)).await,
            };
            let mut socket = Socket::tcp(stream.map_err(io)?).map_err(io)?;
            socket.keep_alive(&url.keep_alive);
            if way == Way::Plain {
                return Ok(Transport::Plain(socket));
            }
            if url.sslnegotiation == SslNegotiation::Direct {
                return start(url, &address, name, socket).await;
            }
            let mut request = BytesMut::new();
            frontend::ssl_request(&mut request);
            socket.write_all(&request).await.map_err(io)?;
            match socket.read_u8().await.map_err(io)? {
                b'S' => start(url, &address, name, socket).await,
                b'N' if way == Way::TlsIfOffered => Ok(Transport::Plain(socket)),
                b'N' => Err(Error::Setting(format!(
                    "PostgreSQL at {address} does not offer TLS, but sslmode={} asks for it: set ssl = on in \
                     postgresql.conf, or sslmode=disable if the network is trusted",
                    url.sslmode
                ))),
                // It has no process for us, and says so in words that are older than its protocol.
                b'E' => Err(io(io::Error::other("the server can't take one more connection now"))),
                other => Err(Error::Protocol { address, what: not_postgres(&[other]) }),
            }
        }
    }
}

async fn start(url: &PostgresUrl, address: &str, name: &str, socket: Socket) -> Result<Transport, Error> {
    let roots = roots(url);
    let trust = match url.sslmode {
        SslMode::VerifyFull => Trust::Full,
        SslMode::VerifyCa => Trust::Authority,
        _ if roots.is_some() => Trust::Authority,
        _ => Trust::Any,
    };
    let identity = identity(url)?;
    let config = client_config(&TlsSettings { trust, roots, identity }).map_err(Error::Setting)?;
    let config = if url.sslnegotiation == SslNegotiation::Direct {
        // A server that speaks other protocols on this port too must know what is meant.
        let mut config = config.as_ref().clone();
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Arc::new(config)
    } else {
        config
    };
    // The zone of an IPv6 address is nobody's but ours.
    let name = name.split_once('%').map_or(name, |(address, _)| address);
    let server = ServerName::try_from(name.to_owned())
        .map_err(|_| Error::Setting(format!("`{name}` is not a name that a certificate can be for")))?;
    match TlsConnector::from(config).connect(server, socket).await {
        Ok(stream) => Ok(Transport::Tls(Box::new(stream))),
        Err(source) => Err(failed(url, address, source)),
    }
}

/// A certificate that does not hold will not hold the next time either, whosever it is.
pub(super) fn failed(url: &PostgresUrl, address: &str, source: io::Error) -> Error {
    match source.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(error @ rustls::Error::InvalidCertificate(_)) => Error::Setting(format!(
            "PostgreSQL at {address}: TLS: {error}; sslmode={} checks the server's certificate: name the \
             authority with sslrootcert=FILE; with verify-full the host name must be among its subject \
             alternative names",
            url.sslmode
        )),
        Some(rustls::Error::AlertReceived(alert)) => Error::Setting(format!(
            "PostgreSQL at {address} refuses TLS with us ({alert:?}): it may want a client certificate (sslcert and \
             sslkey) of an authority that it knows (ssl_ca_file)",
        )),
        _ => Error::Io { address: address.to_owned(), source },
    }
}

/// The file of authorities; `None` for the system's, or for nothing to check with.
fn roots(url: &PostgresUrl) -> Option<PathBuf> {
    match &url.sslrootcert {
        Some(RootCert::File(path)) => Some(path.clone()),
        Some(RootCert::System) => None,
        None => default_file(url, "root.crt"),
    }
}

fn default_file(url: &PostgresUrl, name: &str) -> Option<PathBuf> {
    let path = url.home.as_ref()?.join(".postgresql").join(name);
    path.is_file().then_some(path)
}

fn identity(url: &PostgresUrl) -> Result<Option<(PathBuf, PathBuf)>, Error> {
    let named = url.sslcert.clone().zip(url.sslkey.clone());
    let default = || default_file(url, "postgresql.crt").zip(default_file(url, "postgresql.key"));
    let Some((certificate, key)) = named.or_else(default).filter(|_| url.sslcert_is_shown) else {
        return Ok(None);
    };
    check_key(&key)?;
    Ok(Some((certificate, key)))
}

/// A key is its owner's alone; one of root may be read by a group.
fn check_key(path: &Path) -> Result<(), Error> {
    let metadata = std::fs::metadata(path)
        .map_err(|e| Error::Setting(format!("{}: the client's key can't be read: {e}", path.display())))?;
    let others = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.is_file() && metadata.mode() & others != 0 {
        return Err(Error::Setting(format!(
            "the client's key {0} may be read by others, so it is not used: chmod 600 {0}",
            path.display()
        )));
    }
    Ok(())
}
