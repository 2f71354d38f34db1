//! Which tables are captured, as what: the configuration against the catalog and the publication.

use std::collections::{BTreeMap, BTreeSet};

use super::territory::Territories;
use crate::config::{Config, Nulls, Output, Structure, nearest};
use crate::error::Error;
use crate::plan::shape::Shape;
use crate::plan::{Plan, Strictness, fingerprint};
use crate::postgres::catalog::{self, Table, Types};
use crate::postgres::pgoutput::ReplicaIdentity;
use crate::postgres::publication::{self, Publication};
use crate::postgres::{Connection, identifier};

/// A table that is captured.
#[derive(Debug, Clone)]
pub(crate) struct Captured {
    pub(crate) table: Table,
    pub(crate) shape: Shape,
    pub(crate) outputs: Vec<Output>,
    /// See [`fingerprint`].
    pub(crate) fingerprint: String,
    /// By what the publication sends it; another text when it may not have done so all the time.
    pub(crate) published: String,
    strictness: Strictness,
}

impl Captured {
    /// `schema.table`.
    pub(crate) fn name(&self) -> String {
        self.table.display_name()
    }

    pub(crate) fn plan(&self, file: &str) -> Result<Plan, Error> {
        self.compile(file, self.strictness)
    }

    /// A column that is NULL is written all the same, so that a new column changes every row.
    pub(crate) fn writes_nulls(&self) -> bool {
        self.outputs.iter().any(|output| {
            let has_row = matches!(
                output.structure,
                Structure::Hash { .. } | Structure::Json { .. } | Structure::String { value: None }
            );
            has_row && output.values.nulls == Nulls::Empty
        })
    }

    /// The plan for a definition that came while the table was streamed.
    pub(crate) fn streaming_plan(&self, file: &str) -> Result<Plan, Error> {
        self.compile(file, Strictness::Streaming)
    }

    fn compile(&self, file: &str, strictness: Strictness) -> Result<Plan, Error> {
        Plan::compile(self.shape.clone(), &self.outputs, strictness)
            .map_err(|source| Error::Plan { file: file.to_owned(), source: Box::new(source) })
    }
}

/// A table that a rule asks for.
#[derive(Debug)]
struct Wanted {
    table: Table,
    outputs: Vec<Output>,
    /// Its user wrote its name, not a pattern.
    named: bool,
}

/// What may be done about the publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publishing {
    /// It is made if there is none, and completed if it is ours.
    Allowed,
    /// It is only looked at.
    Forbidden,
}

/// Chooses the tables, sees to the publication, and compiles every plan once, so that what does not
/// fit is found before anything is written.
pub(crate) async fn capture(
    connection: &mut Connection,
    types: &mut Types,
    (config, file): (&Config, &str),
    (publishing, strictness): (Publishing, Strictness),
) -> Result<BTreeMap<u32, Captured>, Error> {
    let tables = catalog::tables(connection).await?;
    check_names(config, &tables, file)?;
    let version = connection.server_version().await?;
    let wanted = choose(config, tables);
    let wanted = if version < 130_000 { without_roots(wanted)? } else { wanted };
    let mut captured = BTreeMap::new();
    let mut by_name = BTreeSet::new();
    for Wanted { table, outputs, named } in wanted {
        types.learn(connection, table.columns.iter().map(|column| column.type_oid)).await?;
        let shape = Shape::of_table(&table, types);
        let published = String::new();
        let one =
            Captured { shape, fingerprint: fingerprint(&outputs), table, outputs, published, strictness };
        one.plan(file)?;
        if named {
            by_name.insert(one.table.oid);
        }
        captured.insert(one.table.oid, one);
    }
    publish(connection, (config, version), &mut captured, &by_name, publishing).await?;
    // A publication with a list of columns sends less than the table has.
    let mut territories = Territories::default();
    for one in captured.values_mut() {
        one.shape = Shape::of_table(&one.table, types);
        let plan = one.plan(file)?;
        territories.claim(one, &plan, file)?;
        for output in plan.shared_members(&one.outputs) {
            tracing::warn!(
                table = one.name(),
                key = %output.key,
                "several rows can be one member of this {}: when one of them goes, the member goes; add a column of \
                 the table's key to `member` or `key`",
                output.structure.kind().name()
            );
        }
    }
    if captured.is_empty() {
        return Err(Error::Setting(format!(
            "no table to capture: none that the role can read has a primary key or a replica identity{}; \
             GRANT SELECT on them, or name them under `tables`",
            if config.tables.is_empty() { "" } else { " and fits a pattern under `tables`" }
        )));
    }
    Ok(captured)
}

