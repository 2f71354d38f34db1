//! What was found, in words and as JSON.
//!
//! One place (a key, or a member of one) counts once, however much of it differs; the first thing
//! that differs gives it its kind.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::error::one_line;

/// Differences that are told one by one.
const FIRST: usize = 20;

/// Bytes of a value that are shown.
const SHOWN: usize = 100;

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    MissingKey,
    /// A key without a row.
    SurplusKey,
    WrongType,
    /// A string.
    WrongValue,
    WrongDocument,
    WrongField,
    MissingField,
    SurplusField,
    MissingMember,
    SurplusMember,
    WrongScore,
    /// The output has a `ttl`, and the key does not expire.
    MissingTtl,
    /// The key expires, and the output has no `ttl`.
    SurplusTtl,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::MissingKey => "missing keys",
            Kind::SurplusKey => "keys that no row has",
            Kind::WrongType => "keys of another type",
            Kind::WrongValue => "wrong values",
            Kind::WrongDocument => "wrong documents",
            Kind::WrongField => "wrong fields",
            Kind::MissingField => "missing fields",
            Kind::SurplusField => "surplus fields",
            Kind::MissingMember => "missing members",
            Kind::SurplusMember => "members that no row has",
            Kind::WrongScore => "wrong scores",
            Kind::MissingTtl => "keys that do not expire",
            Kind::SurplusTtl => "keys that expire",
        }
    }
}

/// What differs at one place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    /// The field, the member, or where in the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<String>,
    /// What the row has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expected: Option<String>,
    /// What Redis has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) found: Option<String>,
    /// How many fields differ besides.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) more: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Finding {
    pub(super) fn new(kind: Kind) -> Finding {
        Finding { kind, part: None, expected: None, found: None, more: 0 }
    }

    pub(super) fn part(self, part: &[u8]) -> Finding {
        Finding { part: Some(shown(part)), ..self }
    }

    pub(super) fn expected(self, expected: &[u8]) -> Finding {
        Finding { expected: Some(shown(expected)), ..self }
    }

    pub(super) fn found(self, found: &[u8]) -> Finding {
        Finding { found: Some(shown(found)), ..self }
    }
}

/// A difference and where it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Difference {
    pub(super) table: String,
    pub(super) key: String,
    #[serde(flatten)]
    pub(super) finding: Finding,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) repair: Option<Repaired>,
}

/// What became of the attempt to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Repaired {
    Mended,
    /// Why not.
    Failed(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { table, key, finding, repair } = self;
        let part = finding.part.as_deref().unwrap_or_default();
        let expected = finding.expected.as_deref().unwrap_or_default();
        let found = finding.found.as_deref().unwrap_or_default();
        write!(f, "{key}: ")?;
        match finding.kind {
            Kind::MissingKey => write!(f, "the key is missing"),
            Kind::SurplusKey => write!(f, "a key of {table} that no row has"),
            Kind::WrongType => write!(f, "is no {expected}"),
            Kind::WrongValue => write!(f, "is `{found}`, the row has `{expected}`"),
            Kind::WrongDocument if finding.found.is_none() => {
                write!(f, "{part} is missing, the row has `{expected}`")
            }
            Kind::WrongDocument if finding.expected.is_none() => write!(f, "has {part} that the row has not"),
            Kind::WrongDocument | Kind::WrongField => {
                write!(f, "{part} is `{found}`, the row has `{expected}`")
            }
            Kind::MissingField => write!(f, "{part} is missing, the row has `{expected}`"),
            Kind::SurplusField => write!(f, "has a field {part} that the row has not"),
            Kind::MissingMember => write!(f, "the member {part} is missing"),
            Kind::SurplusMember => write!(f, "has a member {part} that no row of {table} has"),
            Kind::WrongScore => write!(f, "the score of {part} is {found}, the row has {expected}"),
            Kind::MissingTtl => write!(f, "does not expire, although the output has a ttl"),
            Kind::SurplusTtl => write!(f, "expires, although the output has no ttl"),
        }?;
        if finding.more > 0 {
            write!(f, " (and {} more)", finding.more)?;
        }
        match repair {
            None => Ok(()),
            Some(Repaired::Mended) => write!(f, "; mended"),
            Some(Repaired::Failed(reason)) => write!(f, "; not mended: {reason}"),
        }
    }
}

/// What was found of one table.
#[derive(Debug, Default, Serialize)]
pub(super) struct TableReport {
    pub(super) table: String,
    pub(super) rows: u64,
    pub(super) different: u64,
    pub(super) mended: u64,
    /// Counted among the different ones without a second look.
    pub(super) not_looked_at_again: u64,
    /// Rows that changed at every look.
    pub(super) unsettled: u64,
    pub(super) kinds: BTreeMap<Kind, u64>,
    #[serde(skip)]
    first: Vec<Difference>,
}

impl TableReport {
    pub(super) fn new(table: String) -> TableReport {
        TableReport { table, ..TableReport::default() }
    }

    pub(super) fn add(&mut self, difference: Difference) {
        self.different += 1;
        *self.kinds.entry(difference.finding.kind).or_default() += 1;
        if difference.repair == Some(Repaired::Mended) {
            self.mended += 1;
        }
        if self.first.len() < FIRST {
            self.first.push(difference);
        }
    }
}

