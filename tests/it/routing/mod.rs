//! From rows to records: topic, bytes, order. Case numbers are from the list at the top of
//! `main.rs`.

mod columns;
mod backfill_order;
mod bytes;
mod debezium;
mod debezium_options;
mod headers;
mod names;
mod operations;
mod order;
mod own_types;
mod partitions;
mod payloads;
mod scalars;
mod tables;
mod time;
mod topics;

use std::pin::pin;

use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{Json, ToSql, Type};

use crate::harness::{Harness, Received};

/// The values of records as text.
fn values(records: &[Received]) -> Vec<Option<&str>> {
    records.iter().map(Received::value_text).collect()
}

/// The ordinal of each record's event in its transaction.
fn ordinals(records: &[Received]) -> Vec<u64> {
    let ordinal = |record: &Received| record.header("outbox-position")?.rsplit_once('/')?.1.parse().ok();
    records.iter().map(|record| ordinal(record).expect("every record has its position")).collect()
}

/// The commit LSN of each record's event.
fn commits(records: &[Received]) -> Vec<String> {
    let commit = |record: &Received| Some(record.header("outbox-position")?.rsplit_once('/')?.0.to_owned());
    records.iter().map(|record| commit(record).expect("every record has its position")).collect()
}

/// COPY into `outbox.event`: events of version 1 of `schema`, with these keys and payloads unchanged.
async fn copy(client: &Client, schema: &str, rows: impl IntoIterator<Item = (String, String)>) {
    let statement = "copy outbox.event (schema_name, schema_version, key, payload) from stdin (format binary)";
    let sink = client.copy_in(statement).await.expect("a COPY begins");
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &[Type::TEXT, Type::TEXT, Type::TEXT, Type::JSON]));
    for (key, payload) in rows {
        let payload = Json(serde_json::value::RawValue::from_string(payload).expect("a payload is JSON"));
        let row: [&(dyn ToSql + Sync); 4] = [&schema, &"1", &key, &payload];
        writer.as_mut().write(&row).await.expect("a row is copied");
    }
    writer.finish().await.expect("a COPY ends");
}

/// Creates a user-defined outbox table with these `columns` and adds it to the publication.
async fn create_table(harness: &Harness, table: &str, columns: &str) {
    harness.execute(&format!("create table {table} ({columns}); alter publication outbox add table {table}")).await;
}

/// Registers version 1 of a schema whose topic has one partition, so that the order of its records is that of all its
/// events.
async fn register_ordered(harness: &Harness, schema: &str) -> String {
    let topic = harness.topic(schema);
    let settings = r#"{"partitions": 1, "config": {"max.message.bytes": "4000000"}}"#;
    harness
        .execute(&format!(
            "select outbox.register_schema_version(name => '{schema}', version => '1', topic => '{topic}', \
             topic_config => '{settings}')"
        ))
        .await;
    topic
}
