//! The relay and the broker are killed.

use std::time::Duration;

use walpost::lab::sandbox::{KafkaOptions, PostgresOptions};
use walpost::random::Random;

use super::{exact, ready};
use crate::harness::{Harness, Load, Relay, Verdict, seeded};
use crate::lifecycle::{SCHEMA, emit, prepare, published};

#[tokio::test(flavor = "multi_thread")]
async fn case_11_a_relay_killed_repeatedly_under_load_causes_no_duplicates() {
    let harness = Harness::new("exact killed").await;
    prepare(&harness).await;
    let (mut seeded, seed) = seeded("WALPOST_TEST_SEED", 17);
    let load = Load::start(&harness, SCHEMA, 4, Duration::from_millis(5), &mut seeded.fork());
    let mut stopped = 0;
    begun(&harness).await;
    for kill in 0..12 {
        let mut relay = Relay::start_with(&exact(&harness, ""));
        // Some are killed before they have published anything.
        if kill % 4 > 0 {
            published(&mut relay, 1 + seeded.below(400)).await;
        }
        tokio::time::sleep(Duration::from_millis(seeded.below(300))).await;
        assert!(relay.is_running(), "seed {seed}: {}", relay.log());
        relay.kill();
        stopped += 1;
    }
    load.stop().await;
    let relay = ready(&harness).await;
    let verdict = Verdict::of(&harness, SCHEMA).await;
    eprintln!("seed {seed}: {stopped} kills, {} events, {} duplicates", verdict.committed, verdict.duplicates);
    verdict.assert_exact();
    assert!(relay.log().contains("skipping events up to the position stored in kafka"), "{}", relay.log());
}

/// An interrupted first backfill is the one exception, so it is completed first.
async fn begun(harness: &Harness) {
    let mut relay = Relay::start_with(&exact(harness, ""));
    relay.wait_for_log("initial backfill published").await;
    relay.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_killed_within_a_large_transaction_resumes_within_it() {
    const ROWS: u64 = 50_000;
    let harness = Harness::new("exact large").await;
    prepare(&harness).await;
    // Small Kafka transactions, many per Postgres transaction.
    let config = exact(&harness, "max_in_flight = 700\n");
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    harness.execute(&emit("w0-0", 0, ROWS)).await;
    harness.execute(&emit("w0-0", ROWS, ROWS + 10)).await;
    let mut seeded = Random::new(5);
    let mut least = 0;
    for _ in 0..6 {
        let count = 1_000 + seeded.below(5_000);
        published(&mut relay, count).await;
        relay.kill();
        least += count;
        relay = Relay::start_with(&config);
    }
    relay.ready().await;
    let verdict = Verdict::of(&harness, SCHEMA).await;
    verdict.assert_exact();
    assert_eq!(verdict.records as u64, ROWS + 10);
    let skipped = format!("walpost_skipped_total {least}");
    let (_, metrics) = relay.get("/metrics").await.expect("metrics");
    let line = metrics.lines().find(|line| line.starts_with("walpost_skipped_total")).unwrap_or_default().to_owned();
    let passed: u64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default();
    assert!(passed >= least, "{line}, at least {skipped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_under_load_causes_no_duplicates() {
    let mut harness =
        Harness::with_own_servers("exact broker", PostgresOptions::default(), KafkaOptions::default()).await;
    prepare(&harness).await;
    let load = Load::start(&harness, SCHEMA, 4, Duration::from_millis(5), &mut Random::new(3));
    let mut relay = ready(&harness).await;
    let mut events = 300;
    for round in 0..4 {
        published(&mut relay, events).await;
        harness.own_kafka().kill().await.expect("kafka can be killed");
        tokio::time::sleep(Duration::from_millis(500 * round)).await;
        harness.own_kafka().start_again().await.expect("kafka starts again");
        events = relay.status().await["events"].as_u64().expect("a number") + 300;
    }
    // Both at once: what the relay had sent but not committed remains open until the next one takes over.
    published(&mut relay, events).await;
    harness.own_kafka().kill().await.expect("kafka can be killed");
    relay.kill();
    harness.own_kafka().start_again().await.expect("kafka starts again");
    let _second = ready(&harness).await;
    load.stop().await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
}
