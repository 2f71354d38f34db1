//! A page of the documentation as a sequence of examples.
//!
//! An example begins with a `sql` block, the tables and rows that are there before, and a `yaml` block,
//! the lines under `tables:`. Of the blocks that follow,
//!
//! - `redis` has the commands that come of it, at first those of the snapshot;
//! - `sql` makes changes, whose commands stand in the `redis` block after it;
//! - `console` shows what redis-cli replies.
//!
//! Blocks in other languages, and other blocks before the first example, are not looked at.

use std::fmt::Write as _;

#[derive(Debug)]
pub(super) struct Example {
    pub(super) heading: String,
    pub(super) setup: String,
    pub(super) tables: String,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug)]
pub(super) enum Step {
    Changes(String),
    Commands { line: usize, text: String },
    Console { line: usize, text: String },
}

#[derive(Debug)]
struct Block {
    language: String,
    line: usize,
    text: String,
    heading: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut heading, mut open) = (Vec::new(), String::new(), None::<Block>);
    for (number, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let (language, heading) = (language.to_owned(), heading.clone());
                open = Some(Block { language, line: number + 1, text: String::new(), heading });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => writeln!(block.text, "{line}").unwrap(),
            (None, None) => {
                if let Some(title) = line.strip_prefix('#') {
                    title.trim_start_matches('#').trim().clone_into(&mut heading);
                }
            }
        }
    }
    assert!(open.is_none(), "a block is not closed: {open:?}");
    blocks
}

pub(super) fn examples(page: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut blocks = blocks(page).into_iter().peekable();
    while let Some(Block { language, line, text, heading }) = blocks.next() {
        let steps = examples.last_mut().map(|example| &mut example.steps);
        match (language.as_str(), steps) {
            ("sql", _) if blocks.peek().is_some_and(|next| next.language == "yaml") => {
                let tables = blocks.next().unwrap().text;
                examples.push(Example { heading, setup: text, tables, steps: Vec::new() });
            }
            ("yaml", _) => panic!("line {line}: no `sql` block directly before the `yaml` block"),
            ("sql", Some(steps)) => steps.push(Step::Changes(text)),
            ("redis", Some(steps)) => steps.push(Step::Commands { line, text }),
            ("console", Some(steps)) => steps.push(Step::Console { line, text }),
            _ => {}
        }
    }
    examples
}

/// The `yaml` blocks of a page that has no examples.
pub(crate) fn configurations(page: &str) -> Vec<String> {
    blocks(page).into_iter().filter(|block| block.language == "yaml").map(|block| block.text).collect()
}

/// The commands of a block, each a list of arguments as redis-cli would read them. What is indented goes
/// on with the line before; inside quotes a line break counts for nothing, nor do the spaces around it.
pub(super) fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands: Vec<Vec<String>> = Vec::new();
    let (mut argument, mut quote) = (None::<String>, None::<char>);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if quote.is_none() && !line.starts_with(' ') {
            commands.push(Vec::new());
        }
        let command = commands.last_mut().unwrap();
        let mut characters = line.trim().chars();
        while let Some(c) = characters.next() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (Some('"'), '\\') => argument.as_mut().unwrap().extend(characters.next()),
                (None, '"' | '\'') => {
                    quote = Some(c);
                    argument.get_or_insert_default();
                }
                (None, ' ') => command.extend(argument.take()),
                _ => argument.get_or_insert_default().push(c),
            }
        }
        if quote.is_none() {
            command.extend(argument.take());
        }
    }
    assert!(quote.is_none(), "a quote is not closed: {text}");
    commands
}

/// A command as it would stand in a block.
pub(super) fn written(command: &[String]) -> String {
    let words = command.iter().map(|argument| {
        let plain = |c: char| c.is_alphanumeric() || (c.is_ascii_graphic() && !"\"'\\".contains(c));
        if !argument.is_empty() && argument.chars().all(plain) {
            argument.clone()
        } else if argument.contains('"') && !argument.contains('\'') {
            format!("'{argument}'")
        } else {
            format!("\"{}\"", argument.replace('\\', "\\\\").replace('"', "\\\""))
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What is different with every run, by the name that pages have for it, and how it is spelled.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("lsn", "0123456789ABCDEF/"),
    ("id", "0123456789"),
    ("xid", "0123456789"),
    ("ms", "0123456789"),
    ("time", "0123456789-:.TZ"),
    ("version", "0123456789."),
    // A text that is too long for a page.
    ("text", "x"),
];

/// Whether an argument is what a page says, where `<lsn>` and the like stand for any such value, and
/// `<lsn 2>` for another one. `known` has the values of those that came before.
pub(super) fn fits(expected: &str, found: &str, known: &mut Vec<(String, String)>) -> bool {
    let placeholder = |text: &str| {
        let (name, rest) = text.strip_prefix('<')?.split_once('>')?;
        let kind = name.split(' ').next()?;
        let (_, characters) = PLACEHOLDERS.iter().find(|(known, _)| *known == kind)?;
        Some((name.to_owned(), *characters, rest.to_owned()))
    };
    let (mut expected, mut found) = (expected.to_owned(), found);
    loop {
        if let Some((name, characters, rest)) = placeholder(&expected) {
            let end = found.find(|c| !characters.contains(c)).unwrap_or(found.len());
            let (value, after) = found.split_at(end);
            match known.iter().find(|(known, _)| *known == name) {
                Some((_, before)) if before != value => return false,
                Some(_) => {}
                None if value.is_empty() => return false,
                None => known.push((name, value.to_owned())),
            }
            (expected, found) = (rest, after);
            continue;
        }
        match (expected.chars().next(), found.chars().next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == b => {
                expected.drain(..a.len_utf8());
                found = &found[b.len_utf8()..];
            }
            _ => return false,
        }
    }
}

#[test]
fn what_stands_for_what() {
    let mut known = Vec::new();
    assert!(fits("<id>-1", "4711-1", &mut known));
    assert!(fits("x <lsn>,<lsn 2>", "x 0/AF,1/B", &mut known));
    assert!(fits("<id>-2", "4711-2", &mut known));
    assert!(!fits("<id>-2", "4712-2", &mut known));
    assert!(!fits("<id>-1", "4711-2", &mut known));
    assert!(!fits("<time>", "", &mut known));
    assert!(!fits("a", "ab", &mut known) && !fits("ab", "a", &mut known));
    assert_eq!(
        commands("SET a \"b \\\"c\"\nSET\n  d '{\"e\":\n   1}'\n"),
        [vec!["SET", "a", "b \"c"], vec!["SET", "d", "{\"e\":1}"]]
    );
}
