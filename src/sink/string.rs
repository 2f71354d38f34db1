//! A row as a string: SET of a text made from its columns, or of the row as a JSON document.
//!
//! A string is written as a whole, so the whole row must be known.

use super::keyed::{Body, Keyed};
use super::{Alike, Context, Workspace};
use crate::config::Template;
use crate::plan::PlanError;
use crate::plan::columns::{Purpose, template};
use crate::plan::document::Document;
use crate::plan::template::{Rendered, TemplatePlan};
use crate::redis::resp::Commands;
use crate::row::{Row, Value};

#[derive(Debug)]
pub(crate) enum Text {
    Template(TemplatePlan),
    Document(Document),
}

pub(super) fn compile(context: Context<'_>, value: Option<&Template>) -> Result<Keyed<Text>, PlanError> {
    let (shape, output, strictness) = context;
    let body = match value {
        Some(value) => Text::Template(template(shape, output, value, Purpose::Content("value"))?),
        None => Text::Document(Document::compile(shape, output, strictness, None)?),
    };
    Keyed::compile(context, body)
}

impl Keyed<Text> {
    pub(super) fn share(&mut self, alike: &mut Alike) {
        if let Text::Document(document) = self.body() {
            document.share(&mut alike.members);
        }
    }
}

impl Body for Text {
    fn leaves_alone(&self) -> bool {
        false
    }

    #[inline]
    fn set(&self, row: &Row<'_>, ttl: Option<&[u8]>, workspace: &mut Workspace, out: &mut Commands) {
        let Workspace { key, scratch, body, .. } = workspace;
        body.clear();
        match self {
            Text::Template(value) => {
                // The value of a column that has none is no value.
                if value.render(row, scratch, body) == Rendered::WithNull && value.is_one_column() {
                    out.command(&[b"UNLINK", key]);
                    return;
                }
            }
            Text::Document(document) => document.write(row, body),
        }
        match ttl {
            None => out.command(&[b"SET", key, body]),
            Some(ttl) => out.command(&[b"SET", key, body, b"EX", ttl]),
        }
    }

    #[inline]
    fn is_partial(&self, row: &Row<'_>) -> bool {
        match self {
            Text::Template(value) => value.columns().any(|column| row.get(column) == Value::Unchanged),
            Text::Document(document) => document.is_partial(row),
        }
    }
}
