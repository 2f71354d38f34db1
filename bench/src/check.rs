//! Whether Redis holds the rows: a rate of something that is wrong is worth nothing.

use std::collections::BTreeMap;

use redis::{Cmd, Connection, FromRedisValue};
use redis_connect_postgres::throwaway::Redis;
use serde_json::Value;

use crate::connector::Connector;
use crate::entries;
use crate::error::{Doing, Result, failed};
use crate::rows;
use crate::servers::redis_connection;
use crate::structure::{Content, Output};

/// Rows that are compared value by value, spread over all of them.
const SAMPLE: u32 = 1_000;

/// Checks that Redis has as many keys, members and entries as there are rows, that some of them are
/// what they must be, and that there is nothing else but what belongs to the connector.
pub(crate) fn holds(redis: &Redis, content: Content, connector: Option<&Connector>) -> Result<()> {
    let mut redis = redis_connection(redis)?;
    let own = match connector {
        Some(connector) => ask::<u64>(&mut redis, redis::cmd("EXISTS").arg(&connector.own_keys()))?,
        None => 0,
    };
    let keys: u64 = ask(&mut redis, &redis::cmd("DBSIZE"))?;
    let (rows, expected) = (content.rows, content.structure.keys(content.rows));
    if keys != expected + own {
        return Err(failed(format!(
            "Redis has {keys} keys, {own} of them the connector's, and should have {expected} for {rows} rows"
        )));
    }
    for &output in content.structure.outputs {
        let size = match output {
            Output::Hash | Output::String | Output::Json => None,
            Output::Set => Some("SCARD"),
            Output::SortedSet => Some("ZCARD"),
            Output::Stream(_) => Some("XLEN"),
        };
        let key = output.key(1);
        if let Some(size) = size {
            let found: u64 = ask(&mut redis, redis::cmd(size).arg(&key))?;
            if found != u64::from(rows) {
                return Err(failed(format!("{key} has {found} members or entries for {rows} rows")));
            }
        }
        match output {
            Output::Stream(format) => entries::check(&mut redis, &key, format, content)?,
            _ => sample(&mut redis, rows, output)?,
        }
    }
    Ok(())
}

fn sample(redis: &mut Connection, rows: u32, output: Output) -> Result<()> {
    for id in (1..=rows).step_by((rows / SAMPLE).max(1) as usize).chain([rows]) {
        let key = output.key(id);
        match output {
            Output::Hash => {
                let found: BTreeMap<String, String> = ask(redis, redis::cmd("HGETALL").arg(key))?;
                equal(id, &found, &rows::hash(id))?;
            }
            Output::String => {
                let found: String = ask(redis, redis::cmd("GET").arg(key))?;
                equal(id, &found, &rows::document(id))?;
            }
            Output::Json => {
                let found: String = ask(redis, redis::cmd("JSON.GET").arg(key))?;
                equal(id, &json(&found)?, &json(&rows::document(id))?)?;
            }
            Output::Set => {
                let found: bool = ask(redis, redis::cmd("SISMEMBER").arg(key).arg(id))?;
                equal(id, &found, &true)?;
            }
            Output::SortedSet => {
                let found: Option<f64> = ask(redis, redis::cmd("ZSCORE").arg(key).arg(id))?;
                equal(id, &found, &rows::amount(id).parse().ok())?;
            }
            // Entries are not found by their row.
            Output::Stream(_) => {}
        }
    }
    Ok(())
}

/// Redis has so many hashes of ten fields, or a stream of so many entries, as somebody else wrote them.
pub(crate) fn has_as_many(redis: &Redis, stream: Option<&str>, rows: u32) -> Result<()> {
    let mut redis = redis_connection(redis)?;
    let found: u32 = match stream {
        Some(key) => ask(&mut redis, redis::cmd("XLEN").arg(key))?,
        None => ask(&mut redis, &redis::cmd("DBSIZE"))?,
    };
    if found != rows {
        return Err(failed(format!("Redis has {found} keys or entries for {rows} rows")));
    }
    if stream.is_none() {
        for id in [1, rows] {
            let found: BTreeMap<String, String> =
                ask(&mut redis, redis::cmd("HGETALL").arg(Output::Hash.key(id)))?;
            // Times are spelled otherwise.
            let (found, expected) = (found.len(), rows::hash(id).len());
            equal(id, &found, &expected)?;
        }
    }
    Ok(())
}

/// What is in Redis of row `id` must be this.
pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(id: u32, found: &T, expected: &T) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(failed(format!("row {id} is {found:?} in Redis and should be {expected:?}")))
}

pub(crate) fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).doing(|| format!("read {text} as JSON"))
}

pub(crate) fn ask<T: FromRedisValue>(redis: &mut Connection, command: &Cmd) -> Result<T> {
    command.query(redis).doing(|| "compare what is in Redis".to_owned())
}
