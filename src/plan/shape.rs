//! What a table looks like: from the catalog before the snapshot, from Relation messages in the
//! stream. Two equal shapes have equal plans.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::search::Searched;
use super::value::Kind;
use crate::interned::Interned;
use crate::postgres::catalog::{Table, Types};
use crate::postgres::identifier;
use crate::postgres::pgoutput::Relation;

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ShapeColumn {
    pub(crate) name: String,
    pub(crate) type_oid: u32,
    pub(crate) type_modifier: i32,
    pub(crate) kind: Kind,
    pub(crate) searched: Searched,
    /// An UPDATE or DELETE carries its old value.
    pub(crate) identity: bool,
}

impl ShapeColumn {
    fn new(name: &str, (type_oid, type_modifier): (u32, i32), identity: bool, types: &Types) -> ShapeColumn {
        let kind = types.kind(type_oid).unwrap_or(Kind::Text);
        let searched = types.searched(type_oid, type_modifier);
        ShapeColumn { name: name.to_owned(), type_oid, type_modifier, kind, searched, identity }
    }
}

/// What a row means, whatever its table is called. Tables that have the same share it, see [`Shape::sharing`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Form {
    pub(crate) columns: Vec<ShapeColumn>,
    /// The columns of `{pk}`, in its order.
    pub(crate) key: Vec<usize>,
    /// The columns of other unique indexes.
    pub(crate) unique: Vec<Vec<usize>>,
    /// Two rows can have the same key inside a transaction.
    pub(crate) deferrable: bool,
    record: Arc<[ColumnRecord]>,
}

/// A table's definition, as far as a row's meaning depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) schema: String,
    pub(crate) table: String,
    form: Arc<Form>,
}

impl Deref for Shape {
    type Target = Form;

    fn deref(&self) -> &Form {
        &self.form
    }
}

/// What tables were found to have, see [`Shape::sharing`].
#[derive(Debug, Default)]
pub(crate) struct Known(Interned<Form>);

/// A column as the checkpoint remembers it, to notice a change while nobody looked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ColumnRecord(pub(crate) String, u32, i32);

/// `varchar(n)`: a change of n changes no value's spelling.
const VARCHAR: u32 = 1043;

impl Form {
    /// Without a key.
    pub(crate) fn of_columns(columns: impl Iterator<Item = ShapeColumn>) -> Form {
        let columns: Vec<ShapeColumn> = columns.collect();
        let record = columns.iter().map(|column| {
            let modifier = if column.type_oid == VARCHAR { -1 } else { column.type_modifier };
            ColumnRecord(column.name.clone(), column.type_oid, modifier)
        });
        let record = record.collect();
        Form { columns, record, key: Vec::new(), unique: Vec::new(), deferrable: false }
    }

    fn set_unique(&mut self, table: &Table) {
        self.unique = table.unique.iter().filter_map(|names| self.indexes_of(names)).collect();
        self.deferrable = table.is_deferrable();
    }

    fn indexes_of(&self, names: &[String]) -> Option<Vec<usize>> {
        names.iter().map(|name| self.index_of(name)).collect()
    }

    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    pub(crate) fn key_names(&self) -> Vec<String> {
        self.key.iter().filter_map(|&index| Some(self.columns.get(index)?.name.clone())).collect()
    }

    /// The columns that decide how rows are spelled, for comparison with what the rows in Redis were
    /// written as.
    pub(crate) fn record(&self) -> &Arc<[ColumnRecord]> {
        &self.record
    }
}

impl Shape {
    pub(crate) fn new(schema: &str, table: &str, form: Form) -> Shape {
        Shape { schema: schema.to_owned(), table: table.to_owned(), form: Arc::new(form) }
    }

    pub(crate) fn of_table(table: &Table, types: &Types) -> Shape {
        let columns = table.columns.iter().map(|column| {
            let identity = table.identity_has(&column.name);
            ShapeColumn::new(&column.name, (column.type_oid, column.type_modifier), identity, types)
        });
        let mut form = Form::of_columns(columns);
        form.key = form.indexes_of(&table.key()).unwrap_or_default();
        form.set_unique(table);
        Shape::new(&table.schema, &table.name, form)
    }

    /// From the stream, with what the catalog says of the table `now`: the order of the key's columns
    /// above all. If the key was another one when the row was written, its columns are taken in the
    /// table's order.
    pub(crate) fn of_relation(relation: &Relation, types: &Types, now: &Table) -> Shape {
        let columns = relation.columns.iter().map(|column| {
            ShapeColumn::new(&column.name, (column.type_oid, column.type_modifier), column.identity, types)
        });
        let mut form = Form::of_columns(columns);
        let identity: Vec<usize> =
            form.columns.iter().enumerate().filter(|(_, c)| c.identity).map(|(i, _)| i).collect();
        form.key = match form.indexes_of(&now.key()) {
            // REPLICA IDENTITY NOTHING: there will only be inserts.
            Some(found) if identity.is_empty() => found,
            Some(found) if found.iter().all(|index| identity.contains(index)) => {
                let whole = found.len() == identity.len() || identity.len() == form.columns.len();
                if whole { found } else { identity }
            }
            _ => identity,
        };
        form.set_unique(now);
        Shape::new(&relation.schema, &relation.table, form)
    }

    /// The same, with the form of an earlier table that has the same.
    pub(crate) fn sharing(mut self, known: &mut Known) -> Shape {
        self.form = known.0.one(self.form);
        self
    }

    /// `schema.table`.
    pub(crate) fn display_name(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }

    /// What `{table}` stands for: the schema is left out where it is `public`.
    pub(crate) fn template_name(&self) -> String {
        if self.schema == "public" { self.table.clone() } else { self.display_name() }
    }

    pub(crate) fn sql_name(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.table))
    }

    /// The columns, quoted for SQL.
    pub(crate) fn sql_columns(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| identifier(&column.name)).collect();
        names.join(", ")
    }
}
