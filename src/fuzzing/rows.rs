//! Rows from both decoders, through plans of every structure.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::bounded;
use crate::config::{Config, Output};
use crate::plan::shape::Shape;
use crate::plan::{Plan, Strictness};
use crate::postgres::catalog::{Column, Table, Types};
use crate::postgres::copy::split_row;
use crate::postgres::fuzzing::frames;
use crate::postgres::pgoutput::{Decoder, Frame, Message, Relation, RelationColumn, ReplicaIdentity};
use crate::redis::resp::Commands;
use crate::row::{Change, Row, Value};
use crate::sink::{Again, Workspace};

/// Every structure, with the options that change how rows are written.
pub(super) const CONFIG: &str = r#"
name: fuzz
source: { url: "postgres://u@h/db" }
target: { url: "redis://h" }
tables:
  "*":
    - { type: hash, key: "h:{pk}", index: true }
    - { type: hash, key: "t:{id}", ttl: 1h, nulls: empty, timestamps: epoch_us, binary: raw, exclude: [j] }
    - { type: json, key: "j:{name}:{id}" }
    - { type: json, key: "k:{pk}", ttl: 24h, nulls: omit, decimals: number, columns: [{ id: i, n: m }, at, p] }
    - { type: string, key: "s:{id}" }
    - { type: string, key: "v:{id}", value: "{n}/{d}/{b}" }
    - { type: set, key: "of:{name}", member: "{id}" }
    - { type: sorted_set, key: by, member: "{pk}", score: "{at}", ttl: 1h }
    - { type: stream, key: "e:{id}", max_len: 1000 }
    - { type: stream, key: flat, format: flat, timestamps: epoch_ms, nulls: empty }
    - { type: stream, key: "{table}:d", format: debezium, binary: hex }
"#;

/// Names and types of the columns; the first two are the primary key.
const COLUMNS: [(&str, u32); 13] = [
    ("id", 20),
    ("name", 25),
    ("n", 1700),
    ("f", 701),
    ("d", 1082),
    ("at", 1184),
    ("tt", 1266),
    ("b", 17),
    ("j", 3802),
    ("p", 600),
    ("texts", 1009),
    ("times", 1185),
    ("yes", 16),
];

/// Bytes of commands for a byte of a row. A text is written by each of the outputs, up to four times as
/// a part of keys and twice as a JSON string, where a control character takes six bytes.
const WRITTEN: usize = 512;

/// Bytes of memory for a byte of a message: the largest is the description of a column, of at least
/// ten bytes.
const DECODED: usize = 16;

struct Known {
    config: Config,
    tables: Vec<(Table, Plan)>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let config = match Config::parse(CONFIG, "fuzzing", &|_| None) {
        Ok(config) => config,
        Err(error) => unreachable!("{error}"),
    };
    let tables = [
        table("keyed", ReplicaIdentity::Default, true),
        table("full", ReplicaIdentity::Full, true),
        table("deferrable", ReplicaIdentity::Full, false),
    ];
    let tables = tables.into_iter().map(|table| {
        let shape = Shape::of_table(&table, &Types::default());
        match Plan::compile(shape, outputs(&config), Strictness::Start) {
            Ok(plan) => (table, plan),
            Err(error) => unreachable!("{error}"),
        }
    });
    Known { tables: tables.collect(), config }
});

fn outputs(config: &Config) -> &[Output] {
    config.tables.first().map_or(&[], |rule| &rule.outputs)
}

/// The first of the tables, for templates.
pub(super) fn shape() -> &'static Shape {
    &KNOWN.tables[0].1.shape
}

fn table(name: &str, identity: ReplicaIdentity, key_is_immediate: bool) -> Table {
    let column = |&(name, type_oid): &(&str, u32)| Column {
        name: name.to_owned(),
        type_oid,
        type_modifier: -1,
        filled_in: false,
        generated: false,
    };
    Table {
        oid: 1,
        schema: "public".to_owned(),
        name: name.to_owned(),
        partitioned: false,
        identity,
        columns: COLUMNS.iter().map(column).collect(),
        primary_key: vec!["id".to_owned(), "name".to_owned()],
        key_is_immediate,
        identity_index: Vec::new(),
        // So that `{id}` alone tells rows apart.
        unique: vec![vec!["id".to_owned()]],
        selectable: true,
        has_virtual: false,
        schema_usable: true,
        hides_rows: false,
        files: String::new(),
        columns_as_of: String::new(),
        estimated_rows: 0,
    }
}