/// A table that was named and does not exist is a mistake; so is one that may not be read.
fn check_names(config: &Config, tables: &BTreeMap<u32, Table>, file: &str) -> Result<(), Error> {
    for rule in &config.tables {
        let Some((schema, name)) = rule.pattern.exact() else { continue };
        let place = if rule.line == 0 { "--tables".to_owned() } else { format!("{file}:{}", rule.line) };
        let Some(table) = tables.values().find(|table| table.schema == schema && table.name == name) else {
            let names: Vec<String> = tables.values().map(Table::display_name).collect();
            let typed = format!("{schema}.{name}");
            let hint = match nearest(&typed, names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "it must be an ordinary or partitioned table of this database (a partition is captured by \
                         its root)"
                    .to_owned(),
            };
            return Err(Error::Usage(format!(
                "{place}: there is no table {typed} in {}; {hint}",
                config.source.url.dbname
            )));
        };
        if !table.selectable {
            return Err(Error::Setting(format!(
                "{place}: the role {} may not read {typed}: GRANT SELECT ON {} TO {}",
                config.source.url.user,
                table.sql_name(),
                identifier(&config.source.url.user),
                typed = table.display_name(),
            )));
        }
    }
    Ok(())
}

fn choose(config: &Config, tables: BTreeMap<u32, Table>) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for table in tables.into_values() {
        if !table.selectable {
            continue;
        }
        if config.tables.is_empty() {
            if table.has_usable_identity() {
                let outputs = vec![config.plain.clone()];
                wanted.push(Wanted { table, outputs, named: false });
            } else {
                left_out(&table);
            }
            continue;
        }
        let Some(rule) = config.tables.iter().find(|rule| rule.pattern.matches(&table.schema, &table.name))
        else {
            continue;
        };
        let named = rule.pattern.exact().is_some();
        // Published without an identity, PostgreSQL would reject the application's own UPDATEs.
        if table.has_usable_identity() || named {
            wanted.push(Wanted { table, outputs: rule.outputs.clone(), named });
        } else {
            left_out(&table);
        }
    }
    wanted
}

/// PostgreSQL 12 can't publish a partitioned table, only its partitions under their own names.
fn without_roots(wanted: Vec<Wanted>) -> Result<Vec<Wanted>, Error> {
    let (roots, others): (Vec<Wanted>, Vec<Wanted>) =
        wanted.into_iter().partition(|wanted| wanted.table.partitioned);
    for root in roots {
        let name = root.table.display_name();
        if root.named {
            return Err(Error::Setting(format!(
                "{name} is partitioned, and PostgreSQL 12 can't publish a partitioned table: upgrade to 13 or later, \
                 or take {name} out of `tables`"
            )));
        }
        tracing::warn!(
            table = name,
            "not captured: it is partitioned, and PostgreSQL 12 can't publish a partitioned table; upgrade to 13 or \
             later"
        );
    }
    Ok(others)
}

fn left_out(table: &Table) {
    if table.identity == ReplicaIdentity::Full {
        tracing::warn!(
            table = table.display_name(),
            "not captured: it has REPLICA IDENTITY FULL and a virtual generated column, which PostgreSQL can't send"
        );
        return;
    }
    tracing::warn!(
        table = table.display_name(),
        "not captured: it has no primary key and no replica identity; ALTER TABLE {} ADD PRIMARY KEY (…), or \
         REPLICA IDENTITY FULL",
        table.sql_name()
    );
}

