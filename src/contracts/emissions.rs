//! Counts of emitted events, from the outbox table. Rows of dropped partitions and messages of `outbox.emit_message` are not
//! included.

use serde::Serialize;
use serde_json::Value;

use super::registered::RegistryError;
use crate::postgres::{Row, Session, sqlstate};

/// Timeout of counting: the outbox table has no index for it.
const TIMEOUT: &str = "set local statement_timeout = '10s'";

/// The events of one version.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Emitted {
    /// The version.
    pub version: String,
    /// How many events.
    pub events: i64,
    /// Bytes of their payloads.
    pub payload_bytes: i64,
    /// When the first of them was emitted (ISO 8601, UTC).
    pub first_at: String,
    /// When the last of them was emitted (ISO 8601, UTC).
    pub last_at: String,
    /// The last one's id.
    pub last_id: String,
    /// The last one's headers, which may identify the producer.
    pub last_headers: Option<Value>,
}

/// The result of counting.
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
/// [`RegistryError`]. A timeout or a missing privilege is [`Emissions::Unknown`].
pub async fn count(connection: &mut Session, name: &str) -> Result<Emissions, RegistryError> {
    let sql = "select schema_version, count(*) as events, coalesce(sum(octet_length(payload::text)), 0)::bigint as payload_bytes, \
               to_char(min(created_at) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as first_at, \
               to_char(max(created_at) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as last_at, \
               (array_agg(id::text order by created_at desc))[1] as last_id, \
               (array_agg(headers::text order by created_at desc))[1] as last_headers \
               from outbox.event where schema_name = $1 group by schema_version order by max(created_at)";
    let failed = RegistryError::new("count the events in outbox.event");
    for statement in ["begin read only", TIMEOUT] {
        connection.simple_query(statement).await.map_err(&failed)?;
    }
    let rows = connection.query(sql, &[Some(name)]).await;
    connection.simple_query("rollback").await.map_err(&failed)?;
    match rows {
        Ok(rows) => Ok(Emissions::Counted(rows.iter().map(emitted).collect())),
        // The rest of the report does not need this.
        Err(error) => match error.sqlstate() {
            Some(sqlstate::QUERY_CANCELED) => Ok(Emissions::Unknown("counting took longer than 10 s")),
            Some(sqlstate::INSUFFICIENT_PRIVILEGE) => Ok(Emissions::Unknown("this role can't read outbox.event")),
            _ => Err(failed(error)),
        },
    }
}

fn emitted(row: &Row) -> Emitted {
    let text = |column: usize| row.text(column).unwrap_or_default().to_owned();
    let number = |column: usize| row.text(column).and_then(|number| number.parse().ok()).unwrap_or_default();
    Emitted {
        version: text(0),
        events: number(1),
        payload_bytes: number(2),
        first_at: text(3),
        last_at: text(4),
        last_id: text(5),
        last_headers: row.text(6).and_then(|text| serde_json::from_str(text).ok()),
    }
}
