//! Emitting in transactions of sqlx.
//!
//! sqlx prepares a statement once per connection, so from the second call on an emit is one round trip.

use serde::Serialize;
use sqlx::postgres::PgDatabaseError;
use sqlx::{Encode, PgConnection, Postgres, Type};
use uuid::Uuid;

use crate::error::Fields;
use crate::event::{Event, Row};
use crate::statement::{Columns, EMIT, EMIT_BATCH, EMIT_BYTES, EMIT_MESSAGE};

/// The error of emitting through sqlx.
pub type EmitError = crate::EmitError<sqlx::Error>;

/// Inserts an event into `outbox.event` and returns its id.
///
/// ```no_run
/// # async fn place(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
/// use walpost_producer::{Event, sqlx::emit};
///
/// let mut tx = pool.begin().await?;
/// sqlx::query("insert into orders (id, total) values (42, 44.80)").execute(&mut *tx).await?;
/// let payload = serde_json::json!({ "order_id": 42, "total": "44.80" });
/// emit(&mut tx, &Event::new("order.placed", &payload).key("42")).await?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// See [`EmitError`]. The transaction has failed, unless the payload did not serialize.
pub async fn emit<P>(connection: &mut PgConnection, event: &Event<'_, P>) -> Result<Uuid, EmitError>
where
    P: Serialize + ?Sized,
{
    call(connection, EMIT, event.to_row()?).await
}

/// Inserts an event whose payload is not JSON, such as Avro or Protobuf, and returns its id. The format of its schema version must
/// not be `json`.
///
/// ```no_run
/// # async fn place(tx: &mut sqlx::PgConnection, datum: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
/// use walpost_producer::{Event, sqlx::emit_bytes};
///
/// emit_bytes(tx, &Event::of_bytes("order.placed", &datum).key("42")).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As for [`emit`].
pub async fn emit_bytes<P>(connection: &mut PgConnection, event: &Event<'_, P>) -> Result<Uuid, EmitError>
where
    P: AsRef<[u8]> + ?Sized,
{
    call(connection, EMIT_BYTES, event.to_row_of_bytes()?).await
}

/// Writes an event only to the write-ahead log: no row, nothing to vacuum, but also nothing to replay once the WAL is removed.
/// Returns its id.
///
/// # Errors
/// As for [`emit`].
pub async fn emit_message<P>(connection: &mut PgConnection, event: &Event<'_, P>) -> Result<Uuid, EmitError>
where
    P: Serialize + ?Sized,
{
    call(connection, EMIT_MESSAGE, event.to_row()?).await
}

/// Inserts many events in one round trip, in the order of the slice, and returns their ids in that order. Payloads of
/// different types go as [`RawValue`](serde_json::value::RawValue) or [`Value`](serde_json::Value).
///
/// ```no_run
/// # async fn place(tx: &mut sqlx::PgConnection, lines: &[String]) -> Result<(), Box<dyn std::error::Error>> {
/// use walpost_producer::{Event, sqlx::emit_batch};
///
/// let events: Vec<_> = lines.iter().map(|line| Event::new("order.line", line).key("42")).collect();
/// let ids = emit_batch(tx, &events).await?;
/// assert_eq!(ids.len(), lines.len());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As for [`emit`]; if one event is refused, none is inserted.
pub async fn emit_batch<P>(connection: &mut PgConnection, events: &[Event<'_, P>]) -> Result<Vec<Uuid>, EmitError>
where
    P: Serialize + ?Sized,
{
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let columns = Columns::of(events)?;
    sqlx::query_scalar(EMIT_BATCH)
        .bind(columns.schemas)
        .bind(columns.keys)
        .bind(columns.payloads)
        .bind(columns.versions)
        .bind(columns.headers)
        .bind(columns.topics)
        .fetch_all(connection)
        .await
        .map_err(refused)
}

async fn call<'r, T>(connection: &mut PgConnection, statement: &'static str, row: Row<'r, T>) -> Result<Uuid, EmitError>
where
    T: Encode<'r, Postgres> + Type<Postgres> + Send + 'r,
{
    sqlx::query_scalar(statement)
        .bind(row.schema)
        .bind(row.key)
        .bind(row.payload)
        .bind(row.version)
        .bind(row.headers)
        .bind(row.topic)
        .fetch_one(connection)
        .await
        .map_err(refused)
}

fn refused(error: sqlx::Error) -> EmitError {
    EmitError::classify(error, |error| {
        let error = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
        Some(Fields { sqlstate: error.code(), data_type: error.data_type(), constraint: error.constraint() })
    })
}
