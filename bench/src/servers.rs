//! PostgreSQL and Redis as every measurement has them: the same settings for references and for us.

use std::time::Duration;

use postgres::{Client, NoTls};
use redis_connect_postgres::throwaway::{Postgres, Redis, postgres as pg, redis as rd};

use crate::error::{Doing, Result};
use crate::rows;

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

/// A server with the empty table and its publication. fsync is off.
pub(crate) fn postgres() -> Result<Postgres> {
    let settings = POSTGRES.iter().fold(pg::Settings::default(), |all, (name, value)| all.set(name, value));
    let postgres = Postgres::start(settings)?;
    let mut client = connect(&postgres)?;
    execute(&mut client, rows::CREATE_TABLE)?;
    execute(&mut client, &format!("CREATE PUBLICATION {PUBLICATION} FOR TABLE bench"))?;
    Ok(postgres)
}

/// A new, empty server that keeps nothing on disk.
pub(crate) fn redis() -> Result<Redis> {
    Ok(Redis::start(rd::Settings::default().set("appendonly", "no"))?)
}

/// One that keeps every write across a restart.
pub(crate) fn durable_redis() -> Result<Redis> {
    Ok(Redis::start(rd::Settings::durable())?)
}

pub(crate) fn connect(postgres: &Postgres) -> Result<Client> {
    Client::connect(&postgres.url(), NoTls).doing(|| "connect to PostgreSQL".to_owned())
}

pub(crate) fn execute(client: &mut Client, sql: &str) -> Result<()> {
    client.batch_execute(sql).doing(|| format!("execute {sql}"))
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

/// Makes the server write what is dirty now, so that it does not do so while something is measured.
pub(crate) fn settle(postgres: &Postgres) -> Result<()> {
    execute(&mut connect(postgres)?, "CHECKPOINT")
}
