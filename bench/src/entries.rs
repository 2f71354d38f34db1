//! Whether the entries of a stream are those of the rows.
//!
//! The first and the last entries are looked at. Entries that come from the write-ahead log must be in
//! the order of the rows, which is that of the commits; a snapshot has no order.

use std::collections::{BTreeMap, HashSet};

use redis::Connection;
use serde_json::Value;

use crate::check::{ask, equal, json};
use crate::commands::op;
use crate::error::{Result, failed};
use crate::rows;
use crate::structure::{Content, Format, Origin};

/// So many entries are looked at from each end.
const SAMPLE: u32 = 500;

type Fields = BTreeMap<String, String>;

pub(crate) fn check(redis: &mut Connection, key: &str, format: Format, content: Content) -> Result<()> {
    let sample = SAMPLE.min(content.rows);
    let mut read = |command: &str, from: &str, to: &str| {
        let mut command = redis::cmd(command);
        command.arg(key).arg(from).arg(to).arg("COUNT").arg(sample);
        ask::<Vec<(String, Fields)>>(redis, &command)
    };
    let (first, last) = (read("XRANGE", "-", "+")?, read("XREVRANGE", "+", "-")?);
    for (entries, in_order) in [(first, 1..=sample), (last, content.rows - sample + 1..=content.rows)] {
        let ids: Vec<u32> = entries.iter().map(|(_, fields)| row(format, fields)).collect::<Result<_>>()?;
        for (&id, (_, fields)) in ids.iter().zip(&entries) {
            compare(id, fields, format, content.origin)?;
        }
        let found: HashSet<u32> = ids.iter().copied().collect();
        let well = match content.origin {
            Origin::Stream => is_steady(&ids) && in_order.clone().all(|id| found.contains(&id)),
            Origin::Snapshot => found.len() == ids.len(),
        };
        if !well || ids.len() != sample as usize {
            return Err(failed(format!("the stream has {} entries of rows {ids:?}", ids.len())));
        }
    }
    Ok(())
}

/// Upwards or downwards.
fn is_steady(ids: &[u32]) -> bool {
    ids.is_sorted() || ids.iter().rev().is_sorted()
}

/// The number of the row that an entry is of.
fn row(format: Format, fields: &Fields) -> Result<u32> {
    let field = if format == Format::Flat { "id" } else { "key" };
    let text = fields.get(field).map_or("", String::as_str);
    let id = match format {
        Format::Debezium => json(text)?["id"].as_u64().and_then(|id| u32::try_from(id).ok()),
        Format::Event | Format::Flat => text.parse().ok(),
    };
    id.ok_or_else(|| failed(format!("an entry does not tell its row: {fields:?}")))
}

fn compare(id: u32, fields: &Fields, format: Format, origin: Origin) -> Result<()> {
    let text = |fields: &[(&str, &str)]| -> Fields {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    match format {
        Format::Event => {
            let mut expected = text(&[
                ("op", op(origin)),
                ("table", "bench"),
                ("key", &id.to_string()),
                ("after", &rows::document(id)),
            ]);
            // What only the connector knows must at least be there.
            let told = if origin == Origin::Stream { &["lsn", "ts", "xid"][..] } else { &["lsn", "ts"] };
            for &name in told {
                let value = fields.get(name).filter(|value| !value.is_empty()).cloned();
                expected.insert(name.to_owned(), value.unwrap_or_else(|| "something".to_owned()));
            }
            equal(id, fields, &expected)
        }
        Format::Flat => {
            let expected = text(&[("op", op(origin))]).into_iter().chain(rows::hash(id)).collect();
            equal(id, fields, &expected)
        }
        Format::Debezium => {
            let envelope = json(fields.get("value").map_or("", String::as_str))?;
            let found =
                (&envelope["before"], &envelope["after"], &envelope["op"], &envelope["source"]["table"]);
            let after = json(&rows::document(id))?;
            equal(id, &found, &(&Value::Null, &after, &op(origin).into(), &"bench".into()))
        }
    }
}
