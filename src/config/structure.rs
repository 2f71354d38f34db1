//! The data structures of Redis that rows can be written to, each with its own options.

use super::error::Fault;
use super::fields::Fields;
use super::output;
use super::raw::{Node, Value};
use super::template::Template;
use crate::plan::value::options::Nulls;

/// A data structure, with what only it can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Structure {
    /// A hash for each row.
    Hash {
        /// The search index over the hashes.
        index: Option<Index>,
    },
    /// A JSON document for each row (RedisJSON).
    Json {
        /// The search index over the documents.
        index: Option<Index>,
    },
    /// A string for each row.
    String {
        /// What it holds; `None`: the row as a JSON document.
        value: Option<Template>,
    },
    /// A member of a set for each row.
    Set {
        /// The member.
        member: Template,
    },
    /// A member of a sorted set for each row.
    SortedSet {
        /// The member.
        member: Template,
        /// Its score, a number.
        score: Template,
    },
    /// An entry of a stream for each change.
    Stream {
        /// What the entry looks like.
        format: Format,
        /// About how many entries are kept; `None`: all.
        max_len: Option<u64>,
    },
}

/// What a stream entry looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// `op`, `table`, `lsn`, `xid`, `ts`, `key`, `before`, `after`.
    #[default]
    Event,
    /// `op` and the columns.
    Flat,
    /// `key` and `value` with Debezium's envelope.
    Debezium,
}

/// Which columns a search index has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Index {
    /// Every column that is written and can be searched, as its type suggests.
    All,
    /// These, in this order; `None`: as the column's type suggests.
    Only(Vec<(String, Option<IndexType>)>),
}

/// The field types of a search index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IndexType {
    /// Words of a text.
    Text,
    /// The whole value.
    Tag,
    /// Ranges of numbers.
    Numeric,
    /// Longitude and latitude.
    Geo,
    /// Nearest neighbours.
    Vector,
}

/// A type of output, as `type` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OutputKind {
    /// `hash`
    #[default]
    Hash,
    /// `json`
    Json,
    /// `string`
    String,
    /// `set`
    Set,
    /// `sorted_set`
    SortedSet,
    /// `stream`
    Stream,
}

/// Every kind under its name in the configuration.
pub(super) const KINDS: &[(&str, OutputKind)] = &[
    ("hash", OutputKind::Hash),
    ("json", OutputKind::Json),
    ("string", OutputKind::String),
    ("set", OutputKind::Set),
    ("sorted_set", OutputKind::SortedSet),
    ("stream", OutputKind::Stream),
];

pub(super) const FORMATS: &[(&str, Format)] =
    &[("event", Format::Event), ("flat", Format::Flat), ("debezium", Format::Debezium)];

pub(super) const INDEX_TYPES: &[(&str, IndexType)] = &[
    ("text", IndexType::Text),
    ("tag", IndexType::Tag),
    ("numeric", IndexType::Numeric),
    ("geo", IndexType::Geo),
    ("vector", IndexType::Vector),
];

/// Options that not every kind has, and the kinds that have them.
const SPECIAL: &[(&str, &[OutputKind])] = &[
    ("columns", &[OutputKind::Hash, OutputKind::Json, OutputKind::String, OutputKind::Stream]),
    ("exclude", &[OutputKind::Hash, OutputKind::Json, OutputKind::String, OutputKind::Stream]),
    ("nulls", &[OutputKind::Hash, OutputKind::Json, OutputKind::String, OutputKind::Stream]),
    ("index", &[OutputKind::Hash, OutputKind::Json]),
    ("value", &[OutputKind::String]),
    ("member", &[OutputKind::Set, OutputKind::SortedSet]),
    ("score", &[OutputKind::SortedSet]),
    ("format", &[OutputKind::Stream]),
    ("max_len", &[OutputKind::Stream]),
];

/// Options of every kind.
const COMMON: &[&str] = &["type", "key", "ttl", "timestamps", "binary", "decimals"];

/// The longest stream that `max_len` can ask for.
const LONGEST_STREAM: u64 = 1 << 40;

/// The names of all kinds.
pub(super) fn kind_names() -> Vec<&'static str> {
    KINDS.iter().map(|(name, _)| *name).collect()
}

/// Every option that some kind has.
pub(super) fn all_options() -> Vec<&'static str> {
    COMMON.iter().copied().chain(SPECIAL.iter().map(|(option, _)| *option)).collect()
}

impl OutputKind {
    /// As `type` names it.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// What `type` names.
    pub(crate) fn named(word: &str) -> Option<OutputKind> {
        KINDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind)
    }

    /// What Redis says to TYPE of its keys.
    pub(crate) fn redis_type(self) -> &'static str {
        match self {
            OutputKind::Hash => "hash",
            OutputKind::Json => "ReJSON-RL",
            OutputKind::String => "string",
            OutputKind::Set => "set",
            OutputKind::SortedSet => "zset",
            OutputKind::Stream => "stream",
        }
    }

    /// A kind that writes a key for each row, so that the key must tell rows apart.
    pub fn has_row_keys(self) -> bool {
        matches!(self, OutputKind::Hash | OutputKind::Json | OutputKind::String)
    }

    /// The key where none is configured.
    pub(super) fn default_key(self) -> Template {
        match self {
            OutputKind::Hash | OutputKind::Json | OutputKind::String => Template::row_key(),
            OutputKind::Set | OutputKind::SortedSet => Template::table(),
            OutputKind::Stream => Template::table_events(),
        }
    }

    /// Refuses options of other kinds and those that nothing has.
    pub(super) fn only_own<'a>(self, fields: Fields<'a>, what: &str) -> Result<Fields<'a>, Fault> {
        let has = |kinds: &[OutputKind]| kinds.contains(&self);
        for (option, kinds) in SPECIAL {
            if !has(kinds)
                && let Some(place) = fields.place_of(option)
            {
                let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                let message = format!(
                    "`{option}` in {what} is for {} only; its type is {}",
                    kinds.join(", "),
                    self.name()
                );
                return Err(Fault::at(place, message));
            }
        }
        let own = SPECIAL.iter().filter(|(_, kinds)| has(kinds)).map(|(option, _)| *option);
        let known: Vec<&str> = COMMON.iter().copied().chain(own).collect();
        fields.only(&known)
    }
}

