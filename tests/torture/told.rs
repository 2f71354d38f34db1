//! What is told of a seed that failed: the reason first, then the faults, the end of the log last.
//!
//! A long output may be cut by whoever shows it, in the middle or at its beginning. So nothing here is long, and
//! what the seeds found is said first in a line or two for each.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::harness::World;

/// How much is told of the reason and of the log.
const LINES: usize = 60;
/// The log of a server can be in one line.
const LONGEST: usize = 400;
/// What a summary has of the reason beside its first line: the last words of a program are there.
const SUMMARY: usize = 2;

/// Why a seed failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// Where in the code it was noticed.
    place: String,
    reason: String,
    /// What was tried, and the log.
    rest: String,
}

thread_local! {
    /// Where the last panic of a seed was; `None` outside of seeds.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does this; a panic is told here and nowhere else.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let of_a_seed = PLACE.with_borrow_mut(|place| {
                place
                    .as_mut()
                    .map(|place| *place = info.location().map(ToString::to_string).unwrap_or_default())
            });
            if of_a_seed.is_none() {
                others(info);
            }
        }));
    });
    PLACE.set(Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    let place = PLACE.take().unwrap_or_default();
    result.map_err(|panic| Failure { place, reason: reason(panic.as_ref()), rest: String::new() })
}

fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

impl Failure {
    /// Adds what was tried and what the programs logged.
    pub(super) fn after(mut self, tried: &str, world: &World) -> Self {
        let log = merged(&world.logs());
        let log = &log[log.len().saturating_sub(LINES)..];
        self.rest = format!("faults: {tried}\nthe end of the log:\n{}", log.join("\n"));
        self
    }

    pub(super) fn summary(&self) -> String {
        let mut lines = self.reason.lines().filter(|line| !line.trim_matches('-').is_empty()).map(cut);
        let first = lines.next().unwrap_or_default();
        let rest: Vec<String> = lines.collect();
        let last = &rest[rest.len().saturating_sub(SUMMARY)..];
        format!("{} (at {})", [&[first], last].concat().join(" | "), self.place)
    }

    pub(super) fn story(&self) -> String {
        let all = self.reason.lines().count();
        let mut lines: Vec<String> = self.reason.lines().take(LINES).map(cut).collect();
        if all > LINES {
            lines.push(format!("({} more lines)", all - LINES));
        }
        format!("{}\n{}", lines.join("\n"), self.rest)
    }
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line.to_owned(),
    }
}

/// The lines of several logs in the order of their times, each with the number of its process.
fn merged(logs: &[(u32, String)]) -> Vec<String> {
    let mut lines: Vec<(&str, String)> = Vec::new();
    for (pid, log) in logs {
        let mut time = "";
        for line in log.lines() {
            // What has no time belongs to the line before.
            if line.starts_with(|c: char| c.is_ascii_digit()) {
                time = line.split(' ').next().unwrap_or_default();
            }
            lines.push((time, cut(&format!("[{pid}] {line}"))));
        }
    }
    lines.sort_by_key(|(time, _)| *time);
    lines.into_iter().map(|(_, line)| line).collect()
}

#[test]
fn a_failure_is_told_shortly_and_its_reason_first() {
    let text = format!("the reason\n{}\n{}its last words\n---", "x".repeat(5_000), "more\n".repeat(500));
    let failure = catch(|| panic!("{text}")).map(|()| "no panic").unwrap_err();
    let summary = failure.summary();
    assert!(
        summary.starts_with("the reason | more | its last words (at tests/torture/told.rs:"),
        "{summary}"
    );
    let story = failure.story();
    assert!(story.starts_with("the reason\nxxx") && story.contains("(444 more lines)"), "{story}");
    assert!(story.len() < 1_000, "{story}");
    assert_eq!(catch(|| 1).unwrap(), 1);
}

#[test]
fn logs_are_merged() {
    let logs = [(7, "2026 a\n2028 c\nmore of c".to_owned()), (8, "2027 b\n2029 d".to_owned())];
    assert_eq!(merged(&logs), ["[7] 2026 a", "[8] 2027 b", "[7] 2028 c", "[7] more of c", "[8] 2029 d"]);
}
