//! Tables that come and go, and publications that change, while the stream is followed.
//!
//! The stream says nothing of a table that it does not send. So the catalog is looked at every few
//! seconds, by a sum over the rows that decide which tables are captured: any change of them changes a
//! row's `xmin`. Only when the sum is another one are the tables chosen anew; if that gives other
//! tables, or a table's publication is not the one that it was, a new session begins.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::timeout;

use super::capture::{Publishing, capture};
use super::session::{Recovery, Session};
use crate::error::Error;
use crate::plan::Strictness;
use crate::postgres::catalog::Types;
use crate::postgres::{self, Connection, literal};

/// A connection that does not answer for so long is taken for dead.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same for what takes longer in a large database, or waits for a lock.
const LONG: Duration = Duration::from_secs(30);

/// A sum over tables, schemas, the publication and its members.
pub(super) async fn look(connection: &mut Connection, publication: &str) -> Result<String, postgres::Error> {
    let sum = |from: &str| {
        format!(
            "(SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(oid::pg_catalog.int8), ':', \
             pg_catalog.sum(xmin::pg_catalog.text::pg_catalog.int8)) FROM pg_catalog.{from})"
        )
    };
    let name = literal(publication);
    let sql = format!(
        "SELECT pg_catalog.concat_ws('/', {}, {}, {}, {})",
        sum("pg_class WHERE relkind IN ('r', 'p') AND oid >= 16384"),
        sum("pg_namespace"),
        sum(&format!("pg_publication WHERE pubname = {name}")),
        sum(&format!(
            "pg_publication_rel WHERE prpubid IN (SELECT oid FROM pg_catalog.pg_publication WHERE pubname = {name})"
        )),
    );
    let sum = connection.query_one(&sql).await.map_err(|e| e.doing("looking for new tables"))?;
    Ok(sum.unwrap_or_default())
}

impl Session<'_> {
    /// Begins anew when other tables are to be captured than those that are.
    pub(super) async fn look_for_tables(&mut self) -> Result<(), Error> {
        let config = &self.pipeline.config;
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        let look = async { Ok(timeout(PATIENCE, look(&mut self.control, &config.source.publication)).await) };
        let Ok(watched) = Session::meanwhile(&mut self.stream, positions, look).await? else {
            return Err(self.control.silent(PATIENCE).into());
        };
        let watched = watched?;
        if watched == self.watched {
            return Ok(());
        }
        self.watched = watched;
        let mut types = Types::default();
        let how = (Publishing::Allowed, Strictness::Streaming);
        let choose =
            timeout(LONG, capture(&mut self.control, &mut types, (config, &self.pipeline.file), how));
        let Ok(chosen) = Session::meanwhile(&mut self.stream, positions, async { Ok(choose.await) }).await?
        else {
            return Err(self.control.silent(LONG).into());
        };
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(error @ (Error::Usage(_) | Error::Setting(_) | Error::Plan { .. })) => {
                tracing::warn!("the tables have changed, and would not be captured as they are: {error}");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let same = chosen.len() == self.captured.len()
            && chosen.values().zip(self.captured.values()).all(|(new, old)| {
                new.table.oid == old.table.oid && new.name() == old.name() && new.published == old.published
            });
        if same {
            return self.note_rewritten(Some(&chosen)).await;
        }
        if self.drain().await? == Recovery::Stopped {
            return Ok(());
        }
        let new: BTreeSet<String> = chosen.values().map(super::Captured::name).collect();
        let old: BTreeSet<String> = self.captured.values().map(|captured| captured.name()).collect();
        let added: Vec<&String> = new.iter().filter(|name| !old.contains(*name)).collect();
        Err(Error::Restart(match added.as_slice() {
            [] => "the tables to capture, or their publication, have changed; beginning again from the checkpoint"
                .to_owned(),
            added => format!("tables to capture have come: {}", join(added)),
        }))
    }
}

/// The first few names.
fn join(names: &[&String]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(|name| name.as_str()).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
