//! Which tables are captured, as what: the configuration against the catalog and the publication.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Config, Output, OutputKind, nearest};
use crate::error::Error;
use crate::plan::shape::Shape;
use crate::plan::{Plan, Strictness, fingerprint};
use crate::postgres::catalog::{self, Table, Types};
use crate::postgres::{Connection, publication};

/// A table that is captured.
#[derive(Debug, Clone)]
pub(crate) struct Captured {
    pub(crate) table: Table,
    pub(crate) shape: Shape,
    pub(crate) outputs: Vec<Output>,
    /// See [`fingerprint`].
    pub(crate) fingerprint: String,
}

impl Captured {
    /// `schema.table`.
    pub(crate) fn name(&self) -> String {
        self.table.display_name()
    }

    pub(crate) fn plan(&self, file: &str) -> Result<Plan, Error> {
        Plan::compile(self.shape.clone(), &self.outputs, Strictness::Start)
            .map_err(|source| Error::Plan { file: file.to_owned(), source: Box::new(source) })
    }
}

/// A table that a rule asks for.
#[derive(Debug)]
struct Wanted {
    table: Table,
    outputs: Vec<Output>,
    /// Its user wrote its name, not a pattern.
    by_name: bool,
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
    publishing: Publishing,
) -> Result<BTreeMap<u32, Captured>, Error> {
    let tables = catalog::tables(connection).await?;
    check_names(config, &tables, file)?;
    let mut wanted = choose(config, tables);
    publish(connection, config, &mut wanted, publishing).await?;
    if wanted.is_empty() {
        return Err(Error::Setting(format!(
            "no table to capture: none that the role can read has a primary key or a replica identity{}; \
             GRANT SELECT on them, or name them under `tables`",
            if config.tables.is_empty() { "" } else { " and fits a pattern under `tables`" }
        )));
    }
    let oids: BTreeSet<u32> =
        wanted.iter().flat_map(|wanted| wanted.table.columns.iter().map(|column| column.type_oid)).collect();
    types.learn(connection, oids).await?;
    let mut captured = BTreeMap::new();
    for Wanted { table, outputs, .. } in wanted {
        let shape = Shape::of_table(&table, types);
        let one = Captured { shape, fingerprint: fingerprint(&outputs), table, outputs };
        one.plan(file)?;
        captured.insert(one.table.oid, one);
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
                crate::postgres::identifier(&config.source.url.user),
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
                let outputs = vec![Output::plain(OutputKind::Hash)];
                wanted.push(Wanted { table, outputs, by_name: false });
            } else {
                left_out(&table);
            }
            continue;
        }
        let Some(rule) = config.tables.iter().find(|rule| rule.pattern.matches(&table.schema, &table.name))
        else {
            continue;
        };
        let by_name = rule.pattern.exact().is_some();
        // Published without an identity, PostgreSQL would reject the application's own UPDATEs.
        if table.has_usable_identity() || by_name {
            wanted.push(Wanted { table, outputs: rule.outputs.clone(), by_name });
        } else {
            left_out(&table);
        }
    }
    wanted
}

fn left_out(table: &Table) {
    tracing::warn!(
        table = table.display_name(),
        "not captured: it has no primary key and no replica identity; ALTER TABLE {} ADD PRIMARY KEY (…), or \
         REPLICA IDENTITY FULL",
        table.sql_name()
    );
}

async fn publish(
    connection: &mut Connection,
    config: &Config,
    wanted: &mut Vec<Wanted>,
    publishing: Publishing,
) -> Result<(), Error> {
    let name = &config.source.publication;
    let Some(found) = publication::find(connection, name).await? else {
        if !wanted.is_empty() && publishing == Publishing::Allowed {
            let version = connection.server_version().await?;
            let tables: Vec<&Table> = wanted.iter().map(|wanted| &wanted.table).collect();
            publication::create(connection, name, &tables, version).await?;
            tracing::info!(publication = name, tables = tables.len(), "publication made");
        }
        return Ok(());
    };
    if !found.via_root
        && let Some(partitioned) = wanted.iter().find(|wanted| wanted.table.partitioned)
    {
        return Err(Error::Setting(format!(
            "the publication {name} sends partitions under their own names, so {} can't be captured: ALTER \
             PUBLICATION {} SET (publish_via_partition_root = true)",
            partitioned.table.display_name(),
            crate::postgres::identifier(name)
        )));
    }
    let missing: Vec<&Table> = wanted
        .iter()
        .map(|wanted| &wanted.table)
        .filter(|table| !found.tables.contains(&table.oid))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if found.ours && publishing == Publishing::Allowed {
        publication::add(connection, name, &missing).await?;
        tracing::info!(publication = name, tables = missing.len(), "tables added to the publication");
        return Ok(());
    }
    let statement = publication::add_statement(name, &missing);
    if found.ours {
        tracing::warn!("tables are not captured yet, the next run will add them: {statement};");
        wanted.retain(|wanted| found.tables.contains(&wanted.table.oid));
        return Ok(());
    }
    if let Some(named) = wanted.iter().find(|w| w.by_name && !found.tables.contains(&w.table.oid)) {
        return Err(Error::Setting(format!(
            "the publication {name} does not send {}; let its owner run: {statement};",
            named.table.display_name()
        )));
    }
    tracing::warn!(
        publication = name,
        "tables that the publication does not send are not captured; {statement};"
    );
    wanted.retain(|wanted| found.tables.contains(&wanted.table.oid));
    Ok(())
}
