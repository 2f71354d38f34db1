//! What the catalogs say of tables and types.
//!
//! Tables are read once at the start, all in a few queries however many there are, and again one by
//! one when the stream describes a table differently from what is known. All names are qualified,
//! so nobody's `search_path` decides what is meant.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::pgoutput::ReplicaIdentity;
use super::query::TextRow;
use super::{Connection, Error};
use crate::interned::Interned;
use crate::plan::search::Searched;
use crate::plan::value::Kind;

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) type_oid: u32,
    pub(crate) type_modifier: i32,
    /// Existing rows can have got a value for it when it was added (ADD COLUMN … DEFAULT, identity),
    /// which no change in the stream tells.
    pub(crate) filled_in: bool,
    /// Computed when the row is stored. PostgreSQL 18 sends it where the publication says so, those before never.
    pub(crate) generated: bool,
}

/// A table that can be captured: ordinary or partitioned, permanent, not itself a partition.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) partitioned: bool,
    pub(crate) identity: ReplicaIdentity,
    /// Without generated columns that no publication can send: virtual ones, and all before PostgreSQL 18.
    pub(crate) columns: Arc<[Column]>,
    /// Columns of the primary key, in the key's order.
    pub(crate) primary_key: Vec<String>,
    /// The primary key is checked at once; a deferrable one can't be a replica identity.
    pub(crate) key_is_immediate: bool,
    /// Columns of the REPLICA IDENTITY USING INDEX, in the index' order.
    pub(crate) identity_index: Vec<String>,
    /// Columns of each other index that lets no two rows have the same values.
    pub(crate) unique: Vec<Vec<String>>,
    pub(crate) selectable: bool,
    /// Some column is computed when it is read (PostgreSQL 18), which no replication can send.
    pub(crate) has_virtual: bool,
    /// The role may look into the table's schema, without which no right to the table helps.
    pub(crate) schema_usable: bool,
    /// A policy of row-level security applies to the role, so it would not see every row.
    pub(crate) hides_rows: bool,
    /// Names the files that hold the rows; another name when the table was rewritten since.
    pub(crate) files: String,
    /// Which version of the catalog's row each column has, by its number: `1:740,2:740`. Another one when the
    /// column was altered.
    pub(crate) columns_as_of: String,
    /// The planner's estimate of the number of rows; 0 where it has none.
    pub(crate) estimated_rows: u64,
}

impl Table {
    /// Columns that identify a row, in the order that a key is made of: what the replica identity
    /// sends with an UPDATE or DELETE. Empty when the table has none.
    pub(crate) fn key(&self) -> Vec<String> {
        match self.identity {
            ReplicaIdentity::Index if !self.identity_index.is_empty() => self.identity_index.clone(),
            ReplicaIdentity::Full if self.primary_key.is_empty() => {
                self.columns.iter().map(|column| column.name.clone()).collect()
            }
            _ => self.primary_key.clone(),
        }
    }

    /// Neither columns nor key have changed, whichever of them are published.
    pub(crate) fn is_defined_as(&self, other: &Table) -> bool {
        self.columns_as_of == other.columns_as_of
            && self.primary_key == other.primary_key
            && self.identity == other.identity
            && self.identity_index == other.identity_index
    }

    /// PostgreSQL accepts UPDATE and DELETE on this table when it is published.
    pub(crate) fn has_usable_identity(&self) -> bool {
        match self.identity {
            ReplicaIdentity::Full => !self.has_virtual,
            ReplicaIdentity::Index => !self.identity_index.is_empty(),
            ReplicaIdentity::Default => !self.primary_key.is_empty() && self.key_is_immediate,
            ReplicaIdentity::Nothing => false,
        }
    }

    /// Two rows can have the same key inside a transaction, and so swap their keys.
    pub(crate) fn is_deferrable(&self) -> bool {
        !self.primary_key.is_empty() && !self.key_is_immediate
    }

    /// The old row of an UPDATE or DELETE has this column's value.
    pub(crate) fn identity_has(&self, column: &str) -> bool {
        match self.identity {
            ReplicaIdentity::Full => true,
            ReplicaIdentity::Index => self.identity_index.iter().any(|name| name == column),
            ReplicaIdentity::Default => self.primary_key.iter().any(|name| name == column),
            ReplicaIdentity::Nothing => false,
        }
    }

