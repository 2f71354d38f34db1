//! The replication slot: it keeps the write-ahead log for us and lets one reader in.

use super::{Connection, Error, Server, literal};
use crate::lsn::Lsn;

/// A logical slot as the catalog has it.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) plugin: String,
    pub(crate) database: String,
    /// Process of the walsender that reads it.
    pub(crate) active_pid: Option<u32>,
    /// Nothing that committed before this position will be sent again.
    pub(crate) confirmed: Lsn,
    /// It can't be used any more; why, where the server says so.
    pub(crate) lost: Option<Loss>,
    /// A copy of the primary's on a standby, which nobody may read before the standby is promoted.
    pub(crate) synced: bool,
    /// The oldest log that is kept for it.
    pub(crate) restart: Option<Lsn>,
    /// Bytes that can still be written before it may be lost; `None` without a limit.
    pub(crate) safe: Option<u64>,
    /// `wal_status`
    pub(crate) status: String,
}

/// Why a slot is invalidated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Write-ahead log that it needs was removed.
    LogRemoved,
    /// Nobody read it for `idle_replication_slot_timeout` (PostgreSQL 18).
    Idle,
    /// On a standby: rows of the catalog that it needs were removed on the primary.
    RowsRemoved,
    /// On a standby: the primary's `wal_level` was lowered.
    LevelTooLow,
}

impl Loss {
    /// `wal_status`, and `invalidation_reason` where there is such a column (17).
    fn parse(status: Option<&str>, reason: Option<&str>) -> Option<Loss> {
        match (status, reason) {
            (_, Some("idle_timeout")) => Some(Loss::Idle),
            (_, Some("rows_removed")) => Some(Loss::RowsRemoved),
            (_, Some("wal_level_insufficient")) => Some(Loss::LevelTooLow),
            (_, Some("wal_removed")) | (Some("lost"), _) => Some(Loss::LogRemoved),
            _ => None,
        }
    }

    /// What happened, and the setting that decides about it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Loss::LogRemoved => {
                "PostgreSQL has removed write-ahead log that was not read yet (max_slot_wal_keep_size)"
            }
            Loss::Idle => {
                "nobody read it for longer than idle_replication_slot_timeout: raise that above the longest \
                 pause of the connector, or set it to 0"
            }
            Loss::RowsRemoved => {
                "the primary has removed rows of the catalog that it needs: set hot_standby_feedback = on on the \
                 standby, and primary_slot_name"
            }
            Loss::LevelTooLow => "wal_level of the primary was lowered: it has to be logical",
        }
    }
}

/// `None` when there is no slot of this name.
pub(crate) async fn find(connection: &mut Connection, name: &str) -> Result<Option<Slot>, Error> {
    let sql = format!(
        "SELECT s.plugin, s.database, s.active_pid, s.confirmed_flush_lsn, \
                pg_catalog.to_jsonb(s) OPERATOR(pg_catalog.->>) 'wal_status', \
                pg_catalog.to_jsonb(s) OPERATOR(pg_catalog.->>) 'invalidation_reason', \
                pg_catalog.to_jsonb(s) OPERATOR(pg_catalog.->>) 'synced', \
                s.restart_lsn, \
                pg_catalog.to_jsonb(s) OPERATOR(pg_catalog.->>) 'safe_wal_size' \
           FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = {}",
        literal(name)
    );
    let rows = connection.query(&sql).await.map_err(|e| e.doing(format!("looking at the slot {name}")))?;
    Ok(rows.into_iter().next().map(|row| {
        let mut columns = row.into_iter();
        let mut next = || columns.next().flatten();
        let status;
        Slot {
            plugin: next().unwrap_or_default(),
            database: next().unwrap_or_default(),
            active_pid: next().and_then(|pid| pid.parse().ok()),
            confirmed: next().and_then(|lsn| lsn.parse().ok()).unwrap_or_default(),
            lost: {
                status = next();
                Loss::parse(status.as_deref(), next().as_deref())
            },
            synced: next().as_deref() == Some("true"),
            restart: next().and_then(|lsn| lsn.parse().ok()),
            safe: next().and_then(|bytes| bytes.parse::<i64>().ok()).map(|bytes| bytes.max(0).unsigned_abs()),
            status: status.unwrap_or_else(|| "reserved".to_owned()),
        }
    }))
}

/// Makes the slot and returns the position from which it sends everything.
///
/// The SQL function does not export a snapshot, and none is needed: which transactions the snapshot
/// saw is told by their ids (see [`super::snapshot`]).
///
/// From PostgreSQL 17 on, standbys that synchronise slots get it too, so that it survives a failover. A slot
/// that is made on a standby can't have that.
pub(crate) async fn create(connection: &mut Connection, name: &str, server: Server) -> Result<Lsn, Error> {
    let failover = if server.version >= 170_000 && !server.standby { ", failover => true" } else { "" };
    let sql = format!(
        "SELECT lsn FROM pg_catalog.pg_create_logical_replication_slot({}, 'pgoutput'{failover})",
        literal(name)
    );
    match connection.query_one(&sql).await {
        Ok(lsn) => Ok(lsn.and_then(|lsn| lsn.parse().ok()).unwrap_or_default()),
        Err(error) => {
            let mend = match error.sqlstate() {
                Some("55000") => {
                    "; logical decoding needs: ALTER SYSTEM SET wal_level = 'logical', then a restart of PostgreSQL"
                }
                Some("42501") => "; let a superuser run: ALTER ROLE … REPLICATION for this role",
                Some("53400") => {
                    "; ALTER SYSTEM SET max_replication_slots to more than there are in pg_replication_slots, \
                     then a restart of PostgreSQL; or drop one that nobody needs"
                }
                Some("42710") => return Err(error),
                _ if error.is_transient() => return Err(error.doing(format!("making the slot {name}"))),
                _ => "",
            };
            Err(Error::Setting(format!("{}{mend}", error.doing(format!("making the slot {name}")))))
        }
    }
}

/// Ends a walsender of ours that PostgreSQL still takes for alive.
pub(crate) async fn terminate(connection: &mut Connection, pid: u32) -> Result<(), Error> {
    connection.query(&format!("SELECT pg_catalog.pg_terminate_backend({pid})")).await?;
    Ok(())
}

/// Drops the slot.
pub(crate) async fn drop(connection: &mut Connection, name: &str) -> Result<(), Error> {
    let sql = format!("SELECT pg_catalog.pg_drop_replication_slot({})", literal(name));
    connection.query(&sql).await.map_err(|e| e.doing(format!("dropping the slot {name}")))?;
    Ok(())
}
