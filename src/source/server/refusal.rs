//! What is wrong when the server refuses a session or a statement.

use super::answer::{first, number, setting};
use super::identity::Server;
use crate::postgres::{Connection, Error, sqlstate};
use crate::source::error::SourceError;

/// The error for a replication connection that the server refused. The control connection tells whether all
/// walsenders or all connections are in use, which have the same code.
pub(crate) fn explain_refusal(error: Error, control: &mut Connection, server: &Server) -> SourceError {
    match error.sqlstate() {
        Some(sqlstate::INSUFFICIENT_PRIVILEGE) => {
            SourceError::NoReplicationRole { role: server.role.clone(), service: server.service }
        }
        Some(sqlstate::TOO_MANY_CONNECTIONS) => {
            let question = "the number of walsenders";
            let used = control.simple_query("select count(*) from pg_stat_replication").map_err(SourceError::from);
            let used = used.and_then(|rows| number::<u32>(first(&rows, question)?, 0, question));
            match (used, setting(control, "max_wal_senders")) {
                (Ok(used), Ok(limit)) if used >= limit => SourceError::SendersUsedUp { limit },
                _ => error.into(),
            }
        }
        _ => error.into(),
    }
}

/// The error for a statement on the tables of schema outbox.
pub(crate) fn explain_statement(error: Error, server: &Server, doing: &'static str) -> SourceError {
    match error.sqlstate() {
        Some(sqlstate::UNDEFINED_TABLE | sqlstate::INVALID_SCHEMA_NAME) => {
            SourceError::MigrationsMissing { database: server.database.clone() }
        }
        Some(sqlstate::UNDEFINED_COLUMN | sqlstate::UNDEFINED_FUNCTION) => {
            SourceError::MigrationsOutdated { database: server.database.clone() }
        }
        Some(sqlstate::INSUFFICIENT_PRIVILEGE) => SourceError::NoPrivilege { role: server.role.clone(), doing },
        _ => error.into(),
    }
}
