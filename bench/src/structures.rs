//! Every structure of Redis, from the stream and from the snapshot.

use crate::Bench;
use crate::error::{Result, failed};
use crate::options::Structures;
use crate::report::Group;
use crate::{servers, snapshot, stream, structure};

/// In transactions of so many rows.
const SIZE: u32 = 1_000;

/// What was measured, and whether it was a stream or a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) streams: Vec<Group>,
    pub(crate) snapshots: Vec<Group>,
}

pub(crate) fn structures(bench: &Bench, options: &Structures) -> Result<Measured> {
    let mut measured = Measured::default();
    for structure in structure::ALL.into_iter().filter(|structure| options.wants(structure)) {
        if structure.needs_modules() && servers::modules().is_none() {
            eprintln!("{} is left out: {}", structure.name, servers::NO_MODULES);
            continue;
        }
        measured.streams.push(stream::stream(bench, structure, (options.rows, SIZE), options.runs)?);
        measured.snapshots.push(snapshot::snapshot(bench, structure, options.rows, options.runs)?);
    }
    if measured.streams.is_empty() {
        return Err(failed(format!("nothing to measure: {}", servers::NO_MODULES)));
    }
    Ok(measured)
}
