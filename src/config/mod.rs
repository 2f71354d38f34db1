//! The configuration: what was typed, and what it means.
//!
//! ```text
//!  file ──> raw ──────────────> fields, output ──> Config
//!           tree of texts with   each text gets     validated; nothing after
//!           line and column,     its type here,     this module looks at the
//!           variables replaced   checked once       file again
//! ```
//!
//! Everything that can be known to be wrong without a connection is found here, before anything is
//! touched, and reported as one [`ConfigError`]: where it is, what is wrong and how to mend it.
//! Three rules hold throughout:
//!
//! - **Nothing is skipped.** An unknown key, a duplicate, an empty list, an option that would be
//!   ignored: each is an error, because each is a configuration that does not do what its author
//!   thinks. Unknown names come with the nearest known one ([`nearest`]).
//! - **Secrets stay secret.** A password is a [`Secret`] as soon as it is known to be one; before
//!   that no message quotes a value unless it is shaped like a name and did not come from a
//!   variable, and no message quotes any part of a URL.
//! - **Text until it has a meaning.** YAML's guesses at types are undone: `007` is three characters
//!   until a reader wants a number. Variables (`env`) are replaced in that text, so that what they
//!   hold cannot change the structure of the document.
//!
//! The form without a file ([`Config::from_arguments`]) takes the same paths with defaults for
//! everything else.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod effective;
mod env;
mod error;
mod fields;
mod http;
mod nearest;
mod output;
mod pattern;
mod postgres_options;
mod postgres_service;
mod postgres_settings;
mod postgres_url;
mod raw;
mod redis_url;
mod secret;
mod structure;
mod target;
mod template;
mod units;
mod url;

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretString};

pub use error::ConfigError;
pub use http::Http;
pub use nearest::nearest;
pub use output::{Columns, Output, TableRule};
pub use pattern::{PatternError, TablePattern};
pub use postgres_options::{AuthMethod, ChannelBinding, KeepAlive, SslMode, SslNegotiation, TargetSession};
pub(crate) use postgres_url::DEFAULT_SOCKETS;
pub use postgres_url::{PostgresHost, PostgresUrl, RootCert};
pub use redis_url::{Protocol, RedisHost, RedisUrl, Topology};
pub use secret::Secret;
pub use structure::{Format, Index, IndexType, OutputKind, Structure};
pub use target::{Batch, Durability, SentinelAccess, Target, Tls, Verify};
pub use template::{Part, Template, TemplateError};
pub use url::UrlError;

pub use crate::plan::value::options::{Binary, Decimals, Nulls, Timestamps, ValueOptions};

use env::Lookup;
use error::Fault;
use fields::Fields;
use raw::{Node, Value};

/// The JSON Schema of the configuration file, for editors. tests/command_line/schema.rs holds it against the
/// parser: keys, words, limits.
pub const SCHEMA: &str = include_str!("schema.json");

/// A validated configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Names slot, publication and checkpoint; `[a-z0-9_]`, 1 to 40 characters. Default: the name
    /// of the database, made to fit.
    pub name: String,
    /// Where the changes come from.
    pub source: Source,
    /// Where they go.
    pub target: Target,
    /// What becomes of which table, in the order of the file; the first rule that fits counts.
    /// Empty: every table that can be captured.
    pub tables: Vec<TableRule>,
    /// What tables become where `tables` is empty: a hash, or what `--type` says.
    pub plain: Output,
    /// How the tables are read at first.
    pub snapshot: Snapshot,
    /// What is done when changes were lost.
    pub on_gap: OnGap,
    /// How much may be set aside that Redis refuses.
    pub dlq: DeadLetterLimit,
    /// Where the process can be looked at; `None`: nowhere.
    pub http: Option<Http>,
    /// A password was typed, and did not come from a variable or a file: whoever may read the
    /// configuration file, or the list of processes, may read it.
    pub has_typed_secret: bool,
}

/// What is done when the changes between the checkpoint and the slot are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnGap {
    /// The tables are read again, and keys whose rows are gone are removed.
    #[default]
    Resnapshot,
    /// The program stops and says what is missing.
    Fail,
}

