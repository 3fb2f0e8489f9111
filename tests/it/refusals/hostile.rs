//! Malicious input.

use super::{emit, insert, values};
use crate::harness::{Harness, Relay, walpost};

/// Nesting depth.
const DEEP: usize = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn case_31_logical_messages_that_are_not_events_are_ignored() {
    let harness = Harness::migrated("garbage").await;
    harness.register("order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let deep = "[".repeat(DEEP);
    for statement in [
        "select pg_logical_emit_message(true, 'outbox', 'garbage')",
        "select pg_logical_emit_message(true, 'outbox', '')",
        "select pg_logical_emit_message(true, 'outbox', '\\x00ff'::bytea)",
        &format!("select pg_logical_emit_message(true, 'outbox', '{deep}')"),
        // Those below are not events: not transactional, or with another prefix.
        "select pg_logical_emit_message(false, 'outbox', 'stray')",
        "select pg_logical_emit_message(true, 'other', 'garbage')",
        &emit("order.placed", "k", "1"),
    ] {
        harness.execute(statement).await;
    }
    assert_eq!(values(&harness.consume(&harness.topic("order.placed"), 1).await), ["1"]);
    // The first four claim to be events, but are not signed.
    let metrics = relay.get("/metrics").await.expect("the relay answers").1;
    assert!(metrics.contains("walpost_forged_messages_total 4"), "{metrics}");
    assert_eq!(relay.status().await["dead_letters"], serde_json::json!({}));
    let end = harness.query_text("select pg_current_wal_lsn()::text").await.expect("an LSN");
    let slot = harness.name();
    harness
        .wait_for(&format!(
            "select confirmed_flush_lsn >= '{end}' from pg_replication_slots where slot_name = '{slot}'"
        ))
        .await;
    assert_eq!(relay.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_31_deeply_nested_payloads_and_headers_arrive_unchanged() {
    let harness = Harness::migrated("deep").await;
    harness.register("order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let deep = format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP));
    // Postgres accepts such a value only with a larger stack than the default.
    let session = harness.session().await;
    for statement in [
        "set max_stack_depth = '7MB'".to_owned(),
        emit("order.placed", "k", &deep),
        emit("order.placed", "k", &deep).replace("outbox.emit", "outbox.emit_message"),
        insert("order.placed", "'k'", "'1'", &[("headers", &format!(r#"'{{"deep": {deep}}}'"#))]),
        insert("order.placed", "'k'", "'2'", &[("headers", &format!("'{deep}'"))]),
    ] {
        session.batch_execute(&statement).await.unwrap_or_else(|error| panic!("{error:?}"));
    }
    let records = harness.consume(&harness.topic("order.placed"), 3).await;
    assert_eq!(values(&records), [deep.as_str(), &deep, "1"]);
    assert_eq!(records[2].header("deep"), Some(deep.as_str()));
    let dead_letters = harness.consume(&harness.topic("dead-letter"), 1).await;
    assert_eq!(dead_letters[0].header("outbox-error"), Some("undecodable"));
    assert_eq!(relay.terminate().await.code(), Some(0));
}

#[test]
fn case_31_a_deeply_nested_configuration_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("walpost.toml");
    let arrays = format!("[kafka]\nproperties = {}{}\n", "[".repeat(DEEP), "]".repeat(DEEP));
    let tables = format!("[kafka]\nproperties = {}{}\n", "{a=".repeat(DEEP), "}".repeat(DEEP));
    let dotted = format!("kafka.properties.{}x = 1\n", "a.".repeat(DEEP));
    let unclosed = format!("x = {}", "[".repeat(DEEP));
    for text in [arrays, tables, dotted, unclosed] {
        std::fs::write(&path, &text).expect("the file is written");
        let output = walpost().args(["run", "--config"]).arg(&path).output().expect("the binary runs");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{:.300}", message);
        assert!(message.starts_with("walpost: the configuration has "), "{message:.300}");
        assert!(message.len() < 4_000, "{} bytes: {message:.300}", message.len());
    }
    let name = format!("WALPOST_KAFKA__{}X", "A__".repeat(DEEP));
    let output = walpost().arg("run").env(name, "1").current_dir(folder.path()).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(64), "{:.300}", String::from_utf8_lossy(&output.stderr));
}
