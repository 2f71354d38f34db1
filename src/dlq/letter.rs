//! One dead letter: what is written into the stream, and what is read from it again.
//!
//! | field | |
//! |---|---|
//! | `reason` | what Redis replied |
//! | `command` | the name and the key of the command that failed, to be read |
//! | `redis_key` | the key |
//! | `output` | the structure that it belongs to: `hash`, `json`, … |
//! | `table`, `key` | the table and the row's key, as `{pk}` has it |
//! | `lsn`, `ordinal` | of the commit, and of the change in its transaction; a row of a snapshot has no ordinal |
//! | `op` | `r` row of a snapshot, `c`, `u`, `d`, `t`; `m` is a logical message |
//! | `row` | all columns as PostgreSQL spells them, as a JSON object of texts and nulls; of a DELETE what it told |
//! | `old` | the row before, as far as an UPDATE told it |
//! | `unchanged` | columns that are not in `row`, since PostgreSQL did not send them: a JSON list |
//! | `cut` | columns of which `row` has only the beginning, and their lengths: a JSON object |
//! | `content` | of a logical message |
//! | `at` | when |

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::config::Output;
use crate::lsn::Lsn;
use crate::plan::columns::primary_key;
use crate::plan::shape::Shape;
use crate::plan::template::Rendered;
use crate::plan::value::json_string;
use crate::redis::limits::Limits;
use crate::redis::resp::{Commands, Reply, describe};
use crate::row::{Change, Row, Value};

/// A row with more bytes is cut, and so is a value: a letter must itself be one that Redis takes.
const LONGEST_ROW: usize = 8 << 20;
const LONGEST_VALUE: usize = 1 << 20;
/// The same for what only has to be recognised.
const LONGEST_TEXT: usize = 4096;

/// A letter's fields in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Letter {
    fields: Vec<(String, String)>,
}

/// A row as a letter has it: PostgreSQL's texts by the names of the columns.
pub(crate) type Texts = BTreeMap<String, Option<String>>;

/// The columns of a row, written until there is no room.
#[derive(Debug, Default)]
struct Document {
    json: Vec<u8>,
    unchanged: Vec<String>,
    cut: BTreeMap<String, usize>,
}

