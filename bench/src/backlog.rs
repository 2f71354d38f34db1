//! Committed rows that wait in the write-ahead log. The server itself writes them.

use postgres::Client;
use redis_connect_postgres::throwaway::Postgres;

use crate::error::Result;
use crate::rows::select_list;
use crate::servers::{connect, execute, query};

/// Inserts rows 1 to `rows` in transactions of `size` rows.
pub(crate) fn write(postgres: &Postgres, rows: u32, size: u32) -> Result<()> {
    let mut client = connect(postgres)?;
    // Less waiting, the same log.
    execute(&mut client, "SET synchronous_commit = off")?;
    execute(
        &mut client,
        &format!(
            "DO $$ DECLARE first int := 1; BEGIN
               WHILE first <= {rows} LOOP
                 INSERT INTO bench SELECT {}
                   FROM generate_series(first, least(first::bigint + {size} - 1, {rows})::int) AS i;
                 COMMIT;
                 EXIT WHEN {rows} - first < {size};
                 first := first + {size};
               END LOOP;
             END $$",
            select_list("i")
        ),
    )
}

/// The position that all of the backlog lies before, and a little behind it, so that a reader does
/// not wait for a keepalive to know that it is there.
pub(crate) fn end(postgres: &Postgres) -> Result<String> {
    let mut client = connect(postgres)?;
    let end = position(&mut client)?;
    execute(&mut client, "SELECT pg_logical_emit_message(true, 'bench', 'end')")?;
    Ok(end)
}

fn position(client: &mut Client) -> Result<String> {
    query(client, "SELECT pg_current_wal_insert_lsn()::text")
}
