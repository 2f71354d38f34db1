//! A row as a hash: HSET of the non-null columns, HDEL of the others, UNLINK on delete.
//!
//! Every write of a row says all that is known of it: a NULL column's field is deleted, whether or
//! not it was there, so that a row written over an older state of it ends right. Only an unchanged
//! TOASTed column is left alone.

use std::collections::HashSet;

use crate::config::Output;
use crate::plan::key::KeyPlan;
use crate::plan::shape::Shape;
use crate::plan::value::{Converter, Nulls};
use crate::plan::{PlanError, Strictness, compile_key, selected_columns};
use crate::redis::resp::{Commands, encoded};
use crate::row::{Change, Row, Value};

use super::{Again, NeedsRow, Workspace};

#[derive(Debug)]
struct Field {
    column: usize,
    /// Encoded as an argument.
    name: Vec<u8>,
    /// `None`: PostgreSQL's text as it is.
    converter: Option<Converter>,
}

#[derive(Debug)]
pub(crate) struct HashSink {
    key: KeyPlan,
    fields: Vec<Field>,
    /// Seconds, as text.
    ttl: Option<Vec<u8>>,
    nulls: Nulls,
    /// Two rows can have the same key inside a transaction (a DEFERRABLE primary key).
    deferrable: bool,
    /// Names of fields that the table no longer has, encoded; deleted while it is read again.
    retired: Vec<Vec<u8>>,
}

impl HashSink {
    pub(crate) fn compile(
        shape: &Shape,
        output: &Output,
        strictness: Strictness,
    ) -> Result<HashSink, PlanError> {
        let fields = selected_columns(shape, output, strictness)?
            .into_iter()
            .map(|(column, name)| {
                let converter = Converter::new(shape.columns[column].kind.clone(), output.values);
                let converter = (!converter.is_verbatim()).then_some(converter);
                Field { column, name: encoded(name.as_bytes()), converter }
            })
            .collect();
        Ok(HashSink {
            key: compile_key(shape, output)?,
            fields,
            ttl: output.ttl.map(|ttl| ttl.as_secs().to_string().into_bytes()),
            nulls: output.values.nulls,
            deferrable: shape.deferrable,
            retired: Vec::new(),
        })
    }

    pub(crate) fn key(&self) -> &KeyPlan {
        &self.key
    }

    pub(crate) fn restrict(&mut self, keep: &impl Fn(usize) -> bool) {
        self.fields.retain(|field| keep(field.column));
    }

    /// Fields of a former definition of the table are deleted with every row that is written.
    pub(crate) fn retire(&mut self, names: &[String]) {
        self.retired = names
            .iter()
            .map(|name| encoded(name.as_bytes()))
            .filter(|name| self.fields.iter().all(|field| field.name != *name))
            .collect();
    }

    #[inline]
    pub(super) fn write(
        &self,
        change: &Change<'_>,
        workspace: &mut Workspace,
        out: &mut Commands,
    ) -> Result<(), NeedsRow> {
        match change {
            Change::Whole { new } => {
                self.render(new, workspace)?;
                self.came(workspace);
                self.set(new, workspace, out);
            }
            Change::Update { old: None, new } => {
                self.render(new, workspace)?;
                self.set(new, workspace, out);
            }
            Change::Update { old: Some(old), new } => {
                self.render(new, workspace)?;
                self.render_old(old, workspace)?;
                if workspace.old_key != workspace.key {
                    self.move_key(new, workspace, out)?;
                }
                self.set(new, workspace, out);
            }
            Change::Delete { old } => {
                self.render_old(old, workspace)?;
                self.check_left(workspace)?;
                out.command(&[b"UNLINK", &workspace.old_key]);
            }
        }
        Ok(())
    }

