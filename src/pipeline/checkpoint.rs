//! The checkpoint: how far Redis is, written in the same transaction as the data that it covers.
//!
//! One hash, `redis-connect-postgres:{name}:checkpoint`:
//!
//! | field | |
//! |---|---|
//! | `lsn` | every transaction that ends at or before it is in Redis |
//! | `before` | where the changes of the batch that wrote this begin, as LSN, split and ordinal; until its replies were read it may have to be done again |
//! | `split`, `ordinal` | the commit LSN of the transaction after `lsn` of which the first `ordinal` changes are in Redis; `ordinal` is 0 when none is |
//! | `batch` | number of the batch that wrote this; tells whether one whose replies were lost was carried out |
//! | `count` | counts up by one with each batch, in the server: goes on from lower when batches were forgotten |
//! | `epoch` | of the writer |
//! | `updated` | ms since 1970 |
//! | `system_id`, `timeline`, `slot` | what the positions belong to |
//! | `snapshot` | `running` or `done` |
//! | `first_snapshot` | `done` when every table was read once; after a gap, once more |
//! | `events` | the ID of the last stream entry that was written for a row of a snapshot |
//! | `id_base` | what is added to positions in entry IDs; 0 unless positions went back |
//! | `beside` | how many batches had something that does not come from the stream |
//! | `shard:tag` | where Redis is sharded: there is a marker `…:shard:{tag}`, see [`crate::redis::shards`] |
//! | `index:idx:table` | the definition of a search index, as a JSON list of arguments; empty when it was dropped |
//! | `table:schema.table` | [`TableState`] |

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use super::table_state::{States, TableState};
use crate::interned::Interned;
use crate::lsn::Lsn;
use crate::plan::shape::ColumnRecord;
use crate::redis::resp::{Commands, Reply};
use crate::redis::shards::Names;
use crate::redis::{Client, Error, Spread};

/// How far Redis is in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// Every transaction that ends at or before it is applied.
    pub(crate) lsn: Lsn,
    /// Of the next transaction, a first part is applied.
    pub(crate) split: Option<Split>,
}

impl Position {
    /// Nothing is missing here of what is there.
    pub(crate) fn reaches(&self, other: &Position) -> bool {
        self.reach() >= other.reach()
    }

    /// A commit position and how many changes of that transaction, to be compared.
    fn reach(&self) -> (Lsn, u64) {
        self.split.map_or((self.lsn, 0), |split| (split.commit_lsn, split.ordinal))
    }

    /// How many changes of the transaction that commits at `commit_lsn` are applied: all if `u64::MAX`.
    pub(crate) fn applied_of(&self, commit_lsn: Lsn) -> u64 {
        match self.split {
            _ if commit_lsn < self.lsn => u64::MAX,
            Some(split) if split.commit_lsn == commit_lsn => split.ordinal,
            _ => 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) commit_lsn: Lsn,
    /// How many of its changes are applied.
    pub(crate) ordinal: u64,
}

/// What the positions belong to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Origin {
    pub(crate) system_id: String,
    pub(crate) timeline: String,
    pub(crate) slot: String,
}

/// The checkpoint as it was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checkpoint {
    pub(crate) position: Position,
    /// Where the changes of the last batch begin, if its replies may be unread; else the position.
    pub(crate) before: Position,
    pub(crate) batch: u64,
    pub(crate) origin: Origin,
    /// ms since 1970.
    pub(crate) updated: u64,
    pub(crate) tables: States,
    /// Every table was read once.
    pub(crate) was_read: bool,
    /// Added to positions in entry IDs.
    pub(crate) id_base: u64,
    /// Not stored: no entry has a later ID.
    pub(crate) reached: Lsn,
    /// LSN and ordinal of the last entry that was written for a row of a snapshot.
    pub(crate) events: (u64, u64),
    /// Search indexes by name, and how they were made.
    pub(crate) indexes: BTreeMap<String, String>,
    /// See [`Written`].
    pub(crate) beside: u64,
    /// The fields that name markers of shards.
    pub(crate) shards: Vec<String>,
}

