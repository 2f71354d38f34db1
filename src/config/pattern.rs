//! Which tables a rule is for: `public.emp`, `sales.*`, `"My.Schema"."T""x"`.
//!
//! Either part is taken as it is (no case folding) with the wildcards `*` (any characters, also
//! none) and `?` (one character), or double-quoted as in SQL, without wildcards. A table without
//! schema is one of `public`.

use std::fmt;

/// A pattern for `schema.table`. Displays as it was typed; equal when it means the same.
#[derive(Debug, Clone)]
pub struct TablePattern {
    typed: String,
    schema: Name,
    table: Name,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Exact(String),
    Wild(Vec<char>),
}

impl TablePattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// If a part is empty, there are more than two, or a quote is not closed or in the middle.
    pub fn parse(typed: &str) -> Result<TablePattern, PatternError> {
        let (first, rest) = name(typed)?;
        let (schema, table) = match rest {
            None => (Name::Exact("public".to_owned()), first),
            Some(rest) => match name(rest)? {
                (second, None) => (first, second),
                _ => return Err(PatternError::Parts),
            },
        };
        Ok(TablePattern { typed: typed.to_owned(), schema, table })
    }

    /// Whether the pattern covers this table.
    pub fn matches(&self, schema: &str, table: &str) -> bool {
        self.schema.matches(schema) && self.table.matches(table)
    }

    /// Schema and table, if the pattern names exactly one.
    pub fn exact(&self) -> Option<(&str, &str)> {
        match (&self.schema, &self.table) {
            (Name::Exact(schema), Name::Exact(table)) => Some((schema, table)),
            _ => None,
        }
    }
}

impl PartialEq for TablePattern {
    fn eq(&self, other: &TablePattern) -> bool {
        self.schema == other.schema && self.table == other.table
    }
}

impl Eq for TablePattern {}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.typed)
    }
}

/// Why a text is not a table pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A part has no characters.
    #[error("a table pattern is `schema.table` or `table`, and neither part may be empty")]
    Empty,
    /// There are more than two parts.
    #[error("a table pattern has at most two parts; write a name with a dot in double quotes")]
    Parts,
    /// A quote is not closed.
    #[error("a `\"` is not closed; write a quote within a quoted name twice")]
    Unclosed,
    /// A quote stands within an unquoted part, or text follows a closing quote.
    #[error("double quotes must enclose the whole schema or the whole table")]
    Misplaced,
    /// A NUL character, which no name has.
    #[error("a table pattern cannot contain a NUL character")]
    Nul,
}

/// Reads one part; gives what follows its dot, if there is one.
fn name(text: &str) -> Result<(Name, Option<&str>), PatternError> {
    if text.contains('\0') {
        return Err(PatternError::Nul);
    }
    let Some(mut body) = text.strip_prefix('"') else {
        let (part, rest) = match text.split_once('.') {
            Some((part, rest)) => (part, Some(rest)),
            None => (text, None),
        };
        if part.contains('"') {
            return Err(PatternError::Misplaced);
        }
        if part.is_empty() {
            return Err(PatternError::Empty);
        }
        let name = if part.contains(['*', '?']) {
            Name::Wild(part.chars().collect())
        } else {
            Name::Exact(part.to_owned())
        };
        return Ok((name, rest));
    };
    let mut exact = String::new();
    loop {
        let (part, rest) = body.split_once('"').ok_or(PatternError::Unclosed)?;
        exact.push_str(part);
        if let Some(after) = rest.strip_prefix('"') {
            exact.push('"');
            body = after;
            continue;
        }
        let rest = match rest.strip_prefix('.') {
            Some(rest) => Some(rest),
            None if rest.is_empty() => None,
            None => return Err(PatternError::Misplaced),
        };
        if exact.is_empty() {
            return Err(PatternError::Empty);
        }
        return Ok((Name::Exact(exact), rest));
    }
}

impl Name {
    fn matches(&self, text: &str) -> bool {
        match self {
            Name::Exact(name) => name == text,
            Name::Wild(pattern) => wild(pattern, text),
        }
    }
}

