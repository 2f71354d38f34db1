//! What there is to judge: both servers, looked at once.
//!
//! Each question can fail by itself, mostly for want of a right; then its answer is the reason, and the
//! checks that needed it say that they could not look.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::contact::{Contact, Stage, stage_of_postgres, stage_of_redis};
use super::nodes::{self, Node};
use super::rights;
use super::server::Server;
use super::target::foreign_keys::Foreign;
use super::target::info::Info;
use crate::config::{Config, Output, RedisHost};
use crate::error::Error;
use crate::pipeline::capture::{self, Captured};
use crate::pipeline::checkpoint::{self, Keys};
use crate::pipeline::indexes;
use crate::plan::shape::Known;
use crate::plan::{Plan, Strictness};
use crate::postgres::catalog::{self, Table, Types};
use crate::postgres::publication::{self, Publication};
use crate::postgres::slot::{self, Slot};
use crate::postgres::{self, Connection, Purpose};
use crate::redis;

/// What was asked for, or why it can't be told.
pub(super) type Seen<T> = Result<T, String>;

/// PostgreSQL.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) config: &'a Config,
    pub(super) file: &'a str,
    pub(super) server: Server,
    /// Our clock, in ms since 1970, when the server told its own.
    pub(super) now: f64,
    /// A connection for replication can be made.
    pub(super) replication: Seen<()>,
    pub(super) tables: Seen<Tables>,
    pub(super) publication: Seen<Option<Publication>>,
    pub(super) slot: Seen<Option<Slot>>,
    pub(super) other_slots: Seen<Vec<OtherSlot>>,
    pub(super) transactions: Seen<Vec<Transaction>>,
    pub(super) relations: Seen<Vec<Relation>>,
}

/// The tables, against the configuration.
#[derive(Debug)]
pub(super) struct Tables {
    /// Names in the configuration that mean nothing, or nothing that may be read.
    pub(super) misnamed: Vec<Error>,
    /// Tables that a pattern fits and that may not be read.
    pub(super) unreadable: Vec<Table>,
    /// Captured if nothing else speaks against it, by OID.
    pub(super) chosen: BTreeMap<u32, Captured>,
    /// Those whose user wrote their names.
    pub(super) named: Vec<u32>,
    /// Tables without a key that a pattern fits.
    pub(super) keyless: Vec<Table>,
    pub(super) plans: Vec<(u32, Result<Plan, Error>)>,
}

impl Tables {
    /// What will be written, as far as it fits.
    fn written(&self) -> Vec<(&Plan, &[Output])> {
        let plans = self.plans.iter().filter_map(|(oid, plan)| plan.as_ref().ok().zip(self.chosen.get(oid)));
        plans.map(|(plan, captured)| (plan, &*captured.outputs)).collect()
    }
}

/// A relation of any kind, and what the catalog has of it beyond [`Table`].
#[derive(Debug, Deserialize)]
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// `pg_class.relkind`.
    pub(super) kind: String,
    /// `pg_class.relpersistence`.
    pub(super) persistence: String,
    pub(super) partition: bool,
    /// We have its owner's rights.
    pub(super) owned: bool,
    pub(super) generated: Vec<String>,
    /// Pages of values that are stored outside the rows.
    pub(super) toast_pages: i64,
    /// Average bytes of a row's values; 0 where the planner knows none, or we may not see it.
    pub(super) width: i64,
}

/// Another replication slot.
#[derive(Debug, Deserialize)]
pub(super) struct OtherSlot {
    pub(super) name: String,
    pub(super) active: bool,
    /// Bytes of write-ahead log that it holds back.
    pub(super) retained: Option<f64>,
    /// PostgreSQL 13 and later.
    pub(super) wal_status: Option<String>,
}

/// A transaction that has written, or is prepared: the creation of a slot waits for its end.
#[derive(Debug, Deserialize)]
pub(super) struct Transaction {
    /// `None`: it is a prepared one.
    pub(super) pid: Option<u32>,
    /// Of a prepared one.
    pub(super) gid: Option<String>,
    pub(super) role: Option<String>,
    /// `None`: we may not see it.
    pub(super) seconds: Option<f64>,
}

/// Redis.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) config: &'a Config,
    pub(super) spread: redis::Spread,
    /// Those that answer.
    pub(super) nodes: Vec<Node>,
    pub(super) has_checkpoint: Seen<bool>,
    pub(super) foreign: Seen<Foreign>,
}

