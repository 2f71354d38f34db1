//! Tables of any number and width, and every row of them as a function of its number.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use postgres::Client;
use redis_connect_postgres::throwaway::{Postgres, Redis};

use crate::check::{ask, equal};
use crate::error::{Result, failed};
use crate::servers::{connect, execute, redis_connection};

/// Tables `t1`, `t2` and so on, of the same columns: `id`, then integers and texts by turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables {
    pub(crate) number: u32,
    pub(crate) columns: u32,
}

/// Rows in a row that go to one table, where there are several.
const BLOCK: u32 = 10;
/// Rows that are inserted by one statement at most.
const STATEMENT: u32 = 10_000;

impl Tables {
    pub(crate) fn create(self, postgres: &Postgres) -> Result<()> {
        let columns: String = (2..=self.columns).fold(String::new(), |mut text, column| {
            let _ = write!(text, ", c{column} {}", if self.is_text(column) { "text" } else { "int" });
            text
        });
        let sql = format!(
            "DO $$ BEGIN FOR i IN 1..{} LOOP
               EXECUTE 'CREATE TABLE t' || i || ' (id int PRIMARY KEY{columns})';
               IF i % 500 = 0 THEN COMMIT; END IF;
             END LOOP; END $$",
            self.number
        );
        execute(&mut connect(postgres)?, &sql)
    }

    /// Inserts rows 1 to `rows` in transactions of `size` rows, ten at a time into each table in turn.
    pub(crate) fn fill(self, postgres: &Postgres, rows: u32, size: u32) -> Result<()> {
        let mut client: Client = connect(postgres)?;
        execute(&mut client, "SET synchronous_commit = off")?;
        let block = if self.number > 1 { BLOCK.min(size) } else { STATEMENT.min(size) };
        let values: String = (2..=self.columns).fold(String::new(), |mut text, column| {
            let _ = if self.is_text(column) {
                write!(text, ", ''value {column} of row '' || i")
            } else {
                write!(text, ", ((i::bigint * 7919 + {column}) % 1000003)::int")
            };
            text
        });
        let sql = format!(
            "DO $$ DECLARE first int := 1; last int; open int := 0; BEGIN
               WHILE first <= {rows} LOOP
                 last := least(first::bigint + {block} - 1, {rows});
                 EXECUTE 'INSERT INTO t' || (first - 1) / {BLOCK} % {number} + 1 ||
                   ' SELECT i{values} FROM generate_series($1, $2) AS i' USING first, last;
                 open := open + last - first + 1;
                 IF open >= {size} THEN COMMIT; open := 0; END IF;
                 EXIT WHEN last = {rows};
                 first := last + 1;
               END LOOP;
             END $$",
            number = self.number
        );
        execute(&mut client, &sql)
    }

    /// Redis has as many keys as there are rows, beside two of the connector.
    pub(crate) fn count(redis: &Redis, rows: u32) -> Result<()> {
        let keys: u64 = ask(&mut redis_connection(redis)?, &redis::cmd("DBSIZE"))?;
        if keys != u64::from(rows) + 2 {
            return Err(failed(format!("{keys} keys in Redis, of {rows} rows and the connector")));
        }
        Ok(())
    }

    /// Rows here and there are in Redis as they must be, as hashes.
    pub(crate) fn sample(self, redis: &Redis, rows: u32) -> Result<()> {
        let mut connection = redis_connection(redis)?;
        let step = (rows / 500).max(1);
        for id in (1..=rows).step_by(step as usize) {
            let table = (id - 1) / BLOCK % self.number + 1;
            let key = format!("t{table}:{id}");
            let found: BTreeMap<String, String> = ask(&mut connection, redis::cmd("HGETALL").arg(key))?;
            equal(id, &found, &self.row(id))?;
        }
        Ok(())
    }

    /// Of a thousand columns all are integers, or a row would not fit into PostgreSQL's page.
    fn is_text(self, column: u32) -> bool {
        column.is_multiple_of(2) && self.columns < 1_000
    }

    fn row(self, id: u32) -> BTreeMap<String, String> {
        let value = |column: u32| {
            if self.is_text(column) {
                format!("value {column} of row {id}")
            } else {
                ((u64::from(id) * 7919 + u64::from(column)) % 1_000_003).to_string()
            }
        };
        let columns = (2..=self.columns).map(|column| (format!("c{column}"), value(column)));
        columns.chain([("id".to_owned(), id.to_string())]).collect()
    }
}
