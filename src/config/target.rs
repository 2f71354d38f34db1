//! The Redis side: where it is, how it is reached, and how much is written at once.
//!
//! What stands in the URL says which servers and whether with TLS; what TLS needs to know beside that, and what
//! sentinels ask for, has no place in a URL.

use std::path::PathBuf;

use rustls_pki_types::ServerName;
use secrecy::SecretString;

use super::error::Fault;
use super::fields::Fields;
use super::raw::Node;
use super::redis_url::{RedisHost, RedisUrl, Topology};
use super::secret::Secret;

/// The Redis side.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it is.
    pub url: RedisUrl,
    /// From `password` or `password_file`, else from the URL.
    pub password: Secret,
    /// How servers are trusted, where the URL asks for TLS.
    pub tls: Tls,
    /// How sentinels are asked, where the URL names some.
    pub sentinel: SentinelAccess,
    /// How much is written at once.
    pub batch: Batch,
    /// When a batch counts as written.
    pub durability: Durability,
    /// The name of the pipeline, which its own keys have.
    pub name: String,
}

/// What a batch waits for before PostgreSQL is told of it.
///
/// Source: Redis documentation, WAIT and WAITAOF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Redis has it.
    #[default]
    Memory,
    /// So many replicas have it.
    Replicas(u32),
    /// It is in the append-only file on disk, and in those of so many replicas.
    AppendOnly(u32),
}

/// `durability: { wait: 1 }` or `durability: { waitaof: 0 }`.
pub(super) fn durability(node: &Node) -> Result<Durability, Fault> {
    let fields = Fields::open(node, "durability")?.only(&["wait", "waitaof"])?;
    match (fields.get("wait"), fields.get("waitaof")) {
        (Some(_), Some(node)) => {
            Err(node.fault("durability has both wait and waitaof; leave one out".to_owned()))
        }
        (Some(node), None) => Ok(Durability::Replicas(node.integer("durability.wait", 1..=100)? as u32)),
        (None, Some(node)) => Ok(Durability::AppendOnly(node.integer("durability.waitaof", 0..=100)? as u32)),
        (None, None) => Ok(Durability::Memory),
    }
}

/// What TLS needs to know beside the host's name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The certificates to trust, as a PEM file; the system's where none is given.
    pub ca_file: Option<PathBuf>,
    /// PEM files of the client's certificate chain and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that is asked for (SNI) and that the certificate must be for, instead of the host's.
    pub server_name: Option<String>,
    /// How far the certificate is looked at.
    pub verify: Verify,
}

/// How far the certificate of a server is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// It must be signed by a trusted authority, for this name.
    #[default]
    Full,
    /// It must be signed by a trusted authority.
    Ca,
    /// Any will do: helps against listeners, not against somebody in the middle.
    None,
}

pub(super) const VERIFY: &[(&str, Verify)] =
    &[("full", Verify::Full), ("ca", Verify::Ca), ("none", Verify::None)];

/// What sentinels ask for; they know nothing of the master's users.
#[derive(Debug, Clone, Default)]
pub struct SentinelAccess {
    /// The ACL user; the sentinel's `default` when there is none.
    pub username: Option<String>,
    /// The sentinels' password.
    pub password: Secret,
    /// Whether they are asked over TLS; `None`: as the master.
    pub tls: Option<bool>,
}

/// The size of a batch. A PostgreSQL transaction up to this size appears in Redis as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Rows; default 10,000, from 1 to 1,000,000.
    pub rows: usize,
    /// Bytes; default 4 MiB, from 1 KiB to 256 MiB.
    pub bytes: usize,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { rows: 10_000, bytes: 4 << 20 }
    }
}

impl Target {
    /// With nothing but a URL.
    pub(super) fn plain(url: RedisUrl, password: Secret) -> Target {
        Target {
            url,
            password,
            tls: Tls::default(),
            sentinel: SentinelAccess::default(),
            batch: Batch::default(),
            durability: Durability::default(),
            name: String::new(),
        }
    }
}

pub(super) fn read(node: &Node) -> Result<Target, Fault> {
    let fields = Fields::open(node, "target")?.only(&[
        "url",
        "password",
        "password_file",
        "tls",
        "sentinel",
        "batch",
    ])?;
    let url = fields.need("url")?;
    let url = RedisUrl::parse(url.filled("target.url")?)
        .map_err(|error| url.fault(format!("target.url: {error}")))?;
    let password = password(&fields, "target", url.password.as_ref())?;
    let mut target = Target::plain(url, password);
    if let Some(node) = fields.get("batch") {
        target.batch = batch(node)?;
    }
    if let Some(node) = fields.get("sentinel") {
        target.sentinel = sentinel(node, &target.url)?;
    }
    if let Some(node) = fields.get("tls") {
        target.tls = tls(node)?;
        if !target.url.tls && target.sentinel.tls != Some(true) {
            return Err(node.fault(without_tls(&target.url)));
        }
    }
    Ok(target)
}