    pub(super) fn write_again(&self, again: &Again<'_>, workspace: &mut Workspace, out: &mut Commands) {
        let moved = match (&again.old, &again.new) {
            (Some(old), Some(new)) => {
                self.render_old(old, workspace).is_ok()
                    && self.render(new, workspace).is_ok()
                    && workspace.old_key != workspace.key
            }
            (Some(old), None) => self.render_old(old, workspace).is_ok(),
            (None, _) => false,
        };
        if moved {
            out.command(&[b"UNLINK", &workspace.old_key]);
        }
        if again.new.is_some() {
            self.came(workspace);
        }
        let at_old_key = again.at_old_key.filter(|_| moved);
        for row in [at_old_key, again.at_new_key].into_iter().flatten() {
            if self.render(&row, workspace).is_ok() {
                self.set(&row, workspace, out);
            }
        }
    }

    #[inline]
    fn render(&self, row: &Row<'_>, workspace: &mut Workspace) -> Result<(), NeedsRow> {
        self.key.render(row, &mut workspace.scratch, &mut workspace.key).map_err(|_| NeedsRow)
    }

    fn render_old(&self, row: &Row<'_>, workspace: &mut Workspace) -> Result<(), NeedsRow> {
        self.key.render(row, &mut workspace.scratch, &mut workspace.old_key).map_err(|_| NeedsRow)
    }

    /// A row has come to `workspace.key`.
    #[inline]
    fn came(&self, workspace: &mut Workspace) {
        if self.deferrable
            && let Some(keys) = &mut workspace.came_to
        {
            keys.insert(workspace.key.clone());
        }
    }

    /// A row leaves `workspace.old_key`. If another has come to it in the same transaction, which of them
    /// leaves can't be told.
    #[inline]
    fn check_left(&self, workspace: &Workspace) -> Result<(), NeedsRow> {
        let came = |keys: &HashSet<Vec<u8>>| keys.contains(&workspace.old_key);
        if self.deferrable && workspace.came_to.as_ref().is_some_and(came) { Err(NeedsRow) } else { Ok(()) }
    }

    /// The row's key changed. Fields that the UPDATE did not send go along by RENAME.
    fn move_key(&self, new: &Row<'_>, workspace: &mut Workspace, out: &mut Commands) -> Result<(), NeedsRow> {
        let partial = self.fields.iter().any(|field| new.get(field.column) == Value::Unchanged);
        if partial && workspace.converging {
            return Err(NeedsRow);
        }
        self.check_left(workspace)?;
        self.came(workspace);
        let removal: &[&[u8]] = if partial {
            &[b"RENAME", &workspace.old_key, &workspace.key]
        } else {
            &[b"UNLINK", &workspace.old_key]
        };
        out.command(removal);
        Ok(())
    }

    #[inline]
    fn set(&self, row: &Row<'_>, workspace: &mut Workspace, out: &mut Commands) {
        let (mut values, mut nulls) = (0, 0);
        for field in &self.fields {
            match row.get(field.column) {
                Value::Text(_) => values += 1,
                Value::Null if self.nulls == Nulls::Empty => values += 1,
                Value::Null => nulls += 1,
                Value::Unchanged => {}
            }
        }
        let Workspace { key, scratch, .. } = workspace;
        if values > 0 {
            out.begin(2 + 2 * values);
            out.encoded_argument(b"$4\r\nHSET\r\n");
            out.argument(key);
            for field in &self.fields {
                match row.get(field.column) {
                    Value::Text(text) => {
                        out.encoded_argument(&field.name);
                        match &field.converter {
                            None => out.argument(text),
                            Some(converter) => out.argument(converter.text(text, scratch)),
                        }
                    }
                    Value::Null if self.nulls == Nulls::Empty => {
                        out.encoded_argument(&field.name);
                        out.argument(b"");
                    }
                    Value::Null | Value::Unchanged => {}
                }
            }
        }
        if nulls + self.retired.len() > 0 {
            out.begin(2 + nulls + self.retired.len());
            out.encoded_argument(b"$4\r\nHDEL\r\n");
            out.argument(key);
            for field in &self.fields {
                if nulls > 0 && row.get(field.column) == Value::Null {
                    out.encoded_argument(&field.name);
                }
            }
            for name in &self.retired {
                out.encoded_argument(name);
            }
        }
        if let Some(ttl) = &self.ttl
            && values > 0
        {
            out.command(&[b"EXPIRE", key, ttl]);
        }
    }
}
