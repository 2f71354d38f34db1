//! A change as an entry of a stream: XADD.
//!
//! ```text
//!   event     op table lsn xid ts key [before] [after]      before and after as JSON
//!   flat      op and the columns
//!   debezium  key, value: the envelope that consumers of Debezium read
//! ```
//!
//! `before` holds what the old tuple really has: the columns of the replica identity, or all of them
//! under REPLICA IDENTITY FULL. `after` is whole or absent: absent where a value was not sent, and its
//! row could not be read again because it is gone; a later event tells what became of it.

use std::sync::Arc;

use super::event::EventContext;
use super::{Alike, Context, Needs, Workspace, ttl};
use crate::config::Format;
use crate::plan::columns::{Purpose, mistake, primary_key, selected, template};
use crate::plan::document::Document;
use crate::plan::key::{Holds, KeyPattern};
use crate::plan::shape::Shape;
use crate::plan::template::{Rendered, TemplatePlan};
use crate::plan::value::{Converter, Nulls, json_string};
use crate::plan::{PlanError, Strictness, stream_name};
use crate::redis::resp::{Commands, encoded};
use crate::row::{Change, Row, Value};

/// A field of the flat format.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Field {
    column: usize,
    /// Encoded as an argument.
    name: Vec<u8>,
    converter: Converter,
}

#[derive(Debug)]
enum Body {
    Event {
        pk: TemplatePlan,
    },
    Flat {
        fields: Arc<[Field]>,
        nulls: Nulls,
    },
    Debezium {
        key: Document,
        /// `"schema":…,"table":…`
        table: Vec<u8>,
    },
}

#[derive(Debug)]
pub(crate) struct Stream {
    /// See [`stream_name`].
    name: String,
    key: TemplatePlan,
    /// Encoded MAXLEN ~ n.
    trim: Option<Vec<u8>>,
    ttl: Option<Vec<u8>>,
    /// Encoded as an argument.
    table: Vec<u8>,
    document: Document,
    /// Columns whose old values are values.
    identity: Vec<bool>,
    body: Body,
}

impl Stream {
    pub(super) fn compile(
        context: Context<'_>,
        format: Format,
        max_len: Option<u64>,
    ) -> Result<Stream, PlanError> {
        let (shape, output, strictness) = context;
        let document = Document::compile(shape, output, strictness, None)?;
        let body = match format {
            Format::Event => Body::Event {
                // A table without a key has events without one.
                pk: if shape.key.is_empty() { TemplatePlan::default() } else { primary_key(shape, output)? },
            },
            Format::Flat => {
                let mut fields = Vec::new();
                for (column, name) in selected(shape, output, strictness)? {
                    if name == "op" && strictness == Strictness::Start {
                        let what = "a column is written as `op`, which is the event's own field; rename it under \
                                    `columns`: { op: another_name }";
                        return Err(mistake(shape, output, what.to_owned()));
                    }
                    fields.push(Field {
                        column,
                        name: encoded(name.as_bytes()),
                        converter: Converter::new(shape.columns[column].kind.clone(), output.values),
                    });
                }
                Body::Flat { fields: fields.into(), nulls: output.values.nulls }
            }
            Format::Debezium => {
                Body::Debezium { key: Document::of_key(shape, output.values), table: table_members(shape) }
            }
        };
        let trim = max_len.map(|length| {
            let length = length.to_string();
            [b"MAXLEN", &b"~"[..], length.as_bytes()].map(encoded).concat()
        });
        Ok(Stream {
            name: stream_name(output).unwrap_or_default(),
            key: template(shape, output, &output.key, Purpose::Place("key"))?,
            trim,
            ttl: ttl(output),
            table: encoded(shape.template_name().as_bytes()),
            document,
            identity: shape.columns.iter().map(|column| column.identity).collect(),
            body,
        })
    }

    pub(crate) fn pattern(&self) -> KeyPattern {
        self.key.pattern(Holds::Events)
    }

