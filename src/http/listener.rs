//! Connections: each is a task of the HTTP thread.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::config::Http;
use crate::error::Error;
use crate::net::tls::read_certificates;

/// Connections at a time; those beyond wait.
const MOST: usize = 128;

/// For the handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the port, so that a wrong address is told before anything else is done.
pub(super) fn bind(http: &Http) -> Result<StdListener, Error> {
    let bound = StdListener::bind(http.listen).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "; another process listens there: choose another port in http.listen",
            io::ErrorKind::PermissionDenied => "; ports below 1024 take a right of their own: choose another",
            io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
            _ => "",
        };
        Error::Setting(format!("http.listen {}: {error}{hint}", http.listen))
    })
}

/// Reads certificate and key.
pub(super) fn tls(http: &Http) -> Result<Option<TlsAcceptor>, Error> {
    let Some((certificate, key)) = &http.tls else { return Ok(None) };
    let chain =
        read_certificates(certificate).map_err(|e| Error::Setting(format!("http.tls.cert_file {e}")))?;
    let key_error = |e: &dyn std::fmt::Display| {
        Error::Setting(format!("http.tls.key_file {}: no private key can be used: {e}", key.display()))
    };
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| key_error(&e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| Error::Setting(format!("TLS can't be set up: {e}")))?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(|e| key_error(&e))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// Serves until the thread ends.
pub(super) async fn serve(
    listener: StdListener,
    tls: Option<TlsAcceptor>,
    router: Router,
) -> io::Result<Infallible> {
    let listener = TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of file descriptors, for example. That passes, and must not be tried at full speed.
            Err(error) => {
                tracing::debug!("a connection to http.listen failed: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (router, tls) = (router.clone(), tls.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            match tls {
                None => connection(stream, router).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) = timeout(PATIENCE, tls.accept(stream)).await {
                        connection(stream, router).await;
                    }
                }
            }
            drop(permit);
        });
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection to http.listen ended: {error}");
    }
}
