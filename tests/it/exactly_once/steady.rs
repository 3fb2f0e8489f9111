//! Operation without failures.

use std::time::Duration;

use walpost::random::Random;

use super::{POSITIONS, exact, ready};
use crate::harness::{Harness, Load, Received, Relay, Verdict};
use crate::lifecycle::{SCHEMA, emit, prepare, published};

#[tokio::test(flavor = "multi_thread")]
async fn a_steady_load_arrives_once_and_in_order_with_its_stored_position() {
    let harness = Harness::new("exact steady").await;
    prepare(&harness).await;
    let load = Load::start(&harness, SCHEMA, 3, Duration::from_millis(5), &mut Random::new(1));
    let mut relay = ready(&harness).await;
    published(&mut relay, 2_000).await;
    let status = relay.status().await;
    assert_eq!(status["delivery"], "exactly-once");
    load.stop().await;
    let verdict = Verdict::of(&harness, SCHEMA).await;
    verdict.assert_exact();
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());

    // A clean stop leaves the slot and the stored position at the same place.
    let slot = format!("from pg_replication_slots where slot_name = '{}'", harness.name());
    let confirmed = harness.query_text(&format!("select confirmed_flush_lsn::text {slot}")).await.expect("an LSN");
    let system = harness.query_text("select system_identifier::text from pg_control_system()").await.expect("a text");
    let key = format!("exact/{}", harness.name());
    let is_last = move |record: &Received| {
        let value: serde_json::Value = serde_json::from_str(record.value_text()?).ok()?;
        let is_mine = record.key_text() == Some(key.as_str()) && value["system_identifier"] == system.as_str();
        Some(is_mine && value["flush"] == confirmed.as_str())
    };
    // Past transactions that other tests' relays may have left open.
    let enough = move |records: &[Received]| records.last().and_then(&is_last) == Some(true);
    harness.consume_until(&[POSITIONS], "the position of the slot", enough).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backfill_comes_first_and_a_restart_causes_no_duplicates() {
    let harness = Harness::new("exact restarts").await;
    prepare(&harness).await;
    harness.execute(&emit("w0-0", 0, 3_000)).await;
    for round in 1..=3 {
        let mut relay = Relay::start_with(&exact(&harness, ""));
        relay.ready().await;
        harness.execute(&emit("w0-0", round * 3_000, round * 3_000 + 500)).await;
        let least = if round == 1 { 3_500 } else { 500 };
        published(&mut relay, least).await;
        assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    }
    Verdict::of(&harness, SCHEMA).await.assert_exact();
}
