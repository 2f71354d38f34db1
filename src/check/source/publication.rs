//! The publication sends all tables, or may be made.

use crate::check::report::{Findings, counted, some_of};
use crate::check::seen::{Source, Tables};
use crate::check::{Check, Look};
use crate::error::Problem;
use crate::pipeline::capture;
use crate::postgres::catalog::Table;
use crate::postgres::publication::{self, Publication};

pub(in crate::check) const CHECK: Check =
    Check { name: "publication", about: "the publication", look: Look::Source(look) };

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    match (&source.tables, &source.publication) {
        (Err(error), _) | (_, Err(error)) => findings.unseen(error, None),
        (Ok(tables), Ok(None)) => to_be_made(source, tables, findings),
        (Ok(tables), Ok(Some(found))) => existing(source, tables, found, findings),
    }
}

fn to_be_made(source: &Source<'_>, tables: &Tables, findings: &mut Findings<'_>) {
    let name = &source.config.source.publication;
    let wanted: Vec<&Table> =
        tables.chosen.values().map(|one| &one.table).filter(|table| table.has_usable_identity()).collect();
    if wanted.is_empty() {
        return findings.unseen("there is none yet, and no table for it", None);
    }
    let foreign = foreign(source, &wanted);
    if source.server.superuser || (source.server.may_create && foreign.is_empty()) {
        return findings.ok(format!("{name} will be made, of {}", counted(wanted.len(), "table")));
    }
    let why = match foreign.as_slice() {
        [] => "it has no right of CREATE on the database".to_owned(),
        names => format!("it does not own {}", some_of(names)),
    };
    let statement = publication::create_statement(name, &wanted, source.server.version);
    findings.not_ready(Problem {
        found: format!(
            "there is no publication {name}, and the role {} can't make it: {why}",
            source.server.role
        ),
        mend: format!("let the tables' owner run: {statement};"),
    });
}

fn existing(source: &Source<'_>, tables: &Tables, found: &Publication, findings: &mut Findings<'_>) {
    let name = &source.config.source.publication;
    if let Some(problem) = capture::unusable(name, found, &tables.chosen) {
        return findings.not_ready(problem);
    }
    let missing = capture::missing(found, &tables.chosen);
    let sent = tables.chosen.len() - missing.len();
    if missing.is_empty() {
        return findings.ok(format!("{name} sends all tables to capture"));
    }
    let foreign = foreign(source, &missing);
    if found.ours && (source.server.superuser || foreign.is_empty()) {
        let count = counted(missing.len(), "table");
        return findings.ok(format!("{name} is ours; {count} will be added to it"));
    }
    let (named, others): (Vec<&Table>, Vec<&Table>) =
        missing.iter().partition(|table| tables.named.contains(&table.oid));
    if !named.is_empty() || sent == 0 || found.ours {
        findings.not_ready(capture::unpublished(
            name,
            if named.is_empty() { &missing } else { &named },
            &missing,
        ));
    } else {
        let problem = capture::unpublished(name, &others, &missing);
        findings.warn(format!("{}, which are not captured therefore", problem.found), problem.mend);
    }
}

/// The tables that the role does not own, and so can't publish.
fn foreign(source: &Source<'_>, tables: &[&Table]) -> Vec<String> {
    let Ok(relations) = &source.relations else { return Vec::new() };
    let owned = |oid| relations.iter().any(|relation| relation.oid == oid && relation.owned);
    tables.iter().filter(|table| !owned(table.oid)).map(|table| table.display_name()).collect()
}