/// The names of what belongs to one pipeline in Redis.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) checkpoint: String,
    pub(crate) epoch: String,
    pub(crate) dead_letters: String,
    /// The stream of logical messages.
    pub(crate) messages: String,
    /// A hash of what the running instance is asked to do.
    pub(crate) requests: String,
    /// What `reset` leaves behind: the tables of the former checkpoint, whose keys are still there.
    pub(crate) former: String,
    /// What is tried out.
    pub(crate) probe: String,
    /// What the keys of markers in the shards begin with.
    pub(crate) marker: String,
    /// What the keys begin with that are in the checkpoint's hash slot, where Redis is sharded.
    pub(crate) beside: String,
}

impl Keys {
    /// Where Redis is sharded, what is written with the checkpoint is in its hash slot.
    pub(crate) fn new(name: &str, spread: Spread) -> Keys {
        let key = |what: &str| format!("redis-connect-postgres:{name}:{what}");
        let beside = format!("{{{}}}:", key("checkpoint"));
        let beside_it = |what: &str| match spread {
            Spread::Whole => key(what),
            Spread::Endpoint | Spread::Cluster => format!("{beside}{what}"),
        };
        Keys {
            checkpoint: key("checkpoint"),
            epoch: beside_it("epoch"),
            dead_letters: key("dlq"),
            messages: key("messages"),
            requests: beside_it("requests"),
            former: beside_it("former"),
            probe: beside_it("probe"),
            marker: key("shard:"),
            beside,
        }
    }

    /// For the lanes.
    pub(crate) fn names(&self, name: &str) -> Names {
        Names {
            checkpoint: self.checkpoint.clone().into_bytes(),
            beside: self.beside.clone().into_bytes(),
            marker: self.marker.clone(),
            connection: format!("redis-connect-postgres:{name}"),
        }
    }
}

/// The key belongs to a pipeline itself, whatever the templates are.
pub(crate) fn is_own(key: &[u8]) -> bool {
    key.strip_prefix(b"{").unwrap_or(key).starts_with(b"redis-connect-postgres:")
}

pub(super) const TABLE: &str = "table:";
const INDEX: &str = "index:";
pub(super) const SHARD: &str = "shard:";

/// Reads the checkpoint; `None` when there is none.
pub(crate) async fn read(redis: &mut Client, keys: &Keys) -> Result<Option<Checkpoint>, Error> {
    let (fields, tables) = read_fields(redis, &keys.checkpoint).await?;
    if fields.is_empty() {
        return Ok(None);
    }
    let checkpoint =
        parse(&fields).zip(tables).map(|(checkpoint, tables)| Checkpoint { tables, ..checkpoint });
    checkpoint.map(Some).ok_or_else(|| {
        Error::Setting(format!(
            "the checkpoint {} in Redis can't be read; if nothing else wrote to it, it comes from another version: \
             look at it with HGETALL, or begin anew with redis-connect-postgres reset",
            keys.checkpoint
        ))
    })
}

/// More fields than this are not read at once: with very many tables the whole of them is large.
const FIELDS_AT_ONCE: usize = 1_000;

