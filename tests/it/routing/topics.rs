//! Case 1: the schema version determines the topic. Case 9: the key determines the partition, as in the Java client.

use super::{copy, ordinals, register_ordered, values};
use crate::harness::{Harness, Relay};

#[tokio::test(flavor = "multi_thread")]
async fn case_01_two_schema_names_go_to_their_topics_from_rows_and_messages() {
    let harness = Harness::migrated("two_topics").await;
    let orders = register_ordered(&harness, "order.placed").await;
    let invoices = register_ordered(&harness, "invoice.sent").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let client = harness.session().await;
    client.batch_execute("begin").await.expect("a transaction begins");
    for schema in ["order.placed", "invoice.sent"] {
        let insert = format!(
            "select outbox.emit('{schema}', 'k', '1'); \
             select outbox.emit_message('{schema}', 'k', '2'); \
             insert into outbox.event (schema_name, schema_version, key, payload) values \
                ('{schema}', '1', 'k', '3'), ('{schema}', '1', 'k', '4')"
        );
        client.batch_execute(&insert).await.expect("events are written");
        copy(&client, schema, ["5", "6"].map(|payload| ("k".to_owned(), payload.to_owned()))).await;
    }
    client.batch_execute("commit").await.expect("the transaction commits");
    for (topic, schema, first) in [(orders, "order.placed", 1), (invoices, "invoice.sent", 7)] {
        let records = harness.consume(&topic, 6).await;
        assert_eq!(values(&records), ["1", "2", "3", "4", "5", "6"].map(Some), "{schema}");
        assert_eq!(ordinals(&records), (first..first + 6).collect::<Vec<_>>(), "{schema}");
        for record in &records {
            assert_eq!(record.header("ce_type"), Some(schema));
            assert_eq!(record.header("ce_dataschema"), Some(format!("urn:walpost:schema:{schema}/1").as_str()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_01_schemas_that_share_a_version_share_no_topic_and_no_format() {
    let harness = Harness::migrated("versions").await;
    let versions = [("a", "1", "a.one", "json"), ("a", "2", "a.two", "text"), ("b", "1", "b.one", "avro")];
    for (name, version, topic, format) in versions {
        let topic = harness.topic(topic);
        let register = format!(
            "select outbox.register_schema_version(name => '{name}', version => '{version}', topic => '{topic}', format => '{format}')"
        );
        harness.execute(&register).await;
    }
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    for (name, version, ..) in versions {
        for function in ["emit", "emit_message"] {
            let payload = format!(r#"{{"of": "{name} {version}"}}"#);
            let emit = format!("select outbox.{function}('{name}', null, '{payload}', version => '{version}')");
            harness.execute(&emit).await;
        }
    }
    // Without a version it is the latest registered one.
    harness.execute(r#"select outbox.emit('a', null, '{"of": "a 2"}')"#).await;
    let types = ["application/json", "text/plain; charset=utf-8", "application/avro"];
    for ((name, version, topic, _), content_type) in versions.into_iter().zip(types) {
        let count = if version == "2" { 3 } else { 2 };
        let records = harness.consume(&harness.topic(topic), count).await;
        assert_eq!(records.len(), count, "{topic}");
        for record in records {
            assert_eq!(record.value_text(), Some(format!(r#"{{"of": "{name} {version}"}}"#).as_str()));
            assert_eq!(record.header("ce_dataschema"), Some(format!("urn:walpost:schema:{name}/{version}").as_str()));
            assert_eq!(record.header("content-type"), Some(content_type));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_01_an_events_topic_overrides_that_of_its_schema_version() {
    let harness = Harness::migrated("own_topic").await;
    harness.register("order.placed").await;
    harness.execute("select outbox.register_schema_version(name => 'free', version => '1', topic => null)").await;
    let elsewhere = harness.topic("elsewhere");
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness
        .execute(&format!(
            "select outbox.emit('order.placed', 'k', '1', topic => '{elsewhere}'); \
             select outbox.emit_message('free', 'k', '2', topic => '{elsewhere}'); \
             select outbox.emit('order.placed', 'k', '3')"
        ))
        .await;
    assert_eq!(values(&harness.consume(&harness.topic("order.placed"), 1).await), [Some("3")]);
    assert_eq!(values(&harness.consume(&elsewhere, 2).await), [Some("1"), Some("2")]);
}

/// Keys and their partitions of 7 and of 12, from `BuiltInPartitioner.partitionForKey` of kafka-clients 4.3.1.
const PARTITIONS: [(&str, i32, i32); 17] = [
    ("", 2, 9),
    ("0", 3, 8),
    ("a", 5, 4),
    ("ab", 0, 2),
    ("abc", 4, 3),
    ("abcd", 5, 8),
    ("order-1", 4, 10),
    ("order-2", 1, 3),
    ("order-42", 1, 0),
    ("4d47e190-0402-4048-bc2c-89dd54343cdc", 0, 4),
    ("Größe", 5, 7),
    ("日本語", 6, 10),
    ("🦀", 2, 7),
    ("key with spaces", 1, 0),
    ("-9223372036854775808", 4, 2),
    ("\u{1}", 1, 9),
    ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, 11),
];

#[tokio::test(flavor = "multi_thread")]
async fn case_09_a_key_has_the_partition_that_the_java_client_picks() {
    let harness = Harness::migrated("partitioner").await;
    for count in [7, 12] {
        let topic = harness.topic(&format!("of{count}"));
        let register = format!(
            "select outbox.register_schema_version(name => 'of{count}', version => '1', topic => '{topic}', \
             topic_config => '{{\"partitions\": {count}}}')"
        );
        harness.execute(&register).await;
    }
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let client = harness.session().await;
    for (key, ..) in PARTITIONS {
        let emit = "select outbox.emit('of7', $1, '1'::text), outbox.emit_message('of12', $1, '1'::text)";
        client.execute(emit, &[&key]).await.expect("events are emitted");
    }
    for (count, expected) in
        [(7, PARTITIONS.map(|(key, seven, _)| (key, seven))), (12, PARTITIONS.map(|(key, _, twelve)| (key, twelve)))]
    {
        let records = harness.consume(&harness.topic(&format!("of{count}")), PARTITIONS.len()).await;
        let mut found: Vec<_> =
            records.iter().map(|record| (record.key_text().expect("a key"), record.partition)).collect();
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "of {count} partitions");
    }
}
