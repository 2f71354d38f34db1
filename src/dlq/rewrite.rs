//! From a letter and the row as it is now to commands.
//!
//! ```text
//!   hash, json, string   the row's key, written as a whole; gone: removed
//!   set, sorted_set      the row's member; where it was before, as the letter tells, it is taken out
//!   stream               what the letter is about is not told once more: an event `r` has the row as it is
//! ```

use std::collections::BTreeSet;

use super::letter::{Letter, Texts};
use crate::pipeline::reread::{Key, OwnedRow};
use crate::plan::Plan;
use crate::plan::shape::Shape;
use crate::redis::resp::Commands;
use crate::row::{Change, Value};
use crate::sink::{Sink, Workspace};

/// The row's key, as far as the letter has it.
pub(super) fn key(shape: &Shape, letter: &Letter) -> Option<Key> {
    let texts = letter.texts("row")?;
    if shape.key.is_empty() {
        return None;
    }
    let value = |name: &String| texts.get(name)?.as_ref().map(|text| text.clone().into_bytes());
    shape.key_names().iter().map(value).collect()
}

/// What a letter has of a row; what it has not is unknown.
fn row_of(shape: &Shape, texts: &Texts) -> OwnedRow {
    OwnedRow::from_values(shape.columns.iter().map(|column| match texts.get(&column.name) {
        None => Value::Unchanged,
        Some(None) => Value::Null,
        Some(Some(text)) => Value::Text(text.as_bytes()),
    }))
}

/// Appends what makes the row's key or member as it is now, in the output that the letter is about.
/// `written` is the row that was written just now, and is not as it is any more.
pub(super) fn keys_and_members(
    plan: &Plan,
    letter: &Letter,
    (now, written): (Option<&OwnedRow>, Option<&OwnedRow>),
    workspace: &mut Workspace,
    out: &mut Commands,
) {
    let told = ["old", "row"].map(|name| letter.texts(name).map(|texts| row_of(&plan.shape, &texts)));
    let keyed = || plan.sinks.iter().filter(|sink| !sink.is_stream());
    let mut meant: Vec<&Sink> =
        keyed().filter(|sink| told.iter().flatten().any(|row| is_at(sink, row, letter, workspace))).collect();
    if meant.is_empty() {
        // The letter does not tell which it is. More than is needed does no harm.
        meant = keyed().collect();
    }
    for sink in meant {
        let former = told.iter().flatten().filter(|_| sink.has_members() || is_named_by_key(plan, sink));
        for row in former.chain(written) {
            let elsewhere = match now {
                None => true,
                Some(now) => sink.has_members() && !is_same_place(sink, row, now, workspace),
            };
            if elsewhere {
                sink.write(&Change::Delete { old: row.row() }, workspace, out);
            }
        }
        if let Some(now) = now {
            sink.write(&Change::Whole { new: now.row() }, workspace, out);
        }
    }
}

/// The letter is about the key that the output has for this row.
fn is_at(sink: &Sink, row: &OwnedRow, letter: &Letter, workspace: &mut Workspace) -> bool {
    sink.place(&row.row(), workspace)
        && letter.get("redis_key") == Some(&*String::from_utf8_lossy(&workspace.key))
}

/// No other row can have come to the key.
fn is_named_by_key(plan: &Plan, sink: &Sink) -> bool {
    let columns: BTreeSet<usize> = sink.place_columns().into_iter().collect();
    columns == plan.shape.key.iter().copied().collect()
}

fn is_same_place(sink: &Sink, row: &OwnedRow, other: &OwnedRow, workspace: &mut Workspace) -> bool {
    let mut place = |row: &OwnedRow| {
        sink.place(&row.row(), workspace).then(|| (workspace.key.clone(), workspace.member.clone()))
    };
    place(row) == place(other)
}

/// Appends an event into the stream that the letter is about. `workspace.event` says which.
pub(super) fn event(
    plan: &Plan,
    letter: &Letter,
    now: Option<&OwnedRow>,
    workspace: &mut Workspace,
    out: &mut Commands,
) {
    let gone = letter.texts("row").map(|texts| row_of(&plan.shape, &texts));
    let change = match (now, &gone) {
        (Some(now), _) => Change::Whole { new: now.row() },
        (None, Some(row)) if letter.get("op") == Some("d") => Change::Delete { old: row.row() },
        // Its DELETE is an event of its own.
        _ => return,
    };
    for sink in plan.sinks.iter().filter(|sink| sink.is_stream()) {
        let mut commands = Commands::default();
        sink.write(&change, workspace, &mut commands);
        let is_meant = commands.walk().next().is_some_and(|command| {
            command.get(1).is_some_and(|key| letter.get("redis_key") == Some(&*String::from_utf8_lossy(key)))
        });
        if is_meant {
            out.append(&mut commands);
        }
    }
}