async fn publish(
    connection: &mut Connection,
    (config, version): (&Config, u32),
    captured: &mut BTreeMap<u32, Captured>,
    by_name: &BTreeSet<u32>,
    publishing: Publishing,
) -> Result<(), Error> {
    let name = &config.source.publication;
    let mut there = publication::find(connection, name).await?;
    if there.is_none() && !captured.is_empty() && publishing == Publishing::Allowed {
        let tables = publishable(captured.values().map(|one| &one.table).collect())?;
        publication::create(connection, name, &tables, version).await?;
        tracing::info!(publication = name, tables = tables.len(), "publication made");
        there = publication::find(connection, name).await?;
    }
    let Some(found) = there else {
        for one in captured.values_mut() {
            one.table.columns.retain(|column| !column.generated);
        }
        return Ok(());
    };
    if let Some(partial) = found.partial {
        return Err(Error::Setting(format!("the publication {name} does not send every change: {partial}")));
    }
    let quoted = identifier(name);
    if let Some(root) = captured.values().find(|one| one.table.partitioned && !found.via_root) {
        return Err(Error::Setting(format!(
            "the publication {name} sends partitions under their own names, so {} can't be captured: ALTER \
             PUBLICATION {quoted} SET (publish_via_partition_root = true)",
            root.name(),
        )));
    }
    let missing: Vec<&Table> = captured
        .values()
        .map(|one| &one.table)
        .filter(|table| !found.tables.contains_key(&table.oid))
        .collect();
    if !missing.is_empty() {
        let statement = publication::add_statement(name, &missing);
        if found.ours && publishing == Publishing::Allowed {
            publication::add(connection, name, &publishable(missing)?).await?;
            tracing::info!(publication = name, "tables added to the publication");
            if let Some(found) = publication::find(connection, name).await? {
                keep_what_is_sent(captured, &found);
            }
            return Ok(());
        }
        if let Some(named) = missing.iter().find(|table| by_name.contains(&table.oid) && !found.ours) {
            return Err(Error::Setting(format!(
                "the publication {name} does not send {}; let its owner run: {statement};",
                named.display_name()
            )));
        }
        tracing::warn!(
            publication = name,
            "tables that the publication does not send are not captured; {statement};"
        );
    }
    keep_what_is_sent(captured, &found);
    Ok(())
}

/// Leaves out tables and columns that the publication does not send, and notes by what each table is sent. A
/// publication of all tables, or of a schema's, has no entry for one.
fn keep_what_is_sent(captured: &mut BTreeMap<u32, Captured>, publication: &Publication) {
    captured.retain(|oid, one| {
        let Some(columns) = publication.tables.get(oid) else { return false };
        one.table.columns.retain(|column| match columns {
            Some(columns) => columns.contains(&column.name),
            None => !column.generated,
        });
        one.published = publication.members.get(oid).unwrap_or(&publication.identity).clone();
        true
    });
}

/// Published without an identity, a table's own UPDATE and DELETE would fail in the application.
fn publishable(tables: Vec<&Table>) -> Result<Vec<&Table>, Error> {
    match tables.iter().find(|table| !table.has_usable_identity()) {
        None => Ok(tables),
        Some(table) if table.identity == ReplicaIdentity::Full => Err(Error::Setting(format!(
            "{} has REPLICA IDENTITY FULL and a virtual generated column, which PostgreSQL can't send: if it were \
             published, PostgreSQL would reject every UPDATE and DELETE on it; ALTER TABLE {} REPLICA IDENTITY \
             DEFAULT with a primary key, or make the column STORED",
            table.display_name(),
            table.sql_name()
        ))),
        Some(table) => Err(Error::Setting(format!(
            "{} has no usable replica identity: if it were published, PostgreSQL would reject every UPDATE and \
             DELETE on it; ALTER TABLE {} REPLICA IDENTITY FULL, or give it a primary key that is not deferrable",
            table.display_name(),
            table.sql_name()
        ))),
    }
}
