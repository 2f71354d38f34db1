//! Templates: texts made from the columns of a row, such as keys, members and scores.
//!
//! Within a part of a composite key `%` and `:` are written `%25` and `%3A`, so that two different
//! rows never share a key; a NULL part (possible only where the whole row is the key) is `%00`,
//! which no value can be written as.

use super::key::{Holds, Hole, KeyPattern, PatternPart};
use super::value::{Converter, Kind};
use crate::row::{Row, Value};

#[derive(Debug, Clone)]
enum Piece {
    Text(Vec<u8>),
    Column { index: usize, kind: Kind, converter: Converter, escaped: bool },
}

/// A compiled template.
#[derive(Debug, Clone, Default)]
pub(crate) struct TemplatePlan {
    pieces: Vec<Piece>,
}

/// What came of rendering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rendered {
    Complete,
    /// A column was NULL; it is spelled as nothing.
    WithNull,
    /// A column is an unchanged TOASTed value, so the text can't be told from this row.
    Unknown,
}

impl TemplatePlan {
    pub(super) fn push_text(&mut self, text: &[u8]) {
        match self.pieces.last_mut() {
            Some(Piece::Text(before)) => before.extend_from_slice(text),
            _ => self.pieces.push(Piece::Text(text.to_vec())),
        }
    }

    pub(super) fn push_column(&mut self, index: usize, kind: Kind, converter: Converter, escaped: bool) {
        self.pieces.push(Piece::Column { index, kind, converter, escaped });
    }

    /// Gives memory back that it has no use for.
    pub(super) fn shrink_to_fit(&mut self) {
        self.pieces.shrink_to_fit();
    }

    /// Writes the text for `row` into `text`, which is cleared first.
    #[inline]
    pub(crate) fn render(&self, row: &Row<'_>, scratch: &mut Vec<u8>, text: &mut Vec<u8>) -> Rendered {
        text.clear();
        let mut rendered = Rendered::Complete;
        for piece in &self.pieces {
            match piece {
                Piece::Text(literal) => text.extend_from_slice(literal),
                Piece::Column { index, converter, escaped, .. } => match row.get(*index) {
                    Value::Unchanged => return Rendered::Unknown,
                    Value::Null if *escaped => text.extend_from_slice(b"%00"),
                    Value::Null => rendered = Rendered::WithNull,
                    Value::Text(value) => {
                        let value = converter.text(value, scratch);
                        if *escaped { escape(value, text) } else { text.extend_from_slice(value) }
                    }
                },
            }
        }
        rendered
    }

    /// The columns that it is made of.
    pub(crate) fn columns(&self) -> impl Iterator<Item = usize> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Column { index, .. } => Some(*index),
            Piece::Text(_) => None,
        })
    }

    /// It is one column and nothing else.
    pub(crate) fn is_one_column(&self) -> bool {
        matches!(self.pieces.as_slice(), [Piece::Column { .. }])
    }

    /// The text before the first column.
    pub(crate) fn prefix(&self) -> &[u8] {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => b"",
        }
    }

    /// The text, if it is the same for every row.
    pub(crate) fn fixed(&self) -> Option<&[u8]> {
        match self.pieces.as_slice() {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// What the keys of this template look like.
    pub(crate) fn pattern(&self, holds: Holds) -> KeyPattern {
        let parts = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => PatternPart::Text(String::from_utf8_lossy(text).into_owned()),
            Piece::Column { kind, escaped, .. } => {
                let hole = match kind {
                    Kind::Integer => Hole::Integer,
                    Kind::Boolean => Hole::Boolean,
                    _ => Hole::Any,
                };
                PatternPart::Hole { hole, escaped: *escaped }
            }
        });
        KeyPattern::new(parts.collect(), holds)
    }
}

fn escape(text: &[u8], key: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(found) = memchr::memchr2(b'%', b':', rest) {
        key.extend_from_slice(&rest[..found]);
        key.extend_from_slice(if rest[found] == b'%' { b"%25" } else { b"%3A" });
        rest = &rest[found + 1..];
    }
    key.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::key::Holds;
    use crate::plan::value::ValueOptions;
    use crate::row::Cell;
    use proptest::prelude::*;

    fn plan(parts: &[(&str, Option<Kind>)], escaped: bool) -> TemplatePlan {
        let mut plan = TemplatePlan::default();
        for (index, (text, kind)) in parts.iter().enumerate() {
            plan.push_text(text.as_bytes());
            if let Some(kind) = kind {
                let converter = Converter::new(kind.clone(), ValueOptions::default());
                plan.push_column(index, kind.clone(), converter, escaped);
            }
        }
        plan
    }

    fn render(plan: &TemplatePlan, values: &[&str]) -> String {
        let data = values.concat();
        let mut start = 0;
        let cells: Vec<Cell> = values
            .iter()
            .map(|value| {
                let cell = Cell::text(start, value.len());
                start += value.len();
                cell
            })
            .collect();
        let (mut scratch, mut key) = (Vec::new(), Vec::new());
        let rendered = plan.render(&Row::new(data.as_bytes(), &cells), &mut scratch, &mut key);
        assert_eq!(rendered, Rendered::Complete);
        String::from_utf8(key).unwrap()
    }

    #[test]
    fn composite_parts_are_escaped() {
        let key = plan(&[("t:", Some(Kind::Text)), (":", Some(Kind::Text))], true);
        assert_eq!(render(&key, &["a:b", "c"]), "t:a%3Ab:c");
        assert_eq!(render(&key, &["a", "b:c"]), "t:a:b%3Ac");
        assert_eq!(render(&key, &["a%3A", ""]), "t:a%253A:");
    }

    #[test]
    fn a_key_is_recognised_by_the_types_of_its_columns() {
        let emp = plan(&[("emp:", Some(Kind::Integer))], false);
        assert!(emp.pattern(Holds::Row).matches(b"emp:-7"));
        assert!(!emp.pattern(Holds::Row).matches(b"emp:7:address"));
        assert!(!emp.pattern(Holds::Row).matches(b"emp:"));
        assert!(!emp.pattern(Holds::Row).matches(b"employee:7"));
        assert_eq!(emp.pattern(Holds::Row).glob(), b"emp:*");
        let pair = plan(&[("a*[", Some(Kind::Integer)), (":x:", Some(Kind::Text)), ("]", None)], true);
        assert!(pair.pattern(Holds::Row).matches(b"a*[1:x:y]"));
        assert!(!pair.pattern(Holds::Row).matches(b"a*[1:x:y:z]"));
        assert_eq!(pair.pattern(Holds::Row).glob(), b"a\\*\\[*:x:*\\]");
    }

    proptest! {
        #[test]
        fn a_rendered_key_is_recognised_and_unique(a in "[a-z:%]{0,6}", b in "[a-z:%]{0,6}", c in "[a-z:%]{0,6}", d in "[a-z:%]{0,6}") {
            let key = plan(&[("t:", Some(Kind::Text)), (":", Some(Kind::Text))], true);
            let first = render(&key, &[&a, &b]);
            prop_assert!(key.pattern(Holds::Row).matches(first.as_bytes()));
            prop_assert_eq!(first == render(&key, &[&c, &d]), (a, b) == (c, d));
        }
    }
}
