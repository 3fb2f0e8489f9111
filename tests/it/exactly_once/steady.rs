//! Nothing dies.

use std::time::Duration;

use super::{exact, ready};
use crate::harness::{Harness, Load, Relay, Seeded, Verdict};
use crate::lifecycle::{SCHEMA, emit, prepare, published};

const POSITIONS: &str = "walpost.positions";

#[tokio::test(flavor = "multi_thread")]
async fn a_steady_load_arrives_once_and_in_order_with_its_position_beside_it() {
    let harness = Harness::new("exact steady").await;
    prepare(&harness).await;
    let load = Load::start(&harness, SCHEMA, 3, Duration::from_millis(5), &mut Seeded::from(1));
    let mut relay = ready(&harness).await;
    published(&mut relay, 2_000).await;
    let status = relay.status().await;
    assert_eq!(status["delivery"], "exactly-once");
    load.stop().await;
    let verdict = Verdict::of(&harness, SCHEMA).await;
    verdict.assert_exact();
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());

    let key = format!("exact/{}", harness.name());
    let mine = move |records: &[crate::harness::Received]| {
        records.iter().any(|record| record.key_text() == Some(key.as_str()))
    };
    let positions = harness.consume_until(&[POSITIONS], "a position", mine).await;
    let key = format!("exact/{}", harness.name());
    let last = positions.iter().rfind(|record| record.key_text() == Some(key.as_str())).expect("a position");
    let value: serde_json::Value = serde_json::from_str(last.value_text().expect("a value")).expect("JSON");
    let system = harness.query_text("select system_identifier::text from pg_control_system()").await.expect("a text");
    assert_eq!(value["system_identifier"], system.as_str());
    let slot = format!("from pg_replication_slots where slot_name = '{}'", harness.name());
    let confirmed = harness.query_text(&format!("select confirmed_flush_lsn::text {slot}")).await;
    assert_eq!(value["flush"].as_str(), confirmed.as_deref(), "an orderly stop leaves both at one place");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_from_before_the_slot_come_first_and_a_restart_repeats_nothing() {
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
