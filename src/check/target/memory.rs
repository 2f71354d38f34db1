//! Will the snapshot fit? An estimate, from what the planner knows of the tables.
//!
//! It counts what Redis keeps for a key beside its value, and is right within a factor of two or so:
//! compression, encodings of small values and the allocator all have a say. So it only warns.

use super::info;
use crate::check::nodes::Node;
use crate::check::report::{Findings, bytes};
use crate::check::seen::{Source, Target};
use crate::check::{Check, Look};
use crate::config::{Columns, Output, OutputKind};
use crate::pipeline::capture::Captured;

pub(in crate::check) const CHECK: Check =
    Check { name: "memory", about: "memory for the snapshot (an estimate)", look: Look::Both(look) };

fn look(source: &Source<'_>, target: &Target<'_>, node: &Node, findings: &mut Findings<'_>) {
    let (tables, relations) = match (&source.tables, &source.relations) {
        (Ok(tables), Ok(relations)) => (tables, relations),
        (Err(error), _) | (_, Err(error)) => return findings.unseen(error, None),
    };
    let info = match &node.info {
        Ok(info) => info,
        Err(error) => return findings.unseen(error, Some(info::MEND)),
    };
    let rows: u64 = tables.chosen.values().map(|one| one.table.estimated_rows).sum();
    let needed = tables.chosen.values().fold(0_u64, |sum, captured| {
        let known = relations.iter().find(|relation| relation.oid == captured.table.oid);
        sum.saturating_add(estimate(captured, known.map_or(0, |relation| relation.width)))
    });
    // Keys are spread evenly over the slots.
    let here = (needed as f64 * node.share) as u64;
    let used = info.number("used_memory").unwrap_or(0);
    let (limit, of, mend) = match (info.number("maxmemory"), info.number("total_system_memory")) {
        (Some(limit), _) if limit > 0 => (
            limit,
            "maxmemory",
            format!("CONFIG SET maxmemory {}", used.saturating_add(here.saturating_mul(2))),
        ),
        (_, Some(all)) if all > 0 => {
            (all, "the machine's memory", "a larger machine, or fewer tables and columns".to_owned())
        }
        _ => return findings.unseen("Redis does not tell how much it may use", None),
    };
    let masters = target.nodes.len();
    let (part, among) = match masters {
        1 => ("", String::new()),
        _ => ("its part of ", format!(" over {masters} masters")),
    };
    let limit_words = bytes(limit);
    match target.has_checkpoint {
        Ok(true) => findings.ok("the rows are there already"),
        _ if rows == 0 => findings.unseen(
            "the planner has no estimate of the tables' rows",
            Some("ANALYZE, by the tables' owner, lets it be estimated"),
        ),
        _ if used.saturating_add(here) > limit => {
            let (here, used) = (bytes(here), bytes(used));
            let found =
                format!("about {here} for {part}{rows} rows, and {used} are in use of {limit_words} ({of})");
            findings.warn(found, mend);
        }
        _ => {
            let needed = bytes(needed);
            findings.ok(format!("about {needed} for {rows} rows{among}, of {limit_words} ({of})"));
        }
    }
}

/// Bytes that Redis keeps for a key beside its value.
const KEY: u64 = 100;
/// Bytes for a member of a set, and what a skip list adds to it.
const MEMBER: u64 = 60;
const SCORED_MEMBER: u64 = 110;
/// Bytes around a field and its value.
const FIELD: u64 = 4;
/// A row of which nothing is known: what an average one of applications has.
const UNKNOWN_WIDTH: u64 = 100;

fn estimate(captured: &Captured, width: i64) -> u64 {
    let width = u64::try_from(width).ok().filter(|width| *width > 0).unwrap_or(UNKNOWN_WIDTH);
    let row: u64 = captured.outputs.iter().map(|output| of_row(output, captured, width)).sum();
    captured.table.estimated_rows.saturating_mul(row)
}

fn of_row(output: &Output, captured: &Captured, width: u64) -> u64 {
    let columns = &captured.table.columns;
    let names: Vec<&str> = match &output.columns {
        Columns::Only(names) => names.iter().map(|(_, target)| target.as_str()).collect(),
        Columns::All => columns.iter().map(|column| column.name.as_str()).collect(),
        Columns::Except(except) => columns
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| !except.iter().any(|e| e == name))
            .collect(),
    };
    let fields = names.len() as u64;
    let width = width.saturating_mul(fields) / (columns.len() as u64).max(1);
    let named = names.iter().map(|name| name.len() as u64 + FIELD).sum::<u64>();
    match output.structure.kind() {
        OutputKind::Hash | OutputKind::String => KEY + width + named,
        // A tree of values, each with its own head.
        OutputKind::Json => KEY + 2 * width + named + 16 * fields,
        OutputKind::Set => MEMBER,
        OutputKind::SortedSet => SCORED_MEMBER,
        OutputKind::Stream => width + named,
    }
}
