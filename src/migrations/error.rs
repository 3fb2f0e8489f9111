//! Why migrations were not applied.

use crate::postgres::Error;

/// Nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Postgres could not be asked, or refused something that is no migration.
    #[error(transparent)]
    Postgres(#[from] Error),
    /// A migration failed.
    #[error("migration {version:04} failed, and nothing was applied")]
    Failed {
        /// Its number.
        version: i64,
        /// What Postgres says.
        source: Error,
    },
    /// A migration is not what it was when it was applied.
    #[error(
        "migration {version:04} was applied with another text than this walpost has: take the walpost that it was applied with, \
         or a newer release"
    )]
    Changed {
        /// Its number.
        version: i64,
    },
    /// This program is older than the database.
    #[error("the database has migration {version:04}, which this walpost does not know: take a newer walpost")]
    Unknown {
        /// Its number.
        version: i64,
    },
    /// Somebody has changed the bookkeeping by hand.
    #[error(
        "outbox._migrations says that migration {version:04} was not successful: finish it by hand and correct the row"
    )]
    Unfinished {
        /// Its number.
        version: i64,
    },
    /// Another session holds the migrations' lock.
    #[error(
        "another session has held the migrations' lock for a minute{}: wait for it, or end it with pg_terminate_backend",
        .holder.as_ref().map(|holder| format!(" ({holder})")).unwrap_or_default()
    )]
    Locked {
        /// Who.
        holder: Option<String>,
        /// What Postgres says.
        source: Error,
    },
}