/// Reads what the checkpoint, or what a `reset` has left, says of tables, and the other fields. A hash of many
/// fields is read in parts; who needs one moment of it has seen to it that nobody writes it.
async fn read_fields(
    redis: &mut Client,
    key: &str,
) -> Result<(BTreeMap<String, String>, Option<States>), Error> {
    let names = match redis.call(&[b"HKEYS", key.as_bytes()]).await? {
        Reply::Array(names) if names.len() > FIELDS_AT_ONCE => names,
        _ => {
            let fields = read_hash(redis, key).await?;
            let tables = tables_of(&fields, &mut Alike::default());
            return Ok((fields, tables));
        }
    };
    let (mut fields, mut tables, mut alike) = (BTreeMap::new(), Some(States::new()), Alike::default());
    for part in names.chunks(FIELDS_AT_ONCE) {
        let names: Vec<String> = part.iter().filter_map(Reply::text).collect();
        let mut commands = Commands::default();
        for name in &names {
            commands.command(&[b"HGET", key.as_bytes(), name.as_bytes()]);
        }
        let replies = redis.call_all(&commands).await?;
        let values = replies.iter().map(Reply::text);
        let found: BTreeMap<String, String> =
            names.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?))).collect();
        match (&mut tables, tables_of(&found, &mut alike)) {
            (Some(tables), Some(more)) => tables.extend(more),
            _ => tables = None,
        }
        fields.extend(found.into_iter().filter(|(name, _)| !name.starts_with(TABLE)));
    }
    Ok((fields, tables))
}

pub(super) async fn read_hash(redis: &mut Client, key: &str) -> Result<BTreeMap<String, String>, Error> {
    let reply = redis.call(&[b"HGETALL", key.as_bytes()]).await?;
    let Reply::Array(elements) = reply else { return Ok(BTreeMap::new()) };
    let pairs = elements.chunks_exact(2).filter_map(|pair| match pair {
        [name, value] => name.text().zip(value.text()),
        _ => None,
    });
    Ok(pairs.collect())
}

/// The tables that a `reset` left behind, as ones to be read again.
pub(crate) async fn read_former(redis: &mut Client, keys: &Keys) -> Result<States, Error> {
    Ok(read_fields(redis, &keys.former).await?.1.unwrap_or_default())
}

/// Forgets the checkpoint, but not which keys its tables have: the next snapshot removes those that no
/// row has any more.
pub(crate) async fn reset(redis: &mut Client, keys: &Keys) -> Result<(), Error> {
    let mut tables = read_former(redis, keys).await?;
    tables.extend(read_fields(redis, &keys.checkpoint).await?.1.unwrap_or_default());
    let mut extra = Extra::default();
    for (name, state) in &mut tables {
        state.read_again(true);
        // Beginning anew is an event.
        state.forget_streams();
        extra.table(name, state);
    }
    let mut commands = Commands::default();
    commands.command(&[b"MULTI"]);
    for (name, state) in &extra.0 {
        commands.command(&[b"HSET", keys.former.as_bytes(), name.as_bytes(), state.as_bytes()]);
    }
    commands.command(&[b"DEL", keys.checkpoint.as_bytes()]);
    commands.command(&[b"EXEC"]);
    for reply in redis.call_all(&commands).await? {
        if let Reply::Error(reply) = reply {
            return Err(Error::Refused { doing: "removing the checkpoint".to_owned(), reply });
        }
    }
    Ok(())
}

/// What tables have alike.
#[derive(Debug, Default)]
struct Alike {
    columns: Interned<[ColumnRecord]>,
    outputs: Interned<str>,
}

fn tables_of(fields: &BTreeMap<String, String>, alike: &mut Alike) -> Option<States> {
    let tables = fields.iter().filter_map(|(name, value)| Some((name.strip_prefix(TABLE)?, value)));
    let mut state = |value: &str| {
        let mut state: TableState = serde_json::from_str(value).ok()?;
        state.columns = alike.columns.one(state.columns);
        state.draft = state.draft.map(|(columns, key)| (alike.columns.one(columns), key));
        state.outputs = alike.outputs.one(state.outputs);
        state.shrink();
        Some(Box::new(state))
    };
    tables.map(|(name, value)| Some((name.to_owned(), state(value)?))).collect()
}

