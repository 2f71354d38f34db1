//! A row as a hash: HSET of the non-null columns, HDEL of the others, UNLINK on delete.
//!
//! A NULL column's field is deleted, whether or not it was there. Only an unchanged TOASTed column is
//! left alone.

use std::sync::Arc;

use super::keyed::{Body, Keyed};
use super::{Alike, Context, Workspace};
use crate::plan::PlanError;
use crate::plan::columns::selected;
use crate::plan::document::place_on_earth;
use crate::plan::search::{SearchIndex, geo_name};
use crate::plan::value::{Converter, Nulls};
use crate::redis::dump::{self, Packing};
use crate::redis::resp::{Commands, encoded};
use crate::row::{Row, Value};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Writing {
    /// PostgreSQL's text as it is.
    Verbatim,
    Converted(Converter),
    /// A number that is none is left out: a search index could not hold it.
    Number(Converter),
    /// A point as "longitude,latitude", left out if it is no place on Earth.
    Geo,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Field {
    column: usize,
    /// Encoded as an argument.
    name: Vec<u8>,
    /// The same as an entry of a listpack, if it is short enough for one.
    packed: Vec<u8>,
    /// Of the name as it is.
    bytes: usize,
    writing: Writing,
}

#[derive(Debug)]
pub(crate) struct Hash {
    fields: Arc<[Field]>,
    nulls: Nulls,
    /// Names of fields that the table no longer has, encoded; deleted while it is read again.
    retired: Vec<Vec<u8>>,
    /// Bytes.
    longest_name: usize,
    /// A search index follows what is written.
    indexed: bool,
}

pub(super) fn compile(context: Context<'_>) -> Result<Keyed<Hash>, PlanError> {
    let (shape, output, strictness) = context;
    let index = match output.structure.index() {
        Some(_) => Some(SearchIndex::compile(shape, output, strictness)?),
        None => None,
    };
    let mut fields = Vec::new();
    for (column, name) in selected(shape, output, strictness)? {
        let converter = Converter::new(shape.columns[column].kind.clone(), output.values);
        let writing = match &index {
            Some(index) if index.is_numeric(column) => Writing::Number(converter),
            _ if converter.is_verbatim() => Writing::Verbatim,
            _ => Writing::Converted(converter),
        };
        fields.push(Field::new(column, &name, writing));
        if index.as_ref().is_some_and(|index| index.is_geo(column)) {
            let name = geo_name(&name);
            fields.push(Field::new(column, &name, Writing::Geo));
        }
    }
    let hash = Hash {
        longest_name: fields.iter().map(|field| field.bytes).max().unwrap_or(0),
        fields: fields.into(),
        nulls: output.values.nulls,
        retired: Vec::new(),
        indexed: index.is_some(),
    };
    Keyed::compile(context, hash)
}

impl Keyed<Hash> {
    pub(super) fn restrict(&mut self, keep: &impl Fn(usize) -> bool) {
        let fields = &mut self.body().fields;
        *fields = fields.iter().filter(|field| keep(field.column)).cloned().collect();
    }

    pub(super) fn share(&mut self, alike: &mut Alike) {
        let fields = &mut self.body().fields;
        *fields = alike.fields.one(Arc::clone(fields));
    }

    /// The names of all fields.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |field: &Field| {
            let end = field.name.len().saturating_sub(2);
            let name = field.name.get(end.saturating_sub(field.bytes)..end).unwrap_or_default();
            String::from_utf8_lossy(name).into_owned()
        };
        self.shown().fields.iter().map(name).collect()
    }

    /// Fields of a former definition of the table are deleted with every row that is written.
    pub(super) fn retire(&mut self, names: &[String]) {
        let body = self.body();
        body.retired = names
            .iter()
            .map(|name| encoded(name.as_bytes()))
            .filter(|name| body.fields.iter().all(|field| field.name != *name))
            .collect();
    }
}

impl Field {
    fn new(column: usize, name: &str, writing: Writing) -> Field {
        let mut packed = Vec::new();
        if name.len() <= dump::LONGEST {
            dump::entry(name.as_bytes(), &mut packed);
        }
        Field { column, name: encoded(name.as_bytes()), packed, bytes: name.len(), writing }
    }

    /// The field's value; NULL also where there is none that may be written.
    #[inline]
    fn value<'a>(&self, row: &Row<'a>) -> Value<'a> {
        let value = row.get(self.column);
        match (&self.writing, value) {
            (Writing::Verbatim | Writing::Converted(_), value) => value,
            (Writing::Number(_), Value::Text(text)) if !is_indexable(text) => Value::Null,
            (Writing::Geo, Value::Text(text)) => place_on_earth(text).map_or(Value::Null, Value::Text),
            (_, value) => value,
        }
    }
}