    /// `schema.table`, quoted for SQL.
    pub(crate) fn sql_name(&self) -> String {
        format!("{}.{}", super::identifier(&self.schema), super::identifier(&self.name))
    }

    /// The table's own rows, for FROM and FOR TABLE: ONLY keeps the children of ordinary inheritance
    /// out, which are tables of their own.
    pub(crate) fn sql_rows(&self) -> String {
        let name = self.sql_name();
        if self.partitioned { name } else { format!("ONLY {name}") }
    }

    /// `schema.table`, as configuration and messages have it.
    pub(crate) fn display_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

const TABLES: &str = "\
    SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident, \
           greatest(c.reltuples, 0)::pg_catalog.int8, \
           pg_catalog.has_table_privilege(c.oid, 'SELECT'), pg_catalog.has_schema_privilege(n.oid, 'USAGE'), \
           pg_catalog.row_security_active(c.oid), \
           CASE c.relkind WHEN 'p' THEN \
             (SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.pg_relation_filenode(t.relid)::pg_catalog.text, \
                                                          ',' ORDER BY t.relid)) \
                FROM pg_catalog.pg_partition_tree(c.oid) t WHERE t.isleaf) \
           ELSE pg_catalog.pg_relation_filenode(c.oid)::pg_catalog.text END, \
           EXISTS (SELECT FROM pg_catalog.pg_attribute a \
                    WHERE a.attrelid = c.oid AND a.attgenerated = 'v' AND NOT a.attisdropped), \
           (SELECT pg_catalog.string_agg(pg_catalog.concat(a.attnum, ':', a.xmin), ',' ORDER BY a.attnum) \
              FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) \
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p' \
       AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp_)'";

const COLUMNS: &str = "\
    SELECT a.attrelid, a.attname, a.atttypid, a.atttypmod, \
           a.atthasmissing OR a.atthasdef OR a.attidentity <> '', a.attgenerated <> '' \
      FROM pg_catalog.pg_attribute a \
      JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE a.attnum > 0 AND NOT a.attisdropped AND (a.attgenerated = '' OR a.attgenerated = 's' \
             AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 180000) \
       AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p' \
       AND n.nspname NOT IN ('pg_catalog', 'information_schema')";

const KEYS: &str = "\
    SELECT i.indrelid, i.indisprimary, i.indisreplident, i.indimmediate, a.attname, i.indexrelid \
      FROM pg_catalog.pg_index i \
     CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k(attnum, place) \
      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
      JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
     WHERE i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indisvalid \
       AND k.place <= i.indnkeyatts \
       AND c.relkind IN ('r', 'p')";

/// All tables that could be captured, by their OID.
pub(crate) async fn tables(connection: &mut Connection) -> Result<BTreeMap<u32, Table>, Error> {
    read_tables(connection, None).await
}

/// One table; `None` when it does not exist any more.
pub(crate) async fn table(connection: &mut Connection, oid: u32) -> Result<Option<Table>, Error> {
    Ok(read_tables(connection, Some(oid)).await?.remove(&oid))
}

async fn read_tables(connection: &mut Connection, only: Option<u32>) -> Result<BTreeMap<u32, Table>, Error> {
    let narrowed = |sql: &str, column: &str| match only {
        Some(oid) => format!("{sql} AND {column} = {oid}"),
        None => sql.to_owned(),
    };
    let doing = |e: Error| e.doing("reading the catalog");
    let mut tables = BTreeMap::new();
    let add = |row: TextRow| {
        if let Some(table) = table_of(row) {
            tables.insert(table.oid, table);
        }
    };
    connection.query_each(&narrowed(TABLES, "c.oid"), add).await.map_err(doing)?;
    let sql = narrowed(COLUMNS, "a.attrelid") + " ORDER BY a.attrelid, a.attnum";
    let mut lists = Lists::default();
    let add = |row: TextRow| {
        let [Some(oid), Some(name), Some(type_oid), Some(modifier), Some(missing), Some(generated)] =
            row.as_slice()
        else {
            return;
        };
        let column = Column {
            name: name.clone(),
            type_oid: type_oid.parse().unwrap_or(0),
            type_modifier: modifier.parse().unwrap_or(-1),
            filled_in: missing == "t",
            generated: generated == "t",
        };
        lists.add(&mut tables, oid.parse().unwrap_or(0), column);
    };
    connection.query_each(&sql, add).await.map_err(doing)?;
    lists.finish(&mut tables);
    let sql = narrowed(KEYS, "i.indrelid") + " ORDER BY i.indrelid, i.indexrelid, k.place";
    let mut last = None;
    let add = |row: TextRow| {
        let [Some(oid), Some(primary), Some(identity), Some(immediate), Some(name), index] = row.as_slice()
        else {
            return;
        };
        if let Some(table) = oid.parse().ok().and_then(|oid: u32| tables.get_mut(&oid)) {
            if primary == "t" {
                table.primary_key.push(name.clone());
                table.key_is_immediate = immediate == "t";
            }
            if identity == "t" {
                table.identity_index.push(name.clone());
            }
            if last != *index {
                table.unique.push(Vec::new());
                last.clone_from(index);
            }
            if let Some(columns) = table.unique.last_mut() {
                columns.push(name.clone());
            }
        }
    };
    connection.query_each(&sql, add).await.map_err(doing)?;
    for table in tables.values_mut() {
        table.primary_key.shrink_to_fit();
        table.identity_index.shrink_to_fit();
        table.unique.iter_mut().for_each(Vec::shrink_to_fit);
        table.unique.shrink_to_fit();
    }
    Ok(tables)
}

/// Columns come table after table.
#[derive(Debug, Default)]
struct Lists {
    of: u32,
    columns: Vec<Column>,
    /// Of the tables before.
    known: Interned<[Column]>,
}

impl Lists {
    fn add(&mut self, tables: &mut BTreeMap<u32, Table>, oid: u32, column: Column) {
        if self.of != oid {
            self.finish(tables);
            self.of = oid;
        }
        self.columns.push(column);
    }

