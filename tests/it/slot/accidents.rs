//! A slot that something other than the relay moved or recreated while no relay ran: no event is skipped silently.

use std::collections::BTreeMap;

use crate::harness::{Harness, Received, Relay, Verdict, config};
use crate::lifecycle::{SCHEMA, emit, named, prepare, published};
use crate::setup::walpost_with;

use super::of_slot;

/// How the relay ends before the slot is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Orderly,
    Killed,
}

/// A relay has published ten events and ended, then five were committed.
async fn five_unpublished(name: &str, end: End) -> (Harness, String) {
    let harness = Harness::new(name).await;
    prepare(&harness).await;
    let config = config(&harness, &named("before"));
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    harness.execute(&emit("w0-0", 0, 10)).await;
    let end_lsn = harness.query_text("select pg_current_wal_insert_lsn()::text").await.expect("an LSN");
    published(&mut relay, 10).await;
    // Noted by the relay itself, when it is idle.
    harness.wait_for(&format!("select published_lsn >= '{end_lsn}' from outbox.relay")).await;
    match end {
        End::Orderly => assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log()),
        End::Killed => relay.kill(),
    }
    harness.execute(&emit("w0-0", 10, 15)).await;
    let config = config.replace("\"before\"", "\"after\"");
    (harness, config)
}

/// Starts a relay that must refuse the slot; returns its last log line.
async fn refused(config: &str) -> String {
    let mut relay = Relay::start_with(config);
    assert_eq!(relay.exit().await.code(), Some(69), "{}", relay.log());
    relay.log().lines().last().expect("a message").to_owned()
}

/// How often each event arrived, by its number; and which ones are marked.
fn arrivals(records: &[Received]) -> BTreeMap<u64, (usize, bool)> {
    let mut arrivals: BTreeMap<u64, (usize, bool)> = BTreeMap::new();
    for record in records {
        let value: serde_json::Value = serde_json::from_str(record.value_text().expect("text")).expect("JSON");
        let entry = arrivals.entry(value["n"].as_u64().expect("a number")).or_default();
        entry.0 += 1;
        entry.1 |= record.header("outbox-recovered").is_some();
    }
    arrivals
}

/// The slot is refused and recreated with the command in the message, and everything arrives; events that had been
/// published, only once.
async fn recovers(harness: &Harness, config: &str) {
    let confirmed = of_slot(harness, "confirmed_flush_lsn").await;
    let message = refused(config).await;
    assert!(
        message.contains("something other than this relay advanced or recreated it; events committed after"),
        "{message}"
    );
    assert!(
        message.contains("5 rows in the outbox tables may be affected") && message.contains("`walpost slot recreate`"),
        "{message}"
    );
    assert_eq!(of_slot(harness, "confirmed_flush_lsn").await, confirmed, "nothing was confirmed");

    let report: serde_json::Value =
        serde_json::from_str(&walpost_with(config, "slot recreate --json")).expect("one line of JSON");
    assert_eq!(report["rows_to_publish_again"], 5, "{report}");
    let mut relay = Relay::start_with(config);
    relay.ready().await;
    harness.execute(&emit("w0-0", 15, 20)).await;
    published(&mut relay, 10).await;
    Verdict::of(harness, SCHEMA).await.assert_sound();
    let all = |records: &[Received]| records.len() >= 20;
    let arrivals = arrivals(&harness.consume_until(&[&harness.topic(SCHEMA)], "all events", all).await);
    let expected = (0..20).map(|number| (number, (1, (10..15).contains(&number)))).collect();
    assert_eq!(arrivals, expected, "by number: how often, and whether marked as recovered");
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    let mut relay = Relay::start_with(config);
    relay.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_a_slot_advanced_while_the_relay_is_stopped_is_refused_and_recovered() {
    let (harness, config) = five_unpublished("slot_advanced", End::Orderly).await;
    harness.execute(&format!("select pg_replication_slot_advance('{}', pg_current_wal_lsn())", harness.name())).await;
    recovers(&harness, &config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_a_slot_recreated_after_the_relay_is_killed_is_refused_and_recovered() {
    let (harness, config) = five_unpublished("slot_remade", End::Killed).await;
    let slot = harness.name();
    harness.wait_for(&format!("select not active from pg_replication_slots where slot_name = '{slot}'")).await;
    harness.execute(&format!("select pg_drop_replication_slot('{slot}')")).await;
    harness.execute(&format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await;
    recovers(&harness, &config).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_advanced_on_purpose_is_adopted() {
    let (harness, config) = five_unpublished("slot_adopted", End::Orderly).await;
    harness.execute(&format!("select pg_replication_slot_advance('{}', pg_current_wal_lsn())", harness.name())).await;
    assert!(refused(&config).await.contains("`walpost slot adopt`"));
    assert!(walpost_with(&config, "slot adopt").contains("adopted; the next"));
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    harness.execute(&emit("w0-0", 15, 20)).await;
    published(&mut relay, 5).await;
    let all = |records: &[Received]| records.len() >= 15;
    let arrivals = arrivals(&harness.consume_until(&[&harness.topic(SCHEMA)], "the other events", all).await);
    let expected: BTreeMap<_, _> = (0..10).chain(15..20).map(|number| (number, (1, false))).collect();
    assert_eq!(arrivals, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn adopting_a_slot_keeps_a_pending_republication() {
    let (harness, config) = five_unpublished("slot_adopted_late", End::Orderly).await;
    harness.execute(&format!("select pg_replication_slot_advance('{}', pg_current_wal_lsn())", harness.name())).await;
    walpost_with(&config, "slot recreate");
    harness.execute(&format!("select pg_create_logical_replication_slot('{}', 'pgoutput')", harness.name())).await;
    walpost_with(&config, "slot adopt");
    let mut relay = Relay::start_with(&config);
    published(&mut relay, 5).await;
    let all = |records: &[Received]| records.len() >= 15;
    let arrivals = arrivals(&harness.consume_until(&[&harness.topic(SCHEMA)], "all events", all).await);
    let expected = (0..15).map(|number| (number, (1, number >= 10))).collect();
    assert_eq!(arrivals, expected, "by number: how often, and whether marked as recovered");
}
