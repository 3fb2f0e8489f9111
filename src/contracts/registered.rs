//! What the database has registered: reading it, and registering more.

use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::definition::Definition;
use crate::relay::boundary::OnViolation;

/// SQLSTATEs that say something about the setting and not about the statement.
mod sqlstate {
    pub(super) const UNDEFINED_TABLE: &str = "42P01";
    pub(super) const UNDEFINED_COLUMN: &str = "42703";
    pub(super) const UNDEFINED_FUNCTION: &str = "42883";
    pub(super) const INVALID_SCHEMA_NAME: &str = "3F000";
    pub(super) const INSUFFICIENT_PRIVILEGE: &str = "42501";
    pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";
    pub(super) const REGISTERED_DIFFERENTLY: &str = "WP003";
}

/// Longest wait for another registration to end.
const LOCK_TIMEOUT: &str = "60s";

/// One row of `outbox.schema_version`.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// What the event is.
    pub name: String,
    /// The contract's version.
    pub version: String,
    /// Which registration of the name it is, from 1.
    pub ordinal: i32,
    /// Where its events go; none leaves it to the event.
    pub topic: Option<String>,
    /// What a payload is.
    pub format: String,
    /// The payload's schema.
    pub schema: Option<Value>,
    /// What it keeps to.
    pub compatibility: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it means.
    pub description: Option<String>,
    /// Its service levels.
    pub sla: Option<Value>,
    /// What it is made from.
    pub lineage: Option<Value>,
    /// `dead-letter`, `halt` or `warn`: what becomes of an event whose payload breaks the schema.
    pub on_violation: Option<String>,
    /// How its topic is to be.
    pub topic_config: Option<Value>,
    /// `active`, `deprecated` or `retired`.
    pub status: String,
    /// When it was registered, in ISO 8601's form, UTC.
    pub registered_at: String,
}

/// The database could not be asked or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Schema outbox is not there, or is older than this program.
    #[error("schema outbox is not in the database, or is older than this walpost: run walpost migrate first")]
    NotMigrated(#[source] sqlx::Error),
    /// The role may not.
    #[error("this role may not {action}: {}; take the role that owns schema outbox", message(source))]
    NotAllowed {
        /// What was tried.
        action: &'static str,
        /// What Postgres says.
        source: sqlx::Error,
    },
    /// Another registration does not come to an end.
    #[error(
        "another transaction has been registering schema versions for more than {LOCK_TIMEOUT}; see pg_stat_activity"
    )]
    Locked(#[source] sqlx::Error),
    /// Another definition was registered meanwhile.
    #[error("{}", message(.0))]
    Differs(#[source] sqlx::Error),
    /// Anything else.
    #[error("{action}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// What Postgres says.
        #[source]
        source: sqlx::Error,
    },
}

impl RegistryError {
    /// What Postgres or the driver says.
    #[must_use]
    pub fn into_source(self) -> sqlx::Error {
        match self {
            Self::NotMigrated(source) | Self::Locked(source) | Self::Differs(source) => source,
            Self::NotAllowed { source, .. } | Self::Failed { source, .. } => source,
        }
    }

    pub(super) fn new(action: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| {
            let code = source.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
            match code.as_deref() {
                Some(
                    sqlstate::UNDEFINED_TABLE
                    | sqlstate::UNDEFINED_COLUMN
                    | sqlstate::UNDEFINED_FUNCTION
                    | sqlstate::INVALID_SCHEMA_NAME,
                ) => Self::NotMigrated(source),
                Some(sqlstate::INSUFFICIENT_PRIVILEGE) => Self::NotAllowed { action, source },
                Some(sqlstate::LOCK_NOT_AVAILABLE) => Self::Locked(source),
                Some(sqlstate::REGISTERED_DIFFERENTLY) => Self::Differs(source),
                _ => Self::Failed { action, source },
            }
        }
    }
}