    fn finish(&mut self, tables: &mut BTreeMap<u32, Table>) {
        let columns = std::mem::take(&mut self.columns);
        if let Some(table) = tables.get_mut(&self.of) {
            table.columns = self.known.one(columns);
        }
    }
}

fn table_of(row: TextRow) -> Option<Table> {
    let [
        Some(oid),
        Some(schema),
        Some(name),
        Some(kind),
        Some(identity),
        Some(rows),
        Some(select),
        Some(usage),
        Some(hides_rows),
        files,
        has_virtual,
        columns_as_of,
    ] = <[Option<String>; 12]>::try_from(row).ok()?
    else {
        return None;
    };
    Some(Table {
        oid: oid.parse().ok()?,
        schema,
        name,
        partitioned: kind == "p",
        identity: ReplicaIdentity::parse(*identity.as_bytes().first()?)?,
        columns: Arc::default(),
        primary_key: Vec::new(),
        key_is_immediate: true,
        identity_index: Vec::new(),
        unique: Vec::new(),
        selectable: select == "t" && usage == "t",
        schema_usable: usage == "t",
        hides_rows: hides_rows == "t",
        has_virtual: has_virtual.as_deref() == Some("t"),
        files: files.unwrap_or_default(),
        columns_as_of: columns_as_of.unwrap_or_default(),
        estimated_rows: rows.parse().unwrap_or(0),
    })
}

/// What is known of types: their kinds, by OID.
#[derive(Debug, Default)]
pub(crate) struct Types {
    known: HashMap<u32, Kind>,
    searched: HashMap<u32, Searched>,
}

#[derive(Debug)]
struct TypeRow {
    name: String,
    /// The extension that the type belongs to: a name alone can be anybody's.
    extension: String,
    base: u32,
    base_modifier: i32,
    element: u32,
    delimiter: u8,
    is_enum: bool,
}

/// Domains over arrays over domains … end somewhere; a catalog that says otherwise is not followed.
const DEEPEST: usize = 16;

impl Types {
    pub(crate) fn kind(&self, oid: u32) -> Option<Kind> {
        Kind::builtin(oid).or_else(|| self.known.get(&oid).cloned())
    }

    /// How a column of this type is looked for in a search index.
    pub(crate) fn searched(&self, oid: u32, modifier: i32) -> Searched {
        Searched::builtin(oid, modifier)
            .or_else(|| self.searched.get(&oid).map(|searched| searched.with_modifier(modifier)))
            .unwrap_or(Searched::Not)
    }