const ON_GAP: &[(&str, OnGap)] = &[("resnapshot", OnGap::Resnapshot), ("fail", OnGap::Fail)];

/// The PostgreSQL side.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it is.
    pub url: PostgresUrl,
    /// The replication slot; default `redis_connect_{name}`.
    pub slot: String,
    /// The publication; default `redis_connect_{name}`; used as it is when it exists.
    pub publication: String,
    /// How far the slot's confirmed position stays behind what is durable in Redis; default 60 s.
    pub retain: Duration,
    /// How many bytes of write-ahead log it stays behind at most; default 1 GiB.
    pub retain_bytes: u64,
    /// From `password` or `password_file`, else from the URL, else from `PGPASSWORD`; without any, the
    /// password file of libpq is looked at.
    pub password: Secret,
}

/// How tables are read at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Connections that read at the same time; default 2, from 1 to 64.
    pub workers: usize,
    /// Rows of a key range, about; default 200,000, from 1,000 to 1,000,000,000.
    pub range_rows: u64,
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot { workers: 2, range_rows: 200_000 }
    }
}

/// How many dead letters there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterLimit {
    /// The connector stops before there are more; default 10,000, at least 1.
    pub max: u64,
}

impl Default for DeadLetterLimit {
    fn default() -> DeadLetterLimit {
        DeadLetterLimit { max: 10_000 }
    }
}

/// What the command line gives when there is no file. `Debug` leaves out the URLs, which may hold
/// passwords.
#[derive(Clone)]
pub struct Arguments {
    /// `--source`
    pub source: String,
    /// `--target`
    pub target: String,
    /// `--tables`, each a pattern; none: every table.
    pub tables: Vec<String>,
    /// `--type`; default `hash`.
    pub kind: Option<String>,
}

impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arguments")
            .field("tables", &self.tables)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads a configuration file, with variables from the environment.
    ///
    /// # Errors
    /// If the file cannot be read, is larger than 4 MiB, is not UTF-8, or as for [`Config::parse`].
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let file = path.display().to_string();
        let fail = |message: String| ConfigError::about(&file, message);
        let mut bytes = Vec::new();
        // A little more than is allowed, so that the size check sees that it is too much.
        File::open(path)
            .and_then(|f| f.take(raw::LARGEST_FILE as u64 + 1).read_to_end(&mut bytes))
            .map_err(|error| fail(format!("cannot read the configuration: {error}")))?;
        if bytes.len() > raw::LARGEST_FILE {
            return Err(fail("the file is larger than 4 MiB".to_owned()));
        }
        let mut text = String::from_utf8(bytes).map_err(|_| fail("the file is not UTF-8".to_owned()))?;
        let config = Config::parse(&text, &file, &environment);
        // It can hold passwords.
        text.zeroize();
        config
    }

    /// Parses the text of a configuration file. `file` names it in messages; `env` is asked for
    /// variables, also for those of libpq (`PGHOST`, `PGUSER`, `PGPASSWORD`, …).
    ///
    /// # Errors
    /// If anything in the text is not understood, missing, contradictory or out of range, or a
    /// variable is not set.
    pub fn parse(
        text: &str,
        file: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, ConfigError> {
        raw::parse(text, env).and_then(|root| config(&root, env)).map_err(|fault| fault.in_file(file))
    }

    /// The configuration of a run without a file.
    ///
    /// # Errors
    /// If a URL, a pattern or the type is not understood; the error names the option.
    pub fn from_arguments(arguments: Arguments) -> Result<Config, ConfigError> {
        from_arguments(&arguments, &environment)
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn config(root: &Node, env: Lookup<'_>) -> Result<Config, Fault> {
    if matches!(root.value, Value::Null) {
        return Err(root.fault("the file is empty; it needs at least source.url and target.url"));
    }
    let fields = Fields::open(root, "the configuration")?.only(&[
        "name",
        "source",
        "target",
        "tables",
        "snapshot",
        "durability",
        "on_gap",
        "dlq",
        "http",
    ])?;
    let source = fields.need("source")?;
    let target = fields.need("target")?;
    let from = Fields::open(source, "source")?.only(&[
        "url",
        "password",
        "password_file",
        "slot",
        "publication",
        "retain",
        "retain_bytes",
    ])?;
    let url = from.need("url")?;
    let url = PostgresUrl::parse(url.filled("source.url")?, env)
        .map_err(|error| url.fault(format!("source.url: {error}")))?;
    let name = match fields.get("name") {
        Some(node) => name(node)?,
        None => fit(&url.dbname),
    };
    let password = target::password(&from, "source", url.password.as_ref())?;
    let to = Fields::open(target, "target")?;
    let target = target::read(target)?;
    let typed = [(&from, &url.password), (&to, &target.url.password)];
    Ok(Config {
        has_typed_secret: typed.iter().any(|(fields, password)| is_typed(fields, password.is_some()))
            || has_typed_token(&fields),
        http: match fields.get("http") {
            Some(node) => Some(http::read(node)?),
            None => None,
        },
        source: Source {
            slot: match from.get("slot") {
                Some(node) => slot(node)?,
                None => format!("redis_connect_{name}"),
            },
            publication: match from.get("publication") {
                Some(node) => publication(node)?,
                None => format!("redis_connect_{name}"),
            },
            retain: match from.get("retain") {
                Some(node) => node.duration("source.retain")?,
                None => RETAIN,
            },
            retain_bytes: match from.get("retain_bytes") {
                Some(node) => node.size("source.retain_bytes", 0..=1 << 50)?,
                None => RETAIN_BYTES,
            },
            password: or_environment(password, env),
            url,
        },
        target: Target {
            durability: match fields.get("durability") {
                Some(node) => target::durability(node)?,
                None => Durability::default(),
            },
            name: name.clone(),
            ..target
        },
        tables: match fields.get("tables") {
            Some(node) => output::rules(node)?,
            None => Vec::new(),
        },
        snapshot: match fields.get("snapshot") {
            Some(node) => snapshot(node)?,
            None => Snapshot::default(),
        },
        on_gap: match fields.get("on_gap") {
            Some(node) => node.choice("on_gap", ON_GAP)?,
            None => OnGap::default(),
        },
        dlq: match fields.get("dlq") {
            Some(node) => dead_letter_limit(node)?,
            None => DeadLetterLimit::default(),
        },
        plain: Output::hash(),
        name,
    })
}

const RETAIN: Duration = Duration::from_secs(60);
const RETAIN_BYTES: u64 = 1 << 30;

/// The section's password stands in the file itself.
fn is_typed(fields: &Fields<'_>, url_has_password: bool) -> bool {
    has_text(fields, "password") || (url_has_password && has_text(fields, "url"))
}

fn has_typed_token(fields: &Fields<'_>) -> bool {
    let http = fields.get("http").and_then(|node| Fields::open(node, "http").ok());
    http.is_some_and(|fields| has_text(&fields, "token"))
}

/// The value stands in the file itself.
fn has_text(fields: &Fields<'_>, key: &str) -> bool {
    let node: Option<&Node> = fields.get(key);
    node.is_some_and(|node| matches!(&node.value, Value::Text { text, from_env: false } if !text.is_empty()))
}

fn snapshot(node: &Node) -> Result<Snapshot, Fault> {
    let fields = Fields::open(node, "snapshot")?.only(&["workers", "range_rows"])?;
    let mut snapshot = Snapshot::default();
    if let Some(node) = fields.get("workers") {
        snapshot.workers = node.integer("snapshot.workers", 1..=64)? as usize;
    }
    if let Some(node) = fields.get("range_rows") {
        snapshot.range_rows = node.integer("snapshot.range_rows", 1_000..=1_000_000_000)?;
    }
    Ok(snapshot)
}

fn dead_letter_limit(node: &Node) -> Result<DeadLetterLimit, Fault> {
    let fields = Fields::open(node, "dlq")?.only(&["max"])?;
    let mut limit = DeadLetterLimit::default();
    if let Some(node) = fields.get("max") {
        limit.max = node.integer("dlq.max", 1..=1_000_000_000)?;
    }
    Ok(limit)
}

fn or_environment(password: Secret, env: Lookup<'_>) -> Secret {
    let given = || env("PGPASSWORD").filter(|text| !text.is_empty());
    match password {
        Secret::None => given().map_or(Secret::None, |text| Secret::Value(text.into())),
        password => password,
    }
}

fn name(node: &Node) -> Result<String, Fault> {
    let text = node.filled("name")?;
    if text.len() <= 40 && text.bytes().all(is_slot_byte) {
        return Ok(text.to_owned());
    }
    let advice = node.quotable().map_or(String::new(), |text| format!(", such as `{}`", fit(text)));
    Err(node.fault(format!("name must be a-z, 0-9 and _, at most 40 of them{advice}")))
}

fn slot(node: &Node) -> Result<String, Fault> {
    let text = node.filled("source.slot")?;
    if text.len() <= 63 && text.bytes().all(is_slot_byte) {
        return Ok(text.to_owned());
    }
    let message =
        "source.slot must be a-z, 0-9 and _, at most 63 of them; PostgreSQL allows no other slot names";
    Err(node.fault(message))
}

fn publication(node: &Node) -> Result<String, Fault> {
    let text = node.filled("source.publication")?;
    if text.len() <= 63 && !text.contains('\0') {
        return Ok(text.to_owned());
    }
    Err(node.fault("source.publication must be at most 63 bytes; PostgreSQL would cut it"))
}

fn is_slot_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}

/// Makes a name out of the name of a database.
fn fit(text: &str) -> String {
    text.chars()
        .flat_map(char::to_lowercase)
        .map(|c| match u8::try_from(c) {
            Ok(byte) if is_slot_byte(byte) => c,
            _ => '_',
        })
        .take(40)
        .collect()
}

fn from_arguments(arguments: &Arguments, env: Lookup<'_>) -> Result<Config, ConfigError> {
    let about = |option: &str, error: &dyn fmt::Display| ConfigError::about(option, error);
    let url = PostgresUrl::parse(&arguments.source, env).map_err(|e| about("--source", &e))?;
    let target = RedisUrl::parse(&arguments.target).map_err(|e| about("--target", &e))?;
    let kind = match arguments.kind.as_deref() {
        None => OutputKind::default(),
        Some(typed) => kind(typed).map_err(|e| about("--type", &e))?,
    };
    let output = Output::plain(kind).ok_or_else(|| {
        let message = "sorted_set needs a score, which has no option; write a configuration file";
        ConfigError::about("--type", message)
    })?;
    let url_passwords = url.password.is_some() || target.password.is_some();
    let secret = |password: &Option<SecretString>| match password {
        Some(password) if !password.expose_secret().is_empty() => Secret::Value(password.clone()),
        _ => Secret::None,
    };
    let rule = output.clone();
    let tables = arguments.tables.iter().map(|typed| {
        Ok(TableRule {
            pattern: TablePattern::parse(typed).map_err(|e| about("--tables", &e))?,
            outputs: vec![rule.clone()],
            line: 0,
        })
    });
    let name = fit(&url.dbname);
    Ok(Config {
        source: Source {
            slot: format!("redis_connect_{name}"),
            publication: format!("redis_connect_{name}"),
            retain: RETAIN,
            retain_bytes: RETAIN_BYTES,
            password: or_environment(secret(&url.password), env),
            url,
        },
        target: Target { name: name.clone(), ..Target::plain(target.clone(), secret(&target.password)) },
        tables: tables.collect::<Result<_, _>>()?,
        snapshot: Snapshot::default(),
        on_gap: OnGap::default(),
        dlq: DeadLetterLimit::default(),
        plain: output,
        http: None,
        has_typed_secret: url_passwords,
        name,
    })
}

fn kind(typed: &str) -> Result<OutputKind, String> {
    OutputKind::named(typed).ok_or_else(|| {
        let advice = nearest::advice(typed, "known types", &structure::kind_names());
        format!("the type is not known; {advice}")
    })
}
