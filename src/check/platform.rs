//! Who runs the server: a managed service is known by settings and roles that exist nowhere else, and
//! says with other words what a superuser would do.
//!
//! | service | known by |
//! |---|---|
//! | Amazon Aurora | the function `aurora_version` |
//! | Amazon RDS | the setting `rds.logical_replication` or `rds.extensions`, or the role `rds_superuser` |
//! | Google Cloud SQL | the setting `cloudsql.logical_decoding`, or the role `cloudsqlsuperuser` |
//! | Azure Database | the setting `azure.extensions`, or the role `azure_pg_admin` or `azuresu` |
//! | Supabase | the role `supabase_admin` |
//! | Neon | the role `neon_superuser`, or a setting `neon.…` |
//!
//! The pages of `docs/postgres/` say the same at length.

use super::server::Server;
use crate::postgres::identifier;

/// See [`Server::setting`].
pub(super) const SETTINGS: &[&str] = &[
    "rds.logical_replication",
    "rds.extensions",
    "cloudsql.logical_decoding",
    "azure.extensions",
    "neon.timeline_id",
    "neon.tenant_id",
];

/// See [`Server::has_role`].
pub(super) const ROLES: &[&str] = &[
    "rds_superuser",
    "rds_replication",
    "cloudsqlsuperuser",
    "azure_pg_admin",
    "azuresu",
    "supabase_admin",
    "neon_superuser",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Platform {
    SelfHosted,
    Rds,
    Aurora,
    CloudSql,
    Azure,
    Supabase,
    Neon,
}

impl Platform {
    pub(super) fn of(server: &Server) -> Platform {
        let setting = |name| server.setting(name).is_some();
        let role = |name| server.has_role(name);
        if server.is_aurora() {
            Platform::Aurora
        } else if setting("rds.logical_replication") || setting("rds.extensions") || role("rds_superuser") {
            Platform::Rds
        } else if setting("cloudsql.logical_decoding") || role("cloudsqlsuperuser") {
            Platform::CloudSql
        } else if setting("azure.extensions") || role("azure_pg_admin") || role("azuresu") {
            Platform::Azure
        } else if role("neon_superuser") || setting("neon.timeline_id") || setting("neon.tenant_id") {
            Platform::Neon
        } else if role("supabase_admin") {
            Platform::Supabase
        } else {
            Platform::SelfHosted
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Platform::SelfHosted => "PostgreSQL",
            Platform::Rds => "Amazon RDS",
            Platform::Aurora => "Amazon Aurora",
            Platform::CloudSql => "Google Cloud SQL",
            Platform::Azure => "Azure Database for PostgreSQL",
            Platform::Supabase => "Supabase",
            Platform::Neon => "Neon",
        }
    }

    /// The page about it.
    pub(super) fn page(self) -> &'static str {
        match self {
            Platform::SelfHosted => "docs/postgres/self-hosted.md",
            Platform::Rds => "docs/postgres/rds.md",
            Platform::Aurora => "docs/postgres/aurora.md",
            Platform::CloudSql => "docs/postgres/cloudsql.md",
            Platform::Azure => "docs/postgres/azure.md",
            Platform::Supabase => "docs/postgres/supabase.md",
            Platform::Neon => "docs/postgres/neon.md",
        }
    }

    /// How `wal_level` becomes `logical`.
    pub(super) fn logical_wal(self) -> &'static str {
        match self {
            Platform::SelfHosted => "ALTER SYSTEM SET wal_level = 'logical', then restart PostgreSQL",
            Platform::Rds => {
                "set rds.logical_replication to 1 in the DB parameter group of this instance (wal_level can't be set \
                 directly on Amazon RDS), then reboot it, by hand or in its maintenance window"
            }
            Platform::Aurora => {
                "set rds.logical_replication to 1 in the DB cluster parameter group (wal_level can't be set directly on \
                 Amazon Aurora), then reboot the writer instance, by hand or in its maintenance window"
            }
            Platform::CloudSql => {
                "set the flag cloudsql.logical_decoding to on for this instance (wal_level can't be set directly on \
                 Google Cloud SQL); that restarts it"
            }
            Platform::Azure => {
                "set the server parameter wal_level to logical in the Azure portal, then restart the server"
            }
            Platform::Supabase => {
                "Supabase sets it to logical by itself: if somebody changed it, set wal_level back with `supabase \
                 postgres-config`, which restarts the database"
            }
            Platform::Neon => {
                "enable logical replication in the Neon console, under Settings of the project (wal_level can't be set \
                 directly on Neon); that restarts its computes and can't be undone"
            }
        }
    }

    /// The setting is already right, and the server has not been restarted since.
    pub(super) fn restart(self) -> &'static str {
        match self {
            Platform::SelfHosted => "restart PostgreSQL",
            Platform::Rds => "reboot the instance, by hand or in its maintenance window",
            Platform::Aurora => "reboot the writer instance, by hand or in its maintenance window",
            Platform::CloudSql => "restart the instance",
            Platform::Azure => "restart the server in the Azure portal",
            Platform::Supabase => "restart the database in the Supabase dashboard",
            Platform::Neon => "restart the compute in the Neon console",
        }
    }

    /// The service's own switch for logical replication, where it is on already.
    pub(super) fn is_switched_on(self, server: &Server) -> bool {
        let on = |name| matches!(server.setting(name), Some("on" | "1"));
        match self {
            Platform::Rds | Platform::Aurora => on("rds.logical_replication"),
            Platform::CloudSql => on("cloudsql.logical_decoding"),
            _ => false,
        }
    }

    /// How our role may make slots and read them.
    pub(super) fn let_replicate(self, role: &str) -> String {
        let role = identifier(role);
        match self {
            Platform::SelfHosted => format!("let a superuser run: ALTER ROLE {role} REPLICATION"),
            Platform::Rds | Platform::Aurora => {
                format!("let the master user run: GRANT rds_replication TO {role}")
            }
            Platform::CloudSql => {
                format!("let a user of the role cloudsqlsuperuser run: ALTER ROLE {role} REPLICATION")
            }
            Platform::Azure => format!("let the server's administrator run: ALTER ROLE {role} REPLICATION"),
            Platform::Supabase => format!("let the role postgres run: ALTER ROLE {role} REPLICATION"),
            Platform::Neon => format!("let a role of neon_superuser run: ALTER ROLE {role} REPLICATION"),
        }
    }

    pub(super) fn may_replicate(self, server: &Server) -> bool {
        let by_membership = match self {
            Platform::Rds | Platform::Aurora => server.is_member_of("rds_replication"),
            _ => false,
        };
        server.superuser || server.replication || by_membership
    }

    /// How a setting is changed that is not special to the service.
    pub(super) fn change(self, setting: &str, value: &str, restart: bool) -> String {
        let then = |how: &str| if restart { format!(", then {how}") } else { String::new() };
        match self {
            Platform::SelfHosted if restart => {
                format!("ALTER SYSTEM SET {setting} = '{value}', then restart PostgreSQL")
            }
            Platform::SelfHosted => {
                format!("ALTER SYSTEM SET {setting} = '{value}'; SELECT pg_reload_conf()")
            }
            Platform::Rds => {
                format!("set {setting} to {value} in the DB parameter group{}", then("reboot the instance"))
            }
            Platform::Aurora => {
                format!(
                    "set {setting} to {value} in the DB cluster parameter group{}",
                    then("reboot the writer")
                )
            }
            Platform::CloudSql => {
                format!("set the flag {setting} to {value}{}", then("restart the instance"))
            }
            Platform::Azure => {
                format!("set the server parameter {setting} to {value}{}", then("restart the server"))
            }
            Platform::Supabase => {
                format!(
                    "set {setting} to {value} with `supabase postgres-config`{}",
                    then("restart the database")
                )
            }
            Platform::Neon => format!("ask Neon's support for {setting} = {value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::tests::server;
    use super::*;

    #[test]
    fn services_are_known() {
        for (changes, platform) in [
            ("{}", Platform::SelfHosted),
            (r#"{"settings": {"rds.logical_replication": "off"}}"#, Platform::Rds),
            (r#"{"settings": {"rds.extensions": "hstore"}}"#, Platform::Rds),
            (r#"{"roles": {"rds_superuser": false}}"#, Platform::Rds),
            (r#"{"settings": {"rds.extensions": "hstore"}, "aurora": true}"#, Platform::Aurora),
            (r#"{"settings": {"cloudsql.logical_decoding": "off"}}"#, Platform::CloudSql),
            (r#"{"roles": {"azuresu": false}}"#, Platform::Azure),
            (r#"{"roles": {"supabase_admin": false}}"#, Platform::Supabase),
            (r#"{"settings": {"neon.timeline_id": "a"}}"#, Platform::Neon),
        ] {
            assert_eq!(server(changes).platform(), platform, "{changes}");
        }
    }

    #[test]
    fn a_membership_is_enough_on_rds_only() {
        let member = r#"{"replication": false, "roles": {"rds_replication": true, "rds_superuser": false}}"#;
        assert!(Platform::Rds.may_replicate(&server(member)));
        assert!(!Platform::SelfHosted.may_replicate(&server(member)));
        assert!(!Platform::Rds.may_replicate(&server(r#"{"replication": false}"#)));
        assert!(Platform::Neon.may_replicate(&server(r#"{"superuser": true, "replication": false}"#)));
    }
}
