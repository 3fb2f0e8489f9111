//! Emitting in transactions of tokio-postgres.
//!
//! Statements are sent with parameter types, so each is one round trip without preparing.

use serde::Serialize;
use tokio_postgres::GenericClient;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::error::Fields;
use crate::event::{Event, Row};
use crate::statement::{Columns, EMIT, EMIT_BATCH, EMIT_BYTES, EMIT_MESSAGE};

/// The error of emitting through tokio-postgres.
pub type EmitError = crate::EmitError<tokio_postgres::Error>;

/// Inserts an event into `outbox.event` and returns its id.
///
/// ```no_run
/// # async fn place(mut client: tokio_postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use walpost_producer::{Event, tokio_postgres::emit};
///
/// let tx = client.transaction().await?;
/// tx.execute("insert into orders (id, total) values (42, 44.80)", &[]).await?;
/// let payload = serde_json::json!({ "order_id": 42, "total": "44.80" });
/// emit(&tx, &Event::new("order.placed", &payload).key("42")).await?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// See [`EmitError`]. The transaction has failed, unless the payload did not serialize.
pub async fn emit<P>(client: &impl GenericClient, event: &Event<'_, P>) -> Result<Uuid, EmitError>
where
    P: Serialize + ?Sized,
{
    call(client, EMIT, Type::TEXT, event.to_row()?).await
}

/// Inserts an event whose payload is not JSON, such as Avro or Protobuf, and returns its id. The format of its schema version must
/// not be `json`.
///
/// # Errors
/// As for [`emit`].
pub async fn emit_bytes<P>(client: &impl GenericClient, event: &Event<'_, P>) -> Result<Uuid, EmitError>
where
    P: AsRef<[u8]> + ?Sized,
{
    call(client, EMIT_BYTES, Type::BYTEA, event.to_row_of_bytes()?).await
}

/// Writes an event only to the write-ahead log: no row, nothing to vacuum, but also nothing to replay once the WAL is removed.
/// Returns its id.
///
/// # Errors
/// As for [`emit`].
pub async fn emit_message<P>(client: &impl GenericClient, event: &Event<'_, P>) -> Result<Uuid, EmitError>
where
    P: Serialize + ?Sized,
{
    call(client, EMIT_MESSAGE, Type::TEXT, event.to_row()?).await
}

/// Inserts many events in one round trip, in the order of the slice, and returns their ids in that order. Payloads of
/// different types go as [`RawValue`](serde_json::value::RawValue) or [`Value`](serde_json::Value).
///
/// # Errors
/// As for [`emit`]; if one event is refused, none is inserted.
pub async fn emit_batch<P>(client: &impl GenericClient, events: &[Event<'_, P>]) -> Result<Vec<Uuid>, EmitError>
where
    P: Serialize + ?Sized,
{
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let columns = Columns::of(events)?;
    let rows = client
        .query_typed(
            EMIT_BATCH,
            &[
                (&columns.schemas, Type::TEXT_ARRAY),
                (&columns.keys, Type::TEXT_ARRAY),
                (&columns.payloads, Type::TEXT_ARRAY),
                (&columns.versions, Type::TEXT_ARRAY),
                (&columns.headers, Type::TEXT_ARRAY),
                (&columns.topics, Type::TEXT_ARRAY),
            ],
        )
        .await
        .map_err(refused)?;
    rows.iter().map(|row| row.try_get(0).map_err(EmitError::Database)).collect()
}

async fn call<T: ToSql + Sync>(
    client: &impl GenericClient,
    statement: &str,
    payload: Type,
    row: Row<'_, T>,
) -> Result<Uuid, EmitError> {
    let answer = client
        .query_typed_one(
            statement,
            &[
                (&row.schema, Type::TEXT),
                (&row.key, Type::TEXT),
                (&row.payload, payload),
                (&row.version, Type::TEXT),
                (&row.headers, Type::TEXT),
                (&row.topic, Type::TEXT),
            ],
        )
        .await
        .map_err(refused)?;
    answer.try_get(0).map_err(EmitError::Database)
}

fn refused(error: tokio_postgres::Error) -> EmitError {
    EmitError::classify(error, |error| {
        let error = error.as_db_error()?;
        Some(Fields { sqlstate: error.code().code(), data_type: error.datatype(), constraint: error.constraint() })
    })
}
