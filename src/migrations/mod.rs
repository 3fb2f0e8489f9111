//! The objects of schema `outbox`, and the rights of those who use them.
//!
//! The SQL is in `migrations/`, in files that never change once they are released. This module applies them with sqlx's
//! migrator, with its bookkeeping in our own schema (`outbox._migrations`): a service may use sqlx for its own migrations in
//! the same database.

mod grants;

use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{PgConnection, SqlSafeStr};

pub use self::grants::{Advice, GrantError, Roles, grant, grants_sql};

/// Where everything lives.
const SCHEMA: &str = "outbox";

/// The migrator's bookkeeping.
const BOOKKEEPING: &str = "outbox._migrations";

/// Every migration in order: number, what it brings, SQL.
const MIGRATIONS: [(i64, &str, &str); 8] = [
    (1, "schema versions", include_str!("../../migrations/0001_schema_version.sql")),
    (2, "the outbox table and its publication", include_str!("../../migrations/0002_event.sql")),
    (3, "emit and emit_message", include_str!("../../migrations/0003_emit.sql")),
    (4, "the relay's state", include_str!("../../migrations/0004_relay.sql")),
    (5, "maintenance of partitions", include_str!("../../migrations/0005_maintain.sql")),
    (6, "what becomes of a payload that breaks its contract", include_str!("../../migrations/0006_on_violation.sql")),
    (7, "positions to go back to", include_str!("../../migrations/0007_positions.sql")),
    (8, "what the relay knows of its slot", include_str!("../../migrations/0008_slot.sql")),
];

/// Functions whose parameters a later migration changes. An earlier one that is applied by hand once more would make the old one
/// beside it, and a call would be ambiguous; so the new one goes first, and is made again further down.
const REMADE: &str = "drop function if exists outbox.register_schema_version(
    text, text, text, text, json, text, text, text, jsonb, jsonb, jsonb, text);\n";

/// A migration that was just applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub version: i64,
    /// What it brought.
    pub description: String,
    /// How long it took.
    pub took: Duration,
}

/// The migrator over all migrations.
#[must_use]
pub fn migrator() -> Migrator {
    let migration = |(version, description, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let mut migrator = Migrator::with_migrations(MIGRATIONS.into_iter().map(migration).collect());
    migrator.create_schema(SCHEMA);
    migrator.dangerous_set_table_name(BOOKKEEPING);
    migrator
}

/// Applies what is missing and says what that was, in order. Of processes that do this at once, one works and the others wait
/// for it; they hold a session's advisory lock, so this must not go through a pooler that gives each transaction another session.
///
/// # Errors
/// When a migration fails, was changed after it was applied, or is of a newer walpost; what was applied before it stays.
/// The connection then still holds the migrator's lock: close it.
pub async fn migrate(connection: &mut PgConnection) -> Result<Vec<Applied>, MigrateError> {
    let migrator = migrator();
    // The migrator takes this lock too, and a session may hold it twice. It is taken here first, so that what another process
    // applies at the same time does not look like our work.
    connection.lock().await?;
    let before = applied_until(connection).await?;
    // The migrator's "if not exists" would log a notice each time.
    sqlx::query("set client_min_messages = warning").execute(&mut *connection).await?;
    if before == 0 {
        // The SQL may have been applied by hand.
        sqlx::raw_sql(REMADE).execute(&mut *connection).await?;
    }
    migrator.run_direct(None, connection, false).await?;
    sqlx::query("reset client_min_messages").execute(&mut *connection).await?;
    let applied: Vec<(i64, String, i64)> = sqlx::query_as(
        "select version, description, execution_time from outbox._migrations where version > $1 order by version",
    )
    .bind(before)
    .fetch_all(&mut *connection)
    .await?;
    connection.unlock().await?;
    let applied = applied.into_iter().map(|(version, description, nanos)| Applied {
        version,
        description,
        took: Duration::from_nanos(u64::try_from(nanos).unwrap_or_default()),
    });
    Ok(applied.collect())
}

/// All SQL in order, for those who apply it with a tool of their own.
#[must_use]
pub fn sql() -> String {
    let mut sql = format!("-- Should this be applied a second time.\n{REMADE}\n");
    for (version, description, text) in MIGRATIONS {
        sql.push_str(&format!("-- walpost migration {version}: {description}\n\n{text}\n"));
    }
    sql
}

/// The number of the newest migration in the database, 0 if there is none.
async fn applied_until(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let exists: bool =
        sqlx::query_scalar("select to_regclass($1) is not null").bind(BOOKKEEPING).fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(0);
    }
    sqlx::query_scalar("select coalesce(max(version), 0) from outbox._migrations").fetch_one(connection).await
}
