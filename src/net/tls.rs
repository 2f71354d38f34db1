//! TLS by rustls, with libpq's ideas of how far a server's certificate is trusted.
//!
//! Source: PostgreSQL documentation, "SSL Support", table "SSL Mode Descriptions".

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// How far the server's certificate is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Any certificate: against listeners, not against somebody in the middle.
    Any,
    /// Signed by a known authority, whatever its name.
    Authority,
    /// Signed by a known authority for this name.
    Full,
}

/// What a TLS connection needs to know beside the server's name.
#[derive(Debug, Clone)]
pub(crate) struct TlsSettings {
    pub(crate) trust: Trust,
    /// PEM file of authorities; none means the system's.
    pub(crate) roots: Option<PathBuf>,
    /// PEM files of the client's certificate chain and key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// Builds rustls' configuration; the error is a sentence that names the file.
pub(crate) fn client_config(settings: &TlsSettings) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS can't be set up: {e}"))?;
    let verifier: Arc<dyn ServerCertVerifier> = match settings.trust {
        Trust::Any => Arc::new(Verifier {
            only: None,
            chain: None,
            names: false,
            roots: Vec::new(),
            provider: Arc::clone(&provider),
        }),
        Trust::Authority | Trust::Full => {
            let store = Arc::new(read_roots(settings.roots.as_deref())?);
            let chain = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(&provider))
                .build()
                .map_err(|e| format!("the certificate authorities can't be used: {e}"))?;
            let roots = match &settings.roots {
                Some(file) => read_certificates(file)?,
                None => Vec::new(),
            };
            let names = settings.trust == Trust::Full;
            Arc::new(Verifier {
                only: None,
                chain: Some(chain),
                names,
                roots,
                provider: Arc::clone(&provider),
            })
        }
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = read_certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|e| format!("{}: no private key can be read: {e}", key.display()))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| {
                format!("{}: the client certificate can't be used: {e}", certificate.display())
            })?
        }
    };
    Ok(Arc::new(config))
}

/// For a server that has exactly this certificate, whoever signed it and whatever its name.
pub(crate) fn pinned_config(certificate: &Path) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier {
        only: read_certificates(certificate)?.into_iter().next(),
        chain: None,
        names: false,
        roots: Vec::new(),
        provider: Arc::clone(&provider),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS can't be set up: {e}"))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(Arc::new(builder.with_no_client_auth()))
}

pub(crate) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let error = |e| format!("{}: no certificate can be read: {e}", path.display());
    let found = CertificateDer::pem_file_iter(path).map_err(error)?.collect::<Result<Vec<_>, _>>();
    let found = found.map_err(error)?;
    if found.is_empty() {
        return Err(format!("{}: there is no certificate in PEM form in it", path.display()));
    }
    Ok(found)
}

fn read_roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    match file {
        Some(path) => {
            for certificate in read_certificates(path)? {
                store
                    .add(certificate)
                    .map_err(|e| format!("{}: a certificate can't be used: {e}", path.display()))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
        }
    }
    if store.is_empty() {
        return Err(
            "no certificate authority is known: install the package ca-certificates, or name a PEM file \
                    (sslrootcert for PostgreSQL, target.tls.ca_file for Redis)"
                .to_owned(),
        );
    }
    Ok(store)
}

/// Checks signatures always, the chain where there is one, and the name where that is asked for.
#[derive(Debug)]
struct Verifier {
    /// This certificate and no other, whoever signed it.
    only: Option<CertificateDer<'static>>,
    chain: Option<Arc<WebPkiServerVerifier>>,
    names: bool,
    /// The certificates of the file of authorities. A self-signed one is also the server's own: what
    /// `openssl req -x509` makes, and many servers have. OpenSSL takes that, webpki wants two different ones.
    roots: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// webpki says this of a certificate that is in its time and is an authority's.
    fn is_authority_itself(&self, end_entity: &CertificateDer<'_>, error: &rustls::Error) -> bool {
        let rustls::Error::InvalidCertificate(CertificateError::Other(reason)) = error else { return false };
        reason.to_string() == "CaUsedAsEndEntity" && self.roots.iter().any(|root| root == end_entity)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(only) = &self.only {
            return match only == end_entity {
                true => Ok(ServerCertVerified::assertion()),
                false => Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)),
            };
        }
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is the last thing that is checked, after the chain held.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names => Ok(ServerCertVerified::assertion()),
            Err(error) if self.is_authority_itself(end_entity, &error) => {
                if self.names {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