/// Without the tables.
pub(super) fn parse(fields: &BTreeMap<String, String>) -> Option<Checkpoint> {
    let number = |name: &str| fields.get(name)?.parse::<u64>().ok();
    let lsn = |name: &str| fields.get(name)?.parse::<Lsn>().ok();
    let text = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let ordinal = number("ordinal")?;
    let split = if ordinal > 0 { Some(Split { commit_lsn: lsn("split")?, ordinal }) } else { None };
    let position = Position { lsn: lsn("lsn")?, split };
    Some(Checkpoint {
        position,
        before: match fields.get("before") {
            Some(text) => parse_position(text)?,
            None => position,
        },
        batch: number("batch")?,
        origin: Origin { system_id: text("system_id"), timeline: text("timeline"), slot: text("slot") },
        updated: number("updated")?,
        tables: BTreeMap::new(),
        was_read: text("first_snapshot") == "done",
        id_base: number("id_base").unwrap_or(0),
        reached: Lsn::ZERO,
        events: fields.get("events").and_then(|id| parse_id(id)).unwrap_or_default(),
        beside: number("beside").unwrap_or(0),
        shards: fields.keys().filter(|name| name.starts_with(SHARD)).cloned().collect(),
        indexes: fields
            .iter()
            .filter(|(_, definition)| !definition.is_empty())
            .filter_map(|(name, definition)| Some((name.strip_prefix(INDEX)?.to_owned(), definition.clone())))
            .collect(),
    })
}

/// The command that asks for the number of the last batch that was carried out.
pub(crate) fn ask_batch(keys: &Keys) -> [&[u8]; 3] {
    [b"HGET", keys.checkpoint.as_bytes(), b"batch"]
}

