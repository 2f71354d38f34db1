//! The ready-made commands of the references: what the connector writes for each row, as
//! `redis-cli --pipe` takes it.
//!
//! Where the connector tells of a position, a transaction or a time, they have one of the same length.

use std::io::Write;

use crate::error::{Doing, Result};
use crate::rows;
use crate::structure::{Content, Format, Origin, Output};

const LSN: u64 = 0x1F0_0A30;
const LSN_TEXT: &str = "0/1F00A30";
const XID: &str = "745";
const TIME: &str = "2024-02-29T12:00:00.123456Z";
const TIME_MS: &str = "1709208000123";

/// Writes the commands for all rows.
pub(crate) fn write(content: Content, out: &mut impl Write) -> Result<()> {
    let doing = || "write the ready-made commands".to_owned();
    let mut command = Vec::new();
    for id in 1..=content.rows {
        for &output in content.structure.outputs {
            command.clear();
            encode(&arguments(output, content.origin, id), &mut command);
            out.write_all(&command).doing(doing)?;
        }
    }
    out.flush().doing(doing)
}

fn arguments(output: Output, origin: Origin, id: u32) -> Vec<String> {
    let command = |name: &str, arguments: &[String]| [&[name.to_owned(), output.key(id)], arguments].concat();
    match output {
        Output::Hash => command("HSET", &columns(id)),
        Output::String => command("SET", &[rows::document(id)]),
        Output::Json => command("JSON.SET", &["$".to_owned(), rows::document(id)]),
        Output::Set => command("SADD", &[id.to_string()]),
        Output::SortedSet => command("ZADD", &[rows::amount(id), id.to_string()]),
        Output::Stream(format) => {
            let entry = [vec![format!("{LSN}-{id}")], entry(format, origin, id)].concat();
            command("XADD", &entry)
        }
    }
}

fn entry(format: Format, origin: Origin, id: u32) -> Vec<String> {
    let op = op(origin);
    let fields = |pairs: &[(&str, &str)]| {
        pairs.iter().flat_map(|(name, value)| [*name, *value]).map(str::to_owned).collect::<Vec<_>>()
    };
    match format {
        Format::Event => {
            let xid: &[(&str, &str)] = if origin == Origin::Stream { &[("xid", XID)] } else { &[] };
            [
                fields(&[("op", op), ("table", "bench"), ("lsn", LSN_TEXT)]),
                fields(xid),
                fields(&[("ts", TIME), ("key", &id.to_string()), ("after", &rows::document(id))]),
            ]
            .concat()
        }
        Format::Flat => [fields(&[("op", op)]), columns(id)].concat(),
        Format::Debezium => {
            let value = envelope(origin, id);
            fields(&[("key", &format!("{{\"id\":{id}}}")), ("value", &value)])
        }
    }
}

fn envelope(origin: Origin, id: u32) -> String {
    let (snapshot, xid) = match origin {
        Origin::Snapshot => ("true", "null"),
        Origin::Stream => ("false", XID),
    };
    format!(
        "{{\"before\":null,\"after\":{},\"source\":{{\"version\":\"0.1.0\",\"connector\":\"postgresql\",\
         \"name\":\"ours_1\",\"db\":\"postgres\",\"ts_ms\":{TIME_MS},\"snapshot\":\"{snapshot}\",\
         \"schema\":\"public\",\"table\":\"bench\",\"txId\":{xid},\"lsn\":{LSN},\"xmin\":null}},\
         \"op\":\"{}\",\"ts_ms\":{TIME_MS}}}",
        rows::document(id),
        op(origin),
    )
}

/// What an event of a new row says of where it came from.
pub(crate) fn op(origin: Origin) -> &'static str {
    match origin {
        Origin::Snapshot => "r",
        Origin::Stream => "c",
    }
}

fn columns(id: u32) -> Vec<String> {
    rows::columns(id).flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

fn encode(arguments: &[String], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        out.extend_from_slice(format!("${}\r\n{argument}\r\n", argument.len()).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_spelled_as_resp() {
        let mut command = Vec::new();
        encode(&arguments(Output::Hash, Origin::Stream, 7), &mut command);
        let text = String::from_utf8(command).unwrap();
        assert!(text.starts_with("*22\r\n$4\r\nHSET\r\n$7\r\nbench:7\r\n$2\r\nid\r\n$1\r\n7\r\n"), "{text}");
        assert!(text.contains("\r\n2024-01-01T00:00:07.007Z\r\n"), "{text}");
        assert!(text.ends_with("$6\r\nactive\r\n$5\r\nfalse\r\n"), "{text}");
    }

    #[test]
    fn an_envelope_is_json() {
        for (origin, xid) in [(Origin::Stream, 745.into()), (Origin::Snapshot, serde_json::Value::Null)] {
            let envelope: serde_json::Value = serde_json::from_str(&envelope(origin, 7)).unwrap();
            assert_eq!(envelope["after"]["id"], 7);
            assert_eq!(envelope["source"]["txId"], xid);
        }
    }
}
