//! The database's encoding: SQL_ASCII means that PostgreSQL knows none, and converts nothing.

use crate::check::report::Findings;
use crate::check::seen::Source;
use crate::check::server::Server;
use crate::check::{Check, Look};

pub(in crate::check) const CHECK: Check =
    Check { name: "encoding", about: "encoding of the database", look: Look::Source(look) };

pub(in crate::check) const FOUND: &str =
    "SQL_ASCII: PostgreSQL sends texts as they are stored, which may be no UTF-8";
pub(in crate::check) const MEND: &str = "make sure that what is stored is UTF-8; better, dump the database and \
                                          restore it into one made with ENCODING 'UTF8'";

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    if is_none(&source.server) {
        findings.warn(FOUND, MEND);
    } else {
        findings.ok(match source.server.encoding.as_str() {
            "UTF8" => "UTF8".to_owned(),
            other => format!("{other}, which PostgreSQL converts to UTF8"),
        });
    }
}

pub(in crate::check) fn is_none(server: &Server) -> bool {
    server.encoding == "SQL_ASCII"
}
