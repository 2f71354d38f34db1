//! ALTER TABLE … TYPE … USING: other values in every row, of which the stream tells nothing.
//!
//! The columns' types can be the same afterwards, so the definition that the stream describes is too. But
//! the rows are in other files, and the catalog has another version of the column:
//!
//! ```text
//!                                   files   columns
//!   ALTER TABLE … TYPE … USING      other   other     read again
//!   VACUUM FULL, CLUSTER, TRUNCATE  other   same
//!   SET STATISTICS, SET STORAGE     same    other
//! ```
//!
//! The catalog is looked at when a session begins, and when tables changed ([`super::changes`]); what has been
//! found to do no harm is noted, so that it is not added up with what comes later. Settings of columns alone are no
//! change of the table, though, and VACUUM FULL and CLUSTER also change the columns that were added with a
//! default since the rows were written last: in both cases the table is read again in vain when it is written anew.
//!
//! The rows are read when the stream has passed the end of the log as it is now: changes from before that
//! have former values, and nothing would bring the new ones after them.

use std::collections::BTreeMap;

use super::capture::Captured;
use super::checkpoint::TableState;
use super::session::Session;
use crate::error::Error;
use crate::postgres::catalog::Table;
use crate::postgres::snapshot::before_page_header;

impl Session<'_> {
    /// Marks those tables to be read again whose rows were written anew with other values, as far as the catalog
    /// tells. `chosen`: the tables as they are now, if they were looked at.
    pub(super) async fn note_rewritten(
        &mut self,
        chosen: Option<&BTreeMap<u32, Captured>>,
    ) -> Result<(), Error> {
        let mut rewritten = Vec::new();
        let known = self.captured.iter().map(|(oid, one)| (oid, &**one));
        let tables: Vec<(&u32, &Captured)> = match chosen {
            Some(chosen) => chosen.iter().collect(),
            None => known.collect(),
        };
        for (oid, now) in tables {
            let name = now.name();
            let Some(state) = self.states.get_mut(&name) else { continue };
            let (files, columns_as_of) = (&now.table.files, &now.table.columns_as_of);
            let same = (&state.files, &state.columns_as_of) == (files, columns_as_of);
            // Another definition is told by the stream, and what to do then depends on the files too.
            if same || state.oid != *oid || state.columns != *now.shape.record() {
                continue;
            }
            if is_rewritten(state, &now.table) {
                rewritten.push(name.clone());
            }
            state.files.clone_from(files);
            state.columns_as_of.clone_from(columns_as_of);
            self.writer.extra().table(&name, state);
        }
        if rewritten.is_empty() {
            return Ok(());
        }
        let end = before_page_header(self.end_of_log().await?);
        for name in rewritten {
            tracing::info!(table = name, "its rows were written anew by ALTER TABLE: it will be read again");
            if let Some(state) = self.states.get_mut(&name) {
                (state.again, state.rewritten) = (true, true);
                state.until = state.until.max(end.0);
                self.writer.extra().table(&name, state);
            }
        }
        Ok(())
    }
}

/// The rows are in other files than those that were read, and a column was altered since.
fn is_rewritten(state: &TableState, now: &Table) -> bool {
    let columns = |text: &str| -> BTreeMap<String, String> {
        let columns = text.split(',').filter_map(|column| column.split_once(':'));
        columns.map(|(number, version)| (number.to_owned(), version.to_owned())).collect()
    };
    let (known, now_has) = (columns(&state.columns_as_of), columns(&now.columns_as_of));
    let altered = known.iter().any(|(number, version)| now_has.get(number).is_some_and(|now| now != version));
    state.files != now.files && altered
}