const RELATIONS: &str = "\
    SELECT c.oid::pg_catalog.int8 AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, \
           c.relpersistence AS persistence, c.relispartition AS partition, \
           pg_catalog.pg_has_role(c.relowner, 'USAGE') AS owned, \
           ARRAY(SELECT a.attname FROM pg_catalog.pg_attribute a \
                  WHERE a.attrelid = c.oid AND a.attgenerated <> '' AND NOT a.attisdropped ORDER BY a.attnum) \
             AS generated, \
           coalesce(CASE c.relkind WHEN 'p' THEN \
               (SELECT pg_catalog.sum(t.relpages) FROM pg_catalog.pg_partition_tree(c.oid) p \
                  JOIN pg_catalog.pg_class l ON l.oid = p.relid JOIN pg_catalog.pg_class t ON t.oid = l.reltoastrelid) \
             ELSE (SELECT t.relpages FROM pg_catalog.pg_class t WHERE t.oid = c.reltoastrelid) END, 0) AS toast_pages, \
           coalesce(s.width, 0) AS width \
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
      LEFT JOIN (SELECT i.schemaname, i.tablename, pg_catalog.max(i.width) AS width \
                   FROM (SELECT t.schemaname, t.tablename, pg_catalog.sum(t.avg_width) AS width \
                           FROM pg_catalog.pg_stats t GROUP BY t.schemaname, t.tablename, t.inherited) i \
                  GROUP BY i.schemaname, i.tablename) s ON s.schemaname = n.nspname AND s.tablename = c.relname \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') \
       AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast' \
     ORDER BY n.nspname, c.relname";

const TRANSACTIONS: &str = "\
    SELECT a.pid, NULL::pg_catalog.text AS gid, a.usename AS role, \
           extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start) AS seconds \
      FROM pg_catalog.pg_stat_activity a WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() \
    UNION ALL \
    SELECT NULL, p.gid, p.owner, extract(epoch FROM pg_catalog.clock_timestamp() - p.prepared) \
      FROM pg_catalog.pg_prepared_xacts p ORDER BY seconds DESC NULLS LAST";

/// Looks at PostgreSQL.
pub(super) async fn source<'a>(config: &'a Config, file: &'a str) -> (Contact, Option<Source<'a>>) {
    let mut contact = Contact::postgres(config);
    let mut connection = match Connection::open(&config.source, Purpose::Sql).await {
        Ok(connection) => connection,
        Err(error) => {
            contact.failed_at(stage_of_postgres(&error), error);
            return (contact, None);
        }
    };
    contact.address = connection.address().to_owned();
    let server = match Server::read(&mut connection, &config.source.slot).await {
        Ok(server) => server,
        Err(error) => {
            contact.failed_at(Stage::Login, error);
            return (contact, None);
        }
    };
    contact.encrypted = server.encrypted;
    let now = now();
    let source = Source {
        config,
        file,
        server,
        now,
        replication: replication(config).await.map_err(|error| error.to_string()),
        tables: tables(&mut connection, config, file).await.map_err(|error| error.to_string()),
        publication: told(publication::find(&mut connection, &config.source.publication).await),
        slot: told(slot::find(&mut connection, &config.source.slot).await),
        other_slots: rows(&mut connection, &other_slots(&config.source.slot)).await,
        transactions: rows(&mut connection, TRANSACTIONS).await,
        relations: rows(&mut connection, RELATIONS).await,
    };
    connection.close().await;
    (contact, Some(source))
}

fn other_slots(ours: &str) -> String {
    format!(
        "SELECT s.slot_name AS name, s.active, \
                pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() \
                                                THEN pg_catalog.pg_last_wal_replay_lsn() \
                                                ELSE pg_catalog.pg_current_wal_lsn() END, s.restart_lsn) AS retained, \
                pg_catalog.to_jsonb(s) OPERATOR(pg_catalog.->>) 'wal_status' AS wal_status \
           FROM pg_catalog.pg_replication_slots s WHERE s.slot_name <> {} ORDER BY 3 DESC NULLS LAST",
        postgres::literal(ours)
    )
}

async fn replication(config: &Config) -> Result<(), postgres::Error> {
    let mut connection = Connection::open(&config.source, Purpose::Replication).await?;
    let answer = connection.query("IDENTIFY_SYSTEM").await;
    connection.close().await;
    answer.map(|_| ())
}

