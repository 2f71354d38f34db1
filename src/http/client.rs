//! Asks a running process of the same configuration how it is.

use std::time::Duration;

use axum::http::HeaderValue;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::status::Status;
use crate::config::Http;
use crate::net::tls::pinned_config;

/// For the whole question.
const PATIENCE: Duration = Duration::from_secs(5);

/// The answer to a wish comes when it is done, or when that takes more than ten seconds.
const LONG_PATIENCE: Duration = Duration::from_secs(20);

/// More than the status of 20,000 tables.
const LONGEST: usize = 64 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(crate) async fn status(http: &Http) -> Result<Status, Failure> {
    let text = timeout(PATIENCE, ask(http, Method::GET, "/api/v1/status", None)).await??;
    Ok(serde_json::from_slice(&text)?)
}

/// The process of a pipeline, which has answered.
#[derive(Debug)]
pub(crate) struct Process<'a> {
    http: &'a Http,
    pub(crate) shown: Status,
}

impl<'a> Process<'a> {
    /// `None` when it does not answer: then the caller does by itself what it wants.
    pub(crate) async fn find(http: Option<&'a Http>, name: &str) -> Option<Process<'a>> {
        let http = http?;
        // Another pipeline may listen there.
        let shown = status(http).await.ok().filter(|shown| shown.name == name)?;
        Some(Process { http, shown })
    }

    /// Asks it for something. False when it does not do it.
    pub(crate) async fn does(&self, path: &str, body: Option<Value>) -> bool {
        match timeout(LONG_PATIENCE, ask(self.http, Method::POST, path, body)).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                tracing::debug!("{path} at {}: {error}", self.http.listen);
                false
            }
            Err(_) => false,
        }
    }
}

async fn ask(http: &Http, method: Method, path: &str, body: Option<Value>) -> Result<Bytes, Failure> {
    let request = Request::builder().method(method).uri(path);
    let (request, body) = match body {
        Some(body) => (request.header(header::CONTENT_TYPE, "application/json"), body.to_string()),
        None => (request, String::new()),
    };
    // What listens everywhere is also here.
    let mut address = http.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let stream = TcpStream::connect(address).await?;
    let request = request.header(header::HOST, address.to_string());
    match &http.tls {
        None => exchange(stream, http, request.body(body)?).await,
        Some((certificate, _)) => {
            // It is our own certificate, whatever it says about names and authorities.
            let config = pinned_config(certificate)?;
            let connector = TlsConnector::from(config);
            let stream = connector.connect(ServerName::from(address.ip()), stream).await?;
            exchange(stream, http, request.body(body)?).await
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http: &Http,
    mut request: Request<String>,
) -> Result<Bytes, Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    if let Some(token) = http.token.read()? {
        let value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))?;
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    let response = sender.send_request(request).await?;
    if !response.status().is_success() {
        return Err(format!("it answers {}", response.status()).into());
    }
    let text = Limited::new(response.into_body(), LONGEST).collect().await?.to_bytes();
    connection.abort();
    Ok(text)
}
