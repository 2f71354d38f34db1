//! What the snapshot and the stream make of every kind of change, in every structure but hashes.

mod documents;
mod memberships;
mod search;
mod several;
mod streams;
mod strings;
mod unchanged;

use std::collections::BTreeMap;

use crate::harness::World;

/// A stream entry's ID and fields.
pub(crate) type Entry = (String, BTreeMap<String, String>);

pub(crate) fn entries(world: &World, stream: &str) -> Vec<Entry> {
    let found: Vec<(String, Vec<String>)> = world.redis(&["XRANGE", stream, "-", "+"]);
    let fields = |list: Vec<String>| list.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    found.into_iter().map(|(id, list)| (id, fields(list))).collect()
}