/// The reply to that.
pub(crate) fn batch_of(reply: &Reply) -> u64 {
    reply.text().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A position in one field: `0/16B3748`, or `0/16B3748 0/16B4000 17`.
pub(super) fn spell_position(position: Position) -> String {
    match position.split {
        None => position.lsn.to_string(),
        Some(split) => format!("{} {} {}", position.lsn, split.commit_lsn, split.ordinal),
    }
}

pub(super) fn parse_position(text: &str) -> Option<Position> {
    let parts: Vec<&str> = text.split(' ').collect();
    match parts.as_slice() {
        [lsn] => Some(Position { lsn: lsn.parse().ok()?, split: None }),
        [lsn, commit_lsn, ordinal] => {
            let split = Split { commit_lsn: commit_lsn.parse().ok()?, ordinal: ordinal.parse().ok()? };
            Some(Position { lsn: lsn.parse().ok()?, split: Some(split) })
        }
        _ => None,
    }
}

/// The ID of a stream's entry.
fn parse_id(id: &str) -> Option<(u64, u64)> {
    let (lsn, ordinal) = id.split_once('-')?;
    Some((lsn.parse().ok()?, ordinal.parse().ok()?))
}

/// Fields that are written with a batch beside the position.
#[derive(Debug, Default)]
pub(crate) struct Extra(Vec<(String, String)>);

impl Extra {
    pub(crate) fn table(&mut self, name: &str, state: &TableState) {
        let (field, value) = state.field(name);
        self.field(&field, value);
    }

    pub(crate) fn field(&mut self, name: &str, value: impl Into<String>) {
        self.0.retain(|(field, _)| field != name);
        self.0.push((name.to_owned(), value.into()));
    }

    /// There is a marker with this tag.
    pub(crate) fn shard(&mut self, tag: &str) -> String {
        let field = format!("{SHARD}{tag}");
        self.0.push((field.clone(), String::new()));
        field
    }

    pub(crate) fn index(&mut self, name: &str, definition: &str) {
        self.field(&format!("{INDEX}{name}"), definition);
    }

    pub(crate) fn events(&mut self, (lsn, ordinal): (u64, u64)) {
        self.field("events", format!("{lsn}-{ordinal}"));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a checkpoint says of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) position: Position,
    /// See [`Checkpoint::before`].
    pub(crate) before: Position,
    pub(crate) batch: u64,
    /// How many batches had something that does not come from the stream.
    pub(crate) beside: u64,
}

/// Appends the checkpoint to the batch that it covers.
pub(crate) fn write(keys: &Keys, written: Written, epoch: u64, extra: &mut Extra, out: &mut Commands) {
    let Written { position, before, batch, beside } = written;
    let mut fields: Vec<(&str, String)> = vec![
        ("lsn", position.lsn.to_string()),
        ("ordinal", position.split.map_or(0, |split| split.ordinal).to_string()),
        ("before", spell_position(before)),
        ("batch", batch.to_string()),
        ("beside", beside.to_string()),
        ("epoch", epoch.to_string()),
        ("updated", now().to_string()),
    ];
    if let Some(split) = position.split {
        fields.push(("split", split.commit_lsn.to_string()));
    }
    out.begin(2 + 2 * (fields.len() + extra.0.len()));
    out.argument(b"HSET");
    out.argument(keys.checkpoint.as_bytes());
    let extra_fields = extra.0.iter().map(|(name, value)| (name.as_str(), value));
    for (name, value) in fields.iter().map(|(name, value)| (*name, value)).chain(extra_fields) {
        out.argument(name.as_bytes());
        out.argument(value.as_bytes());
    }
    extra.0.clear();
    // The last command: its reply tells when batches were forgotten.
    out.command(&[b"HINCRBY", keys.checkpoint.as_bytes(), b"count", b"1"]);
}

/// ms since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let position = Position {
            lsn: Lsn(0x1_0000_0001),
            split: Some(Split { commit_lsn: Lsn(0x1_0000_0009), ordinal: 3 }),
        };
        let state =
            TableState { rows: 7, bounds: vec![vec!["a\"b".into()]], done: vec![0], ..Default::default() };
        let mut extra = Extra::default();
        extra.table("public.emp", &TableState::default());
        extra.table("public.emp", &state);
        extra.field("slot", "s");
        let mut commands = Commands::default();
        let before = Position { lsn: Lsn(0x1_0000_0000), split: None };
        let written = Written { position, before, batch: 5, beside: 6 };
        write(&Keys::new("hr", Spread::Whole), written, 2, &mut extra, &mut commands);
        assert!(extra.is_empty());
        let arguments = commands.walk().next().unwrap();
        assert_eq!(arguments[1], b"redis-connect-postgres:hr:checkpoint");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let fields = arguments[2..].chunks(2).map(|pair| (text(pair[0]), text(pair[1]))).collect();
        let read = parse(&fields).unwrap();
        assert_eq!((read.position, read.batch, read.origin.slot.as_str()), (position, 5, "s"));
        assert_eq!((read.before, read.beside), (before, 6));
        assert_eq!(
            tables_of(&fields, &mut Alike::default()).unwrap(),
            States::from([("public.emp".to_owned(), Box::new(state))])
        );
    }

    #[test]
    fn positions_follow_one_another() {
        let at = |lsn: u64, split: Option<(u64, u64)>| Position {
            lsn: Lsn(lsn),
            split: split.map(|(commit_lsn, ordinal)| Split { commit_lsn: Lsn(commit_lsn), ordinal }),
        };
        let order = [
            at(10, None),
            at(10, Some((20, 1))),
            at(12, Some((20, 1))),
            at(10, Some((20, 2))),
            at(25, None),
            at(25, Some((30, 1))),
        ];
        for (i, earlier) in order.iter().enumerate() {
            assert_eq!(parse_position(&spell_position(*earlier)), Some(*earlier));
            for later in &order[i..] {
                assert!(later.reaches(earlier), "{later:?} {earlier:?}");
                let same = later.split == earlier.split && later.split.is_some();
                assert_eq!(earlier.reaches(later), later == earlier || same, "{later:?} {earlier:?}");
            }
        }
        let position = at(12, Some((20, 3)));
        assert_eq!([11, 12, 20, 21].map(|lsn| position.applied_of(Lsn(lsn))), [u64::MAX, 0, 3, 0]);
        assert_eq!(parse_position("0/1 0/2"), None);
    }
}
