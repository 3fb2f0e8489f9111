//! Logical messages from a role without any grant: every role may execute `pg_logical_emit_message`.

use crate::harness::{Harness, Relay};

/// As written by an older `outbox.emit_message`.
fn unsigned(payload: &str) -> String {
    format!(
        r#"{{"id":"x","schema_name":"order.placed","schema_version":"1","topic":null,"key":"k","payload":"{payload}","headers":null}}"#
    )
}

fn write(content: &str) -> String {
    format!("select pg_logical_emit_message(true, 'outbox', '{content}')")
}

#[tokio::test(flavor = "multi_thread")]
async fn case_40_a_message_not_written_by_emit_message_is_not_published() {
    let harness = Harness::migrated("forged").await;
    harness.register("order.placed").await;
    let outsider = format!("{}_outsider", harness.name());
    harness.execute(&format!("create role {outsider} login password 'outsider'")).await;
    let url = crate::setup::url_as(&harness, &outsider, "outsider");
    let session = harness.session_at(&url).await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let signed = format!("{},\"proof\":\"{}\"}}", unsigned("signed").trim_end_matches('}'), "0".repeat(64));
    for content in [unsigned("unsigned"), signed, "no JSON".to_owned()] {
        session.batch_execute(&write(&content)).await.expect("every role may execute it");
    }
    // A key that the relay has not read yet, and that is used immediately.
    harness.execute("select outbox.add_secret('message', interval '0')").await;
    harness.execute("select outbox.emit_message('order.placed', 'k', '\"genuine\"')").await;
    let topic = harness.topic("order.placed");
    let values = |records: &[crate::harness::Received]| {
        records.iter().filter_map(|record| record.value_text().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(values(&harness.consume(&topic, 1).await), ["\"genuine\""]);
    let metrics = relay.get("/metrics").await.expect("the relay answers").1;
    assert!(metrics.contains("walpost_forged_messages_total 3"), "{metrics}");
    assert_eq!(relay.status().await["dead_letters"], serde_json::json!({}));
    relay.wait_for_log("not written by outbox.emit_message").await;
    for (table, role) in [("secret", &outsider), ("unsigned_message", &outsider)] {
        let error = session.batch_execute(&format!("select from outbox.{table}")).await.expect_err("no right");
        assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{role}");
    }

    // Messages that the older function wrote before the migration are still published; later ones are not.
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    harness.execute("update outbox.unsigned_message set accepted_before = null, system_identifier = null").await;
    harness.execute(&write(&unsigned("before"))).await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    assert_eq!(values(&harness.consume(&topic, 2).await), ["\"genuine\"", "\"before\""]);
    harness.wait_for("select accepted_before is not null from outbox.unsigned_message").await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    session.batch_execute(&write(&unsigned("after"))).await.expect("every role may execute it");
    harness.execute("select outbox.emit_message('order.placed', 'k', '\"last\"')").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    assert_eq!(values(&harness.consume(&topic, 3).await), ["\"genuine\"", "\"before\"", "\"last\""]);
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    harness.execute(&format!("drop role {outsider}")).await;
}
