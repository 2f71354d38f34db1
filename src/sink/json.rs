//! A row as a JSON document: JSON.SET of the whole, or of the paths that are known.
//!
//! A document with a member that no path leads to is always written as a whole. JSON.MERGE would not do for paths: it merges objects that should be replaced, and deletes what
//! is set to null.

use super::keyed::{Body, Keyed};
use super::{Alike, Context, Workspace};
use crate::plan::PlanError;
use crate::plan::document::Document;
use crate::plan::search::SearchIndex;
use crate::plan::value::Nulls;
use crate::redis::resp::Commands;
use crate::row::{Row, Value};

#[derive(Debug)]
pub(crate) struct Json {
    document: Document,
    /// Documents in Redis can have members that are not known here, which must stay.
    restricted: bool,
}

pub(super) fn compile(context: Context<'_>) -> Result<Keyed<Json>, PlanError> {
    let (shape, output, strictness) = context;
    let index = match output.structure.index() {
        Some(_) => Some(SearchIndex::compile(shape, output, strictness)?),
        None => None,
    };
    let document = Document::compile(shape, output, strictness, index.as_ref())?;
    Keyed::compile(context, Json { document, restricted: false })
}

impl Keyed<Json> {
    pub(super) fn restrict(&mut self, keep: &impl Fn(usize) -> bool) {
        let body = self.body();
        let members = &mut body.document.members;
        let before = members.len();
        *members = members.iter().filter(|member| keep(member.column)).cloned().collect();
        body.restricted |= members.len() < before;
    }

    pub(super) fn share(&mut self, alike: &mut Alike) {
        self.body().document.share(&mut alike.members);
    }
}

impl Body for Json {
    fn leaves_alone(&self) -> bool {
        self.document.is_addressable()
    }

    #[inline]
    fn set(&self, row: &Row<'_>, ttl: Option<&[u8]>, workspace: &mut Workspace, out: &mut Commands) {
        let converging = workspace.converging;
        let Workspace { key, body, .. } = workspace;
        let partial = self.restricted || self.is_partial(row);
        if !partial {
            body.clear();
            self.document.write(row, body);
            out.begin(4);
            out.encoded_argument(b"$8\r\nJSON.SET\r\n");
            out.argument(key);
            out.encoded_argument(b"$1\r\n$\r\n");
            out.argument(body);
        } else {
            if self.restricted || converging {
                // The stream is behind the rows here: the document may be gone already.
                out.command(&[b"JSON.SET", key, b"$", b"{}", b"NX"]);
            }
            for member in &*self.document.members {
                let Some(path) = &member.path else { continue };
                match row.get(member.column) {
                    Value::Unchanged => {}
                    Value::Null if self.document.nulls == Nulls::Omit => {
                        out.command(&[b"JSON.DEL", key, path]);
                    }
                    value => {
                        body.clear();
                        member.value(value, body);
                        out.command(&[b"JSON.SET", key, path, body]);
                    }
                }
            }
        }
        if let Some(ttl) = ttl {
            out.command(&[b"EXPIRE", key, ttl]);
        }
    }

    #[inline]
    fn is_partial(&self, row: &Row<'_>) -> bool {
        self.document.is_partial(row)
    }
}
