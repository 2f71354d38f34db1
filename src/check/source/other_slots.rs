//! Slots of others that hold the log back, or are lost.

use crate::check::report::{Findings, bytes, counted};
use crate::check::seen::Source;
use crate::check::{Check, Look};
use crate::postgres::literal;

pub(in crate::check) const CHECK: Check =
    Check { name: "other_slots", about: "other replication slots", look: Look::Source(look) };

/// A slot that nobody reads and that holds this much back has been forgotten, more likely than not.
const MUCH: f64 = (1u64 << 30) as f64;

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    let slots = match &source.other_slots {
        Ok(slots) => slots,
        Err(error) => return findings.unseen(error, None),
    };
    let idle = slots.iter().filter(|slot| !slot.active);
    let forgotten: Vec<_> = idle
        .filter(|slot| {
            slot.retained.is_some_and(|retained| retained > MUCH)
                || slot.wal_status.as_deref() == Some("lost")
        })
        .collect();
    for slot in &forgotten {
        let retained = bytes(slot.retained.unwrap_or_default().max(0.0) as u64);
        let found = match slot.wal_status.as_deref() {
            Some("lost") => format!("{} is lost, and takes a place", slot.name),
            _ => format!("nobody reads {}, and it holds back {retained} of WAL", slot.name),
        };
        let drop = format!("SELECT pg_drop_replication_slot({})", literal(&slot.name));
        findings.warn(found, format!("if nobody needs it: {drop}"));
    }
    if forgotten.is_empty() {
        findings.ok(match slots.len() {
            0 => "none".to_owned(),
            count => format!("{}, none that holds much back", counted(count, "slot")),
        });
    }
}