fn message(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// Begins a transaction that nobody else registers anything beside, as `outbox.register_schema_version` does for itself.
///
/// # Errors
/// [`RegistryError`].
pub async fn lock(connection: &mut PgConnection) -> Result<(), RegistryError> {
    // A registration needs to see what others have committed; the session's default may be another level.
    for statement in [
        "begin isolation level read committed",
        "set local lock_timeout = '60s'",
        "select pg_advisory_xact_lock(hashtextextended('outbox.schema_version', 0))",
    ] {
        sqlx::query(statement)
            .execute(&mut *connection)
            .await
            .map_err(RegistryError::new("lock outbox.schema_version"))?;
    }
    Ok(())
}

/// Every registered version of these names, or of all, by name and in the order of registration.
///
/// # Errors
/// [`RegistryError`].
pub async fn read(connection: &mut PgConnection, names: Option<&[String]>) -> Result<Vec<Registered>, RegistryError> {
    let sql = "select name, version, ordinal, topic, format, schema::text, compatibility, owner, description, sla::text, lineage::text, \
               on_violation, topic_config::text, status, to_char(registered_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as registered_at \
               from outbox.schema_version where $1::text[] is null or name = any($1) order by name, ordinal";
    let failed = RegistryError::new("read outbox.schema_version");
    let rows = sqlx::query(sql).bind(names).fetch_all(connection).await.map_err(&failed)?;
    rows.iter().map(registered).collect::<Result<_, _>>().map_err(failed)
}

fn registered(row: &PgRow) -> Result<Registered, sqlx::Error> {
    // What a json column holds is JSON; nested deeper than serde_json goes it is left out, and differs from any file.
    let json = |column: &str| -> Result<Option<Value>, sqlx::Error> {
        let text: Option<String> = row.try_get(column)?;
        Ok(text.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))).filter(|value| !value.is_null()))
    };
    Ok(Registered {
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        ordinal: row.try_get("ordinal")?,
        topic: row.try_get("topic")?,
        format: row.try_get("format")?,
        schema: json("schema")?,
        compatibility: row.try_get("compatibility")?,
        owner: row.try_get("owner")?,
        description: row.try_get("description")?,
        sla: json("sla")?,
        lineage: json("lineage")?,
        on_violation: row.try_get("on_violation")?,
        topic_config: json("topic_config")?,
        status: row.try_get("status")?,
        registered_at: row.try_get("registered_at")?,
    })
}

/// Registers a version.
///
/// # Errors
/// [`RegistryError`].
pub async fn register(connection: &mut PgConnection, definition: &Definition) -> Result<(), RegistryError> {
    let sql = "select outbox.register_schema_version(name => $1, version => $2, topic => $3, format => $4, schema => $5::text::json, \
               compatibility => $6, owner => $7, description => $8, sla => $9::text::jsonb, lineage => $10::text::jsonb, \
               topic_config => $11::text::jsonb, on_violation => $12)";
    let json = |value: Option<&Value>| value.map(ToString::to_string);
    let statement = sqlx::query(sql)
        .bind(&definition.name)
        .bind(&definition.version)
        .bind(&definition.topic)
        .bind(definition.format_column())
        .bind(definition.schema.as_ref().map(|schema| &schema.text))
        .bind(definition.compatibility.as_str())
        .bind(&definition.owner)
        .bind(&definition.description)
        .bind(json(definition.sla.as_ref()))
        .bind(json(definition.lineage.as_ref()))
        .bind(json(definition.topic_config().as_ref()))
        .bind(definition.on_violation.map(OnViolation::as_str));
    statement.execute(connection).await.map(drop).map_err(RegistryError::new("register a schema version"))
}

/// Sets a registered version's status.
///
/// # Errors
/// [`RegistryError`].
pub async fn set_status(
    connection: &mut PgConnection,
    name: &str,
    version: &str,
    status: &str,
) -> Result<(), RegistryError> {
    let sql = "update outbox.schema_version set status = $3 where name = $1 and version = $2";
    let statement = sqlx::query(sql).bind(name).bind(version).bind(status);
    statement.execute(connection).await.map(drop).map_err(RegistryError::new("set a schema version's status"))
}
