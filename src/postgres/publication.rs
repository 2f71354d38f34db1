//! The publication: which tables PostgreSQL sends.
//!
//! One that exists is used as it is: somebody with more rights may have made it for us. One that we
//! made ourselves carries a comment that says so, and only such a one is ever changed.

use std::collections::BTreeMap;

use super::catalog::Table;
use super::{Connection, Error, identifier, literal};

const OURS: &str = "made by redis-connect-postgres";

/// A publication as the catalog has it.
#[derive(Debug)]
pub(crate) struct Publication {
    /// The tables that it sends, partitioned ones by their root, and which of their columns (`None`:
    /// all).
    pub(crate) tables: BTreeMap<u32, Option<Vec<String>>>,
    /// What it is, and by what each table is in it: another text when it was made anew or changed, or
    /// the table taken out and put back.
    pub(crate) identity: String,
    pub(crate) members: BTreeMap<u32, String>,
    /// We made it, so we may change it.
    pub(crate) ours: bool,
    /// False: partitions are sent under their own names.
    pub(crate) via_root: bool,
    /// Why it does not send every change of its tables, and the statement that mends it.
    pub(crate) partial: Option<(String, String)>,
}

/// Newer servers have more columns; JSON has them where they are.
const PUBLICATION: &str = "\
    SELECT p.oid, pg_catalog.obj_description(p.oid, 'pg_publication'), \
           pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.->>) 'pubviaroot', \
           pg_catalog.pg_has_role(p.pubowner, 'USAGE'), \
           p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate, \
           (SELECT r.prrelid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_publication_rel r \
             WHERE r.prpubid = p.oid AND pg_catalog.to_jsonb(r) OPERATOR(pg_catalog.->>) 'prqual' IS NOT NULL \
             LIMIT 1), \
           pg_catalog.concat(p.oid, ':', p.xmin), pg_catalog.current_setting('server_version_num') \
      FROM pg_catalog.pg_publication p WHERE p.pubname = ";

/// The tables of a publication, up to PostgreSQL 15.
fn tables_by_view(name: &str) -> String {
    format!(
        "SELECT c.oid, pg_catalog.to_jsonb(t) OPERATOR(pg_catalog.->>) 'attnames' \
           FROM pg_catalog.pg_publication_tables t \
           JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname \
           JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename \
          WHERE t.pubname = {}",
        literal(name)
    )
}

/// The same from PostgreSQL 16 on, where the view locks each table, and waits for whoever has one locked: VACUUM
/// FULL, or an ALTER TABLE that is not committed.
fn tables_by_catalog(name: &str) -> String {
    format!(
        "WITH p AS (SELECT * FROM pg_catalog.pg_publication WHERE pubname = {}), \
              named AS (SELECT r.prrelid AS relid, r.prattrs::pg_catalog.text AS numbers \
                          FROM pg_catalog.pg_publication_rel r JOIN p ON p.oid = r.prpubid \
                         UNION ALL \
                        SELECT c.oid, NULL FROM pg_catalog.pg_publication_namespace s JOIN p ON p.oid = s.pnpubid \
                          JOIN pg_catalog.pg_class c ON c.relnamespace = s.pnnspid \
                         UNION ALL \
                        SELECT c.oid, NULL FROM p JOIN pg_catalog.pg_class c ON p.puballtables AND c.oid >= 16384) \
         SELECT c.oid, \
                CASE WHEN n.numbers IS NOT NULL \
                       OR pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.->>) 'pubgencols' = 's' \
                     THEN (SELECT pg_catalog.jsonb_agg(a.attname) FROM pg_catalog.pg_attribute a \
                            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                              AND (n.numbers IS NULL OR a.attnum::pg_catalog.text \
                                   OPERATOR(pg_catalog.=) ANY (pg_catalog.string_to_array(n.numbers, ' ')))) END \
           FROM named n JOIN pg_catalog.pg_class c ON c.oid = n.relid CROSS JOIN p \
          WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition \
            AND (c.relkind = 'r' OR p.pubviaroot)",
        literal(name)
    )
}

