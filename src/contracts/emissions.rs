//! Who emitted what last and how much, as far as the outbox table tells: events of days that were dropped are not counted, nor those
//! of `outbox.emit_message`, which no table holds.

use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, Row};

use super::registered::RegistryError;

/// Longest time that counting may take: the outbox table has no index that would help.
const TIMEOUT: &str = "set local statement_timeout = '10s'";
/// SQLSTATEs for which the rest is shown without this.
const QUERY_CANCELED: &str = "57014";
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// The events of one version.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Emitted {
    /// The version.
    pub version: String,
    /// How many events.
    pub events: i64,
    /// Bytes of their payloads.
    pub payload_bytes: i64,
    /// When the first of them was emitted, in ISO 8601's form, UTC.
    pub first_at: String,
    /// When the last of them was emitted.
    pub last_at: String,
    /// The last one's id.
    pub last_id: String,
    /// The last one's headers, in which a producer says who it is.
    pub last_headers: Option<Value>,
}

/// What the outbox table tells.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Emissions {
    /// The versions that have events.
    Counted(Vec<Emitted>),
    /// Why it was not counted.
    Unknown(&'static str),
}

/// Counts the events of a schema.
///
/// # Errors
/// [`RegistryError`]; not that it takes too long or that the role may not read the table.
pub async fn count(connection: &mut PgConnection, name: &str) -> Result<Emissions, RegistryError> {
    let sql = "select schema_version, count(*) as events, coalesce(sum(octet_length(payload::text)), 0)::bigint as payload_bytes, \
               to_char(min(created_at) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as first_at, \
               to_char(max(created_at) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as last_at, \
               (array_agg(id::text order by created_at desc))[1] as last_id, \
               (array_agg(headers::text order by created_at desc))[1] as last_headers \
               from outbox.event where schema_name = $1 group by schema_version order by max(created_at)";
    let failed = RegistryError::new("count the events in outbox.event");
    for statement in ["begin read only", TIMEOUT] {
        sqlx::query(statement).execute(&mut *connection).await.map_err(&failed)?;
    }
    let rows = sqlx::query(sql).bind(name).fetch_all(&mut *connection).await;
    sqlx::query("rollback").execute(connection).await.map_err(&failed)?;
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => match error.as_database_error().and_then(|error| error.code()).as_deref() {
            Some(QUERY_CANCELED) => return Ok(Emissions::Unknown("counting took longer than 10 s")),
            Some(INSUFFICIENT_PRIVILEGE) => return Ok(Emissions::Unknown("this role may not read outbox.event")),
            _ => return Err(failed(error)),
        },
    };
    let emitted = rows.iter().map(|row| {
        let headers: Option<String> = row.try_get("last_headers")?;
        Ok(Emitted {
            version: row.try_get("schema_version")?,
            events: row.try_get("events")?,
            payload_bytes: row.try_get("payload_bytes")?,
            first_at: row.try_get("first_at")?,
            last_at: row.try_get("last_at")?,
            last_id: row.try_get("last_id")?,
            last_headers: headers.and_then(|text| serde_json::from_str(&text).ok()),
        })
    });
    emitted.collect::<Result<_, sqlx::Error>>().map(Emissions::Counted).map_err(failed)
}
