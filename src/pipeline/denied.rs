//! A right to a table that was taken away while the pipeline worked. The stream needs none, so it shows where rows are
//! read, at any time; PostgreSQL then says what it refused, and here is what gives the right back.

use std::collections::HashSet;

use super::capture::unreadable;
use super::supervise::Pipeline;
use crate::error::{Error, Problem};
use crate::postgres::{Connection, Purpose, catalog};

/// With the statement that mends it, if it is that.
pub(super) async fn explain(pipeline: &Pipeline, error: Error) -> Error {
    let Error::Postgres(refused) = &error else { return error };
    if refused.sqlstate() != Some("42501") {
        return error;
    }
    match missing_right(pipeline).await {
        Some(Problem { found, mend }) => Problem { found: format!("{error}: {found}"), mend }.into(),
        None => error,
    }
}

/// The first captured table that may not be read. `None` also where that can't be found out.
async fn missing_right(pipeline: &Pipeline) -> Option<Problem> {
    let config = &pipeline.config;
    let mut connection = Connection::open(&config.source, Purpose::Sql).await.ok()?;
    let tables = catalog::tables(&mut connection).await.ok()?;
    connection.close().await;
    let captured: HashSet<String> =
        pipeline.progress.tables().iter().map(|table| table.name.clone()).collect();
    let mut tables = tables.values().filter(|table| captured.contains(&table.display_name()));
    tables.find_map(|table| unreadable(table, &config.source.url.user))
}
