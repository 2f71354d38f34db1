//! Which tables are captured, as what: the configuration against the catalog and the publication.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::territory::Territories;
use crate::config::{Config, Nulls, Output, Structure, TableRule, nearest};
use crate::error::{Error, Problem};
use crate::plan::shape::{Known, Shape};
use crate::plan::{Plan, Strictness, fingerprint};
use crate::postgres::catalog::{self, Column, Table, Types};
use crate::postgres::pgoutput::ReplicaIdentity;
use crate::postgres::publication::{self, Publication};
use crate::postgres::{Connection, identifier};

/// A table that is captured.
#[derive(Debug, Clone)]
pub(crate) struct Captured {
    pub(crate) table: Table,
    pub(crate) shape: Shape,
    /// Shared by all tables that fit the same rule.
    pub(crate) outputs: Arc<[Output]>,
    /// See [`fingerprint`].
    pub(crate) fingerprint: Arc<str>,
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
pub(crate) struct Wanted {
    pub(crate) table: Table,
    pub(crate) outputs: Arc<[Output]>,
    fingerprint: Arc<str>,
    /// Its user wrote its name, not a pattern.
    pub(crate) named: bool,
}

impl Wanted {
    pub(crate) fn shaped(self, types: &Types, known: &mut Known, strictness: Strictness) -> Captured {
        let Wanted { table, outputs, fingerprint, .. } = self;
        let shape = Shape::of_table(&table, types).sharing(known);
        let published = String::new();
        Captured { shape, fingerprint, table, outputs, published, strictness }
    }
}

/// What may be done about the publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publishing {
    /// It is made if there is none, and completed if it is ours.
    Allowed,
    /// It is only looked at.
    Forbidden,
}

/// The tables that are asked for, each with a mapping that fits it.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) captured: BTreeMap<u32, Captured>,
    /// Those whose user wrote their names.
    by_name: BTreeSet<u32>,
    /// `server_version_num`.
    version: u32,
}

/// Chooses the tables, sees to the publication, and compiles every plan once, so that what does not
/// fit is found before anything is written.
pub(crate) async fn capture(
    connection: &mut Connection,
    types: &mut Types,
    (config, file): (&Config, &str),
    (publishing, strictness): (Publishing, Strictness),
) -> Result<BTreeMap<u32, Captured>, Error> {
    let chosen = choose(connection, types, (config, file), strictness).await?;
    publish(connection, types, (config, file), (chosen, publishing)).await
}

/// The first half of [`capture`]: changes nothing.
pub(crate) async fn choose(
    connection: &mut Connection,
    types: &mut Types,
    (config, file): (&Config, &str),
    strictness: Strictness,
) -> Result<Chosen, Error> {
    let tables = catalog::tables(connection).await?;
    if let Some(mistake) = misnamed(config, &tables, file).next() {
        return Err(mistake);
    }
    let Selected { wanted, left_out } = select(config, tables);
    let version = connection.server_version().await?;
    let wanted = if version < 130_000 { without_roots(wanted)? } else { wanted };
    for table in left_out {
        let Problem { found, mend } = keyless(&table);
        tracing::warn!(table = table.display_name(), "{found}; {mend}");
    }
    let columns = wanted.iter().flat_map(|wanted| wanted.table.columns.iter());
    types.learn(connection, columns.map(|column| column.type_oid)).await?;
    let by_name = wanted.iter().filter(|wanted| wanted.named).map(|wanted| wanted.table.oid).collect();
    let mut known = Known::default();
    let shaped = wanted.into_iter().map(|wanted| {
        let one = wanted.shaped(types, &mut known, strictness);
        one.plan(file)?;
        Ok((one.table.oid, one))
    });
    // Made of all at once, the map has no room for more.
    let captured = shaped.collect::<Result<BTreeMap<_, _>, Error>>()?;
    Ok(Chosen { captured, by_name, version })
}