async fn tables(connection: &mut Connection, config: &Config, file: &str) -> Result<Tables, postgres::Error> {
    let tables = catalog::tables(connection).await?;
    let fits = |table: &&Table| {
        let rule = config.tables.iter().find(|rule| rule.pattern.matches(&table.schema, &table.name));
        // One that is named is misnamed.
        !table.selectable && rule.is_some_and(|rule| rule.pattern.exact().is_none())
    };
    let unreadable = tables.values().filter(fits).cloned().collect();
    let misnamed = capture::misnamed(config, &tables, file).collect();
    let selected = capture::select(config, tables);
    let mut types = Types::default();
    let columns = selected.wanted.iter().flat_map(|one| one.table.columns.iter());
    types.learn(connection, columns.map(|column| column.type_oid)).await?;
    let named = selected.wanted.iter().filter(|one| one.named).map(|one| one.table.oid).collect();
    let mut known = Known::default();
    let shaped = selected.wanted.into_iter().map(|one| one.shaped(&types, &mut known, Strictness::Start));
    let chosen: BTreeMap<u32, Captured> = shaped.map(|one| (one.table.oid, one)).collect();
    let plans = chosen.iter().map(|(oid, one)| (*oid, one.plan(file))).collect();
    Ok(Tables { misnamed, unreadable, chosen, named, keyless: selected.left_out, plans })
}

/// The rows of a query, each as its columns' names say.
async fn rows<T: DeserializeOwned>(connection: &mut Connection, sql: &str) -> Seen<Vec<T>> {
    let rows = connection.query(&format!("SELECT pg_catalog.to_jsonb(x) FROM ({sql}) x")).await;
    let text = |row: Vec<Option<String>>| row.into_iter().next().flatten().unwrap_or_default();
    told(rows)?.into_iter().map(|row| told(serde_json::from_str(&text(row)))).collect()
}

fn told<T, E: ToString>(result: Result<T, E>) -> Seen<T> {
    result.map_err(|error| error.to_string())
}

/// Looks at Redis. What `source` tells is what will be written.
pub(super) async fn target<'a>(
    config: &'a Config,
    source: Option<&Source<'_>>,
) -> (Contact, Option<Target<'a>>) {
    let mut contact = Contact::redis(config);
    let mut redis = match redis::Client::open(&config.target).await {
        Ok(redis) => redis,
        Err(error) => {
            contact.failed_at(stage_of_redis(&error), error);
            return (contact, None);
        }
    };
    let tables = source.and_then(|source| source.tables.as_ref().ok());
    let plans: Vec<(&Plan, &[Output])> = tables.map(Tables::written).unwrap_or_default();
    let outputs =
        tables.into_iter().flat_map(|tables| tables.chosen.values()).flat_map(|one| one.outputs.iter());
    let keys = Keys::new(&config.name, redis.spread());
    let needed = indexes::needed_modules(outputs);
    let mut nodes = Vec::new();
    for host in nodes::reached(&mut redis, &mut contact).await {
        let info = told(Info::read(&mut redis, &host).await);
        let now = now();
        let missing = match redis.apart(&host).await {
            Ok(apart) => {
                let used = (&keys, redis.spread(), config.target.durability);
                told(rights::missing(apart, used, plans.iter().copied()).await)
            }
            Err(error) => Err(error.to_string()),
        };
        nodes.push(Node {
            share: redis.share(&host),
            info,
            now,
            modules: told(indexes::missing_modules(&mut redis, &host, &needed).await),
            missing,
            save: save(&mut redis, &host).await,
            host,
        });
    }
    let has_checkpoint = match checkpoint::read(&mut redis, &keys).await {
        Ok(None) => told(checkpoint::read_former(&mut redis, &keys).await).map(|former| !former.is_empty()),
        Ok(Some(_)) => Ok(true),
        Err(error) => Err(error.to_string()),
    };
    let target = Target {
        config,
        spread: redis.spread(),
        nodes,
        foreign: match has_checkpoint {
            Ok(true) => Ok(Foreign::Ours),
            _ => told(Foreign::look(&mut redis, plans.iter().map(|(plan, _)| *plan)).await),
        },
        has_checkpoint,
    };
    (contact, Some(target))
}

async fn save(redis: &mut redis::Client, host: &RedisHost) -> Seen<String> {
    match told(redis.call_at(host, &[b"CONFIG", b"GET", b"save"]).await)? {
        redis::resp::Reply::Array(pair) => {
            pair.get(1).and_then(redis::resp::Reply::text).ok_or_else(|| "Redis does not tell".to_owned())
        }
        _ => Err("Redis does not tell".to_owned()),
    }
}

/// In ms since 1970.
fn now() -> f64 {
    checkpoint::now() as f64
}