/// When a character does not fit, only the last `*` has to take one more: an earlier one could gain
/// nothing that the last cannot. So this takes at most the product of the lengths.
fn wild(pattern: &[char], text: &str) -> bool {
    let mut pattern = pattern;
    let mut text = text.chars();
    let mut retry: Option<(&[char], std::str::Chars<'_>)> = None;
    loop {
        let mut next = text.clone();
        match (pattern.split_first(), next.next()) {
            (Some(('*', rest)), _) => {
                pattern = rest;
                retry = Some((rest, text.clone()));
                continue;
            }
            (Some((wanted, rest)), Some(found)) if *wanted == '?' || *wanted == found => {
                pattern = rest;
                text = next;
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        let Some((rest, from)) = &mut retry else {
            return false;
        };
        if from.next().is_none() {
            return false;
        }
        pattern = rest;
        text = from.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::{PatternError, TablePattern};
    use proptest::prelude::*;

    fn parse(typed: &str) -> TablePattern {
        TablePattern::parse(typed).unwrap()
    }

    #[test]
    fn exact_names() {
        for (typed, exact) in [
            ("emp", ("public", "emp")),
            ("hr.emp", ("hr", "emp")),
            ("HR.Emp", ("HR", "Emp")),
            (r#""My.Schema"."T""x""#, ("My.Schema", "T\"x")),
            (r#"hr."*""#, ("hr", "*")),
            (r#""größe""#, ("public", "größe")),
        ] {
            let pattern = parse(typed);
            assert_eq!(pattern.exact(), Some(exact), "{typed}");
            assert!(pattern.matches(exact.0, exact.1));
            assert!(!pattern.matches(exact.0, "other"));
            assert_eq!(pattern.to_string(), typed);
        }
    }

    #[test]
    fn wildcards() {
        for (typed, schema, table, expected) in [
            ("sales.*", "sales", "orders", true),
            ("sales.*", "sales", "", true),
            ("sales.*", "Sales", "orders", false),
            ("*.*", "a", "b", true),
            ("*", "public", "b", true),
            ("*", "a", "b", false),
            ("s?les.o*s", "sales", "orders", true),
            ("p.a*b*c", "p", "axxbyybzc", true),
            ("p.a*b*c", "p", "axxbyybz", false),
            ("p.?", "p", "é", true),
            ("p.?", "p", "", false),
            ("p.?", "p", "ab", false),
            ("p.*?", "p", "", false),
            ("p.**a", "p", "aaa", true),
            (r#"p."*""#, "p", "x", false),
        ] {
            let pattern = parse(typed);
            assert_eq!(pattern.matches(schema, table), expected, "{typed} {table}");
            assert!(typed.contains('"') || pattern.exact().is_none());
        }
    }

    #[test]
    fn errors() {
        for (typed, error) in [
            ("", PatternError::Empty),
            (".emp", PatternError::Empty),
            ("hr.", PatternError::Empty),
            (r#""""#, PatternError::Empty),
            ("a.b.c", PatternError::Parts),
            (r#""a"."b"."c""#, PatternError::Parts),
            (r#""a"#, PatternError::Unclosed),
            (r#"a"b""#, PatternError::Misplaced),
            (r#""a"b"#, PatternError::Misplaced),
            ("a\0b", PatternError::Nul),
        ] {
            assert_eq!(TablePattern::parse(typed), Err(error), "{typed}");
        }
    }

    #[test]
    fn equal_when_it_means_the_same() {
        assert_eq!(parse("emp"), parse(r#""public".emp"#));
        assert_ne!(parse("p.*"), parse(r#"p."*""#));
    }

    proptest! {
        #[test]
        fn any_text(typed in "[a*?.\"é]{0,12}|\\PC*", schema in "[aé\".]{0,5}", table in "[aé\".]{0,9}") {
            if let Ok(pattern) = TablePattern::parse(&typed) {
                prop_assert_eq!(pattern.to_string(), typed);
                pattern.matches(&schema, &table);
                if let Some((schema, table)) = pattern.exact() {
                    prop_assert!(pattern.matches(schema, table));
                }
            }
        }

        #[test]
        fn quoted_names_mean_themselves(schema in "[^\0]{1,9}", table in "[^\0]{1,9}") {
            let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
            let pattern = parse(&format!("{}.{}", quote(&schema), quote(&table)));
            prop_assert_eq!(pattern.exact(), Some((schema.as_str(), table.as_str())));
        }

        #[test]
        fn wildcards_agree_with_the_definition(pattern in "[ab*?]{1,7}", text in "[ab]{0,7}") {
            fn defined(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.split_first(), text.split_first()) {
                    (None, None) => true,
                    (Some((b'*', rest)), None) => defined(rest, text),
                    (Some((b'*', rest)), Some((_, tail))) => defined(rest, text) || defined(pattern, tail),
                    (Some((p, rest)), Some((t, tail))) => (*p == b'?' || p == t) && defined(rest, tail),
                    _ => false,
                }
            }
            let expected = defined(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(parse(&pattern).matches("public", &text), expected);
        }
    }
}
