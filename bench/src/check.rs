//! Whether Redis holds the rows: a rate of something that is wrong is worth nothing.

use std::collections::BTreeMap;

use redis_connect_postgres::throwaway::Redis;

use crate::connector::Connector;
use crate::error::{Doing, Result, failed};
use crate::rows;
use crate::servers::redis_connection;

/// Rows that are compared value by value, spread over all of them.
const SAMPLE: u32 = 1_000;

/// Checks that Redis has `count` rows, some of them field by field, and nothing else but what
/// belongs to the connector.
pub(crate) fn rows(redis: &Redis, count: u32, connector: Option<&Connector>) -> Result<()> {
    let mut redis = redis_connection(redis)?;
    let mut ask = |command: &mut redis::Cmd| {
        command.query::<u64>(&mut redis).doing(|| "count the keys in Redis".to_owned())
    };
    let own = match connector {
        Some(connector) => ask(redis::cmd("EXISTS").arg(&connector.own_keys()))?,
        None => 0,
    };
    let keys = ask(&mut redis::cmd("DBSIZE"))?;
    if keys != u64::from(count) + own {
        return Err(failed(format!(
            "Redis has {keys} keys, {own} of them the connector's, for {count} rows"
        )));
    }
    for id in (1..=count).step_by((count / SAMPLE).max(1) as usize).chain([count]) {
        let mut command = redis::cmd("HGETALL");
        let found: BTreeMap<String, String> =
            command.arg(rows::key(id)).query(&mut redis).doing(|| format!("read row {id} from Redis"))?;
        let expected = rows::hash(id);
        if found != expected {
            return Err(failed(format!("row {id} is {found:?} in Redis and should be {expected:?}")));
        }
    }
    Ok(())
}
