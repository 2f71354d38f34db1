//! Text with holes: `order:{id}`.
//!
//! `{column}` is the value of a column, `{pk}` the whole key, `{table}` the table's name. `{{` is a
//! literal `{`, `}}` a literal `}`; a lone `}` is literal too.

use std::fmt;

/// A parsed template. Displays as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Literal text, braces already unescaped; never empty, never two in a row.
    Text(String),
    /// The value of the named column.
    Column(String),
    /// `{pk}`: the whole key, its parts joined with `:`.
    PrimaryKey,
    /// `{table}`: the table's name, with its schema unless that is `public`.
    Table,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// If the text is empty, or a hole is empty or not closed.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let fail = |offset, problem| {
            let character = text.get(..offset).unwrap_or_default().chars().count() + 1;
            Err(TemplateError { offset, character, problem })
        };
        if text.is_empty() {
            return fail(0, Problem::Empty);
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, tail) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = tail.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = tail.strip_prefix("}}").or(tail.strip_prefix('}')) {
                literal.push('}');
                rest = after;
            } else {
                let offset = text.len() - tail.len();
                let body = tail.get(1..).unwrap_or_default();
                let Some((name, after)) = body.split_once('}').filter(|(n, _)| !n.contains('{')) else {
                    return fail(offset, Problem::Unclosed);
                };
                if name.trim().is_empty() {
                    return fail(offset, Problem::EmptyHole);
                }
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(match name {
                    "pk" => Part::PrimaryKey,
                    "table" => Part::Table,
                    column => Part::Column(column.to_owned()),
                });
                rest = after;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Template { text: text.to_owned(), parts })
    }

    /// `{table}:{pk}`
    pub(super) fn row_key() -> Template {
        Template {
            text: "{table}:{pk}".to_owned(),
            parts: vec![Part::Table, Part::Text(":".to_owned()), Part::PrimaryKey],
        }
    }

    /// `{table}`
    pub(super) fn table() -> Template {
        Template { text: "{table}".to_owned(), parts: vec![Part::Table] }
    }

    /// `{table}:events`
    pub(super) fn table_events() -> Template {
        Template {
            text: "{table}:events".to_owned(),
            parts: vec![Part::Table, Part::Text(":events".to_owned())],
        }
    }

    /// `{pk}`
    pub(super) fn primary_key() -> Template {
        Template { text: "{pk}".to_owned(), parts: vec![Part::PrimaryKey] }
    }

    /// The pieces in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether the text depends on the row, so that two rows can have two keys.
    pub fn varies_by_row(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Column(_) | Part::PrimaryKey))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problem.describe(*.character))]
pub struct TemplateError {
    /// Where in the text, in bytes from 0.
    pub offset: usize,
    /// Where in the text, in characters from 1.
    pub character: usize,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    Empty,
    Unclosed,
    EmptyHole,
}

impl Problem {
    fn describe(&self, character: usize) -> String {
        match self {
            Problem::Empty => "the template is empty".to_owned(),
            Problem::Unclosed => format!(
                "the hole that opens at character {character} is not closed; close it with `}}`, or write `{{{{` for a literal brace"
            ),
            Problem::EmptyHole => {
                format!("the hole at character {character} is empty; name a column, `pk` or `table`")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, Template};
    use proptest::prelude::*;

    fn text(s: &str) -> Part {
        Part::Text(s.to_owned())
    }

    fn column(s: &str) -> Part {
        Part::Column(s.to_owned())
    }

    #[test]
    fn templates() {
        for (typed, parts) in [
            ("plain", vec![text("plain")]),
            ("order:{id}", vec![text("order:"), column("id")]),
            ("{table}:{pk}", vec![Part::Table, text(":"), Part::PrimaryKey]),
            ("{a}{b}", vec![column("a"), column("b")]),
            ("{{{id}}}", vec![text("{"), column("id"), text("}")]),
            ("a}b", vec![text("a}b")]),
            ("a}}b", vec![text("a}b")]),
            ("{{}}", vec![text("{}")]),
            ("{größe m}é", vec![column("größe m"), text("é")]),
        ] {
            let template = Template::parse(typed).unwrap();
            assert_eq!(template.parts(), parts, "{typed}");
            assert_eq!(template.to_string(), typed);
        }
    }

    #[test]
    fn errors() {
        for (typed, offset, message) in [
            ("", 0, "the template is empty"),
            (
                "é:{id",
                3,
                "the hole that opens at character 3 is not closed; close it with `}`, or write `{{` for a literal brace",
            ),
            (
                "{a{b}",
                0,
                "the hole that opens at character 1 is not closed; close it with `}`, or write `{{` for a literal brace",
            ),
            ("x{}", 1, "the hole at character 2 is empty; name a column, `pk` or `table`"),
            ("x{ }", 1, "the hole at character 2 is empty; name a column, `pk` or `table`"),
        ] {
            let error = Template::parse(typed).unwrap_err();
            assert_eq!(error.to_string(), message, "{typed}");
            assert_eq!(error.offset, offset, "{typed}");
        }
    }

    #[test]
    fn the_defaults_are_what_is_parsed() {
        for template in
            [Template::row_key(), Template::table(), Template::table_events(), Template::primary_key()]
        {
            assert_eq!(Template::parse(&template.to_string()).unwrap(), template);
        }
    }

    #[test]
    fn rows_have_their_own_keys_only_with_a_column() {
        assert!(Template::parse("a:{pk}").unwrap().varies_by_row());
        assert!(Template::parse("a:{id}").unwrap().varies_by_row());
        assert!(!Template::parse("a:{table}").unwrap().varies_by_row());
    }

    proptest! {
        #[test]
        fn any_text(typed in "[{}a:é ]{0,20}|\\PC*") {
            if let Ok(template) = Template::parse(&typed) {
                prop_assert_eq!(template.to_string(), typed.clone());
                let again: String = template.parts().iter().map(|part| match part {
                    Part::Text(text) => text.replace('{', "{{").replace('}', "}}"),
                    Part::Column(name) => format!("{{{name}}}"),
                    Part::PrimaryKey => "{pk}".to_owned(),
                    Part::Table => "{table}".to_owned(),
                }).collect();
                let again = Template::parse(&again).unwrap();
                prop_assert_eq!(again.parts(), template.parts());
            }
        }
    }
}
