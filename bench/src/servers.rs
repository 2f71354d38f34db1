//! PostgreSQL and Redis as every measurement has them: the same settings for references and for us.

use std::time::Duration;

use postgres::{Client, NoTls};
use redis_connect_postgres::throwaway::{Postgres, Redis, postgres as pg, redis as rd};

use crate::error::{Doing, Result, failed};
use crate::rows;
use crate::structure::Structure;

/// What is set, for the record.
pub(crate) const POSTGRES: [(&str, &str); 8] = [
    ("shared_buffers", "256MB"),
    ("max_wal_size", "64GB"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
    ("max_wal_senders", "64"),
    ("max_replication_slots", "64"),
    ("max_connections", "200"),
    ("log_min_messages", "warning"),
];

/// The publication that every reader of the stream uses.
pub(crate) const PUBLICATION: &str = "bench";

/// A server. fsync is off.
pub(crate) fn empty_postgres() -> Result<Postgres> {
    let settings = POSTGRES.iter().fold(pg::Settings::default(), |all, (name, value)| all.set(name, value));
    Ok(Postgres::start(settings)?)
}

/// A server with the empty table and its publication.
pub(crate) fn postgres() -> Result<Postgres> {
    let postgres = empty_postgres()?;
    let mut client = connect(&postgres)?;
    execute(&mut client, rows::CREATE_TABLE)?;
    execute(&mut client, &format!("CREATE PUBLICATION {PUBLICATION} FOR TABLE bench"))?;
    Ok(postgres)
}

/// A new, empty server that keeps nothing on disk.
pub(crate) fn redis() -> Result<Redis> {
    let settings = rd::Settings::default().set("appendonly", "no").set("unixsocket", REDIS_SOCKET);
    Ok(Redis::start(settings)?)
}

/// In the directory of the server.
pub(crate) const REDIS_SOCKET: &str = "redis.sock";

/// The same with what the structure needs.
pub(crate) fn redis_for(structure: &Structure) -> Result<Redis> {
    if !structure.needs_modules() {
        return redis();
    }
    let command = modules().ok_or_else(|| failed(NO_MODULES))?;
    let settings = rd::Settings { command, ..rd::Settings::default() };
    Ok(Redis::start(settings.set("appendonly", "no"))?)
}

pub(crate) const NO_MODULES: &str =
    "JSON needs RedisJSON: set TEST_REDIS_STACK to a command that starts such a Redis";

/// The command that starts a Redis with RedisJSON. The tests take an address as well; a server that
/// somebody else has started can't be measured.
pub(crate) fn modules() -> Option<Vec<String>> {
    let named = std::env::var("TEST_REDIS_STACK").unwrap_or_default();
    let command: Vec<String> = named.split_whitespace().map(str::to_owned).collect();
    (!command.is_empty() && !named.contains("://")).then_some(command)
}

/// One that keeps every write across a restart.
pub(crate) fn durable_redis() -> Result<Redis> {
    Ok(Redis::start(rd::Settings::durable())?)
}

pub(crate) fn connect(postgres: &Postgres) -> Result<Client> {
    Client::connect(&postgres.url(), NoTls).doing(|| "connect to PostgreSQL".to_owned())
}

pub(crate) fn execute(client: &mut Client, sql: &str) -> Result<()> {
    client.batch_execute(sql).doing(|| format!("execute {}", sql.chars().take(200).collect::<String>()))
}

/// One text value; the query has to cast to text.
pub(crate) fn query(client: &mut Client, sql: &str) -> Result<String> {
    let row = client.query_one(sql, &[]).doing(|| format!("query {sql}"))?;
    row.try_get(0).doing(|| format!("read the answer of {sql}"))
}

pub(crate) fn redis_connection(redis: &Redis) -> Result<redis::Connection> {
    let connect = || {
        let connection = redis::Client::open(redis.url())?.get_connection()?;
        connection.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok::<_, redis::RedisError>(connection)
    };
    connect().doing(|| "connect to Redis".to_owned())
}

/// One value of a section of INFO.
pub(crate) fn redis_info(redis: &Redis, section: &str, name: &str) -> Result<String> {
    let mut connection = redis_connection(redis)?;
    let doing = || format!("ask Redis for {name}");
    let info: String = redis::cmd("INFO").arg(section).query(&mut connection).doing(doing)?;
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(value.unwrap_or_default().to_owned())
}

/// Makes the server write what is dirty now, so that it does not do so while something is measured.
pub(crate) fn settle(postgres: &Postgres) -> Result<()> {
    execute(&mut connect(postgres)?, "CHECKPOINT")
}
