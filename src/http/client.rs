//! Asks a running process of the same configuration how it is.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::status::Status;
use crate::config::Http;
use crate::net::tls::pinned_config;

/// For the whole question.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than the status of 20,000 tables.
const LONGEST: usize = 64 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(crate) async fn status(http: &Http) -> Result<Status, Failure> {
    timeout(PATIENCE, ask(http)).await?
}

async fn ask(http: &Http) -> Result<Status, Failure> {
    // What listens everywhere is also here.
    let mut address = http.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let stream = TcpStream::connect(address).await?;
    let text = match &http.tls {
        None => exchange(stream, http, &address.to_string()).await?,
        Some((certificate, _)) => {
            // It is our own certificate, whatever it says about names and authorities.
            let config = pinned_config(certificate)?;
            let connector = TlsConnector::from(config);
            let stream = connector.connect(ServerName::from(address.ip()), stream).await?;
            exchange(stream, http, &address.to_string()).await?
        }
    };
    Ok(serde_json::from_slice(&text)?)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http: &Http,
    host: &str,
) -> Result<Bytes, Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::get("/api/v1/status").header(header::HOST, host);
    if let Some(token) = http.token.read()? {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("it answers {}", response.status()).into());
    }
    let text = Limited::new(response.into_body(), LONGEST).collect().await?.to_bytes();
    connection.abort();
    Ok(text)
}
