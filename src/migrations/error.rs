//! Errors of migrations.

use crate::exit::{self, EndsCommand};
use crate::postgres::{Error, sqlstate};

/// Migrating failed; nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Postgres could not be reached, or refused a statement outside a migration.
    #[error(transparent)]
    Postgres(#[from] Error),
    /// The role may not create the schema.
    #[error(
        "role {role} may not create schema outbox in database {database}: pass the owner's URL with --database-url"
    )]
    NotOwner {
        role: Box<str>,
        database: Box<str>,
        /// Postgres' error.
        source: Box<MigrateError>,
    },
    /// The schema belongs to another role.
    #[error(
        "schema outbox belongs to role {owner}, and role {role} may not change it: pass the owner's URL with \
         --database-url, or, if the schema is empty, run `alter schema outbox owner to {role}` as its owner"
    )]
    OtherOwner {
        /// The role.
        role: Box<str>,
        /// The schema's owner.
        owner: Box<str>,
        /// Postgres' error.
        source: Box<MigrateError>,
    },
    /// A migration failed.
    #[error("migration {version:04} failed, and nothing was applied")]
    Failed {
        /// Its number.
        version: i64,
        /// Postgres' error.
        source: Error,
    },
    /// A migration differs from the one that was applied.
    #[error(
        "migration {version:04} was applied with different SQL than this walpost has: use the walpost that applied it, \
         or a newer release"
    )]
    Changed {
        /// Its number.
        version: i64,
    },
    /// This program is older than the database.
    #[error("the database has migration {version:04}, which this walpost does not know: use a newer walpost")]
    Unknown {
        /// Its number.
        version: i64,
    },
    /// The bookkeeping was changed by hand.
    #[error("outbox._migrations marks migration {version:04} as failed: complete it by hand and correct the row")]
    Unfinished {
        /// Its number.
        version: i64,
    },
    /// A long transaction uses a table that a migration changes.
    #[error(
        "could not lock a table in schema outbox within one minute, and nothing was applied; another transaction is \
         using it{}: wait for it or end it with pg_terminate_backend, then run this again",
        .user.as_ref().map(|user| format!(" ({user})")).unwrap_or_default()
    )]
    Busy {
        /// The oldest transaction that uses one.
        user: Option<Box<str>>,
        /// Postgres' error.
        source: Error,
    },
    /// Another session holds the migration lock.
    #[error(
        "another session has held the migration lock for a minute{}: wait for it, or end it with pg_terminate_backend",
        .holder.as_ref().map(|holder| format!(" ({holder})")).unwrap_or_default()
    )]
    Locked {
        /// Who.
        holder: Option<String>,
        /// Postgres' error.
        source: Error,
    },
}

impl MigrateError {
    /// Whether a table's lock was not to be had.
    pub(super) fn is_busy(&self) -> bool {
        let codes = [sqlstate::LOCK_NOT_AVAILABLE, sqlstate::DEADLOCK_DETECTED];
        matches!(self, Self::Failed { source, .. } if source.sqlstate().is_some_and(|code| codes.contains(&code)))
    }

    /// Whether the role lacks a privilege, such as CREATE on the schema.
    pub(super) fn is_denial(&self) -> bool {
        let (Self::Postgres(source) | Self::Failed { source, .. }) = self else { return false };
        source.sqlstate() == Some(sqlstate::INSUFFICIENT_PRIVILEGE)
    }

    /// The same where that stays so, with who has it.
    pub(super) fn busy(self, user: Option<Box<str>>) -> Self {
        match self {
            Self::Failed { source, .. } => Self::Busy { user, source },
            other => other,
        }
    }
}

impl EndsCommand for MigrateError {
    fn exit_code(&self) -> u8 {
        exit::FAILED
    }
}
