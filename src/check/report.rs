//! What was looked at and found, in words and as JSON.
//!
//! A check adds one finding or more. Only what would stop the connector, or make it lose something, is
//! `not_ready`; what would hurt later is a warning; what could not be looked at is told as such, and
//! stops nothing: a role with the least rights can't see everything, and need not.

use std::fmt;

use serde::Serialize;

use super::Check;
use crate::error::{Error, Problem, one_line};
use crate::plan::PlanError;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Ok,
    Warning,
    NotReady,
    /// It could not be looked at.
    Unseen,
}

impl Outcome {
    fn words(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Warning => "warning",
            Outcome::NotReady => "NOT READY",
            Outcome::Unseen => "not seen",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(super) check: &'static str,
    pub(super) looked_at: &'static str,
    pub(super) outcome: Outcome,
    pub(super) found: String,
    /// The statement or the setting that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mend: Option<String>,
}

impl Finding {
    /// Says at whom it was found.
    pub(super) fn at(self, who: &str) -> Finding {
        Finding { found: format!("{who}: {}", self.found), ..self }
    }
}

/// Where one check puts what it finds.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    check: &'a Check,
    found: &'a mut Vec<Finding>,
}

impl<'a> Findings<'a> {
    pub(super) fn of(check: &'a Check, found: &'a mut Vec<Finding>) -> Findings<'a> {
        Findings { check, found }
    }

    pub(super) fn ok(&mut self, found: impl Into<String>) {
        self.add(Outcome::Ok, found.into(), None);
    }

    pub(super) fn warn(&mut self, found: impl Into<String>, mend: impl Into<String>) {
        self.add(Outcome::Warning, found.into(), Some(mend.into()));
    }

    pub(super) fn not_ready(&mut self, problem: Problem) {
        self.add(Outcome::NotReady, problem.found, Some(problem.mend));
    }

    /// An error that `run` would end with.
    pub(super) fn refuse(&mut self, error: Error) {
        match error {
            Error::Unready(problem) => self.not_ready(problem),
            Error::Plan { file, source } => match *source {
                PlanError::Identity { place, what, table } => self.not_ready(Problem {
                    found: format!("{file}: {place}: {what}"),
                    mend: format!("ALTER TABLE {table} REPLICA IDENTITY FULL"),
                }),
                other => self.add(Outcome::NotReady, format!("{file}: {other}"), None),
            },
            other => self.add(Outcome::NotReady, other.to_string(), None),
        }
    }

    /// `mend` lets it be seen.
    pub(super) fn unseen(&mut self, why: impl Into<String>, mend: Option<&str>) {
        self.add(Outcome::Unseen, why.into(), mend.map(str::to_owned));
    }

    fn add(&mut self, outcome: Outcome, found: String, mend: Option<String>) {
        let Check { name, about, .. } = self.check;
        self.found.push(Finding { check: name, looked_at: about, outcome, found, mend });
    }
}

/// Everything that was found, in the order in which it is best mended.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) ready: bool,
    not_ready: usize,
    warnings: usize,
    unseen: usize,
    pub(super) findings: Vec<Finding>,
    /// Checks that need a connection which there is not.
    skipped: Vec<&'static str>,
}

impl Report {
    pub(super) fn new(findings: Vec<Finding>, skipped: Vec<&'static str>) -> Report {
        let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
        let not_ready = count(Outcome::NotReady);
        let (warnings, unseen) = (count(Outcome::Warning), count(Outcome::Unseen));
        Report { ready: not_ready == 0, not_ready, warnings, unseen, findings, skipped }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    /// A document for machines.
    pub(crate) fn json(&self) -> String {
        // Strings and numbers always have a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = self.outcome.words();
        write!(f, "{outcome:<9}  {}: {}", self.looked_at, one_line(&self.found))?;
        match &self.mend {
            Some(mend) => write!(f, "\n{:<9}  -> {}", "", one_line(mend)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        if !self.skipped.is_empty() {
            writeln!(f, "without a connection these were not looked at: {}", self.skipped.join(", "))?;
        }
        let Report { not_ready, warnings, unseen, .. } = self;
        match self.ready {
            true => write!(f, "ready")?,
            false => write!(f, "not ready: {not_ready} to mend")?,
        }
        writeln!(f, "; {}, {unseen} not seen", counted(*warnings, "warning"))
    }
}

/// `1 slot`, `2 slots`.
pub(super) fn counted(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// The first of many names, and how many more there are.
pub(super) fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.get(..SHOWN).unwrap_or(names).join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Bytes in the unit that a person would use.
pub(super) fn bytes(count: u64) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB"];
    let mut number = count;
    let mut unit = 0;
    while number >= 10_240 && unit + 1 < units.len() {
        number /= 1024;
        unit += 1;
    }
    format!("{number} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: Check =
        Check { name: "one", about: "one thing", look: super::super::Look::Files(|_, _, _| {}) };

    #[test]
    fn words_and_json() {
        let mut found = Vec::new();
        let mut findings = Findings::of(&CHECK, &mut found);
        findings.ok("fine");
        findings.warn("soon\nbad", "do this");
        findings.unseen("no right", Some("GRANT it"));
        let report = Report::new(found.clone(), vec!["two"]);
        assert!(report.is_ready());
        let words = report.to_string();
        assert!(words.starts_with(
            "ok         one thing: fine\nwarning    one thing: soon bad\n           -> do this\n"
        ));
        assert!(
            words.ends_with(
                "without a connection these were not looked at: two\nready; 1 warning, 1 not seen\n"
            )
        );
        let mut findings = Findings::of(&CHECK, &mut found);
        findings.not_ready(Problem { found: "it is off".into(), mend: "SET it = on".into() });
        let report = Report::new(found, Vec::new());
        assert!(report.to_string().ends_with("\nnot ready: 1 to mend; 1 warning, 1 not seen\n"), "{report}");
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["ready"], false);
        assert_eq!(json["not_ready"], 1);
        assert_eq!(json["findings"][3]["check"], "one");
        assert_eq!(json["findings"][3]["looked_at"], "one thing");
        assert_eq!(json["findings"][3]["outcome"], "not_ready");
        assert_eq!(json["findings"][3]["found"], "it is off");
        assert_eq!(json["findings"][3]["mend"], "SET it = on");
        assert_eq!(json["findings"][0].get("mend"), None);
    }

    #[test]
    fn numbers_and_names() {
        assert_eq!(bytes(10_239), "10239 bytes");
        assert_eq!(bytes(64 << 20), "64 MB");
        assert_eq!(bytes(u64::MAX), "16777215 TB");
        assert_eq!(counted(1, "slot"), "1 slot");
        let names: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        assert_eq!(some_of(&names), "0, 1, 2, 3, 4 and 2 more");
        assert_eq!(some_of(&names[..2]), "0, 1");
    }
}
