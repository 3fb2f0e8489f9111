//! Case 8: the options of Debezium's outbox event router, and the converters behind it.
//!
//! Expected values are what `io.debezium.transforms.outbox.EventRouter` 3.0.8 made of the same rows, through
//! `JsonConverter` (`schemas.enable=false`), `StringConverter` and `SimpleHeaderConverter` of Kafka 3.9.

use super::debezium::foreign_headers;
use super::{create_table, values};
use crate::harness::{Harness, Received, Relay};

const TABLE: &str = "id uuid not null, aggregatetype text, aggregateid text, type text, payload json, n int, ok boolean, f float8, \
                     at timestamp, tracingspancontext text, tenant uuid";

const ID: &str = "406c07f3-26f0-4eea-a50c-109940064b8f";

const PAYLOAD: &str = r#"{"id": 1, "ü": "a🦀\"\u0001/", "f": 39.98, "l": [1, 2]}"#;

/// A table of the router's, a relay with these keys in its `[[outbox]]`, and the records of the rows that `insert` writes; each row is
/// the values of columns from `payload` on.
async fn published(name: &str, keys: &str, rows: &[&str]) -> Vec<Received> {
    let harness = Harness::migrated(name).await;
    create_table(&harness, "public.outboxevent", TABLE).await;
    let topic = harness.topic("Order");
    let outbox =
        format!("[[outbox]]\ntable = \"public.outboxevent\"\npreset = \"debezium\"\ntopic = \"{topic}\"\n{keys}");
    let mut relay = Relay::start(&harness, &outbox);
    relay.ready().await;
    for row in rows {
        let row = format!("'{ID}', 'Order', '1', 'Order\"Created\" ü', {row}");
        harness.execute(&format!("insert into public.outboxevent values ({row})")).await;
    }
    harness.consume(&topic, rows.len()).await
}

fn quoted(payload: &str) -> String {
    format!("'{payload}', 7, true, 1.5")
}

#[tokio::test(flavor = "multi_thread")]
async fn case_08_keys_and_values_are_written_as_json_converter_writes_them() {
    let keys = "headers = \"debezium\"\nkey_converter = \"json\"\nvalue_converter = \"json\"";
    let records = published("debezium_json", keys, &[&quoted(PAYLOAD), "null"]).await;
    let string = r#""{\"id\": 1, \"ü\": \"a\uD83E\uDD80\\\"\\u0001/\", \"f\": 39.98, \"l\": [1, 2]}""#;
    assert_eq!(values(&records), [Some(string), Some("null")]);
    for record in &records {
        assert_eq!(record.key_text(), Some("\"1\""));
        assert_eq!(foreign_headers(record), [("id", Some(ID))]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_08_an_expanded_payload_is_json_and_an_empty_one_a_tombstone() {
    let keys = "value_converter = \"json\"\nexpand_json_payload = true\ntombstone_on_empty_payload = true";
    let records = published("debezium_expand", keys, &[&quoted(PAYLOAD), "null", "'7'"]).await;
    let json = r#"{"id":1,"ü":"a\uD83E\uDD80\"\u0001/","f":39.98,"l":[1,2]}"#;
    assert_eq!(values(&records), [Some(json), None, Some("\"7\"")]);
    assert!(records.iter().all(|record| record.key_text() == Some("1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_08_an_envelope_has_the_payload_and_the_placed_columns() {
    let keys = "headers = \"debezium\"\nvalue_converter = \"json\"\nheader_columns = [\"type\", \"n\", \"ok\", \"f\"]\n\
                envelope_columns = [\"type\", \"n\", \"ok\", \"f\", \"tenant\"]";
    let records = published("debezium_envelope", keys, &[&quoted(r#"{"a":1}"#), "null, null, true, 1.5"]).await;
    let kind = r#""type":"Order\"Created\" ü""#;
    let expected = [
        format!(r#"{{"payload":"{{\"a\":1}}",{kind},"n":7,"ok":true,"f":1.5,"tenant":null}}"#),
        format!(r#"{{"payload":null,{kind},"n":null,"ok":true,"f":1.5,"tenant":null}}"#),
    ];
    assert_eq!(values(&records), [Some(expected[0].as_str()), Some(expected[1].as_str())]);
    for (record, n) in records.iter().zip([Some("7"), None]) {
        let kind = ("type", Some("Order\"Created\" ü"));
        assert_eq!(
            foreign_headers(record),
            [("id", Some(ID)), kind, ("n", n), ("ok", Some("true")), ("f", Some("1.5"))]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_08_a_column_is_the_record_time_and_the_trace_context_becomes_headers() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let context = format!("#Mon Nov 30 12:00:00 UTC 2026\ntraceparent={parent}\ntracestate=a\\=1\nspanid=9\n");
    let row = |at: &str, context: &str| format!("'{{}}', 7, true, 1.5, {at}, {context}");
    let rows = [
        row("'2019-01-01 00:00:00.123456'", &format!("'{context}'")),
        row("null", "null"),
        row("'-infinity'", "'not properties'"),
    ];
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let keys = "headers = \"debezium\"\ncolumns = { timestamp = \"at\" }";
    let records = published("debezium_time", keys, &rows).await;
    assert_eq!(records[0].timestamp_ms, Some(1_546_300_800_123));
    let headers = [("id", Some(ID)), ("traceparent", Some(parent)), ("tracestate", Some("a=1"))];
    assert_eq!(foreign_headers(&records[0]), headers);
    for record in &records[1..] {
        assert!(record.timestamp_ms > Some(1_546_300_800_123), "the time of the commit: {record:?}");
        assert_eq!(foreign_headers(record), [("id", Some(ID))]);
    }
}

/// The header style of one table: the other keeps the relay's.
#[tokio::test(flavor = "multi_thread")]
async fn case_08_each_table_has_its_own_header_style() {
    let harness = Harness::migrated("debezium_style").await;
    create_table(&harness, "public.outboxevent", TABLE).await;
    harness.register("order.placed").await;
    let (events, orders) = (harness.topic("order.placed"), harness.topic("Order"));
    let outboxes = format!(
        "[[outbox]]\ntable = \"outbox.event\"\n[[outbox]]\ntable = \"public.outboxevent\"\npreset = \"debezium\"\n\
         topic = \"{orders}\"\nheaders = \"debezium\""
    );
    let mut relay = Relay::start(&harness, &outboxes);
    relay.ready().await;
    let insert = format!("insert into public.outboxevent values ('{ID}', 'Order', '1', 'x', '1')");
    harness.execute(&format!("select outbox.emit('order.placed', 'k', '1'); {insert}")).await;
    let (events, orders) = (harness.consume(&events, 1).await, harness.consume(&orders, 1).await);
    assert_eq!((events[0].header("ce_specversion"), events[0].header("id")), (Some("1.0"), None));
    assert_eq!(foreign_headers(&orders[0]), [("id", Some(ID))]);
}
