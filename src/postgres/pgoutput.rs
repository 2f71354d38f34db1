//! The messages of the `pgoutput` plugin, protocol version 1, borrowed from the receive buffer.
//!
//! ```text
//!   Begin  Relation? Insert|Update|Delete|Truncate …  Commit      one transaction, whole, committed
//! ```
//!
//! Version 1 sends a transaction when it has committed, in commit order, and never interleaves two.
//! A Relation message comes before the first change of its table and again after its definition
//! changed, so the names and types of a row are those of the moment when it was written.
//!
//! An UPDATE sends "unchanged" for a TOASTed column that it did not touch. Where the old tuple has
//! the value (REPLICA IDENTITY FULL, or a key column), it is put into the new one here: both lie in
//! the same message, so that is a copy of two numbers.
//!
//! Source: PostgreSQL documentation, "Logical Replication Message Formats".

use super::wire::Fields;
use crate::lsn::Lsn;
use crate::row::{Cell, Change, Row};

/// `pg_class.relreplident`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplicaIdentity {
    Default,
    Nothing,
    Full,
    Index,
}

impl ReplicaIdentity {
    pub(crate) fn parse(code: u8) -> Option<ReplicaIdentity> {
        match code {
            b'd' => Some(ReplicaIdentity::Default),
            b'n' => Some(ReplicaIdentity::Nothing),
            b'f' => Some(ReplicaIdentity::Full),
            b'i' => Some(ReplicaIdentity::Index),
            _ => None,
        }
    }
}

/// One column as a Relation message describes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RelationColumn {
    pub(crate) name: String,
    pub(crate) type_oid: u32,
    pub(crate) type_modifier: i32,
    /// Part of the replica identity; under FULL every column is.
    pub(crate) identity: bool,
}

/// A table as the stream describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) identity: ReplicaIdentity,
    pub(crate) columns: Vec<RelationColumn>,
}

/// The prefix of logical messages that are for us.
const PREFIX: &str = "redis-connect";

/// A message of the stream.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// A change of one row, in the relation with this OID.
    Row(u32, Change<'a>),
    Frame(Frame),
}

/// A message around the rows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// `commit_lsn` is the position of the commit record; `time` is in µs since 2000-01-01 UTC.
    Begin {
        commit_lsn: Lsn,
        time: i64,
        xid: u32,
    },
    /// `end` is where the next transaction can begin.
    Commit {
        end: Lsn,
    },
    Relation(Relation),
    Truncate(Vec<u32>),
    /// `pg_logical_emit_message` with our prefix. One that is not transactional stands outside any
    /// transaction, at its own position.
    Message {
        transactional: bool,
        lsn: Lsn,
        content: Vec<u8>,
    },
    /// Origin, Type and the logical messages of others: nothing that a row needs.
    Other,
}

/// Decodes messages; owns the lists of cells that rows borrow.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    new: Vec<Cell>,
    old: Vec<Cell>,
}

impl Decoder {
    /// `None` when the bytes are not a message of this protocol.
    #[inline]
    pub(crate) fn decode<'a>(&'a mut self, body: &'a [u8]) -> Option<Message<'a>> {
        let mut fields = Fields::new(body);
        match fields.u8()? {
            b'I' => {
                let relation = fields.u32()?;
                (fields.u8()? == b'N').then_some(())?;
                tuple(&mut fields, &mut self.new)?;
                Some(Message::Row(relation, Change::Whole { new: Row::new(body, &self.new) }))
            }
            b'U' => self.update(body, fields),
            b'D' => {
                let relation = fields.u32()?;
                matches!(fields.u8()?, b'K' | b'O').then_some(())?;
                tuple(&mut fields, &mut self.old)?;
                Some(Message::Row(relation, Change::Delete { old: Row::new(body, &self.old) }))
            }
            kind => framing(kind, &mut fields).map(Message::Frame),
        }
    }

    fn update<'a>(&'a mut self, body: &'a [u8], mut fields: Fields<'a>) -> Option<Message<'a>> {
        let relation = fields.u32()?;
        let kind = fields.u8()?;
        let has_old = match kind {
            b'N' => false,
            b'K' | b'O' => {
                tuple(&mut fields, &mut self.old)?;
                (fields.u8()? == b'N').then_some(())?;
                true
            }
            _ => return None,
        };
        tuple(&mut fields, &mut self.new)?;
        if has_old {
            for (new, old) in self.new.iter_mut().zip(&self.old) {
                // In a key tuple NULL means "not part of the key", which is no value.
                let known = *old != Cell::UNCHANGED && (kind == b'O' || *old != Cell::NULL);
                if *new == Cell::UNCHANGED && known {
                    *new = *old;
                }
            }
        }
        let old = has_old.then_some(Row::new(body, &self.old));
        Some(Message::Row(relation, Change::Update { old, new: Row::new(body, &self.new) }))
    }
}

#[inline]
fn tuple(fields: &mut Fields<'_>, cells: &mut Vec<Cell>) -> Option<()> {
    cells.clear();
    for _ in 0..fields.u16()? {
        cells.push(match fields.u8()? {
            b't' => {
                let length = fields.u32()? as usize;
                let start = fields.offset();
                fields.bytes(length)?;
                Cell::text(start, length)
            }
            b'n' => Cell::NULL,
            b'u' => Cell::UNCHANGED,
            _ => return None,
        });
    }
    Some(())
}

