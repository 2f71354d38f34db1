//! What PostgreSQL says of itself and of our role, in one query: `run` asks it too, before it makes
//! anything, and its start must not become slow.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::platform::{self, Platform};
use crate::postgres::{Connection, Error, literal};

/// Settings that checks look at. Those of services exist there only, and are NULL elsewhere.
const SETTINGS: &[&str] = &[
    "wal_level",
    "max_replication_slots",
    "max_wal_senders",
    "max_slot_wal_keep_size",
    "idle_replication_slot_timeout",
    "hot_standby_feedback",
];

/// The server, as our role sees it.
#[derive(Debug, Deserialize)]
pub(crate) struct Server {
    /// `server_version_num`: 150004 is version 15.4.
    pub(crate) version: u32,
    /// As the server spells it.
    pub(super) version_name: String,
    pub(super) standby: bool,
    pub(super) encoding: String,
    /// Its clock, in ms since 1970.
    pub(super) now: f64,
    pub(super) role: String,
    pub(super) superuser: bool,
    /// The attribute REPLICATION.
    pub(super) replication: bool,
    /// CREATE on the database, which a publication needs.
    pub(super) may_create: bool,
    settings: BTreeMap<String, Option<String>>,
    /// `wal_level` was changed, and the change waits for a restart.
    pub(super) wal_level_pending: bool,
    /// The roles of services that exist here, and whether ours has their rights.
    roles: BTreeMap<String, bool>,
    aurora: bool,
    pub(super) slots: u32,
    /// Our slot is among them.
    pub(super) slot_exists: bool,
    pub(super) senders: u32,
    /// Our connection has TLS.
    pub(super) encrypted: bool,
}

impl Server {
    pub(crate) async fn read(connection: &mut Connection, slot: &str) -> Result<Server, Error> {
        let json = connection.query_one(&query(slot)).await.map_err(|e| e.doing("looking at the server"))?;
        serde_json::from_str(&json.unwrap_or_default())
            .map_err(|e| connection.protocol_error(format!("the server's description of itself: {e}")))
    }

    /// A setting's value; `None` where the server does not know it.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).and_then(Option::as_deref).filter(|value| !value.is_empty())
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.setting(name)?.parse().ok()
    }

    /// The role exists.
    pub(super) fn has_role(&self, name: &str) -> bool {
        self.roles.contains_key(name)
    }

    pub(super) fn is_aurora(&self) -> bool {
        self.aurora
    }

    /// Ours has the rights of the role.
    pub(super) fn is_member_of(&self, name: &str) -> bool {
        self.roles.get(name).copied().unwrap_or(false)
    }

    pub(super) fn platform(&self) -> Platform {
        Platform::of(self)
    }
}

fn query(slot: &str) -> String {
    let list = |names: &mut dyn Iterator<Item = &&str>| {
        names.map(|name| literal(name)).collect::<Vec<_>>().join(", ")
    };
    let settings = list(&mut SETTINGS.iter().chain(platform::SETTINGS));
    let roles = list(&mut platform::ROLES.iter());
    format!(
        "SELECT pg_catalog.jsonb_build_object(\
            'version', pg_catalog.current_setting('server_version_num')::pg_catalog.int4, \
            'version_name', pg_catalog.current_setting('server_version'), \
            'standby', pg_catalog.pg_is_in_recovery(), \
            'encoding', pg_catalog.current_setting('server_encoding'), \
            'now', extract(epoch FROM pg_catalog.clock_timestamp()) * 1000, \
            'role', current_user, \
            'superuser', coalesce(r.rolsuper, false), \
            'replication', coalesce(r.rolreplication, false), \
            'may_create', pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), \
            'settings', (SELECT pg_catalog.jsonb_object_agg(s.name, pg_catalog.current_setting(s.name, true)) \
                           FROM pg_catalog.unnest(ARRAY[{settings}]) s(name)), \
            'wal_level_pending', CASE WHEN pg_catalog.current_setting('wal_level') = 'logical' THEN false \
               ELSE coalesce((SELECT s.pending_restart FROM pg_catalog.pg_settings s \
                               WHERE s.name = 'wal_level'), false) END, \
            'roles', (SELECT coalesce(pg_catalog.jsonb_object_agg(g.rolname, \
                                                                  pg_catalog.pg_has_role(g.oid, 'USAGE')), '{{}}') \
                        FROM pg_catalog.pg_roles g WHERE g.rolname IN ({roles})), \
            'aurora', EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.proname = 'aurora_version'), \
            'slots', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots), \
            'slot_exists', EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = {slot}), \
            'senders', (SELECT pg_catalog.count(w.pid) FROM pg_catalog.pg_stat_get_wal_senders() w), \
            'encrypted', coalesce((SELECT t.ssl FROM pg_catalog.pg_stat_ssl t \
                                    WHERE t.pid = pg_catalog.pg_backend_pid()), false)) \
           FROM (SELECT) one LEFT JOIN pg_catalog.pg_roles r ON r.rolname = current_user",
        slot = literal(slot)
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A server that is ready, changed by the text of a JSON object.
    pub(crate) fn server(changes: &str) -> Server {
        let mut server = serde_json::json!({
            "version": 150_004, "version_name": "15.4", "standby": false, "encoding": "UTF8", "now": 0.5,
            "role": "repl", "superuser": false, "replication": true, "may_create": false,
            "settings": { "wal_level": "logical", "max_replication_slots": "10", "max_wal_senders": "10",
                          "max_slot_wal_keep_size": "20GB" },
            "wal_level_pending": false, "roles": {}, "aurora": false, "slots": 0, "slot_exists": false,
            "senders": 0, "encrypted": false,
        });
        let changes: serde_json::Value = serde_json::from_str(changes).unwrap();
        for (name, value) in changes.as_object().unwrap() {
            match server[name].as_object_mut().zip(value.as_object()) {
                Some((object, more)) => object.extend(more.clone()),
                None => server[name] = value.clone(),
            }
        }
        serde_json::from_value(server).unwrap()
    }
}