impl Letter {
    /// About a command that failed.
    pub(crate) fn new((name, key): (&[u8], &[u8]), reason: &str) -> Letter {
        let mut letter = Letter::default();
        letter.set("reason", beginning(reason.as_bytes(), LONGEST_TEXT));
        letter.set("command", describe(&[name, key]).as_bytes());
        letter.set("redis_key", beginning(key, LONGEST_TEXT));
        if let Some(output) = output_of(name) {
            letter.set("output", output.as_bytes());
        }
        letter
    }

    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        self.fields.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()));
    }

    /// Which change it was. A row of a snapshot has no ordinal.
    pub(crate) fn set_origin(&mut self, op: &str, lsn: Lsn, ordinal: Option<u64>) {
        self.set("op", op.as_bytes());
        self.set("lsn", lsn.to_string().as_bytes());
        if let Some(ordinal) = ordinal {
            self.set("ordinal", ordinal.to_string().as_bytes());
        }
    }

    pub(crate) fn set_table(&mut self, shape: &Shape) {
        self.set("table", shape.display_name().as_bytes());
    }

    pub(crate) fn set_content(&mut self, content: &[u8], limits: Limits) {
        self.set("content", beginning(content, LONGEST_VALUE.min(limits.argument / 8)));
    }

    /// The row and its key.
    pub(crate) fn set_row(&mut self, shape: &Shape, change: &Change<'_>, limits: Limits) {
        let is_identity = |column: usize| shape.columns.get(column).is_some_and(|column| column.identity);
        let (row, old) = match change {
            Change::Whole { new } => (new, None),
            Change::Update { old, new } => (new, old.as_ref()),
            Change::Delete { old } => (old, None),
        };
        let (mut scratch, mut key) = (Vec::new(), Vec::new());
        if let Ok(template) = primary_key(shape, &Output::hash())
            && template.render(row, &mut scratch, &mut key) != Rendered::Unknown
        {
            self.set("key", beginning(&key, LONGEST_TEXT));
        }
        let known = |column| !matches!(change, Change::Delete { .. }) || is_identity(column);
        let document = Document::of(shape, row, known, limits);
        self.set("row", &document.json);
        if let Some(old) = old {
            self.set("old", &Document::of(shape, old, is_identity, limits).json);
        }
        if !document.unchanged.is_empty() {
            self.set("unchanged", &serde_json::to_vec(&document.unchanged).unwrap_or_default());
        }
        if !document.cut.is_empty() {
            self.set("cut", &serde_json::to_vec(&document.cut).unwrap_or_default());
        }
    }

    /// Appends its XADD.
    pub(crate) fn write(&self, stream: &str, out: &mut Commands) {
        out.begin(3 + 2 * self.fields.len());
        out.command_arguments(&[b"XADD", stream.as_bytes(), b"*"]);
        for (name, value) in &self.fields {
            out.command_arguments(&[name.as_bytes(), value.as_bytes()]);
        }
    }

    /// Reads an entry of the stream: its ID and the letter.
    pub(crate) fn read(entry: &Reply) -> Option<(String, Letter)> {
        let Reply::Array(parts) = entry else { return None };
        let [id, Reply::Array(fields)] = parts.as_slice() else { return None };
        let fields = fields.chunks_exact(2).filter_map(|pair| match pair {
            [name, value] => name.text().zip(value.text()),
            _ => None,
        });
        Some((id.text()?, Letter { fields: fields.collect() }))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// As a JSON object; fields that are JSON themselves are nested.
    pub(crate) fn json(&self, id: &str) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        object.insert("id".to_owned(), id.into());
        for (name, value) in self.fields() {
            let nested = match name {
                "row" | "old" | "unchanged" | "cut" => serde_json::from_str(value).ok(),
                "ordinal" => value.parse::<u64>().ok().map(serde_json::Value::from),
                _ => None,
            };
            object.insert(name.to_owned(), nested.unwrap_or_else(|| value.into()));
        }
        serde_json::Value::Object(object)
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The row, or the row before, without the values that are cut.
    pub(crate) fn texts(&self, name: &str) -> Option<Texts> {
        let mut texts: Texts = serde_json::from_str(self.get(name)?).ok()?;
        let cut: BTreeMap<String, usize> =
            self.get("cut").and_then(|cut| serde_json::from_str(cut).ok()).unwrap_or_default();
        texts.retain(|column, _| !cut.contains_key(column));
        Some(texts)
    }

    /// The same for every letter about this row of this snapshot: a range that is read again after an
    /// interruption must not write them twice. `None`: a change of the stream, which comes once.
    pub(crate) fn of_snapshot(&self) -> Option<u64> {
        (self.get("op") == Some("r")).then(|| {
            let mut hasher = DefaultHasher::new();
            for name in ["table", "key", "redis_key", "lsn"] {
                self.get(name).hash(&mut hasher);
            }
            hasher.finish()
        })
    }
}

impl Document {
    fn of(shape: &Shape, row: &Row<'_>, known: impl Fn(usize) -> bool, limits: Limits) -> Document {
        // Escaped, a byte can become six.
        let mut room = LONGEST_ROW.min(limits.argument / 8);
        let longest = LONGEST_VALUE.min(room / 2);
        let mut document = Document { json: b"{".to_vec(), ..Document::default() };
        for (index, column) in shape.columns.iter().enumerate().filter(|(index, _)| known(*index)) {
            let value = row.get(index);
            if value == Value::Unchanged {
                document.unchanged.push(column.name.clone());
                continue;
            }
            if document.json.len() > 1 {
                document.json.push(b',');
            }
            json_string(column.name.as_bytes(), &mut document.json);
            document.json.push(b':');
            let Value::Text(text) = value else {
                document.json.extend_from_slice(b"null");
                continue;
            };
            let shown = beginning(text, longest.min(room));
            json_string(shown, &mut document.json);
            room -= shown.len();
            if shown.len() < text.len() {
                document.cut.insert(column.name.clone(), text.len());
            }
        }
        document.json.push(b'}');
        document
    }
}

/// At most so many bytes, up to where a character ends.
fn beginning(text: &[u8], most: usize) -> &[u8] {
    let Some(mut shown) = text.get(..most) else { return text };
    let continues = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xc0 == 0x80);
    while continues(text.get(shown.len())) && !shown.is_empty() {
        shown = &shown[..shown.len() - 1];
    }
    shown
}

