//! What a table looks like: from the catalog before the snapshot, from Relation messages in the
//! stream. Two equal shapes have equal plans.

use serde::{Deserialize, Serialize};

use super::search::Searched;
use super::value::Kind;
use crate::postgres::catalog::{Table, Types};
use crate::postgres::identifier;
use crate::postgres::pgoutput::Relation;

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShapeColumn {
    pub(crate) name: String,
    pub(crate) type_oid: u32,
    pub(crate) type_modifier: i32,
    pub(crate) kind: Kind,
    pub(crate) searched: Searched,
    /// An UPDATE or DELETE carries its old value.
    pub(crate) identity: bool,
}

/// A table's definition, as far as a row's meaning depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) columns: Vec<ShapeColumn>,
    /// The columns of `{pk}`, in its order.
    pub(crate) key: Vec<usize>,
    /// The columns of other unique indexes.
    pub(crate) unique: Vec<Vec<usize>>,
    /// Two rows can have the same key inside a transaction.
    pub(crate) deferrable: bool,
}

/// A column as the checkpoint remembers it, to notice a change while nobody looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ColumnRecord(pub(crate) String, u32, i32);

/// `varchar(n)`: a change of n changes no value's spelling.
const VARCHAR: u32 = 1043;

impl Shape {
    pub(crate) fn of_table(table: &Table, types: &Types) -> Shape {
        let columns: Vec<ShapeColumn> = table
            .columns
            .iter()
            .map(|column| ShapeColumn {
                name: column.name.clone(),
                type_oid: column.type_oid,
                type_modifier: column.type_modifier,
                kind: types.kind(column.type_oid).unwrap_or(Kind::Text),
                searched: types.searched(column.type_oid, column.type_modifier),
                identity: table.identity_has(&column.name),
            })
            .collect();
        let mut shape = Shape {
            schema: table.schema.clone(),
            table: table.name.clone(),
            columns,
            key: Vec::new(),
            unique: Vec::new(),
            deferrable: table.is_deferrable(),
        };
        shape.key = shape.indexes_of(&table.key()).unwrap_or_default();
        shape.unique = table.unique.iter().filter_map(|names| shape.indexes_of(names)).collect();
        shape
    }

    /// From the stream, with what the catalog says of the table `now`: the order of the key's columns
    /// above all. If the key was another one when the row was written, its columns are taken in the
    /// table's order.
    pub(crate) fn of_relation(relation: &Relation, types: &Types, now: &Table) -> Shape {
        let columns: Vec<ShapeColumn> = relation
            .columns
            .iter()
            .map(|column| ShapeColumn {
                name: column.name.clone(),
                type_oid: column.type_oid,
                type_modifier: column.type_modifier,
                kind: types.kind(column.type_oid).unwrap_or(Kind::Text),
                searched: types.searched(column.type_oid, column.type_modifier),
                identity: column.identity,
            })
            .collect();
        let mut shape = Shape {
            schema: relation.schema.clone(),
            table: relation.table.clone(),
            columns,
            key: Vec::new(),
            unique: Vec::new(),
            deferrable: now.is_deferrable(),
        };
        let identity: Vec<usize> =
            shape.columns.iter().enumerate().filter(|(_, c)| c.identity).map(|(i, _)| i).collect();
        shape.key = match shape.indexes_of(&now.key()) {
            // REPLICA IDENTITY NOTHING: there will only be inserts.
            Some(found) if identity.is_empty() => found,
            Some(found) if found.iter().all(|index| identity.contains(index)) => {
                let whole = found.len() == identity.len() || identity.len() == shape.columns.len();
                if whole { found } else { identity }
            }
            _ => identity,
        };
        shape.unique = now.unique.iter().filter_map(|names| shape.indexes_of(names)).collect();
        shape
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

    /// The columns that decide how rows are spelled, for comparison with what the rows in Redis were
    /// written as.
    pub(crate) fn record(&self) -> Vec<ColumnRecord> {
        self.columns
            .iter()
            .map(|column| {
                let modifier = if column.type_oid == VARCHAR { -1 } else { column.type_modifier };
                ColumnRecord(column.name.clone(), column.type_oid, modifier)
            })
            .collect()
    }
}
