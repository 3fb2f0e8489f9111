//! Reads and registers schema versions in the database.

use serde_json::Value;

use super::definition::Definition;
use crate::exit::{self, EndsCommand};
use crate::postgres::{Error, Row, Session};
use crate::relay::boundary::OnViolation;

/// SQLSTATEs that point to the environment rather than the statement.
mod sqlstate {
    pub(super) const UNDEFINED_TABLE: &str = "42P01";
    pub(super) const UNDEFINED_COLUMN: &str = "42703";
    pub(super) const UNDEFINED_FUNCTION: &str = "42883";
    pub(super) const INVALID_SCHEMA_NAME: &str = "3F000";
    pub(super) const INSUFFICIENT_PRIVILEGE: &str = "42501";
    pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";
    pub(super) const REGISTERED_DIFFERENTLY: &str = "WP003";
}

/// How long to wait for another registration to end.
const LOCK_TIMEOUT: &str = "60s";

/// One row of `outbox.schema_version`.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// The schema's name.
    pub name: String,
    /// The contract's version.
    pub version: String,
    /// The order of registration within the name, from 1.
    pub ordinal: i32,
    /// The topic of its events; `None`: each event names its own.
    pub topic: Option<String>,
    /// The payload format.
    pub format: String,
    /// The payload's schema, if any.
    pub schema: Option<Value>,
    /// What it must be compatible with.
    pub compatibility: String,
    /// Who owns it.
    pub owner: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its service levels.
    pub sla: Option<Value>,
    /// Its lineage, as JSON.
    pub lineage: Option<Value>,
    /// `dead-letter`, `halt` or `warn`: what to do with an event whose payload violates the schema.
    pub on_violation: Option<String>,
    /// Settings of its topic.
    pub topic_config: Option<Value>,
    /// `active`, `deprecated` or `retired`.
    pub status: String,
    /// When it was registered (ISO 8601, UTC).
    pub registered_at: String,
}

/// The registry could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Schema outbox is missing or outdated.
    #[error("schema outbox is missing or older than this walpost: run `walpost migrate` first")]
    NotMigrated(#[source] Error),
    /// The role lacks a privilege.
    #[error("this role may not {action}: {}; use the role that owns schema outbox", message(source))]
    NotAllowed {
        /// The action that failed.
        action: &'static str,
        /// Postgres' error.
        source: Error,
    },
    /// Another registration holds the lock.
    #[error(
        "another transaction has held the registration lock for more than {LOCK_TIMEOUT}; find it in pg_stat_activity"
    )]
    Locked(#[source] Error),
    /// A different definition was registered in the meantime.
    #[error("{}", message(.0))]
    Differs(#[source] Error),
    /// The statement failed.
    #[error("{action}")]
    Failed {
        /// The action that failed.
        action: &'static str,
        /// Postgres' error.
        #[source]
        source: Error,
    },
}

impl EndsCommand for RegistryError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Differs(_) => exit::REFUSED,
            Self::NotMigrated(_) | Self::Locked(_) => exit::UNAVAILABLE,
            Self::NotAllowed { .. } | Self::Failed { .. } => exit::FAILED,
        }
    }

    fn may_pass(&self) -> bool {
        matches!(self, Self::Locked(_))
    }
}

impl RegistryError {
    pub(super) fn new(action: &'static str) -> impl Fn(Error) -> Self {
        move |source| match source.sqlstate() {
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

fn message(error: &Error) -> String {
    match error {
        Error::Server(error) => error.message.clone(),
        other => other.to_string(),
    }
}

/// Begins a transaction with the registration lock, which `outbox.register_schema_version` also takes.
///
/// # Errors
/// [`RegistryError`].
pub async fn lock(connection: &mut Session) -> Result<(), RegistryError> {
    // A registration must see what others commit; the session's default isolation level may be another.
    for statement in
        ["begin isolation level read committed", "set local lock_timeout = '60s'", "select outbox.lock_registration()"]
    {
        connection.simple_query(statement).await.map_err(RegistryError::new("register a schema version"))?;
    }
    Ok(())
}

/// All registered versions of these names, or of all names, by name and in order of registration.
///
/// # Errors
/// [`RegistryError`].
pub async fn read(connection: &mut Session, names: Option<&[String]>) -> Result<Vec<Registered>, RegistryError> {
    let sql = "select name, version, ordinal, topic, format, schema::text, compatibility, owner, description, sla::text, lineage::text, \
               on_violation, topic_config::text, status, to_char(registered_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
               from outbox.schema_version where $1::json is null or name in (select json_array_elements_text($1::json)) \
               order by name, ordinal";
    let names = names.map(|names| Value::from(names).to_string());
    let rows = connection.query(sql, &[names.as_deref()]).await;
    Ok(rows.map_err(RegistryError::new("read outbox.schema_version"))?.iter().map(registered).collect())
}

/// Converts a row of [`read`]. Not-null columns are always present.
fn registered(row: &Row) -> Registered {
    let optional = |column: usize| row.text(column).map(str::to_owned);
    let text = |column: usize| optional(column).unwrap_or_default();
    // A json column holds valid JSON; if nested deeper than serde_json reads, it becomes null and differs from any file.
    let json = |column: usize| {
        let text = row.text(column)?;
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        Some(value).filter(|value| !value.is_null())
    };
    Registered {
        name: text(0),
        version: text(1),
        ordinal: row.text(2).and_then(|number| number.parse().ok()).unwrap_or_default(),
        topic: optional(3),
        format: text(4),
        schema: json(5),
        compatibility: text(6),
        owner: optional(7),
        description: optional(8),
        sla: json(9),
        lineage: json(10),
        on_violation: optional(11),
        topic_config: json(12),
        status: text(13),
        registered_at: text(14),
    }
}

/// Registers a version.
///
/// # Errors
/// [`RegistryError`].
pub async fn register(connection: &mut Session, definition: &Definition) -> Result<(), RegistryError> {
    let sql = "select outbox.register_schema_version(name => $1, version => $2, topic => $3, format => $4, schema => $5::text::json, \
               compatibility => $6, owner => $7, description => $8, sla => $9::text::jsonb, lineage => $10::text::jsonb, \
               topic_config => $11::text::jsonb, on_violation => $12)";
    let json = |value: Option<&Value>| value.map(ToString::to_string);
    let (sla, lineage) = (json(definition.sla.as_ref()), json(definition.lineage.as_ref()));
    let topic_config = json(definition.topic_config().as_ref());
    let parameters = [
        Some(definition.name.as_str()),
        Some(definition.version.as_str()),
        Some(definition.topic.as_str()),
        Some(definition.format_column()),
        definition.schema.as_ref().map(|schema| schema.text.as_str()),
        Some(definition.compatibility.as_str()),
        definition.owner.as_deref(),
        definition.description.as_deref(),
        sla.as_deref(),
        lineage.as_deref(),
        topic_config.as_deref(),
        definition.on_violation.map(OnViolation::as_str),
    ];
    connection.query(sql, &parameters).await.map(drop).map_err(RegistryError::new("register a schema version"))
}

/// Sets a registered version's status.
///
/// # Errors
/// [`RegistryError`].
pub async fn set_status(
    connection: &mut Session,
    name: &str,
    version: &str,
    status: &str,
) -> Result<(), RegistryError> {
    let sql = "update outbox.schema_version set status = $3 where name = $1 and version = $2";
    let set = connection.query(sql, &[Some(name), Some(version), Some(status)]).await;
    set.map(drop).map_err(RegistryError::new("set a schema version's status"))
}
