//! What was typed: the document as a tree of texts, lists and mappings with their positions.
//!
//! YAML guesses types from spelling: `007` would become 7 and `1_000` would become 1000, also in a
//! password. Here only the reader of a value knows its type, so every scalar stays the text that
//! was typed, and variables are replaced in that text before anybody looks at it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Error, Location, Options, Spanned};

use super::env::{Lookup, replace};
use super::error::{Fault, Place};
use super::nearest::is_name;

/// Files above this size are refused.
pub(super) const LARGEST_FILE: usize = 4 << 20;
/// What all values may take together, variables replaced and aliases followed.
const LARGEST_TREE: usize = 16 << 20;

/// A value and where it stands. Has no `Debug`: it may be a secret.
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

pub(super) enum Value {
    /// `~`, `null` or nothing.
    Null,
    /// A scalar; `from_env` tells that messages must not quote it.
    Text {
        text: String,
        from_env: bool,
    },
    List(Vec<Node>),
    /// In the order of the file, without duplicates.
    Map(Vec<(Key, Node)>),
}

/// The key of a mapping. Variables are not replaced in it.
pub(super) struct Key {
    pub(super) text: String,
    pub(super) place: Place,
}

/// Parses a document.
pub(super) fn parse(text: &str, env: Lookup<'_>) -> Result<Node, Fault> {
    if text.len() > LARGEST_FILE {
        return Err(Fault { place: None, message: "the file is larger than 4 MiB".to_owned() });
    }
    let tree = serde_saphyr::from_str_with_options::<Spanned<Typed<'_>>>(text, options())
        .map_err(|error| fault(&error, text))?;
    let mut room = LARGEST_TREE;
    resolve(tree, text, env, &mut room)
}

/// No snippets, since they would show the secrets around an error; strict booleans, since a column
/// may be called `on` or `y`; and limits far above any real file, so that a small file cannot
/// become a large tree.
fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_nodes: 200_000,
            max_aliases: 1_000,
            max_recorded_anchor_bytes: 16 * 1024,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 4_000,
        },
    }
}

/// The document as the YAML parser gives it.
enum Typed<'de> {
    Null,
    /// A quoted or block scalar, or a plain one that looks like nothing else.
    Text(Cow<'de, str>),
    /// A plain scalar that looks like a number or a boolean: its text is in the source.
    Plain,
    List(Vec<Spanned<Typed<'de>>>),
    Map(Vec<(Spanned<String>, Spanned<Typed<'de>>)>),
}

impl<'de> Deserialize<'de> for Typed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TypedVisitor)
    }
}

struct TypedVisitor;

impl<'de> Visitor<'de> for TypedVisitor {
    type Value = Typed<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Typed<'de>, E> {
        Ok(Typed::Null)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Typed<'de>, E> {
        Ok(Typed::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Typed<'de>, E> {
        Ok(Typed::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Typed<'de>, E> {
        Ok(Typed::Text(Cow::Owned(text)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Typed<'de>, E> {
        Ok(Typed::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Typed<'de>, E> {
        Ok(Typed::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Typed<'de>, E> {
        Ok(Typed::Plain)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Typed<'de>, E> {
        Ok(Typed::Plain)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Typed<'de>, E> {
        Ok(Typed::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Typed<'de>, E> {
        Ok(Typed::Plain)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Typed<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Typed::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Typed<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Typed::Map(entries))
    }
}

/// Gives plain scalars their text and replaces the variables.
fn resolve(
    typed: Spanned<Typed<'_>>,
    source: &str,
    env: Lookup<'_>,
    room: &mut usize,
) -> Result<Node, Fault> {
    let place = place(typed.referenced);
    let mut scalar = |text: &str| {
        let replaced = replace(text, env, room).map_err(|message| Fault::at(place, message))?;
        Ok(Value::Text { text: replaced.text, from_env: replaced.from_env })
    };
    let value = match typed.value {
        Typed::Null => Value::Null,
        Typed::Text(text) => scalar(&text)?,
        Typed::Plain => scalar(slice(source, typed.defined).unwrap_or_default())?,
        Typed::List(items) => Value::List(
            items.into_iter().map(|item| resolve(item, source, env, room)).collect::<Result<_, _>>()?,
        ),
        Typed::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, node)| {
                    let key = Key { place: self::place(key.referenced), text: key.value };
                    Ok((key, resolve(node, source, env, room)?))
                })
                .collect::<Result<_, Fault>>()?,
        ),
    };
    Ok(Node { place, value })
}

fn slice(source: &str, location: Location) -> Option<&str> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let length = usize::try_from(location.span().byte_len()?).ok()?;
    source.get(start..start.checked_add(length)?)
}

fn place(location: Location) -> Place {
    let clamp = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    Place { line: clamp(location.line()), column: clamp(location.column()) }
}

/// Puts the parser's error in words that quote nothing of the file but names.
fn fault(error: &Error, source: &str) -> Fault {
    let place = error.location().map(place);
    let mut error = error.without_snippet();
    while let Error::AliasError { error: inner, .. } = error {
        error = inner.without_snippet();
    }
    let message = match error {
        Error::DuplicateMappingKey { key: Some(key), .. } if is_name(key) => {
            format!("the key `{key}` is here a second time")
        }
        Error::DuplicateMappingKey { .. } => "this key is here a second time".to_owned(),
        Error::MultipleDocuments { .. } => {
            "a second document begins; the configuration is one document".to_owned()
        }
        Error::UnknownAnchor { .. } => {
            "this begins with `*` but is no known alias; write a text that begins with `*` in quotes"
                .to_owned()
        }
        Error::UnsupportedTag { .. } => {
            "tags are not used here; write a text that begins with `!` in quotes".to_owned()
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "the file is nested too deeply, has too many values, or its aliases multiply too much".to_owned()
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => "an alias contains itself".to_owned(),
        Error::Unexpected { .. } | Error::NullIntoString { .. } => "a key must be a text".to_owned(),
        // The parser's messages are constant but for one: it quotes the character it did not
        // expect, which may be the first of a password.
        Error::ExternalMessage { msg, .. } if msg.starts_with("unexpected character") => {
            "a value cannot begin with this character; write the value in quotes".to_owned()
        }
        Error::ExternalMessage { msg, .. } => format!("not YAML: {msg}"),
        _ => "not YAML: a value does not fit its place or its tag".to_owned(),
    };
    let line = place.and_then(|p| source.lines().nth(p.line as usize - 1));
    let hint = if message.contains("flow") && line.is_some_and(|line| line.contains("${")) {
        "; within { } or [ ] write a variable in quotes: \"${NAME}\""
    } else if message.contains("mapping values are not allowed") {
        "; write a value that contains `: ` in quotes"
    } else {
        ""
    };
    Fault { place, message: format!("{message}{hint}") }
}
