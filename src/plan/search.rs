//! Search indexes: from a table's columns to the schema that FT.CREATE is given.
//!
//! The invariant: nothing that the connector writes is left out of the index. RediSearch leaves a whole
//! document out, without a word to the writer, when one value does not fit its field's type. So a type
//! is chosen by what the column's values look like in Redis, one that does not fit is refused at the
//! start, and what some value of a fitting column can be and the field can't hold (NaN, a point that is
//! no place on Earth) is not given to the field.
//!
//! Source: <https://redis.io/docs/latest/commands/ft.create/> and the pages on field types.

use super::columns::{Purpose, place};
use super::columns::{mistake, selected, template, unknown_column};
use super::document::path;
use super::shape::Shape;
use super::value::{Decimals, Kind, Nulls, Timestamps};
use super::{PlanError, Strictness};
use crate::config::{Index, IndexType, Output, OutputKind};

/// How values of a type are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Searched {
    /// By the words in them.
    Text,
    /// As a whole.
    Tag,
    /// By ranges.
    Number,
    /// By ranges, if they are written as a number since the epoch; else as a whole.
    Time,
    /// By distance on Earth.
    Point,
    /// By distance to another; the number of dimensions, if the type has it.
    Vector(Option<u32>),
    /// Only where it is asked for.
    Not,
}

/// The longest `varchar(n)` that is a word rather than a text.
const LONGEST_WORD: i32 = 32;

impl Searched {
    /// Of the types that every PostgreSQL has.
    pub(crate) fn builtin(oid: u32, modifier: i32) -> Option<Searched> {
        Some(match oid {
            // bpchar, varchar; the modifier counts four bytes more
            1042 | 1043 if (4..=LONGEST_WORD + 4).contains(&modifier) => Searched::Tag,
            // text
            25 | 1042 | 1043 => Searched::Text,
            // bool, "char", name, uuid, inet, cidr, macaddr, macaddr8, time, timetz, interval
            16 | 18 | 19 | 2950 | 869 | 650 | 829 | 774 | 1083 | 1266 | 1186 => Searched::Tag,
            // integers, oid, numeric, floats
            20 | 21 | 23 | 26 | 700 | 701 | 1700 => Searched::Number,
            // date, timestamp, timestamptz
            1082 | 1114 | 1184 => Searched::Time,
            600 => Searched::Point,
            _ => return Kind::builtin(oid).map(|_| Searched::Not),
        })
    }

    /// The same for a column with this type modifier.
    pub(crate) fn with_modifier(self, modifier: i32) -> Searched {
        match self {
            Searched::Vector(None) => Searched::Vector(u32::try_from(modifier).ok()),
            other => other,
        }
    }
}

/// One field of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    column: usize,
    name: String,
    kind: IndexType,
    /// Of a vector.
    dimensions: u32,
}

/// An index over the keys of one output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SearchIndex {
    pub(crate) name: String,
    kind: OutputKind,
    prefix: Vec<u8>,
    fields: Vec<Field>,
}

/// The field that holds longitude and latitude beside the column's own text.
pub(crate) fn geo_name(name: &str) -> String {
    format!("{name}:geo")
}