impl fmt::Display for TableReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} rows, ", self.table, self.rows)?;
        if self.different == 0 {
            return write!(f, "equal");
        }
        let kinds: Vec<String> =
            self.kinds.iter().map(|(kind, count)| format!("{}: {count}", kind.words())).collect();
        write!(f, "{} different ({})", self.different, kinds.join(", "))
    }
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) equal: bool,
    pub(crate) rows: u64,
    pub(crate) different: u64,
    pub(crate) mended: u64,
    tables: Vec<TableReport>,
    first: Vec<Difference>,
    /// What should be known about the comparison itself.
    notes: Vec<String>,
}

impl Report {
    /// Nothing was found to differ yet.
    pub(super) fn new() -> Report {
        Report { equal: true, ..Report::default() }
    }

    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(super) fn add(&mut self, mut table: TableReport) {
        self.rows += table.rows;
        self.different += table.different;
        self.mended += table.mended;
        self.equal = self.different == 0;
        let room = FIRST - self.first.len().min(FIRST);
        self.first.extend(table.first.drain(..).take(room));
        if table.not_looked_at_again > 0 {
            self.note(format!(
                "{}: {} of the differences are beyond the number that is looked at again, and can be rows that \
                 changed meanwhile",
                table.table, table.not_looked_at_again
            ));
        }
        if table.unsettled > 0 {
            self.note(format!(
                "{}: {} rows changed each time they were looked at, and are not judged",
                table.table, table.unsettled
            ));
        }
        self.tables.push(table);
    }

    /// Nothing differs any more.
    pub(crate) fn is_fine(&self) -> bool {
        self.different == self.mended
    }

    /// A document for machines.
    pub(crate) fn json(&self) -> String {
        // Strings and numbers always have a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.first {
            writeln!(f, "{}", one_line(&difference.to_string()))?;
        }
        let told = self.first.len() as u64;
        if self.different > told {
            writeln!(f, "… and {} more", self.different - told)?;
        }
        for table in &self.tables {
            writeln!(f, "{}", one_line(&table.to_string()))?;
        }
        for note in &self.notes {
            writeln!(f, "note: {}", one_line(note))?;
        }
        let tables = self.tables.len();
        write!(f, "{} rows in {tables} tables compared: ", self.rows)?;
        match (self.different, self.mended) {
            (0, _) => writeln!(f, "equal"),
            (different, 0) => writeln!(f, "{different} different"),
            (different, mended) => writeln!(f, "{different} different, {mended} mended"),
        }
    }
}

/// A value, shortened.
pub(super) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes));
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    format!("{text}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(kind: Kind) -> Difference {
        let finding = Finding::new(kind).part(b"p").expected(b"e").found(b"f");
        Difference { table: "public.t".into(), key: "t:1".into(), finding, repair: None }
    }

    #[test]
    fn words_for_each_kind() {
        for (kind, words) in [
            (Kind::MissingKey, "t:1: the key is missing"),
            (Kind::SurplusKey, "t:1: a key of public.t that no row has"),
            (Kind::WrongType, "t:1: is no e"),
            (Kind::WrongValue, "t:1: is `f`, the row has `e`"),
            (Kind::WrongDocument, "t:1: p is `f`, the row has `e`"),
            (Kind::WrongField, "t:1: p is `f`, the row has `e`"),
            (Kind::MissingField, "t:1: p is missing, the row has `e`"),
            (Kind::SurplusField, "t:1: has a field p that the row has not"),
            (Kind::MissingMember, "t:1: the member p is missing"),
            (Kind::SurplusMember, "t:1: has a member p that no row of public.t has"),
            (Kind::WrongScore, "t:1: the score of p is f, the row has e"),
            (Kind::MissingTtl, "t:1: does not expire, although the output has a ttl"),
            (Kind::SurplusTtl, "t:1: expires, although the output has no ttl"),
        ] {
            assert_eq!(difference(kind).to_string(), words);
        }
    }

    #[test]
    fn a_report_counts_and_shortens() {
        let mut report = Report::new();
        let mut table = TableReport { rows: 30, ..TableReport::new("public.t".into()) };
        for _ in 0..25 {
            table.add(difference(Kind::WrongField));
        }
        let mended = Difference { repair: Some(Repaired::Mended), ..difference(Kind::MissingKey) };
        table.add(mended);
        report.add(table);
        report.add(TableReport { rows: 2, ..TableReport::new("public.u".into()) });
        let words = report.to_string();
        assert!(words.contains("\n… and 6 more\n"), "{words}");
        assert!(
            words.contains("public.t: 30 rows, 26 different (missing keys: 1, wrong fields: 25)\n"),
            "{words}"
        );
        assert!(words.contains("public.u: 2 rows, equal\n"), "{words}");
        assert!(words.ends_with("32 rows in 2 tables compared: 26 different, 1 mended\n"), "{words}");
        assert!(!report.is_fine());
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["different"], 26);
        assert_eq!(json["tables"][0]["kinds"]["wrong_field"], 25);
        assert_eq!(json["first"][0]["kind"], "wrong_field");
        assert_eq!(json["first"][0]["found"], "f");
    }

    #[test]
    fn long_values_are_cut_wherever_characters_end() {
        assert_eq!(shown(&b"x".repeat(100)), "x".repeat(100));
        let long = shown("é".repeat(80).as_bytes());
        assert!(long.ends_with('…') && long.len() < 110, "{long}");
    }
}
