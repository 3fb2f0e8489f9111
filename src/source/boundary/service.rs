//! Who operates the server. Managed services change settings and roles in other ways than a server of one's own.

use crate::postgres::{Row, quote_identifier};

/// A managed service, as far as advice differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManagedService {
    /// A server of one's own, or a service without ways of its own.
    #[default]
    Own,
    /// Amazon RDS and Aurora.
    Rds,
    /// Google Cloud SQL.
    CloudSql,
    /// Azure Database for PostgreSQL.
    Azure,
}

impl ManagedService {
    /// The role by which each can be told: its administrators are members.
    const ROLES: [(&'static str, Self); 3] =
        [("rds_superuser", Self::Rds), ("cloudsqlsuperuser", Self::CloudSql), ("azure_pg_admin", Self::Azure)];

    /// An SQL expression for [`ManagedService::read`].
    pub(in crate::source) const QUERY: &'static str = "(select string_agg(rolname, ' ') from pg_roles \
         where rolname in ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin'))";

    /// By the column with the value of [`ManagedService::QUERY`].
    pub(in crate::source) fn read(row: &Row, column: usize) -> Self {
        let found = row.text(column).unwrap_or_default();
        let service = Self::ROLES.iter().find(|(role, _)| found.split(' ').any(|found| found == *role));
        service.map(|(_, service)| *service).unwrap_or_default()
    }

    /// How to turn logical decoding on.
    #[must_use]
    pub const fn logical_decoding(self) -> &'static str {
        match self {
            Self::Own => "run `alter system set wal_level = logical` and restart Postgres",
            Self::Rds => "set rds.logical_replication = 1 in the parameter group and reboot the instance",
            Self::CloudSql => "set the flag cloudsql.logical_decoding = on, which restarts the instance",
            Self::Azure => "set the server parameter wal_level = logical and restart the server",
        }
    }

    /// How to let a role replicate.
    #[must_use]
    pub fn replication(self, role: &str) -> String {
        let role = quote_identifier(role);
        match self {
            // Nobody there may set the attribute; members of this role need none.
            Self::Rds => format!("run `grant rds_replication to {role}`"),
            Self::Own | Self::CloudSql | Self::Azure => format!("run `alter role {role} replication`"),
        }
    }
}
