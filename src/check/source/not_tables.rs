//! Relations that a pattern fits, and whose changes are not in the log or not in a publication.

use crate::check::report::{Findings, some_of};
use crate::check::seen::{Relation, Source};
use crate::check::{Check, Look};

pub(in crate::check) const CHECK: Check =
    Check { name: "not_tables", about: "what patterns fit and can't be captured", look: Look::Source(look) };

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    let relations = match &source.relations {
        Ok(relations) => relations,
        Err(error) => return findings.unseen(error, None),
    };
    let fitting: Vec<&Relation> =
        relations.iter().filter(|relation| is_asked_for(relation, source)).collect();
    let mut found = false;
    for (what, mend, is) in KINDS {
        let of_kind = fitting.iter().filter(is);
        let names: Vec<String> = of_kind.map(|one| format!("{}.{}", one.schema, one.name)).collect();
        if !names.is_empty() {
            found = true;
            findings.warn(format!("{what}: {}", some_of(&names)), *mend);
        }
    }
    if !found {
        findings.ok("nothing");
    }
}

type Kind = (&'static str, &'static str, fn(&&&Relation) -> bool);

const KINDS: &[Kind] = &[
    ("views, which have no changes of their own", "capture the tables behind them", |one| one.kind == "v"),
    (
        "materialized views, whose changes are not in a publication",
        "capture the tables behind them, or fill a table from them",
        |one| one.kind == "m",
    ),
    ("foreign tables, whose changes are in another server's log", "capture them there", |one| {
        one.kind == "f"
    }),
    ("unlogged tables, whose changes are in no log", "ALTER TABLE … SET LOGGED", |one| {
        one.persistence == "u" && matches!(one.kind.as_str(), "r" | "p")
    }),
    ("temporary tables, whose changes are in no log", "make a permanent one", |one| one.persistence == "t"),
];

fn is_asked_for(relation: &Relation, source: &Source<'_>) -> bool {
    let rules = &source.config.tables;
    // Nobody asks for the views and temporary tables of a whole database.
    !relation.partition && rules.iter().any(|rule| rule.pattern.matches(&relation.schema, &relation.name))
}
