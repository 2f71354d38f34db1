//! How much log PostgreSQL keeps for a reader that is away: without a limit its disk can fill up, with
//! a small one the slot is lost in an outage.

use crate::check::platform::Platform;
use crate::check::report::Findings;
use crate::check::seen::Source;
use crate::check::{Check, Look};

pub(in crate::check) const CHECK: Check = Check {
    name: "wal_limit",
    about: "how much WAL is kept for a reader that is away",
    look: Look::Source(look),
};

fn look(source: &Source<'_>, findings: &mut Findings<'_>) {
    let server = &source.server;
    if server.version < 130_000 {
        let upgrade =
            "watch pg_replication_slots, or upgrade: PostgreSQL 13 can limit it (max_slot_wal_keep_size)";
        findings.warn("all of it, for ever: it can fill the disk", upgrade);
        return;
    }
    match server.setting("max_slot_wal_keep_size") {
        Some("-1") => findings.warn(
            "all of it, for ever (max_slot_wal_keep_size = -1): it can fill the disk while the connector is away",
            mend(server.platform()),
        ),
        Some(limit) => findings.ok(format!("{limit} at most (max_slot_wal_keep_size)")),
        None => findings.unseen("PostgreSQL does not tell max_slot_wal_keep_size", None),
    }
    // PostgreSQL 18.
    if let Some(limit) = server.setting("idle_replication_slot_timeout").filter(|limit| *limit != "0") {
        findings.warn(
            format!("a slot that nobody has read for {limit} is invalidated (idle_replication_slot_timeout)"),
            "don't let the connector be away for longer; its next run would read all tables again",
        );
    }
}

fn mend(platform: Platform) -> String {
    const NAME: &str = "max_slot_wal_keep_size";
    match platform {
        Platform::SelfHosted | Platform::Supabase => platform.change(NAME, "20GB", false),
        // Their parameters are numbers of megabytes.
        Platform::Rds | Platform::Azure => platform.change(NAME, "20480", false),
        Platform::Aurora | Platform::CloudSql | Platform::Neon => format!(
            "watch the free storage and pg_replication_slots, and drop the slot (redis-connect-postgres reset) if the \
             connector stays away; {NAME} bounds it where {} lets you set it",
            platform.name()
        ),
    }
}
