//! The slot advances when it can, and another relay can take it over.

use std::time::Duration;

use walpost::lab::sandbox::{KafkaOptions, PostgresOptions};
use walpost::random::Random;

use super::{SCHEMA, emit, named, prepare, published, ready};
use crate::harness::{Harness, Load, Relay, Verdict};

#[tokio::test(flavor = "multi_thread")]
async fn case_20_an_idle_outbox_in_a_busy_database_retains_no_wal() {
    let mut harness =
        Harness::with_own_servers("idle outbox", PostgresOptions::default(), KafkaOptions::default()).await;
    prepare(&harness).await;
    let mut relay = ready(&harness, "only").await;
    harness.execute("create table other (n int)").await;
    let slot = format!("from pg_replication_slots where slot_name = '{}'", harness.name());
    for _ in 0..3 {
        let end = busy(&harness).await;
        harness.wait_for(&format!("select confirmed_flush_lsn >= '{end}' {slot}")).await;
    }
    harness.execute(&emit("w0-0", 0, 1)).await;
    published(&mut relay, 1).await;
    harness.own_kafka().kill().await.expect("kafka can be killed");
    harness.execute(&emit("w0-0", 1, 2)).await;
    let after_row = harness.query_text("select pg_current_wal_lsn()::text").await.expect("an LSN");
    relay.wait_for("a row in flight", |status| status["in_flight_records"] == 1).await;
    let end = busy(&harness).await;
    harness.status_updates(3).await;
    let held = harness.query_text(&format!("select (confirmed_flush_lsn < '{after_row}')::text {slot}")).await;
    assert_eq!(held.as_deref(), Some("true"));
    harness.own_kafka().start_again().await.expect("kafka starts again");
    harness.wait_for(&format!("select confirmed_flush_lsn >= '{end}' {slot}")).await;
}

/// Writes WAL without events; returns its end.
async fn busy(harness: &Harness) -> String {
    harness.execute("insert into other select generate_series(1, 10000)").await;
    harness.query_text("select pg_current_wal_lsn()::text").await.expect("an LSN")
}

#[tokio::test(flavor = "multi_thread")]
async fn case_23_a_second_relay_waits_and_takes_over() {
    let harness = Harness::new("standby").await;
    prepare(&harness).await;
    let load = Load::start(&harness, SCHEMA, 2, Duration::from_millis(10), &mut Random::new(23));
    let mut first = ready(&harness, "first").await;
    published(&mut first, 200).await;
    let mut second = Relay::start(&harness, &named("second"));
    second.wait_for_log("another relay holds the slot").await;
    published(&mut first, 400).await;
    assert_eq!(second.status().await["events"], 0);
    first.kill();
    published(&mut second, 200).await;
    let mut third = Relay::start(&harness, &named("third"));
    third.wait_for_log("another relay holds the slot").await;
    assert_eq!(second.terminate().await.code(), Some(0), "{}", second.log());
    published(&mut third, 200).await;
    load.stop().await;
    harness.execute(&emit("w0-0", 1_000_000, 1_000_001)).await;
    let verdict = Verdict::of(&harness, SCHEMA).await;
    verdict.assert_sound();
    assert!(!verdict.repeats.contains_key("third"), "the second had stopped cleanly: {verdict:#?}");
}