/// `None` when there is no publication of this name.
pub(crate) async fn find(connection: &mut Connection, name: &str) -> Result<Option<Publication>, Error> {
    let doing = |e: Error| e.doing(format!("looking at the publication {name}"));
    let rows = connection.query(&format!("{PUBLICATION}{}", literal(name))).await.map_err(doing)?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let column = |index: usize| row.get(index).and_then(Option::as_deref);
    let version = column(7).and_then(|version| version.parse().ok()).unwrap_or(0);
    let sql = if version < 160_000 { tables_by_view(name) } else { tables_by_catalog(name) };
    let mut tables = BTreeMap::new();
    for row in connection.query(&sql).await.map_err(doing)? {
        if let [Some(oid), columns] = row.as_slice()
            && let Ok(oid) = oid.parse()
        {
            tables.insert(oid, columns.as_ref().and_then(|names| serde_json::from_str(names).ok()));
        }
    }
    let identity = column(6).unwrap_or_default().to_owned();
    let sql = format!(
        "SELECT r.prrelid, pg_catalog.concat(r.oid, ':', r.xmin) FROM pg_catalog.pg_publication_rel r \
           JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = {}",
        literal(name)
    );
    let members = connection.query(&sql).await.map_err(doing)?.into_iter().filter_map(|row| {
        let [Some(oid), Some(member)] = row.as_slice() else { return None };
        Some((oid.parse().ok()?, format!("{identity} {member}")))
    });
    let members = members.collect();
    let quoted = identifier(name);
    let partial = match (column(4), column(5)) {
        (_, Some(table)) => Some((
            format!(
                "it has a row filter for {table}, so rows would be missed when they begin or cease to fit it"
            ),
            format!(
                "ALTER PUBLICATION {quoted} DROP TABLE {table}; ALTER PUBLICATION {quoted} ADD TABLE {table};"
            ),
        )),
        (Some("t"), None) => None,
        _ => Some((
            "it leaves out kinds of changes".to_owned(),
            format!("ALTER PUBLICATION {quoted} SET (publish = 'insert, update, delete, truncate');"),
        )),
    };
    Ok(Some(Publication {
        tables,
        identity: identity.clone(),
        members,
        ours: column(1) == Some(OURS) && column(3) == Some("t"),
        via_root: column(2) == Some("true"),
        partial,
    }))
}

fn list(tables: &[&Table]) -> String {
    let names: Vec<String> = tables.iter().map(|table| table.sql_rows()).collect();
    names.join(", ")
}

/// The statement that makes the publication.
pub(crate) fn create_statement(name: &str, tables: &[&Table], version: u32) -> String {
    let options = match version {
        180_000.. => " WITH (publish_via_partition_root = true, publish_generated_columns = stored)",
        130_000.. => " WITH (publish_via_partition_root = true)",
        // It can't publish a partitioned table by its root.
        _ => "",
    };
    format!("CREATE PUBLICATION {} FOR TABLE {}{options}", identifier(name), list(tables))
}

/// The statement that adds tables to it.
pub(crate) fn add_statement(name: &str, tables: &[&Table]) -> String {
    format!("ALTER PUBLICATION {} ADD TABLE {}", identifier(name), list(tables))
}

/// A standby takes no statement that changes something (SQLSTATE read_only_sql_transaction).
fn place_of(error: &Error) -> &'static str {
    if error.sqlstate() == Some("25006") { " on the primary" } else { "" }
}

/// Makes the publication and marks it as ours.
pub(crate) async fn create(
    connection: &mut Connection,
    name: &str,
    tables: &[&Table],
    version: u32,
) -> Result<(), Error> {
    let statement = create_statement(name, tables, version);
    let comment = format!("COMMENT ON PUBLICATION {} IS {}", identifier(name), literal(OURS));
    match connection.query(&format!("{statement}; {comment}")).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.sqlstate(), Some("42501" | "25006")) => Err(Error::Setting(format!(
            "{error}; let the tables' owner run{}: {statement};",
            place_of(&error),
            error = error.doing(format!("making the publication {name}"))
        ))),
        // Another instance was quicker.
        Err(error) if matches!(error.sqlstate(), Some("42710" | "23505")) => Ok(()),
        Err(error) => Err(error.doing(format!("making the publication {name}"))),
    }
}

/// Adds tables to a publication of ours.
pub(crate) async fn add(connection: &mut Connection, name: &str, tables: &[&Table]) -> Result<(), Error> {
    let statement = add_statement(name, tables);
    match connection.query(&statement).await {
        Ok(_) => Ok(()),
        // Already a member: another instance was quicker.
        Err(error) if error.sqlstate() == Some("42710") => Ok(()),
        Err(error) => Err(Error::Setting(format!(
            "{error}; let the tables' owner run{}: {statement};",
            place_of(&error),
            error = error.doing(format!("adding tables to the publication {name}"))
        ))),
    }
}
