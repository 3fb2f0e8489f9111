//! Clean shutdown.

use std::time::Duration;

use rustix::process::Signal;
use walpost::lab::sandbox::{KafkaOptions, PostgresOptions};
use walpost::random::Random;

use super::{SCHEMA, emit, named, prepare, published, ready, through};
use crate::harness::{Harness, Load, Proxy, Relay, Verdict};

#[tokio::test(flavor = "multi_thread")]
async fn case_12_a_relay_stopped_under_load_causes_no_duplicates() {
    let harness = Harness::new("stop under load").await;
    prepare(&harness).await;
    let load = Load::start(&harness, SCHEMA, 3, Duration::from_millis(5), &mut Random::new(12));
    for round in 0..4 {
        let mut relay = ready(&harness, &format!("r{round}")).await;
        published(&mut relay, 300).await;
        let status = relay.terminate().await;
        assert_eq!(status.code(), Some(0), "{}", relay.log());
    }
    load.stop().await;
    let _last = ready(&harness, "last").await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_12_a_relay_stopped_during_a_large_transaction_reads_it_to_the_end() {
    let harness = Harness::new("stop in large").await;
    prepare(&harness).await;
    let mut relay = ready(&harness, "first").await;
    harness.execute(&emit("w0-0", 0, 30_000)).await;
    published(&mut relay, 100).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    assert!(relay.log().contains("stopping"), "the signal came while it ran");
    harness.execute(&emit("w0-0", 30_000, 30_010)).await;
    let _second = ready(&harness, "second").await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_12_a_relay_stopped_while_its_connection_is_silent_causes_no_duplicates() {
    let mut harness =
        Harness::with_own_servers("stop while silent", PostgresOptions::default(), KafkaOptions::default()).await;
    prepare(&harness).await;
    let port = harness.own_postgres().port();
    let proxy = Proxy::before(port).await;
    let mut relay = Relay::start_with(&through(&harness, &proxy, port, "first"));
    relay.ready().await;
    harness.execute(&emit("w0-0", 0, 100)).await;
    published(&mut relay, 100).await;
    // What Kafka acknowledges from here on can't be confirmed on the stream.
    harness.own_kafka().kill().await.expect("kafka can be killed");
    harness.execute(&emit("w0-0", 100, 1_000)).await;
    relay.wait_for("records in flight", |status| status["in_flight_records"] == 900).await;
    harness.status_updates(1).await;
    proxy.freeze();
    harness.own_kafka().start_again().await.expect("kafka starts again");
    published(&mut relay, 1_000).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    let _second = ready(&harness, "second").await;
    harness.execute(&emit("w0-0", 1_000, 1_001)).await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_12_a_relay_stopped_without_postgres_reports_what_it_could_not_confirm() {
    let mut harness = Harness::with_own_postgres("stop without postgres", PostgresOptions::default()).await;
    prepare(&harness).await;
    let mut relay = ready(&harness, "first").await;
    harness.execute(&emit("w0-0", 0, 100)).await;
    published(&mut relay, 100).await;
    harness.own_postgres().kill();
    assert_eq!(relay.terminate().await.code(), Some(1), "{}", relay.log());
    assert!(relay.log().contains("could not confirm"), "{}", relay.log());
    harness.own_postgres().start_again().await.expect("postgres starts again");
    let _second = ready(&harness, "second").await;
    Verdict::of(&harness, SCHEMA).await.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_12_a_relay_stopped_while_kafka_is_down_exits_in_time_and_loses_nothing() {
    let mut harness =
        Harness::with_own_servers("stop without kafka", PostgresOptions::default(), KafkaOptions::default()).await;
    prepare(&harness).await;
    let mut relay = Relay::start(&harness, &(named("first") + "shutdown_timeout = \"2s\"\n"));
    relay.ready().await;
    harness.execute(&emit("w0-0", 0, 100)).await;
    published(&mut relay, 100).await;
    harness.own_kafka().kill().await.expect("kafka can be killed");
    harness.execute(&emit("w0-0", 100, 5_000)).await;
    relay.wait_for("records in flight", |status| status["in_flight_records"].as_u64() > Some(0)).await;
    relay.signal(Signal::TERM);
    assert_eq!(relay.exit().await.code(), Some(1), "{}", relay.log());
    harness.own_kafka().start_again().await.expect("kafka starts again");
    let _second = ready(&harness, "second").await;
    let verdict = Verdict::of(&harness, SCHEMA).await;
    verdict.assert_sound();
    assert!(verdict.duplicates <= 4_900, "confirmed events are not repeated: {verdict:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_12_a_relay_stopped_during_a_lookup_reports_it() {
    let harness = Harness::new("stop in look up").await;
    prepare(&harness).await;
    let mut relay = Relay::start(&harness, &(named("first") + "shutdown_timeout = \"1s\"\n"));
    relay.ready().await;
    let insert = format!("insert into outbox.event (schema_name, schema_version, key) values ('{SCHEMA}', '1', 'k')");
    harness.execute(&format!("alter table outbox.schema_version rename to hidden; {insert}")).await;
    relay.wait_for("the look-up fails", |status| status["not_ready"].to_string().contains("waiting")).await;
    assert_eq!(relay.terminate().await.code(), Some(1), "{}", relay.log());
    let log = relay.log();
    let printed = log.lines().last().unwrap_or_default();
    for part in
        ["the relay was waiting for the lookup of schema version load/1 (", "does not exist", "shutdown_timeout"]
    {
        assert!(printed.contains(part), "{printed}");
    }
    assert!(!printed.contains("0 records"), "{printed}");
    harness.execute("alter table outbox.hidden rename to schema_version").await;
    let _second = ready(&harness, "second").await;
    assert_eq!(harness.consume(&harness.topic(SCHEMA), 1).await.len(), 1);
}