    /// Reads the types among `oids` that are not known, with the types that they are made of.
    pub(crate) async fn learn(
        &mut self,
        connection: &mut Connection,
        oids: impl IntoIterator<Item = u32>,
    ) -> Result<(), Error> {
        let mut rows: HashMap<u32, TypeRow> = HashMap::new();
        let asked: Vec<u32> = oids.into_iter().filter(|&oid| self.kind(oid).is_none()).collect();
        let mut wanted = asked.clone();
        for _ in 0..DEEPEST {
            wanted.sort_unstable();
            wanted.dedup();
            wanted.retain(|oid| *oid != 0 && !rows.contains_key(oid) && self.kind(*oid).is_none());
            if wanted.is_empty() {
                break;
            }
            let list: Vec<String> = wanted.iter().map(u32::to_string).collect();
            let sql = format!(
                "SELECT t.oid, t.typname, CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE 0 END, \
                        CASE t.typoutput::pg_catalog.oid WHEN 751 THEN t.typelem ELSE 0 END, t.typdelim, \
                        (SELECT e.extname FROM pg_catalog.pg_depend d \
                           JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
                          WHERE d.classid = 1247 AND d.objid = t.oid AND d.deptype = 'e' AND t.typtype = 'b'), \
                        t.typtypmod, t.typtype = 'e' \
                   FROM pg_catalog.pg_type t WHERE t.oid IN ({})",
                list.join(",")
            );
            wanted.clear();
            for row in connection.query(&sql).await.map_err(|e| e.doing("reading types from the catalog"))? {
                let [
                    Some(oid),
                    Some(name),
                    Some(base),
                    Some(element),
                    Some(delimiter),
                    extension,
                    modifier,
                    is_enum,
                ] = row.as_slice()
                else {
                    continue;
                };
                let found = TypeRow {
                    name: name.clone(),
                    extension: extension.clone().unwrap_or_default(),
                    base: base.parse().unwrap_or(0),
                    base_modifier: modifier.as_ref().and_then(|text| text.parse().ok()).unwrap_or(-1),
                    is_enum: is_enum.as_deref() == Some("t"),
                    element: element.parse().unwrap_or(0),
                    delimiter: delimiter.bytes().next().unwrap_or(b','),
                };
                wanted.extend([found.base, found.element]);
                rows.insert(oid.parse().unwrap_or(0), found);
            }
        }
        for oid in asked {
            let kind = self.resolve(oid, &rows, DEEPEST);
            self.searched.insert(oid, self.resolve_searched((oid, -1), &rows, DEEPEST));
            self.known.insert(oid, kind);
        }
        Ok(())
    }

    fn resolve(&self, oid: u32, rows: &HashMap<u32, TypeRow>, depth: usize) -> Kind {
        if let Some(kind) = self.kind(oid) {
            return kind;
        }
        match rows.get(&oid) {
            Some(row) if depth > 0 && row.base != 0 => self.resolve(row.base, rows, depth - 1),
            Some(row) if depth > 0 && row.element != 0 => Kind::Array {
                element: Box::new(self.resolve(row.element, rows, depth - 1)),
                delimiter: row.delimiter,
            },
            Some(row) => match (row.extension.as_str(), row.name.as_str()) {
                ("hstore", "hstore") => Kind::Hstore,
                ("vector", "vector" | "halfvec") => Kind::Vector,
                _ => Kind::Text,
            },
            None => Kind::Text,
        }
    }
    fn resolve_searched(
        &self,
        (oid, modifier): (u32, i32),
        rows: &HashMap<u32, TypeRow>,
        depth: usize,
    ) -> Searched {
        if let Some(searched) = Searched::builtin(oid, modifier) {
            return searched;
        }
        match rows.get(&oid) {
            Some(row) if depth > 0 && row.base != 0 => {
                self.resolve_searched((row.base, row.base_modifier), rows, depth - 1)
            }
            Some(row) if row.is_enum => Searched::Tag,
            Some(row) => match (row.extension.as_str(), row.name.as_str()) {
                ("citext", "citext") => Searched::Text,
                ("ltree", "ltree") => Searched::Tag,
                ("vector", "vector" | "halfvec") => Searched::Vector(u32::try_from(modifier).ok()),
                _ => Searched::Not,
            },
            None => self.searched.get(&oid).copied().unwrap_or(Searched::Not),
        }
    }
}
