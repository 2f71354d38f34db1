//! Certificates for tests of TLS: an authority, and what it signs, as PEM files in a directory of the test.
//!
//! Nothing is read from the system and nothing outlives the test. Two authorities of the same test are
//! strangers to each other, also when they have the same name.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// Somebody who signs certificates.
#[derive(Debug)]
pub(crate) struct Authority {
    directory: PathBuf,
    name: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The PEM files of a certificate and its key, which only their owner may read.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// Makes one; its certificate is the file `{name}.crt` in the directory.
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap();
        fs::write(directory.join(format!("{name}.crt")), certificate.pem()).unwrap();
        let (directory, name) = (directory.to_owned(), name.to_owned());
        Self { directory, name, issuer: Issuer::new(params, key) }
    }

    /// Its certificate, which those who trust it are given.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join(format!("{}.crt", self.name))
    }

    /// Its key, for a server whose certificate is its own authority.
    pub(crate) fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A server's, for these host names and addresses.
    pub(crate) fn server(&self, file: &str, names: &[&str]) -> Certificate {
        self.sign(
            file,
            names,
            (names.first().copied().unwrap_or(file), ExtendedKeyUsagePurpose::ServerAuth),
            2100,
        )
    }

    /// A server's that nobody has renewed in time.
    pub(crate) fn expired_server(&self, file: &str, names: &[&str]) -> Certificate {
        self.sign(
            file,
            names,
            (names.first().copied().unwrap_or(file), ExtendedKeyUsagePurpose::ServerAuth),
            2020,
        )
    }

    /// A client's; `user` is its common name, which PostgreSQL takes for a role.
    pub(crate) fn client(&self, file: &str, user: &str) -> Certificate {
        self.sign(file, &[], (user, ExtendedKeyUsagePurpose::ClientAuth), 2100)
    }

    fn sign(
        &self,
        file: &str,
        names: &[&str],
        (subject, purpose): (&str, ExtendedKeyUsagePurpose),
        until: i32,
    ) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.extended_key_usages = vec![purpose];
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let certificate = self.write(&format!("{file}.crt"), &signed.pem());
        Certificate { certificate, key: self.write(&format!("{file}.key"), &key.serialize_pem()) }
    }

    fn write(&self, file: &str, pem: &str) -> PathBuf {
        let path = self.directory.join(file);
        fs::write(&path, pem).unwrap();
        // PostgreSQL refuses a key that others may read.
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }
}