/// The second half of [`capture`].
pub(crate) async fn publish(
    connection: &mut Connection,
    types: &Types,
    (config, file): (&Config, &str),
    (chosen, publishing): (Chosen, Publishing),
) -> Result<BTreeMap<u32, Captured>, Error> {
    let Chosen { mut captured, by_name, version } = chosen;
    see_to_publication(connection, (config, version), &mut captured, &by_name, publishing).await?;
    // A publication with a list of columns sends less than the table has.
    let mut territories = Territories::default();
    let mut known = Known::default();
    for one in captured.values_mut() {
        one.shape = Shape::of_table(&one.table, types).sharing(&mut known);
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
        return Err(nothing_to_capture(config).into());
    }
    Ok(captured)
}

pub(crate) fn nothing_to_capture(config: &Config) -> Problem {
    let fits = if config.tables.is_empty() { "" } else { " and fits a pattern under `tables`" };
    Problem {
        found: format!(
            "no table to capture: none that the role can read has a primary key or a replica identity{fits}"
        ),
        mend: "GRANT SELECT on them, or name them under `tables`".to_owned(),
    }
}

/// A table that was named and does not exist is a mistake; so is one that may not be read.
pub(crate) fn misnamed<'a>(
    config: &'a Config,
    tables: &'a BTreeMap<u32, Table>,
    file: &'a str,
) -> impl Iterator<Item = Error> + 'a {
    config.tables.iter().filter_map(move |rule| {
        let (schema, name) = rule.pattern.exact()?;
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
            let database = &config.source.url.dbname;
            return Some(Error::Usage(format!("{place}: there is no table {typed} in {database}; {hint}")));
        };
        let unreadable = unreadable(table, &config.source.url.user)?;
        Some(Problem { found: format!("{place}: {}", unreadable.found), ..unreadable }.into())
    })
}

/// The role may not read the table.
pub(crate) fn unreadable(table: &Table, role: &str) -> Option<Problem> {
    let grantee = identifier(role);
    let schema = match table.schema_usable {
        true => String::new(),
        false => format!("GRANT USAGE ON SCHEMA {} TO {grantee}; ", identifier(&table.schema)),
    };
    (!table.selectable).then(|| Problem {
        found: format!("the role {role} may not read {}", table.display_name()),
        mend: format!("{schema}GRANT SELECT ON {} TO {grantee}", table.sql_name()),
    })
}

/// What a configuration asks for.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) wanted: Vec<Wanted>,
    /// Tables that fit, and can't be published without harm.
    pub(crate) left_out: Vec<Table>,
}

/// Chooses among the tables that the role may read.
pub(crate) fn select(config: &Config, tables: BTreeMap<u32, Table>) -> Selected {
    let mut selected = Selected { wanted: Vec::new(), left_out: Vec::new() };
    let shared =
        |outputs: &[Output]| (Arc::<[Output]>::from(outputs), Arc::<str>::from(fingerprint(outputs)));
    let plain = shared(std::slice::from_ref(&config.plain));
    let of_rules: Vec<_> = config.tables.iter().map(|rule| shared(&rule.outputs)).collect();
    for table in tables.into_values().filter(|table| table.selectable) {
        let ((outputs, fingerprint), named) = if config.tables.is_empty() {
            (plain.clone(), false)
        } else {
            let fits = |rule: &&TableRule| rule.pattern.matches(&table.schema, &table.name);
            let mut rules = config.tables.iter().zip(&of_rules);
            let Some((rule, shared)) = rules.find(|(rule, _)| fits(rule)) else { continue };
            (shared.clone(), rule.pattern.exact().is_some())
        };
        // Published without an identity, PostgreSQL would reject the application's own UPDATEs.
        if table.has_usable_identity() || named {
            selected.wanted.push(Wanted { table, outputs, fingerprint, named });
        } else {
            selected.left_out.push(table);
        }
    }
    selected
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

/// Why a table that fits a pattern is left out.
pub(crate) fn keyless(table: &Table) -> Problem {
    if table.identity == ReplicaIdentity::Full {
        return Problem {
            found: "not captured: it has REPLICA IDENTITY FULL and a virtual generated column, which PostgreSQL can't \
                    send"
                .to_owned(),
            mend: without_virtual(table),
        };
    }
    Problem {
        found: "not captured: it has no primary key and no replica identity".to_owned(),
        mend: format!("ALTER TABLE {} ADD PRIMARY KEY (…), or REPLICA IDENTITY FULL", table.sql_name()),
    }
}

async fn see_to_publication(
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
            keep_columns(&mut one.table, |column| !column.generated);
        }
        return Ok(());
    };
    if let Some(problem) = unusable(name, &found, captured) {
        return Err(problem.into());
    }
    let missing = missing(&found, captured);
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
            return Err(unpublished(name, &[named], &missing).into());
        }
        tracing::warn!(
            publication = name,
            "tables that the publication does not send are not captured; {statement};"
        );
    }
    keep_what_is_sent(captured, &found);
    Ok(())
}