pub(super) fn pgoutput(data: &[u8]) {
    let known = &*KNOWN;
    let mut decoder = Decoder::default();
    let mut workspace = Workspace::new(&known.config);
    workspace.came_to = Some(HashSet::new());
    let mut described: Option<(Plan, usize)> = None;
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (message, after) = after.split_at(length);
        rest = after;
        match decoder.decode(message) {
            None | Some(Message::Frame(Frame::Commit { .. } | Frame::Other)) => {}
            Some(Message::Row(oid, change)) => {
                walk(&change, message.len());
                workspace.event.ordinal += 1;
                workspace.converging = oid & 0x10 != 0;
                let table = &known.tables[oid as usize % known.tables.len()].1;
                write(table, &change, &mut workspace, message.len());
                if let Some((plan, size)) = &described {
                    write(plan, &change, &mut workspace, message.len() + size);
                }
            }
            Some(Message::Frame(Frame::Begin { commit_lsn, time, xid })) => {
                workspace.event.begin(commit_lsn, Some(xid), time);
                workspace.came_to.get_or_insert_default().clear();
            }
            Some(Message::Frame(Frame::Relation(relation))) => {
                bounded("a Relation message", size_of_relation(&relation), DECODED, message.len());
                described = describe(&relation, known).map(|plan| (plan, message.len()));
            }
            Some(Message::Frame(Frame::Truncate(oids))) => {
                bounded("a Truncate message", size_of_val(oids.as_slice()), DECODED, message.len());
            }
            Some(Message::Frame(Frame::Message { content, .. })) => {
                bounded("a logical message", content.capacity(), DECODED, message.len());
            }
        }
    }
}

fn size_of_relation(relation: &Relation) -> usize {
    let names: usize = relation.columns.iter().map(|column| column.name.capacity()).sum();
    relation.columns.capacity() * size_of::<RelationColumn>()
        + names
        + relation.schema.capacity()
        + relation.table.capacity()
}

fn describe(relation: &Relation, known: &Known) -> Option<Plan> {
    let (now, _) = &known.tables[relation.oid as usize % known.tables.len()];
    let shape = Shape::of_relation(relation, &Types::default(), now);
    // Without an index, which needs columns of certain types.
    let outputs = outputs(&known.config).iter().filter(|output| output.structure.index().is_none());
    // One by one, so that one that can't be written does not keep the others from it.
    let mut plans = outputs.filter_map(|output| {
        Plan::compile(shape.clone(), std::slice::from_ref(output), Strictness::Streaming).ok()
    });
    let mut plan = plans.next()?;
    plan.sinks.extend(plans.flat_map(|plan| plan.sinks));
    Some(plan)
}

/// Looks at every cell.
fn walk(change: &Change<'_>, message: usize) {
    let (old, new) = match change {
        Change::Whole { new } => (None, Some(new)),
        Change::Update { old, new } => (old.as_ref(), Some(new)),
        Change::Delete { old } => (Some(old), None),
    };
    let mut bytes = 0;
    for row in [old, new].into_iter().flatten() {
        assert!(row.len() <= message, "more cells than bytes");
        // One more than there are, which reads as NULL.
        for cell in 0..=row.len() {
            if let Value::Text(text) = row.get(cell) {
                bytes += text.len();
            }
        }
    }
    // A value of the old row can stand for one of the new row.
    assert!(bytes <= 2 * message, "cells of {bytes} bytes in a message of {message}");
}

fn write(plan: &Plan, change: &Change<'_>, workspace: &mut Workspace, input: usize) {
    let mut out = Commands::default();
    match plan.needs(change, workspace) {
        None => {
            for sink in &plan.sinks {
                sink.write(change, workspace, &mut out);
            }
        }
        Some(_) => {
            let (old, new) = match *change {
                Change::Whole { new } => (None, Some(new)),
                Change::Update { old, new } => (old, Some(new)),
                Change::Delete { old } => (Some(old), None),
            };
            let again = Again { old, new, at_old_key: old, at_new_key: new };
            for sink in &plan.sinks {
                sink.write_again(&again, workspace, &mut out);
            }
        }
    }
    assert_eq!(out.walk().count(), out.count(), "the commands are not those that were counted");
    bounded("the commands of a row", out.len(), WRITTEN, input);
    let buffers = [&workspace.key, &workspace.member, &workspace.scratch, &workspace.body];
    bounded("the workspace", buffers.iter().map(|buffer| buffer.len()).sum(), WRITTEN, input);
}

pub(super) fn copy(data: &[u8]) {
    let known = &*KNOWN;
    let mut workspace = Workspace::new(&known.config);
    let mut cells = Vec::new();
    frames(data, |line| {
        let length = line.len();
        split_row(line, &mut cells);
        let row = Row::new(line, &cells);
        let change = Change::Whole { new: row };
        assert!(row.len() <= length + 1, "more cells than bytes");
        walk(&change, length + 1);
        for (_, plan) in &known.tables {
            write(plan, &change, &mut workspace, length);
        }
    });
}
