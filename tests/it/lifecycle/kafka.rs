//! Outages of Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use walpost::lab::sandbox::{Durability, KafkaOptions, PostgresOptions};
use walpost::random::Random;

use super::{SCHEMA, emit, named, numbers, prepare, published, ready};
use crate::harness::{Harness, Load, Received, Relay, Verdict};

/// librdkafka timeouts that an outage of a few seconds exceeds.
const SHORT_TIMEOUTS: &str = "[kafka.properties]\n\"socket.timeout.ms\" = 2000\n\"request.timeout.ms\" = 1500\n";

#[tokio::test(flavor = "multi_thread")]
async fn case_18_a_broker_outage_longer_than_every_timeout_loses_nothing() {
    let postgres = PostgresOptions { durability: Durability::NoFsync, ..PostgresOptions::default() };
    let mut harness = Harness::with_own_servers("broker away", postgres, KafkaOptions::default()).await;
    prepare(&harness).await;
    let sections = named("only") + "max_in_flight = 500\n" + SHORT_TIMEOUTS;
    let mut relay = Relay::start(&harness, &sections);
    relay.ready().await;
    let load = Load::start(&harness, SCHEMA, 3, Duration::from_millis(10), &mut Random::new(18));
    for (round, kill) in [true, false].into_iter().enumerate() {
        published(&mut relay, 300 * (round as u64 + 1)).await;
        if kill {
            harness.own_kafka().kill().await.expect("kafka can be killed");
        } else {
            harness.own_kafka().stop().await.expect("kafka can be stopped");
        }
        let status = relay.wait_for("a long outage", |status| status["lag_seconds"].as_f64() > Some(6.0)).await;
        assert!(status["in_flight_records"].as_u64() <= Some(500), "{status}");
        let count = status["events"].as_u64().expect("a number");
        harness.own_kafka().start_again().await.expect("kafka starts again");
        published(&mut relay, count + 1).await;
    }
    load.stop().await;
    let verdict = Verdict::of(&harness, SCHEMA).await;
    verdict.assert_exact();
    assert!(relay.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_18_a_topic_deleted_while_it_is_written_is_recreated_without_a_gap() {
    let harness = Harness::new("topic deleted").await;
    prepare(&harness).await;
    let topic = harness.topic(SCHEMA);
    let mut relay = ready(&harness, "only").await;
    let load = Load::start(&harness, SCHEMA, 3, Duration::from_millis(5), &mut Random::new(19));
    published(&mut relay, 500).await;
    harness.delete_topic(&topic).await;
    // The relay recreates it from its schema version.
    let count = relay.status().await["events"].as_u64().expect("a number");
    published(&mut relay, count + 1_000).await;
    load.stop().await;
    harness
        .execute(&(0..3).map(|writer| emit(&format!("w{writer}-0"), 1_000_000, 1_000_001) + ";").collect::<String>())
        .await;
    let rows = harness.query("select key, (payload ->> 'n')::bigint from outbox.event").await;
    let mut committed: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in rows {
        let number: i64 = row.get(1);
        committed.entry(row.get(0)).or_default().push(u64::try_from(number).expect("numbers count up"));
    }
    relay
        .wait_for("nothing in flight", |status| {
            status["in_flight_records"] == 0 && status["lag_bytes"].as_u64() < Some(1)
        })
        .await;
    // Called once for each record.
    let mut ends = 0;
    let last = move |records: &[Received]| {
        ends += usize::from(numbers(&records[records.len().saturating_sub(1)..]).iter().any(|(_, n)| *n == 1_000_000));
        ends == 3
    };
    let records = harness.consume_until(&[&topic], "the last events", last).await;
    let mut read: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (key, number) in numbers(&records) {
        read.entry(key).or_default().push(number);
    }
    for (key, mut all) in committed {
        all.sort_unstable();
        let read = read.remove(&key).unwrap_or_default();
        assert!(all.ends_with(&read), "{key}: the new topic has the end of {all:?}, in order: {read:?}");
    }
    assert_eq!(harness.query_text("select 'running'").await.is_some(), relay.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_10_and_18_a_topic_without_enough_replicas_holds_back_the_slot_but_no_other_topic() {
    let postgres = PostgresOptions { durability: Durability::NoFsync, ..PostgresOptions::default() };
    let kafka = KafkaOptions { brokers: 3, ..KafkaOptions::default() };
    let mut harness = Harness::with_own_servers("replicas", postgres, kafka).await;
    harness.migrate().await;
    for (schema, in_sync) in [(SCHEMA, "1"), ("strict", "3")] {
        harness.register(schema).await;
        let settings = [("min.insync.replicas", in_sync)];
        harness.create_replicated_topic(&harness.topic(schema), 3, 3, &settings).await;
    }
    let mut relay = ready(&harness, "only").await;
    let strict = |from, to| emit("w0-0", from, to).replace(SCHEMA, "strict");
    harness.execute(&format!("{}; {}", emit("w0-0", 0, 100), strict(0, 100))).await;
    published(&mut relay, 200).await;
    // Some partitions lose their leader.
    harness.own_kafka().kill_broker(2).expect("a broker of three");
    harness.execute(&strict(100, 200)).await;
    let row = harness.query_text("select pg_current_wal_lsn()::text").await.expect("an LSN");
    harness.execute(&(0..4).map(|key| emit(&format!("w1-{key}"), 0, 500) + ";").collect::<String>()).await;
    // Acknowledged out of order: writable partitions continue, and the flush LSN stays before the oldest record.
    published(&mut relay, 2_200).await;
    harness.status_updates(3).await;
    let slot = format!("from pg_replication_slots where slot_name = '{}'", harness.name());
    let held = harness.query_text(&format!("select (confirmed_flush_lsn < '{row}')::text {slot}")).await;
    assert_eq!(held.as_deref(), Some("true"));
    harness.own_kafka().start_broker(2).await.expect("the broker starts again");
    published(&mut relay, 2_300).await;
    harness.wait_for(&format!("select confirmed_flush_lsn > '{row}' {slot}")).await;
    assert!(relay.is_running());
    for schema in [SCHEMA, "strict"] {
        Verdict::of(&harness, schema).await.assert_exact();
    }
}
