//! Channel binding `tls-server-end-point`: the hash of the server's certificate, which SCRAM ties the proof
//! of the password to. Somebody in the middle has another certificate.
//!
//! The hash function is that of the certificate's signature, or SHA-256 in place of MD5 and SHA-1. So much of
//! the certificate is read as is needed to know it.
//!
//! Source: RFC 5929, section 4.1; RFC 5280, section 4.1.

use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

/// `None` where no hash function is defined, as for Ed25519.
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    match signature_hash(certificate)? {
        Hash::Sha224 => Some(Sha224::digest(certificate).to_vec()),
        Hash::Sha256 => Some(Sha256::digest(certificate).to_vec()),
        Hash::Sha384 => Some(Sha384::digest(certificate).to_vec()),
        Hash::Sha512 => Some(Sha512::digest(certificate).to_vec()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;

/// 1.2.840.113549.1.1: signatures with RSA.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4: signatures with ECDSA.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
/// 2.16.840.1.101.3.4.2: the hash functions.
const HASHES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

/// Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, parameters }, signature }
fn signature_hash(certificate: &[u8]) -> Option<Hash> {
    let (content, _) = element(certificate, SEQUENCE)?;
    let (_, rest) = element(content, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (oid, parameters) = element(algorithm, OID)?;
    if let Some(kind) = oid.strip_prefix(RSA) {
        return match kind {
            [4 | 5 | 11] => Some(Hash::Sha256),
            [12] => Some(Hash::Sha384),
            [13] => Some(Hash::Sha512),
            [14] => Some(Hash::Sha224),
            [10] => pss_hash(parameters),
            _ => None,
        };
    }
    match oid.strip_prefix(ECDSA)? {
        [1] | [3, 2] => Some(Hash::Sha256),
        [3, 1] => Some(Hash::Sha224),
        [3, 3] => Some(Hash::Sha384),
        [3, 4] => Some(Hash::Sha512),
        _ => None,
    }
}

/// RSASSA-PSS-params ::= SEQUENCE { [0] SEQUENCE { OID of the hash } DEFAULT sha1, … }
fn pss_hash(parameters: &[u8]) -> Option<Hash> {
    const FIRST: u8 = 0xa0;
    let (content, _) = element(parameters, SEQUENCE)?;
    let Some((hash, _)) = element(content, FIRST) else { return Some(Hash::Sha256) };
    let (hash, _) = element(hash, SEQUENCE)?;
    let (oid, _) = element(hash, OID)?;
    match oid.strip_prefix(HASHES) {
        Some([1]) => Some(Hash::Sha256),
        Some([2]) => Some(Hash::Sha384),
        Some([3]) => Some(Hash::Sha512),
        Some([4]) => Some(Hash::Sha224),
        Some(_) => None,
        // SHA-1, spelled out.
        None => Some(Hash::Sha256),
    }
}

/// The content of the DER element of this tag that `bytes` begins with, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // So many bytes of length follow; no certificate needs more than four.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0_usize, |length, &digit| (length << 8) | usize::from(digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn certificate(algorithm: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| {
            let mut out = vec![tag, 0x81, u8::try_from(content.len()).unwrap()];
            out.extend_from_slice(content);
            out
        };
        let body = [wrap(SEQUENCE, &[1, 2, 3]), wrap(SEQUENCE, algorithm), wrap(3, &[0])].concat();
        wrap(SEQUENCE, &body)
    }

    fn oid(prefix: &[u8], kind: &[u8]) -> Vec<u8> {
        let content = [prefix, kind].concat();
        [&[OID, u8::try_from(content.len()).unwrap()], content.as_slice()].concat()
    }

    #[test]
    fn hash_functions() {
        let hash = |prefix, kind| signature_hash(&certificate(&oid(prefix, kind)));
        assert_eq!(hash(RSA, &[5]), Some(Hash::Sha256));
        assert_eq!(hash(RSA, &[12]), Some(Hash::Sha384));
        assert_eq!(hash(ECDSA, &[3, 2]), Some(Hash::Sha256));
        assert_eq!(hash(ECDSA, &[3, 4]), Some(Hash::Sha512));
        // Ed25519.
        assert_eq!(hash(&[0x2b, 0x65, 0x70], &[]), None);
        let sha512 = oid(HASHES, &[3]);
        let nested = [&[0xa0, 15, SEQUENCE, 13], sha512.as_slice(), &[5, 0]].concat();
        let parameters = [&[SEQUENCE, u8::try_from(nested.len()).unwrap()], nested.as_slice()].concat();
        let pss = [oid(RSA, &[10]), parameters].concat();
        assert_eq!(signature_hash(&certificate(&pss)), Some(Hash::Sha512));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            signature_hash(&bytes);
        }
    }
}