impl SearchIndex {
    pub(crate) fn compile(
        shape: &Shape,
        output: &Output,
        strictness: Strictness,
    ) -> Result<SearchIndex, PlanError> {
        let kind = output.structure.kind();
        let key = template(shape, output, &output.key, Purpose::Place("key"))?;
        if key.prefix().is_empty() {
            let what = "an index needs a `key` that begins with a text, such as `product:{id}`, since it is an index \
                        over a prefix of keys";
            return Err(mistake(shape, output, what.to_owned()));
        }
        let written = selected(shape, output, strictness)?;
        let mut fields = Vec::new();
        match output.structure.index() {
            Some(Index::Only(asked)) => {
                for (name, wish) in asked {
                    let Some(column) = shape.index_of(name) else {
                        if strictness == Strictness::Streaming {
                            continue;
                        }
                        return Err(unknown_column(shape, output, name, "`index`"));
                    };
                    let Some((_, written)) = written.iter().find(|(index, _)| *index == column) else {
                        let what = format!("`index` names the column `{name}`, which is not written");
                        return Err(mistake(shape, output, what));
                    };
                    fields.push(field(shape, output, column, written, *wish)?);
                }
            }
            _ => {
                for (column, name) in &written {
                    if has_path(output, name) && suggested(shape, output, *column).is_some() {
                        fields.push(field(shape, output, *column, name, None)?);
                    }
                }
            }
        }
        if fields.is_empty() {
            let what = "none of the columns can be searched, so there is nothing to index".to_owned();
            return Err(mistake(shape, output, what));
        }
        let number = fields.iter().find(|field| field.kind == IndexType::Numeric);
        if let Some(field) = number
            && kind == OutputKind::Hash
            && output.values.nulls == Nulls::Empty
        {
            let what = format!(
                "with `nulls: empty` a NULL in `{}` would be an empty text, which is no number, and the index would \
                 leave the whole hash out; leave `nulls` out",
                field.name
            );
            return Err(mistake(shape, output, what));
        }
        let name = format!("idx:{}", shape.template_name());
        Ok(SearchIndex { name, kind, prefix: key.prefix().to_vec(), fields })
    }

    /// The column is a NUMERIC field, which can't hold what is no number.
    pub(crate) fn is_numeric(&self, column: usize) -> bool {
        self.fields.iter().any(|field| field.column == column && field.kind == IndexType::Numeric)
    }

    /// The column is a GEO field.
    pub(crate) fn is_geo(&self, column: usize) -> bool {
        self.fields.iter().any(|field| field.column == column && field.kind == IndexType::Geo)
    }

    /// The arguments of FT.CREATE.
    pub(crate) fn arguments(&self) -> Vec<Vec<u8>> {
        let mut arguments: Vec<Vec<u8>> = Vec::new();
        let mut add = |text: &[u8]| arguments.push(text.to_vec());
        add(self.name.as_bytes());
        add(b"ON");
        add(if self.kind == OutputKind::Json { b"JSON" } else { b"HASH" });
        for text in [b"PREFIX", &b"1"[..], &self.prefix, b"SCHEMA"] {
            add(text);
        }
        for field in &self.fields {
            let stored = match field.kind {
                IndexType::Geo => geo_name(&field.name),
                _ => field.name.clone(),
            };
            if self.kind == OutputKind::Json {
                // A column without a path is no field.
                add(&path(&stored).unwrap_or_default());
            } else {
                add(stored.as_bytes());
            }
            if self.kind == OutputKind::Json || stored != field.name {
                add(b"AS");
                add(field.name.as_bytes());
            }
            match field.kind {
                IndexType::Text => add(b"TEXT"),
                IndexType::Tag => add(b"TAG"),
                IndexType::Numeric => add(b"NUMERIC"),
                IndexType::Geo => add(b"GEO"),
                IndexType::Vector => {
                    let dimensions = field.dimensions.to_string();
                    for text in ["VECTOR", "HNSW", "6", "TYPE", "FLOAT32", "DIM"] {
                        add(text.as_bytes());
                    }
                    add(dimensions.as_bytes());
                    add(b"DISTANCE_METRIC");
                    add(b"COSINE");
                }
            }
        }
        arguments
    }
}

/// Whether the value is a number in Redis, in a hash as text.
fn is_number(kind: &Kind, output: &Output) -> bool {
    let json = output.structure.kind() == OutputKind::Json;
    match kind {
        Kind::Integer | Kind::Float => true,
        Kind::Numeric => !json || output.values.decimals == Decimals::Number,
        Kind::Date | Kind::Timestamp | Kind::TimestampTz => output.values.timestamps != Timestamps::Iso,
        _ => false,
    }
}