/// Why a publication that is there can't be used for these tables.
pub(crate) fn unusable(
    name: &str,
    found: &Publication,
    captured: &BTreeMap<u32, Captured>,
) -> Option<Problem> {
    if let Some((why, mend)) = &found.partial {
        let found = format!("the publication {name} does not send every change: {why}");
        return Some(Problem { found, mend: mend.clone() });
    }
    let root = captured.values().find(|one| one.table.partitioned && !found.via_root)?;
    Some(Problem {
        found: format!(
            "the publication {name} sends partitions under their own names, so {} can't be captured",
            root.name()
        ),
        mend: format!("ALTER PUBLICATION {} SET (publish_via_partition_root = true)", identifier(name)),
    })
}

/// The tables that a publication does not send.
pub(crate) fn missing<'a>(found: &Publication, captured: &'a BTreeMap<u32, Captured>) -> Vec<&'a Table> {
    let tables = captured.values().map(|one| &one.table);
    tables.filter(|table| !found.tables.contains_key(&table.oid)).collect()
}

/// The publication is somebody else's, and does not send `named`.
pub(crate) fn unpublished(name: &str, named: &[&Table], missing: &[&Table]) -> Problem {
    let names: Vec<String> = named.iter().map(|table| table.display_name()).collect();
    Problem {
        found: format!("the publication {name} does not send {}", names.join(", ")),
        mend: format!("let its owner run: {};", publication::add_statement(name, missing)),
    }
}

/// Leaves out tables and columns that the publication does not send, and notes by what each table is sent. A
/// publication of all tables, or of a schema's, has no entry for one.
fn keep_what_is_sent(captured: &mut BTreeMap<u32, Captured>, publication: &Publication) {
    captured.retain(|oid, one| {
        let Some(columns) = publication.tables.get(oid) else { return false };
        keep_columns(&mut one.table, |column| match columns {
            Some(columns) => columns.contains(&column.name),
            None => !column.generated,
        });
        one.published = publication.members.get(oid).unwrap_or(&publication.identity).clone();
        true
    });
}

/// Most tables keep theirs, which they may share with others.
fn keep_columns(table: &mut Table, is_sent: impl Fn(&Column) -> bool) {
    if !table.columns.iter().all(&is_sent) {
        table.columns = table.columns.iter().filter(|column| is_sent(column)).cloned().collect();
    }
}

/// Published without an identity, a table's own UPDATE and DELETE would fail in the application.
fn publishable(tables: Vec<&Table>) -> Result<Vec<&Table>, Error> {
    match tables.iter().find_map(|table| unpublishable(table)) {
        None => Ok(tables),
        Some(problem) => Err(problem.into()),
    }
}

/// Publishing the table would make PostgreSQL reject the application's statements.
pub(crate) fn unpublishable(table: &Table) -> Option<Problem> {
    if !table.has_usable_identity() && table.identity == ReplicaIdentity::Full {
        return Some(Problem {
            found: format!(
                "{} has REPLICA IDENTITY FULL and a virtual generated column, which PostgreSQL can't send: if it were \
                 published, PostgreSQL would reject every UPDATE and DELETE on it",
                table.display_name()
            ),
            mend: without_virtual(table),
        });
    }
    (!table.has_usable_identity()).then(|| Problem {
        found: format!(
            "{} has no usable replica identity: if it were published, PostgreSQL would reject every UPDATE and \
             DELETE on it",
            table.display_name()
        ),
        mend: format!(
            "ALTER TABLE {} REPLICA IDENTITY FULL, or give it a primary key that is not deferrable",
            table.sql_name()
        ),
    })
}

fn without_virtual(table: &Table) -> String {
    format!(
        "ALTER TABLE {} REPLICA IDENTITY DEFAULT with a primary key, or make the column STORED",
        table.sql_name()
    )
}
