//! A row as a JSON document: a member for each column, in the table's order.

use std::sync::Arc;

use super::columns::selected;
use super::search::{SearchIndex, geo_name};
use super::shape::Shape;
use super::value::{Converter, Nulls, ValueOptions, json_string};
use super::{PlanError, Strictness};
use crate::config::Output;
use crate::interned::Interned;
use crate::row::{Row, Value};

/// What becomes of a value that a search index can't hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Guard {
    None,
    /// A member that is a number or null: NaN and the infinities, which JSON has no numbers for, are
    /// null.
    Number,
    /// A point as "longitude,latitude", null if it is no place on Earth.
    Geo,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    pub(crate) column: usize,
    /// `"name":`
    name: Vec<u8>,
    /// See [`path`].
    pub(crate) path: Option<Vec<u8>>,
    converter: Converter,
    guard: Guard,
}

/// The members of a table's documents.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) members: Arc<[Member]>,
    pub(crate) nulls: Nulls,
}

/// The JSONPath of a member of the document, `$["name"]`; `None` where RedisJSON has none for the name.
///
/// Its paths know escapes only to find the closing quote: what is made at `$["a\"b"]` is a member with
/// the backslash in its name. So a name is put between the quotes that it does not have, as it is.
pub(crate) fn path(name: &str) -> Option<Vec<u8>> {
    let quote = match (name.contains('"'), name.contains('\'')) {
        // Space after the quote is skipped.
        _ if name.contains('\\') || name.starts_with(char::is_whitespace) => return None,
        (false, _) => '"',
        (true, false) => '\'',
        (true, true) => return None,
    };
    Some(format!("$[{quote}{name}{quote}]").into_bytes())
}

impl Document {
    pub(crate) fn compile(
        shape: &Shape,
        output: &Output,
        strictness: Strictness,
        index: Option<&SearchIndex>,
    ) -> Result<Document, PlanError> {
        let mut members = Vec::new();
        for (column, name) in selected(shape, output, strictness)? {
            let converter = Converter::new(shape.columns[column].kind.clone(), output.values);
            let is_number = index.is_some_and(|index| index.is_numeric(column));
            let guard = if is_number { Guard::Number } else { Guard::None };
            members.push(Member::new(column, &name, converter.clone(), guard));
            if index.is_some_and(|index| index.is_geo(column)) {
                members.push(Member::new(column, &geo_name(&name), converter, Guard::Geo));
            }
        }
        Ok(Document { members: members.into(), nulls: output.values.nulls })
    }

    /// The columns of the table's key, whatever is chosen to be written.
    pub(crate) fn of_key(shape: &Shape, options: ValueOptions) -> Document {
        let member = |&index: &usize| {
            let column = &shape.columns[index];
            Member::new(index, &column.name, Converter::new(column.kind.clone(), options), Guard::None)
        };
        Document { members: shape.key.iter().map(member).collect(), nulls: Nulls::Empty }
    }

    /// With the members of an earlier document that has the same.
    pub(crate) fn share(&mut self, known: &mut Interned<[Member]>) {
        self.members = known.one(Arc::clone(&self.members));
    }

    /// Every member has a path, so that each can be set alone.
    pub(crate) fn is_addressable(&self) -> bool {
        self.members.iter().all(|member| member.path.is_some())
    }

    /// A member that the row does not tell.
    pub(crate) fn is_partial(&self, row: &Row<'_>) -> bool {
        self.members.iter().any(|member| row.get(member.column) == Value::Unchanged)
    }

    /// Appends the document. Members that the row does not tell are left out.
    #[inline]
    pub(crate) fn write(&self, row: &Row<'_>, out: &mut Vec<u8>) {
        self.write_if(row, out, |_| true);
    }

    /// Appends the document with the members of some columns.
    pub(crate) fn write_if(&self, row: &Row<'_>, out: &mut Vec<u8>, has: impl Fn(usize) -> bool) {
        let start = out.len();
        out.push(b'{');
        for member in &*self.members {
            let value = row.get(member.column);
            let left_out = value == Value::Unchanged || (value == Value::Null && self.nulls == Nulls::Omit);
            if left_out || !has(member.column) {
                continue;
            }
            if out.len() > start + 1 {
                out.push(b',');
            }
            out.extend_from_slice(&member.name);
            member.value(value, out);
        }
        out.push(b'}');
    }
}

impl Member {
    fn new(column: usize, name: &str, converter: Converter, guard: Guard) -> Member {
        let mut member = Vec::new();
        json_string(name.as_bytes(), &mut member);
        member.push(b':');
        Member { column, name: member, path: path(name), converter, guard }
    }

    /// Appends the value.
    pub(crate) fn value(&self, value: Value<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        match (value, self.guard) {
            (Value::Null | Value::Unchanged, _) => {}
            (Value::Text(text), Guard::Geo) => {
                if let Some(place) = place_on_earth(text) {
                    json_string(place, out);
                }
            }
            (Value::Text(text), Guard::None) => self.converter.json(text, out),
            (Value::Text(text), Guard::Number) => {
                self.converter.json(text, out);
                if out.get(start) == Some(&b'"') {
                    out.truncate(start);
                }
            }
        }
        if out.len() == start {
            out.extend_from_slice(b"null");
        }
    }
}

/// `(x,y)` without the parentheses, if x is a longitude and y a latitude that a GEO field can hold.
pub(crate) fn place_on_earth(point: &[u8]) -> Option<&[u8]> {
    const MAX_LONGITUDE: f64 = 180.0;
    const MAX_LATITUDE: f64 = 85.051_128_78;
    let inside = point.strip_prefix(b"(")?.strip_suffix(b")")?;
    let (x, y) = std::str::from_utf8(inside).ok()?.split_once(',')?;
    let (x, y) = (x.parse::<f64>().ok()?, y.parse::<f64>().ok()?);
    (x.abs() <= MAX_LONGITUDE && y.abs() <= MAX_LATITUDE).then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted() {
        for (name, expected) in [
            ("a", r#"$["a"]"#),
            ("a.b c", r#"$["a.b c"]"#),
            ("$[0]", r#"$["$[0]"]"#),
            ("it's", r#"$["it's"]"#),
            ("q\"q", r#"$['q"q']"#),
            ("new\nline", "$[\"new\nline\"]"),
        ] {
            assert_eq!(path(name).as_deref(), Some(expected.as_bytes()));
        }
        assert_eq!((path("b\\b"), path("b\"o't"), path(" a")), (None, None, None));
    }

    #[test]
    fn places() {
        assert_eq!(place_on_earth(b"(1.5,-2e-07)"), Some(&b"1.5,-2e-07"[..]));
        for no_place in ["(181,0)", "(0,86)", "(NaN,0)", "(Infinity,0)", "1,2", "(1)", ""] {
            assert_eq!(place_on_earth(no_place.as_bytes()), None, "{no_place}");
        }
    }
}
