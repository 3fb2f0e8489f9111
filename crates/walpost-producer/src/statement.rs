//! The statements that both clients send, and their parameters.

use serde::Serialize;

use crate::event::Event;

/// Emits one event; parameters as in [`Row`](crate::event::Row): schema, key, payload, version, headers, topic, all text.
pub(crate) const EMIT: &str = "select outbox.emit($1, $2, $3, $4, $5::jsonb, $6)";

/// The same as a logical message.
pub(crate) const EMIT_MESSAGE: &str = "select outbox.emit_message($1, $2, $3, $4, $5::jsonb, $6)";

/// Emits one event whose payload is bytea.
pub(crate) const EMIT_BYTES: &str = "select outbox.emit_bytes($1, $2, $3, $4, $5::jsonb, $6)";

/// Emits one event for each element of six arrays, in their order. PostgreSQL does not flatten a subquery that sorts, so the function
/// is called in the sorted order, and the ids are returned in it.
pub(crate) const EMIT_BATCH: &str = "select outbox.emit(e.schema_name, e.key, e.payload, e.version, e.headers::jsonb, e.topic) \
     from (select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) \
     with ordinality as u (schema_name, key, payload, version, headers, topic, ordinal) order by u.ordinal) e";

/// The columns of a batch.
#[derive(Debug, Default)]
pub(crate) struct Columns<'a> {
    pub(crate) schemas: Vec<&'a str>,
    pub(crate) keys: Vec<Option<&'a str>>,
    pub(crate) payloads: Vec<Option<String>>,
    pub(crate) versions: Vec<Option<&'a str>>,
    pub(crate) headers: Vec<Option<String>>,
    pub(crate) topics: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    pub(crate) fn of<P: Serialize + ?Sized>(events: &'a [Event<'_, P>]) -> Result<Self, serde_json::Error> {
        let mut columns = Self::default();
        for event in events {
            let row = event.to_row()?;
            columns.schemas.push(row.schema);
            columns.keys.push(row.key);
            columns.payloads.push(row.payload);
            columns.versions.push(row.version);
            columns.headers.push(row.headers);
            columns.topics.push(row.topic);
        }
        Ok(columns)
    }
}
