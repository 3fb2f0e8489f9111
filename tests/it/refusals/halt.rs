//! `on_rejected = "halt"`: the relay stops before the row.

use super::{dead_letter, emit, insert, values};
use crate::harness::{Harness, Relay};

const HALT: &str = "on_rejected = 'halt'\n";

#[tokio::test(flavor = "multi_thread")]
async fn case_28_the_relay_halts_at_a_bad_row_and_continues_once_it_is_fixed() {
    let harness = Harness::migrated("halt").await;
    let topic = harness.topic("order.placed");
    harness.register("order.placed").await;
    let mut relay = Relay::start(&harness, HALT);
    relay.ready().await;
    harness.execute(&emit("order.placed", "k", "1")).await;
    let bad = [insert("order.lost", "'k'", "'3'", &[("topic", &format!("'{topic}'"))]), emit("order.placed", "k", "4")];
    harness.execute(&emit("order.placed", "k", "2")).await;
    harness.execute(&bad.join(";")).await;
    harness.execute(&emit("order.placed", "k", "5")).await;

    assert_eq!(relay.exit().await.code(), Some(65));
    assert_eq!(values(&harness.consume(&topic, 2).await), ["1", "2"]);
    let (position, message) = reported_position(&relay.log());
    assert!(message.contains("outbox.event") && message.contains("unknown_schema"), "{message}");
    assert!(message.contains("order.lost/1") && message.contains("outbox.register_schema_version"), "{message}");
    let commit = position.rsplit_once('/').expect("a position has an ordinal").0;
    let stays = format!(
        "select confirmed_flush_lsn <= '{commit}' from pg_replication_slots where slot_name = '{}'",
        harness.name()
    );
    harness.wait_for(&stays).await;

    // Without a fix, it stops there again.
    let mut relay = Relay::start(&harness, HALT);
    assert_eq!(relay.exit().await.code(), Some(65));
    assert_eq!(reported_position(&relay.log()).0, position);
    harness.wait_for(&stays).await;

    harness.execute("select outbox.register_schema_version('order.lost', '1', null)").await;
    let mut relay = Relay::start(&harness, HALT);
    relay.ready().await;
    let records = harness.consume(&topic, 5).await;
    assert_eq!(values(&records), ["1", "2", "3", "4", "5"], "each once");
    assert_eq!(records[2].header("outbox-position"), Some(position.as_str()));
    assert_eq!(relay.terminate().await.code(), Some(0));
}

/// The same for a record that only the broker's limit refuses; then the relay makes it a dead letter.
#[tokio::test(flavor = "multi_thread")]
async fn case_28_a_record_that_is_too_large_stops_the_relay() {
    let harness = Harness::migrated("halt_large").await;
    harness.register("order.placed").await;
    harness.execute(&insert("order.placed", "'k'", "to_json(repeat('x', 2000000))", &[])).await;
    harness.execute(&emit("order.placed", "k", "2")).await;
    let mut relay = Relay::start(&harness, HALT);
    assert_eq!(relay.exit().await.code(), Some(65));
    let (_, message) = reported_position(&relay.log());
    assert!(message.contains("too_large") && message.contains("max.message.bytes"), "{message}");
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let dead_letters = harness.consume(&harness.topic("dead-letter"), 1).await;
    assert!(dead_letter(&harness, &dead_letters[0]).starts_with("too_large"));
    assert_eq!(values(&harness.consume(&harness.topic("order.placed"), 1).await), ["2"]);
}

/// The position in the last line, and that line.
fn reported_position(log: &str) -> (String, String) {
    let message = log.lines().last().expect("a message").to_owned();
    let position = message.split("position ").nth(1).and_then(|rest| rest.split(' ').next());
    (position.unwrap_or_else(|| panic!("no position: {message}")).to_owned(), message)
}
