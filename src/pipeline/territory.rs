//! Which keys belong to which output: no two may produce the same key, except streams that share their
//! entries on purpose.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use super::capture::Captured;
use crate::config::Output;
use crate::error::Error;
use crate::plan::Plan;
use crate::plan::key::{Holds, KeyPattern};
use crate::plan::overlap::overlap;

/// An output's keys, and whose they are.
#[derive(Debug)]
struct Claim {
    pattern: KeyPattern,
    table: String,
    line: u32,
    key: String,
    structure: String,
}

/// The keys that are taken, by the text that they begin with.
#[derive(Debug, Default)]
pub(crate) struct Territories {
    claims: BTreeMap<String, Vec<Claim>>,
}

impl Territories {
    /// Takes the keys of a table's outputs.
    ///
    /// Keys can only be the same where the text that one begins with begins the other, so each is
    /// compared with few, however many tables there are.
    pub(crate) fn claim(&mut self, captured: &Captured, plan: &Plan, file: &str) -> Result<(), Error> {
        for (sink, output) in plan.sinks.iter().zip(captured.outputs.iter()) {
            let claim = Claim {
                pattern: sink.pattern(),
                table: captured.name(),
                line: output.line,
                key: output.key.to_string(),
                structure: structure(output),
            };
            let prefix = claim.pattern.prefix().to_owned();
            let shorter = (0..=prefix.len()).filter_map(|end| self.claims.get(prefix.get(..end)?));
            let longer = self.claims.range::<str, _>((Excluded(prefix.as_str()), Unbounded));
            let longer = longer.take_while(|(other, _)| other.starts_with(&prefix)).map(|(_, claims)| claims);
            for other in shorter.chain(longer).flatten() {
                if !may_share(&claim, other) && overlap(&claim.pattern, &other.pattern) {
                    return Err(clash(&claim, other, file));
                }
            }
            self.claims.entry(prefix).or_default().push(claim);
        }
        Ok(())
    }
}

fn structure(output: &Output) -> String {
    crate::plan::stream_name(output)
        .map_or_else(|| output.structure.kind().name().to_owned(), |name| format!("stream, {name}"))
}

/// Events of several tables can go into one stream, if they look the same.
fn may_share(a: &Claim, b: &Claim) -> bool {
    let streams = a.pattern.holds == Holds::Events && b.pattern.holds == Holds::Events;
    let format = |claim: &Claim| claim.structure.split(' ').nth(1).map(str::to_owned);
    streams && a.table != b.table && format(a) == format(b)
}

fn clash(claim: &Claim, other: &Claim, file: &str) -> Error {
    let place = |claim: &Claim| match claim.line {
        0 => format!("table {}", claim.table),
        line => format!("line {line}, table {}", claim.table),
    };
    let mend = match (claim.pattern.holds, other.pattern.holds) {
        (Holds::Events, Holds::Events) => "write them in one format, or into different streams",
        _ => "give one of them another `key`",
    };
    Error::Usage(format!(
        "{file}: {}: its key `{}` can be the same as the key `{}` of {}; {mend}",
        place(claim),
        claim.key,
        other.key,
        place(other)
    ))
}