/// The type that suits a column best.
fn suggested(shape: &Shape, output: &Output, column: usize) -> Option<IndexType> {
    let column = &shape.columns[column];
    let json = output.structure.kind() == OutputKind::Json;
    match column.searched {
        Searched::Text => Some(IndexType::Text),
        Searched::Tag => Some(IndexType::Tag),
        Searched::Number | Searched::Time if is_number(&column.kind, output) => Some(IndexType::Numeric),
        Searched::Number | Searched::Time => Some(IndexType::Tag),
        Searched::Point => Some(IndexType::Geo),
        Searched::Vector(Some(_)) if json => Some(IndexType::Vector),
        Searched::Vector(_) | Searched::Not => None,
    }
}

/// A field of a document is found by its path.
fn has_path(output: &Output, name: &str) -> bool {
    output.structure.kind() == OutputKind::Hash || path(name).is_some()
}

/// Why a column can't be a field of this type.
fn unsuitable(shape: &Shape, output: &Output, column: usize, kind: IndexType) -> Option<&'static str> {
    let column = &shape.columns[column];
    let json = output.structure.kind() == OutputKind::Json;
    let number = is_number(&column.kind, output);
    match kind {
        IndexType::Numeric if number => None,
        IndexType::Numeric if column.kind == Kind::Numeric => {
            Some("in JSON it is a string, so that no digit is lost; write `decimals: number`")
        }
        IndexType::Numeric if column.searched == Searched::Time => {
            Some("it is written as text; write `timestamps: epoch_ms`")
        }
        IndexType::Numeric => Some("its values are no numbers"),
        IndexType::Geo if column.searched == Searched::Point => None,
        IndexType::Geo => Some("only a point is a place"),
        IndexType::Vector if !json => Some("in a hash it is text; only JSON documents have vectors"),
        IndexType::Vector => match column.searched {
            Searched::Vector(Some(_)) => None,
            Searched::Vector(None) => {
                Some("its type has no number of dimensions; ALTER COLUMN … TYPE vector(n)")
            }
            _ => Some("it is no vector of pgvector"),
        },
        // In a hash, everything is text.
        IndexType::Text | IndexType::Tag if !json => None,
        IndexType::Text if matches!(column.kind, Kind::Boolean) => Some("it is true or false; use tag"),
        IndexType::Text | IndexType::Tag if number => Some("it is a number; use numeric"),
        IndexType::Text | IndexType::Tag => match column.kind {
            Kind::Json | Kind::Hstore | Kind::Vector | Kind::Array { .. } => {
                Some("in JSON it is no single text")
            }
            _ => None,
        },
    }
}

fn field(
    shape: &Shape,
    output: &Output,
    column: usize,
    name: &str,
    wish: Option<IndexType>,
) -> Result<Field, PlanError> {
    let column_name = &shape.columns[column].name;
    let Some(kind) = wish.or_else(|| suggested(shape, output, column)) else {
        let what = format!(
            "`index` names the column `{column_name}`, whose type can be searched in several ways or in none; write \
             `{{ {column_name}: tag }}` or another type"
        );
        return Err(mistake(shape, output, what));
    };
    if let Some(reason) = unsuitable(shape, output, column, kind) {
        return Err(PlanError::Configuration {
            place: place(shape, output),
            what: format!("`index` can't have the column `{column_name}` as {kind:?}: {reason}"),
        });
    }
    if !has_path(output, name) {
        let what = format!(
            "`index` names the column `{column_name}`, but RedisJSON has no path for a name with a backslash or both \
             kinds of quotes; rename it under `columns`"
        );
        return Err(mistake(shape, output, what));
    }
    let dimensions = match shape.columns[column].searched {
        Searched::Vector(Some(dimensions)) => dimensions,
        _ => 0,
    };
    Ok(Field { column, name: name.to_owned(), kind, dimensions })
}