/// The output that a command belongs to, as far as its name tells.
fn output_of(command: &[u8]) -> Option<&'static str> {
    match command {
        b"HSET" | b"HDEL" => Some("hash"),
        b"JSON.SET" | b"JSON.DEL" => Some("json"),
        b"SET" => Some("string"),
        b"SADD" | b"SREM" => Some("set"),
        b"ZADD" | b"ZREM" => Some("sorted_set"),
        b"XADD" => Some("stream"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::search::Searched;
    use crate::plan::shape::{Form, ShapeColumn};
    use crate::plan::value::Kind;
    use crate::row::Cell;

    fn shape(names: &[&str]) -> Shape {
        let column = |name: &&str| ShapeColumn {
            name: (*name).to_owned(),
            type_oid: 25,
            type_modifier: -1,
            kind: Kind::Text,
            searched: Searched::Text,
            identity: *name == "id",
        };
        let mut form = Form::of_columns(names.iter().map(column));
        form.key = vec![0];
        Shape::new("public", "t", form)
    }

    #[test]
    fn what_is_written_is_read() {
        let (data, cells) =
            (b"7\xc3\xa9\"", [Cell::text(0, 1), Cell::text(1, 3), Cell::NULL, Cell::UNCHANGED]);
        let new = Row::new(data, &cells);
        let old_cells = [Cell::text(0, 1), Cell::NULL, Cell::NULL, Cell::NULL];
        let old = Some(Row::new(b"6", &old_cells));
        let mut letter = Letter::new((b"HSET", b"t:7"), "WRONGTYPE no");
        letter.set_origin("u", Lsn(16), Some(3));
        letter.set_table(&shape(&["id", "v", "n", "doc"]));
        letter.set_row(&shape(&["id", "v", "n", "doc"]), &Change::Update { old, new }, Limits::default());
        let mut out = Commands::default();
        letter.write("dlq", &mut out);
        let command = out.walk().next().unwrap();
        assert_eq!(command[..3], [&b"XADD"[..], b"dlq", b"*"]);
        let fields = command[3..].iter().map(|bytes| Reply::Text(bytes.to_vec())).collect();
        let (id, read) =
            Letter::read(&Reply::Array(vec![Reply::Text(b"5-1".to_vec()), Reply::Array(fields)])).unwrap();
        assert_eq!((id.as_str(), &read), ("5-1", &letter));
        for (name, value) in [
            ("reason", "WRONGTYPE no"),
            ("command", "HSET t:7"),
            ("redis_key", "t:7"),
            ("output", "hash"),
            ("table", "public.t"),
            ("key", "7"),
            ("op", "u"),
            ("lsn", "0/10"),
            ("ordinal", "3"),
            ("row", "{\"id\":\"7\",\"v\":\"é\\\"\",\"n\":null}"),
            ("old", "{\"id\":\"6\"}"),
            ("unchanged", "[\"doc\"]"),
        ] {
            assert_eq!(read.get(name), Some(value), "{name}");
        }
        assert_eq!(read.get("cut"), None);
        assert_eq!(read.texts("row").unwrap()["v"].as_deref(), Some("é\""));
        assert_eq!(read.of_snapshot(), None);
    }

    #[test]
    fn huge_values_are_cut() {
        let data = "é".repeat(3 << 20);
        let cells = [Cell::text(0, 2), Cell::text(0, data.len()), Cell::text(0, 4)];
        let change = Change::Whole { new: Row::new(data.as_bytes(), &cells) };
        let mut letter = Letter::new((b"SET", &vec![b'k'; 1 << 20]), "too long");
        letter.set_row(
            &shape(&["id", "huge", "v"]),
            &change,
            Limits { argument: 1 << 20, commands: 1 << 30 },
        );
        assert_eq!(letter.get("cut"), Some("{\"huge\":6291456}"));
        assert_eq!(letter.get("redis_key").unwrap().len(), LONGEST_TEXT);
        let texts = letter.texts("row").unwrap();
        assert_eq!(texts.keys().collect::<Vec<_>>(), ["id", "v"]);
        assert!(letter.get("row").unwrap().len() < 1 << 17);
        assert!(beginning("aé".as_bytes(), 2) == b"a" && beginning(b"ab", 2) == b"ab");
    }

    #[test]
    fn rows_of_a_snapshot_are_known_again() {
        let letter = |op: &str, lsn: u64, at: &str| {
            let mut letter = Letter::new((b"HSET", b"t:7"), at);
            letter.set_origin(op, Lsn(lsn), None);
            letter.of_snapshot()
        };
        assert!(letter("r", 1, "a").is_some());
        assert_eq!(letter("r", 1, "a"), letter("r", 1, "b"));
        assert_ne!(letter("r", 1, "a"), letter("r", 2, "a"));
        assert_eq!(letter("c", 1, "a"), None);
    }
}
