//! The main job, in the order in which a new user meets it.

use crate::harness::{Harness, Relay};

#[tokio::test(flavor = "multi_thread")]
async fn an_emitted_event_reaches_the_topic_of_its_schema_version() {
    let harness = Harness::migrated("first").await;
    harness.register("order.placed").await;
    harness.execute(r#"select outbox.emit('order.placed', 'before', '{"before": true}')"#).await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.execute(r#"select outbox.emit('order.placed', 'k1', '{"a": 1.50}')"#).await;
    let records = harness.consume(&harness.topic("order.placed"), 2).await;
    let texts: Vec<_> = records.iter().map(|record| (record.key_text(), record.value_text())).collect();
    assert_eq!(texts, [(Some("before"), Some(r#"{"before": true}"#)), (Some("k1"), Some(r#"{"a": 1.50}"#))]);
    assert_eq!(records[1].header("ce_type"), Some("order.placed"));
    let status = relay.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", relay.log());
}
