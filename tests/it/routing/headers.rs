//! The header styles, and which header wins.

use super::register_ordered;
use crate::harness::{Harness, Received, Relay};

/// Two events, a row and a message, in this style; returns their records and ids.
async fn published(style: &str) -> Vec<(Received, String)> {
    let harness = Harness::migrated(&format!("headers_{style}")).await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay =
        Relay::start(&harness, &format!("headers = \"{style}\"\nname = \"the-relay\"\nsource = \"/shop/orders\""));
    relay.ready().await;
    let mut ids = Vec::new();
    for function in ["emit", "emit_message"] {
        // Includes names that the relay sets itself.
        let headers = r#"{"traceparent": "00-1", "id": "forged", "ce_id": "forged", "outbox-position": "forged", "outbox-relay": "forged"}"#;
        let emit = format!("select outbox.{function}('order.placed', 'k', '1'::json, headers => '{headers}')::text");
        ids.push(harness.query_text(&emit).await.expect("an id"));
    }
    harness.consume(&topic, 2).await.into_iter().zip(ids).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_40_a_row_header_with_the_relays_prefix_is_dropped_and_logged_once_per_schema_version() {
    let harness = Harness::migrated("headers_reserved").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let forged = r#"{"outbox-replay": "r", "outbox-violation": "v", "outbox-redriven": "0/1", "outbox-recovered": "0/1", "ce_id": "i",
        "ce_subject": "kept"}"#;
    let emit = format!(
        "select outbox.emit('order.placed', 'k', '1'::json, headers => '{forged}') from generate_series(1, 20)"
    );
    harness.execute(&emit).await;
    for record in harness.consume(&topic, 20).await {
        let own: Vec<_> = names(&record).into_iter().filter(|name| name.starts_with("outbox-")).collect();
        assert_eq!(own, ["outbox-position", "outbox-relay"], "{record:?}");
        assert_eq!(record.header("ce_subject"), Some("kept"), "an attribute that the relay does not write");
    }
    let log = relay.log();
    let reported: Vec<_> = log.lines().filter(|line| line.contains("row headers dropped")).collect();
    assert_eq!(reported.len(), 1, "{reported:?}");
    for part in ["order.placed/1", "outbox-replay", "outbox-violation", "outbox-redriven", "outbox-recovered", "ce_id"]
    {
        assert!(reported[0].contains(part), "{part} is not in {}", reported[0]);
    }
    assert!(!reported[0].contains("ce_subject"), "{}", reported[0]);
}

fn names(record: &Received) -> Vec<&str> {
    record.headers.iter().map(|(name, _)| name.as_str()).collect()
}

fn is_position(text: &str) -> bool {
    let parts: Vec<_> = text.split('/').collect();
    parts.len() == 3 && parts[..2].iter().all(|part| u64::from_str_radix(part, 16).is_ok()) && parts[2] == "1"
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudevents_headers_follow_the_kafka_binding() {
    for (record, id) in published("cloudevents").await {
        let expected = [
            "ce_specversion",
            "ce_id",
            "ce_source",
            "ce_type",
            "ce_time",
            "ce_dataschema",
            "content-type",
            "outbox-position",
            "outbox-relay",
        ];
        assert_eq!(names(&record)[..9], expected);
        // jsonb has reordered the row's headers.
        assert_eq!(names(&record)[9..], ["id", "traceparent"]);
        for (name, value) in [
            ("ce_specversion", "1.0"),
            ("ce_id", id.as_str()),
            ("ce_source", "/shop/orders"),
            ("ce_type", "order.placed"),
            ("ce_dataschema", "urn:walpost:schema:order.placed/1"),
            ("content-type", "application/json"),
            ("outbox-relay", "the-relay"),
            ("traceparent", "00-1"),
        ] {
            assert_eq!(record.header(name), Some(value), "{name}");
        }
        assert!(record.header("outbox-position").is_some_and(is_position));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_headers_are_id_and_schema() {
    for (record, id) in published("plain").await {
        assert_eq!(
            names(&record),
            ["id", "schema", "schema-version", "outbox-position", "outbox-relay", "ce_id", "traceparent"]
        );
        assert_eq!(record.header("id"), Some(id.as_str()));
        assert_eq!(record.header("schema"), Some("order.placed"));
        assert_eq!(record.header("schema-version"), Some("1"));
        assert!(record.header("outbox-position").is_some_and(is_position));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn debezium_headers_are_the_id_alone() {
    for (record, id) in published("debezium").await {
        assert_eq!(names(&record), ["id", "outbox-position", "outbox-relay", "ce_id", "traceparent"]);
        assert_eq!(record.header("id"), Some(id.as_str()));
        assert!(record.header("outbox-position").is_some_and(is_position));
    }
}