fn framing(kind: u8, fields: &mut Fields<'_>) -> Option<Frame> {
    match kind {
        b'B' => Some(Frame::Begin {
            commit_lsn: Lsn(fields.u64()?),
            time: fields.u64()?.cast_signed(),
            xid: fields.u32()?,
        }),
        b'C' => {
            let (_flags, _commit_lsn) = (fields.u8()?, fields.u64()?);
            Some(Frame::Commit { end: Lsn(fields.u64()?) })
        }
        b'R' => relation(fields).map(Frame::Relation),
        b'T' => {
            let (count, _options) = (fields.u32()?, fields.u8()?);
            (0..count).map(|_| fields.u32()).collect::<Option<Vec<u32>>>().map(Frame::Truncate)
        }
        b'M' => {
            let (flags, lsn) = (fields.u8()?, Lsn(fields.u64()?));
            let ours = fields.string()? == PREFIX;
            let length = fields.u32()? as usize;
            let content = fields.bytes(length)?;
            Some(match ours {
                true => Frame::Message { transactional: flags & 1 == 1, lsn, content: content.to_vec() },
                false => Frame::Other,
            })
        }
        b'O' | b'Y' => Some(Frame::Other),
        _ => None,
    }
}

fn relation(fields: &mut Fields<'_>) -> Option<Relation> {
    let oid = fields.u32()?;
    let schema = match fields.string()? {
        // pgoutput sends an empty name for pg_catalog.
        "" => "pg_catalog".to_owned(),
        schema => schema.to_owned(),
    };
    let table = fields.string()?.to_owned();
    let identity = ReplicaIdentity::parse(fields.u8()?)?;
    let count = fields.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        columns.push(RelationColumn {
            identity: fields.u8()? & 1 == 1,
            name: fields.string()?.to_owned(),
            type_oid: fields.u32()?,
            type_modifier: fields.u32()?.cast_signed(),
        });
    }
    Some(Relation { oid, schema, table, identity, columns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Value;
    use proptest::prelude::*;

    #[test]
    fn update_takes_unchanged_cells_from_the_old_tuple() {
        // relation 7; old tuple (FULL): "a", NULL; new tuple: unchanged, unchanged
        let body = b"U\0\0\0\x07O\0\x02t\0\0\0\x01anN\0\x02uu";
        let mut decoder = Decoder::default();
        let Some(Message::Row(7, Change::Update { old: Some(_), new })) = decoder.decode(body) else {
            panic!()
        };
        assert_eq!(new.get(0), Value::Text(b"a"));
        assert_eq!(new.get(1), Value::Null);

        // a key tuple: NULL outside the key is no value
        let body = b"U\0\0\0\x07K\0\x02t\0\0\0\x01anN\0\x02t\0\0\0\x01bu";
        let Some(Message::Row(7, Change::Update { new, .. })) = decoder.decode(body) else { panic!() };
        assert_eq!(new.get(0), Value::Text(b"b"));
        assert_eq!(new.get(1), Value::Unchanged);
    }

    #[test]
    fn begin_commit_truncate() {
        let mut decoder = Decoder::default();
        let begin = b"B\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x02\0\0\0\x03";
        assert!(matches!(
            decoder.decode(begin),
            Some(Message::Frame(Frame::Begin { commit_lsn: Lsn(256), time: 2, xid: 3 }))
        ));
        let truncate = b"T\0\0\0\x02\0\0\0\0\x01\0\0\0\x02";
        assert!(
            matches!(decoder.decode(truncate), Some(Message::Frame(Frame::Truncate(found))) if found == [1, 2])
        );
        // a count that the message can't hold allocates nothing
        assert!(decoder.decode(b"T\xff\xff\xff\xff\0").is_none());
    }

    #[test]
    fn logical_messages() {
        let mut decoder = Decoder::default();
        let body = b"M\x01\0\0\0\0\0\0\0\x09redis-connect\0\0\0\0\x02hi";
        let Some(Message::Frame(frame)) = decoder.decode(body) else { panic!() };
        assert_eq!(frame, Frame::Message { transactional: true, lsn: Lsn(9), content: b"hi".to_vec() });
        let body = b"M\0\0\0\0\0\0\0\0\x09other\0\0\0\0\x02hi";
        assert!(matches!(decoder.decode(body), Some(Message::Frame(Frame::Other))));
        assert!(decoder.decode(b"M\0\0\0\0\0\0\0\0\x09other\0\xff\0\0\x02hi").is_none());
    }

    #[test]
    fn relation_message() {
        let body = b"R\0\0\0\x07public\0emp\0d\0\x01\x01id\0\0\0\0\x17\xff\xff\xff\xff";
        let mut decoder = Decoder::default();
        let Some(Message::Frame(Frame::Relation(relation))) = decoder.decode(body) else { panic!() };
        assert_eq!((relation.schema.as_str(), relation.table.as_str()), ("public", "emp"));
        assert!(relation.columns[0].identity);
        assert_eq!(relation.columns[0].type_modifier, -1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(kind in prop::sample::select(b"BCIUDRTOYMx".to_vec()), mut bytes: Vec<u8>) {
            bytes.insert(0, kind);
            let mut decoder = Decoder::default();
            if let Some(Message::Row(_, Change::Whole { new } | Change::Update { new, .. })) = decoder.decode(&bytes) {
                for i in 0..new.len() {
                    new.get(i);
                }
            }
        }
    }
}