/// A NUMERIC field of an index reads it, as a double or as one of PostgreSQL's words for infinity. (The
/// texts of times, which are converted, are no numbers yet.)
fn is_indexable(text: &[u8]) -> bool {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    number.is_none_or(|number| number.is_finite() || (number.is_infinite() && text.contains(&b'n')))
}

impl Hash {
    /// Writes the row as a whole to a key that is not there. False where it is no small hash, or is none at all.
    #[inline]
    fn restore(
        &self,
        packing: Packing,
        (row, ttl): (&Row<'_>, Option<&[u8]>),
        workspace: &mut Workspace,
        out: &mut Commands,
    ) -> bool {
        let fits = packing.takes(self.fields.len()) && self.longest_name <= packing.value;
        if !fits || self.indexed || !self.retired.is_empty() {
            return false;
        }
        let Workspace { key, scratch, body, .. } = workspace;
        let mut values = 0;
        dump::begin(body);
        for field in &*self.fields {
            let text = match (field.value(row), &field.writing) {
                (Value::Text(text), Writing::Verbatim | Writing::Geo) => text,
                (Value::Text(text), Writing::Converted(converter) | Writing::Number(converter)) => {
                    converter.text(text, scratch)
                }
                (Value::Null, _) if self.nulls == Nulls::Empty => b"",
                (Value::Null, _) => continue,
                (Value::Unchanged, _) => return false,
            };
            if text.len() > packing.value {
                return false;
            }
            body.extend_from_slice(&field.packed);
            dump::entry(text, body);
            values += 1;
        }
        if values == 0 {
            return false;
        }
        let Some(dump) = dump::finish(body, 2 * values) else { return false };
        out.begin(4);
        out.encoded_argument(dump::RESTORE);
        out.argument(key);
        match ttl {
            None => out.encoded_argument(b"$1\r\n0\r\n"),
            Some(seconds) => {
                scratch.clear();
                scratch.extend_from_slice(seconds);
                scratch.extend_from_slice(b"000");
                out.argument(scratch);
            }
        }
        out.argument(dump);
        true
    }
}

impl Body for Hash {
    fn leaves_alone(&self) -> bool {
        true
    }

    #[inline]
    fn set(&self, row: &Row<'_>, ttl: Option<&[u8]>, workspace: &mut Workspace, out: &mut Commands) {
        if let Some(packing) = workspace.packing
            && self.restore(packing, (row, ttl), workspace, out)
        {
            return;
        }
        let (mut values, mut nulls) = (0, 0);
        for field in &*self.fields {
            match field.value(row) {
                Value::Text(_) => values += 1,
                Value::Null if self.nulls == Nulls::Empty => values += 1,
                Value::Null => nulls += 1,
                Value::Unchanged => {}
            }
        }
        let Workspace { key, scratch, .. } = workspace;
        if values > 0 {
            out.begin(2 + 2 * values);
            out.encoded_argument(b"$4\r\nHSET\r\n");
            out.argument(key);
            for field in &*self.fields {
                match field.value(row) {
                    Value::Text(text) => {
                        out.encoded_argument(&field.name);
                        match &field.writing {
                            Writing::Verbatim | Writing::Geo => out.argument(text),
                            Writing::Converted(converter) | Writing::Number(converter) => {
                                out.argument(converter.text(text, scratch));
                            }
                        }
                    }
                    Value::Null if self.nulls == Nulls::Empty => {
                        out.encoded_argument(&field.name);
                        out.argument(b"");
                    }
                    Value::Null | Value::Unchanged => {}
                }
            }
        }
        if nulls + self.retired.len() > 0 {
            out.begin(2 + nulls + self.retired.len());
            out.encoded_argument(b"$4\r\nHDEL\r\n");
            out.argument(key);
            for field in &*self.fields {
                if nulls > 0 && field.value(row) == Value::Null {
                    out.encoded_argument(&field.name);
                }
            }
            for name in &self.retired {
                out.encoded_argument(name);
            }
        }
        if let Some(ttl) = ttl
            && values > 0
        {
            out.command(&[b"EXPIRE", key, ttl]);
        }
    }

    #[inline]
    fn is_partial(&self, row: &Row<'_>) -> bool {
        self.fields.iter().any(|field| row.get(field.column) == Value::Unchanged)
    }
}
