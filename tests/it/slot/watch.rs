//! How much WAL the slot retains, and what `walpost status` reports about it.

use serde_json::Value;
use walpost::lab::sandbox::KafkaOptions;

use crate::harness::{Harness, Relay, config};
use crate::lifecycle::{emit, named, prepare, published};
use crate::setup::walpost_with;

#[tokio::test(flavor = "multi_thread")]
async fn case_36_a_failed_maintain_shows_in_readiness_and_metrics() {
    let harness = Harness::new("maintain_fails").await;
    prepare(&harness).await;
    harness
        .execute(
            "create function outbox.fail() returns event_trigger language plpgsql as \
             $$ begin raise exception 'no new tables'; end $$; \
             create event trigger maintain_fails on ddl_command_start when tag in ('CREATE TABLE') execute function outbox.fail(); \
             do $$ declare last text; begin select max(relname) into last from pg_class where relname like 'event_20%'; \
             execute 'drop table outbox.' || last; end $$",
        )
        .await;
    let mut relay = Relay::start_with(&config(&harness, ""));
    let fails = |status: &Value| status["not_ready"].to_string().contains("outbox.maintain failed: ");
    relay.wait_for("not ready", fails).await;
    let (_, metrics) = relay.get("/metrics").await.expect("it serves metrics");
    assert!(metrics.contains("walpost_maintain_failures_total 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_retains_too_much_wal_is_reported_until_it_shrinks() {
    let mut harness = Harness::with_own_kafka("kept_wal", KafkaOptions::default()).await;
    prepare(&harness).await;
    let mut relay = Relay::start_with(&config(&harness, "max_retained_wal = \"16MiB\"\n"));
    relay.ready().await;
    harness.execute(&emit("w0-0", 0, 1)).await;
    published(&mut relay, 1).await;
    harness.own_kafka().kill().await.expect("kafka can be killed");
    harness.execute(&emit("w0-0", 1, 2)).await;
    harness.execute("create table filler (text text)").await;
    for _ in 0..3 {
        harness.execute("insert into filler select repeat('x', 1000) from generate_series(1, 10000)").await;
    }
    let keeps = |status: &Value| {
        let reasons = status["not_ready"].as_array().into_iter().flatten().filter_map(Value::as_str);
        reasons.into_iter().any(|reason| reason.contains("bytes of WAL, more than 16777216"))
    };
    relay.wait_for("too much log", keeps).await;
    let (_, metrics) = relay.get("/metrics").await.expect("it serves metrics");
    assert!(metrics.contains("walpost_max_retained_wal_bytes 16777216"), "{metrics}");
    assert!(relay.log().contains("slot retains too much wal"), "{}", relay.log());

    harness.own_kafka().start_again().await.expect("kafka starts again");
    published(&mut relay, 2).await;
    // The decoding start follows what is confirmed once the server has logged the running transactions.
    harness.execute("checkpoint").await;
    harness.execute(&emit("w0-0", 2, 3)).await;
    relay.wait_for("little log", |status| status["ready"] == true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_reports_the_slot_with_and_without_a_relay() {
    let harness = Harness::new("status").await;
    prepare(&harness).await;
    let config = config(&harness, &named("told"));
    let report = |config: &str| -> Value {
        serde_json::from_str(&walpost_with(config, "status --json")).expect("one line of JSON")
    };
    let before = report(&config);
    assert_eq!((&before["slot"]["stands"], &before["relay"]), (&Value::Null, &Value::Null), "{before}");

    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    harness.execute(&emit("w0-0", 0, 3)).await;
    published(&mut relay, 3).await;
    let address = relay.address().expect("the log has its address");
    let config = config.replace("127.0.0.1:0", &address);
    let during = report(&config);
    assert_eq!(during["relay"]["events"], 3, "{during}");
    assert_eq!(during["slot"]["stands"]["held_by"], "walpost told", "{during}");
    assert_eq!(during["slot"]["stands"]["wal_status"], "reserved", "{during}");
    let text = walpost_with(&config, "status");
    assert!(text.contains("told 0.1.0, at-least-once, ready") && text.contains("events          3"), "{text}");
    assert!(text.contains("held by         walpost told (process"), "{text}");

    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    let after = report(&config);
    assert_eq!(after["slot"]["stands"]["active_pid"], Value::Null, "{after}");
    assert!(after["relay_unreachable"].as_str().is_some_and(|why| why.contains(&address)), "{after}");
}