impl Structure {
    /// The structure of a kind with nothing else configured; `None` where something must be.
    pub fn plain(kind: OutputKind) -> Option<Structure> {
        Some(match kind {
            OutputKind::Hash => Structure::Hash { index: None },
            OutputKind::Json => Structure::Json { index: None },
            OutputKind::String => Structure::String { value: None },
            OutputKind::Set => Structure::Set { member: Template::primary_key() },
            OutputKind::SortedSet => return None,
            OutputKind::Stream => Structure::Stream { format: Format::default(), max_len: None },
        })
    }

    /// Its name in the configuration.
    pub fn kind(&self) -> OutputKind {
        match self {
            Structure::Hash { .. } => OutputKind::Hash,
            Structure::Json { .. } => OutputKind::Json,
            Structure::String { .. } => OutputKind::String,
            Structure::Set { .. } => OutputKind::Set,
            Structure::SortedSet { .. } => OutputKind::SortedSet,
            Structure::Stream { .. } => OutputKind::Stream,
        }
    }

    /// What has no word for NULL leaves it out, unless told otherwise.
    pub(super) fn default_nulls(&self) -> Nulls {
        match self {
            Structure::Hash { .. } | Structure::Stream { format: Format::Flat, .. } => Nulls::Omit,
            _ => Nulls::Empty,
        }
    }

    /// The search index over the keys, if there is to be one.
    pub fn index(&self) -> Option<&Index> {
        match self {
            Structure::Hash { index } | Structure::Json { index } => index.as_ref(),
            _ => None,
        }
    }

    /// Reads the options of one kind.
    pub(super) fn read(kind: OutputKind, fields: &Fields<'_>, what: &str) -> Result<Structure, Fault> {
        let template = |option: &str| -> Result<Option<Template>, Fault> {
            fields.get(option).map(|node| output::template(node, option, what)).transpose()
        };
        let index = || fields.get("index").map(|node| index(node, what)).transpose().map(Option::flatten);
        Ok(match kind {
            OutputKind::Hash => Structure::Hash { index: index()? },
            OutputKind::Json => Structure::Json { index: index()? },
            OutputKind::String => {
                let value = template("value")?;
                let unused = ["columns", "exclude", "nulls"].into_iter().find_map(|o| fields.place_of(o));
                if let (Some(_), Some(place)) = (&value, unused) {
                    let message =
                        format!("{what} has a `value`, so its columns are those in it; leave this out");
                    return Err(Fault::at(place, message));
                }
                Structure::String { value }
            }
            OutputKind::Set => {
                Structure::Set { member: template("member")?.unwrap_or_else(Template::primary_key) }
            }
            OutputKind::SortedSet => Structure::SortedSet {
                member: template("member")?.unwrap_or_else(Template::primary_key),
                score: template("score")?.ok_or_else(|| {
                    fields.fault(format!("`score` is missing in {what}; such as `score: \"{{total}}\"`"))
                })?,
            },
            OutputKind::Stream => Structure::Stream {
                format: match fields.get("format") {
                    Some(node) => node.choice(&format!("format in {what}"), FORMATS)?,
                    None => Format::default(),
                },
                max_len: match fields.get("max_len") {
                    Some(node) => Some(node.integer(&format!("max_len in {what}"), 1..=LONGEST_STREAM)?),
                    None => None,
                },
            },
        })
    }
}

/// `true`, `false`, or a list of columns with or without types.
fn index(node: &Node, what: &str) -> Result<Option<Index>, Fault> {
    let what = format!("index in {what}");
    let items = match &node.value {
        Value::Text { text, .. } if text == "true" => return Ok(Some(Index::All)),
        Value::Text { text, .. } if text == "false" => return Ok(None),
        Value::List(items) if items.is_empty() => {
            return Err(node.fault(format!("{what} is empty; name a column, or write true")));
        }
        Value::List(items) => items,
        _ => return Err(node.unlike(&what, "true, false or a list of columns")),
    };
    let mut columns: Vec<(String, Option<IndexType>)> = Vec::new();
    let mut add = |column: &str, kind: Option<IndexType>, at: &Node| {
        if column.is_empty() {
            return Err(at.fault(format!("a name in {what} is empty")));
        }
        if columns.iter().any(|(name, _)| name == column) {
            return Err(at.fault(format!("{what}: a column is named twice")));
        }
        columns.push((column.to_owned(), kind));
        Ok(())
    };
    for item in items {
        match &item.value {
            Value::Text { text, .. } => add(text, None, item)?,
            Value::Map(entries) if !entries.is_empty() => {
                for (column, kind) in entries {
                    add(&column.text, Some(kind.choice(&format!("a type in {what}"), INDEX_TYPES)?), kind)?;
                }
            }
            _ => {
                return Err(item.unlike(&format!("an item of {what}"), "a column, or `{ column: type }`"));
            }
        }
    }
    Ok(Some(Index::Only(columns)))
}