    /// With what earlier streams have that is the same.
    pub(super) fn share(&mut self, alike: &mut Alike) {
        self.document.share(&mut alike.members);
        match &mut self.body {
            Body::Event { .. } => {}
            Body::Flat { fields, .. } => *fields = alike.flat.one(Arc::clone(fields)),
            Body::Debezium { key, .. } => key.share(&mut alike.members),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The stream's key, if it is the same for every row.
    pub(crate) fn fixed_key(&self) -> Option<&[u8]> {
        self.key.fixed()
    }

    pub(super) fn place_columns(&self) -> Vec<usize> {
        Vec::new()
    }

    pub(super) fn place(&self, _: &Row<'_>, _: &mut Workspace) -> bool {
        false
    }

    pub(super) fn needs(&self, change: &Change<'_>, workspace: &mut Workspace) -> Option<Needs> {
        let Change::Update { new, .. } = change else { return None };
        if self.is_told(workspace) {
            return None;
        }
        let Workspace { scratch, key, .. } = workspace;
        let unknown = self.is_partial(new) || self.key.render(new, scratch, key) == Rendered::Unknown;
        unknown.then_some(Needs::Whole)
    }

    fn is_partial(&self, row: &Row<'_>) -> bool {
        match &self.body {
            Body::Flat { fields, .. } => fields.iter().any(|field| row.get(field.column) == Value::Unchanged),
            _ => self.document.is_partial(row),
        }
    }

    /// It has the change already, in the rows of a snapshot.
    #[inline]
    fn is_told(&self, workspace: &Workspace) -> bool {
        workspace.told.iter().any(|name| **name == *self.name)
    }

    #[inline]
    pub(super) fn write(&self, change: &Change<'_>, workspace: &mut Workspace, out: &mut Commands) {
        if self.is_told(workspace) {
            return;
        }
        let snapshot = workspace.event.is_snapshot();
        let (op, before, after): (&[u8], _, _) = match change {
            Change::Whole { new } => (if snapshot { b"r" } else { b"c" }, None, Some(new)),
            Change::Update { old, new } => (b"u", old.as_ref(), Some(new)),
            Change::Delete { old } => (b"d", Some(old), None),
        };
        let Some(row) = after.or(before) else { return };
        if self.key.render(row, &mut workspace.scratch, &mut workspace.key) == Rendered::Unknown {
            return;
        }
        workspace.event.spell();
        match &self.body {
            Body::Event { pk } => self.event(op, (before, after), (row, pk), workspace, out),
            Body::Flat { fields, nulls } => self.flat(op, row, (fields, *nulls), workspace, out),
            Body::Debezium { key, table } => {
                let ordinal = workspace.event.ordinal;
                let moved = match (before, after) {
                    (Some(old), Some(new)) => {
                        let Workspace { member: from, body: to, .. } = &mut *workspace;
                        from.clear();
                        to.clear();
                        key.write(old, from);
                        key.write(new, to);
                        from != to
                    }
                    _ => false,
                };
                // Two for each change, since one that changes the key is two events.
                if moved {
                    self.envelope(2 * ordinal, b"d", (before, None), (key, table), workspace, out);
                    self.envelope(2 * ordinal + 1, b"c", (None, after), (key, table), workspace, out);
                } else {
                    self.envelope(2 * ordinal, op, (before, after), (key, table), workspace, out);
                }
            }
        }
        self.expire(&workspace.key, out);
    }

    /// The event of a TRUNCATE, into the stream `workspace.key`.
    pub(crate) fn truncated(&self, workspace: &mut Workspace, out: &mut Commands) {
        self.notice(b"t", None, workspace, out);
    }

    /// Changes are missing before this entry; what follows are the table's rows as they are now.
    pub(crate) fn gap(&self, reason: &str, workspace: &mut Workspace, out: &mut Commands) {
        self.notice(b"g", Some(reason), workspace, out);
    }

    /// An event that concerns no single row.
    fn notice(&self, op: &[u8], reason: Option<&str>, workspace: &mut Workspace, out: &mut Commands) {
        if self.is_told(workspace) {
            return;
        }
        workspace.event.spell();
        let ordinal = workspace.event.ordinal;
        let more = if reason.is_some() { 2 } else { 0 };
        match &self.body {
            Body::Event { .. } => {
                self.begin(ordinal, 8 + xid_arguments(&workspace.event) + more, workspace, out);
                self.head(op, &workspace.event, out);
            }
            Body::Flat { .. } => {
                self.begin(ordinal, 2 + more, workspace, out);
                out.command_arguments(&[b"op", op]);
            }
            Body::Debezium { table, .. } => {
                let Workspace { body, event, .. } = workspace;
                body.clear();
                body.extend_from_slice(b"{\"before\":null,\"after\":null,\"source\":");
                write_source(table, event, body);
                write_end(op, event, body);
                self.begin(2 * ordinal, 2 + more, workspace, out);
                out.command_arguments(&[b"value", &workspace.body]);
            }
        }
        if let Some(reason) = reason {
            out.command_arguments(&[b"reason", reason.as_bytes()]);
        }
        self.expire(&workspace.key, out);
    }

    fn expire(&self, key: &[u8], out: &mut Commands) {
        if let Some(ttl) = &self.ttl {
            out.command(&[b"EXPIRE", key, ttl]);
        }
    }

    /// XADD, key, trimming and ID; `arguments` follow.
    fn begin(&self, ordinal: u64, arguments: usize, workspace: &mut Workspace, out: &mut Commands) {
        let Workspace { key, old_key: id, event, .. } = workspace;
        event.write_id(ordinal, id);
        out.begin(3 + if self.trim.is_some() { 3 } else { 0 } + arguments);
        out.encoded_argument(b"$4\r\nXADD\r\n");
        out.argument(key);
        if let Some(trim) = &self.trim {
            out.encoded_argument(trim);
        }
        out.argument(id);
    }

    /// op, table, lsn, ts, and the xid where there is one.
    fn head(&self, op: &[u8], event: &EventContext, out: &mut Commands) {
        out.encoded_argument(b"$2\r\nop\r\n");
        out.argument(op);
        out.encoded_argument(b"$5\r\ntable\r\n");
        out.encoded_argument(&self.table);
        out.encoded_argument(b"$3\r\nlsn\r\n");
        out.argument(event.lsn_text());
        if !event.xid_text().is_empty() {
            out.encoded_argument(b"$3\r\nxid\r\n");
            out.argument(event.xid_text());
        }
        out.encoded_argument(b"$2\r\nts\r\n");
        out.argument(event.time_text());
    }

    #[inline]
    fn event(
        &self,
        op: &[u8],
        (before, after): (Option<&Row<'_>>, Option<&Row<'_>>),
        (row, pk): (&Row<'_>, &TemplatePlan),
        workspace: &mut Workspace,
        out: &mut Commands,
    ) {
        let after = after.filter(|row| !self.document.is_partial(row));
        let mut arguments = 8 + xid_arguments(&workspace.event);
        arguments += 2 * [before, after].iter().flatten().count();
        let has_key = pk.render(row, &mut workspace.scratch, &mut workspace.member) != Rendered::Unknown
            && !workspace.member.is_empty();
        self.begin(ordinal_of(workspace), arguments + if has_key { 2 } else { 0 }, workspace, out);
        self.head(op, &workspace.event, out);
        if has_key {
            out.encoded_argument(b"$3\r\nkey\r\n");
            out.argument(&workspace.member);
        }
        let body = &mut workspace.body;
        if let Some(row) = before {
            body.clear();
            self.document.write_if(row, body, |column| self.is_known(column));
            out.encoded_argument(b"$6\r\nbefore\r\n");
            out.argument(body);
        }
        if let Some(row) = after {
            body.clear();
            self.document.write(row, body);
            out.encoded_argument(b"$5\r\nafter\r\n");
            out.argument(body);
        }
    }

    /// An old row has this column's value.
    fn is_known(&self, column: usize) -> bool {
        self.identity.get(column).copied().unwrap_or(false)
    }

    fn flat(
        &self,
        op: &[u8],
        row: &Row<'_>,
        (fields, nulls): (&[Field], Nulls),
        workspace: &mut Workspace,
        out: &mut Commands,
    ) {
        let old = op == b"d";
        // Never half a row: where a value is missing that could not be read again, only the key is told.
        let only_key = old || fields.iter().any(|field| row.get(field.column) == Value::Unchanged);
        let value = |field: &Field| match row.get(field.column) {
            _ if only_key && !self.is_known(field.column) => Value::Unchanged,
            Value::Null if nulls == Nulls::Empty => Value::Text(b""),
            value => value,
        };
        let written = |field: &&Field| matches!(value(field), Value::Text(_));
        let count = fields.iter().filter(written).count();
        self.begin(ordinal_of(workspace), 2 + 2 * count, workspace, out);
        out.encoded_argument(b"$2\r\nop\r\n");
        out.argument(op);
        for field in fields {
            if let Value::Text(text) = value(field) {
                out.encoded_argument(&field.name);
                match row.get(field.column) {
                    Value::Null => out.argument(b""),
                    _ => out.argument(field.converter.text(text, &mut workspace.scratch)),
                }
            }
        }
    }

    fn envelope(
        &self,
        ordinal: u64,
        op: &[u8],
        (before, after): (Option<&Row<'_>>, Option<&Row<'_>>),
        (key, table): (&Document, &[u8]),
        workspace: &mut Workspace,
        out: &mut Commands,
    ) {
        let Workspace { body, member, event, .. } = workspace;
        member.clear();
        if let Some(row) = after.or(before) {
            key.write(row, member);
        }
        body.clear();
        body.extend_from_slice(b"{\"before\":");
        match before {
            Some(row) => self.document.write_if(row, body, |column| self.is_known(column)),
            None => body.extend_from_slice(b"null"),
        }
        body.extend_from_slice(b",\"after\":");
        match after.filter(|row| !self.document.is_partial(row)) {
            Some(row) => self.document.write(row, body),
            None => body.extend_from_slice(b"null"),
        }
        body.extend_from_slice(b",\"source\":");
        write_source(table, event, body);
        write_end(op, event, body);
        self.begin(ordinal, 4, workspace, out);
        out.command_arguments(&[b"key", &workspace.member, b"value", &workspace.body]);
    }
}

fn ordinal_of(workspace: &Workspace) -> u64 {
    workspace.event.ordinal
}

fn xid_arguments(event: &EventContext) -> usize {
    if event.xid_text().is_empty() { 0 } else { 2 }
}

/// What `source` says of the table.
fn table_members(shape: &Shape) -> Vec<u8> {
    let mut text = b"\"schema\":".to_vec();
    json_string(shape.schema.as_bytes(), &mut text);
    text.extend_from_slice(b",\"table\":");
    json_string(shape.table.as_bytes(), &mut text);
    text
}

fn write_source(table: &[u8], event: &EventContext, out: &mut Vec<u8>) {
    const CONNECTOR: &str =
        concat!("{\"version\":\"", env!("CARGO_PKG_VERSION"), "\",\"connector\":\"postgresql\",");
    let (mut time, mut xid, mut lsn) = (itoa::Buffer::new(), itoa::Buffer::new(), itoa::Buffer::new());
    let pieces: [&[u8]; 13] = [
        CONNECTOR.as_bytes(),
        event.origin(),
        b",\"ts_ms\":",
        time.format(event.time_ms()).as_bytes(),
        b",\"snapshot\":",
        if event.is_snapshot() { b"\"true\"," } else { b"\"false\"," },
        table,
        b",\"txId\":",
        event.xid().map_or(b"null", |id| xid.format(id).as_bytes()),
        b",\"lsn\":",
        lsn.format(event.lsn().0).as_bytes(),
        b",\"xmin\":null",
        b"}",
    ];
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

/// The operation and the time at which it was seen here.
fn write_end(op: &[u8], event: &EventContext, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"op\":\"");
    out.extend_from_slice(op);
    out.extend_from_slice(b"\",\"ts_ms\":");
    out.extend_from_slice(itoa::Buffer::new().format(event.now_ms()).as_bytes());
    out.push(b'}');
}