fn without_tls(url: &RedisUrl) -> String {
    match (&url.topology, url.hosts.first()) {
        (Topology::Standalone, Some(RedisHost::Unix(_))) => {
            "target.tls is given, and a socket has no TLS; leave it out".to_owned()
        }
        (topology, _) => {
            let scheme = match topology {
                Topology::Standalone => "rediss://",
                Topology::Cluster => "rediss-cluster://",
                Topology::Sentinel { .. } => "rediss-sentinel://",
            };
            format!(
                "target.tls is given, but target.url is one without TLS; begin it with {scheme}, or leave tls out"
            )
        }
    }
}

fn tls(node: &Node) -> Result<Tls, Fault> {
    let fields = Fields::open(node, "target.tls")?.only(&[
        "ca_file",
        "cert_file",
        "key_file",
        "server_name",
        "verify",
    ])?;
    let file = |key: &str| -> Result<Option<PathBuf>, Fault> {
        let Some(node) = fields.get(key) else { return Ok(None) };
        Ok(Some(PathBuf::from(node.filled(&format!("target.tls.{key}"))?)))
    };
    let verify = match fields.get("verify") {
        Some(node) => node.choice("target.tls.verify", VERIFY)?,
        None => Verify::default(),
    };
    let server_name = match fields.get("server_name") {
        Some(node) => {
            let name = node.filled("target.tls.server_name")?;
            ServerName::try_from(name).map_err(|_| {
                node.fault(
                    "target.tls.server_name must be a host name or an address, as a certificate has it",
                )
            })?;
            Some(name.to_owned())
        }
        None => None,
    };
    let ca_file = file("ca_file")?;
    if let (Some(_), Verify::None, Some(node)) = (&ca_file, verify, fields.get("ca_file")) {
        return Err(node.fault(
            "target.tls.ca_file has no meaning with verify: none; leave it out, or write verify: full",
        ));
    }
    let identity = match (file("cert_file")?, file("key_file")?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (given, _) => {
            let (given, missing) =
                if given.is_some() { ("cert_file", "key_file") } else { ("key_file", "cert_file") };
            let message = format!("target.tls.{given} needs {missing} too; give both or none");
            return Err(match fields.get(given) {
                Some(node) => node.fault(message),
                None => fields.fault(message),
            });
        }
    };
    Ok(Tls { ca_file, identity, server_name, verify })
}

fn sentinel(node: &Node, url: &RedisUrl) -> Result<SentinelAccess, Fault> {
    let fields =
        Fields::open(node, "target.sentinel")?.only(&["username", "password", "password_file", "tls"])?;
    if !matches!(url.topology, Topology::Sentinel { .. }) {
        return Err(fields.fault(
            "target.sentinel is given, but target.url names no sentinels; write redis-sentinel://host:26379/service, \
             or leave it out"
                .to_owned(),
        ));
    }
    Ok(SentinelAccess {
        username: match fields.get("username") {
            Some(node) => Some(node.filled("target.sentinel.username")?.to_owned()),
            None => None,
        },
        password: password(&fields, "target.sentinel", None)?,
        tls: match fields.get("tls") {
            Some(node) => Some(node.choice("target.sentinel.tls", &[("true", true), ("false", false)])?),
            None => None,
        },
    })
}

fn batch(node: &Node) -> Result<Batch, Fault> {
    let mut batch = Batch::default();
    let fields = Fields::open(node, "target.batch")?.only(&["rows", "bytes"])?;
    if let Some(node) = fields.get("rows") {
        batch.rows = node.integer("target.batch.rows", 1..=1_000_000)? as usize;
    }
    if let Some(node) = fields.get("bytes") {
        batch.bytes = node.size("target.batch.bytes", 1 << 10..=256 << 20)? as usize;
    }
    Ok(batch)
}

/// `password` or `password_file`, else the password of the URL. An empty password is none, so that
/// `${PASSWORD:-}` can stand for one that is not always there.
pub(super) fn password(
    fields: &Fields<'_>,
    section: &str,
    url: Option<&SecretString>,
) -> Result<Secret, Fault> {
    match secret(fields, section, ("password", "password_file"))? {
        Secret::None => Ok(url.map_or(Secret::None, |password| Secret::Value(password.clone()))),
        given => Ok(given),
    }
}

/// A secret under one key, or the path of its file under another.
pub(super) fn secret(
    fields: &Fields<'_>,
    section: &str,
    (value, file): (&str, &str),
) -> Result<Secret, Fault> {
    match (fields.get(value), fields.get(file)) {
        (Some(_), Some(node)) => {
            Err(node.fault(format!("{section} has both {value} and {file}; leave one out")))
        }
        (_, Some(node)) => Ok(Secret::File(node.filled(&format!("{section}.{file}"))?.into())),
        (Some(node), None) if !node.text(&format!("{section}.{value}"))?.is_empty() => {
            Ok(Secret::Value(node.text(&format!("{section}.{value}"))?.into()))
        }
        _ => Ok(Secret::None),
    }
}
