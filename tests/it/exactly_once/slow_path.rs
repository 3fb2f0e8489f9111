//! A slow path to Kafka.

use super::exact_with;
use crate::harness::{Harness, Relay, Verdict};
use crate::lifecycle::{SCHEMA, prepare, published};

/// Initially the whole backlog is one transaction, which the path can't carry within the transaction timeout.
#[tokio::test(flavor = "multi_thread")]
async fn case_35_a_backlog_too_large_for_one_transaction_gets_through_a_slow_path() {
    let harness = Harness::new("exact slow path").await;
    prepare(&harness).await;
    let name = format!("slow-{}", harness.name());
    // A broker accepts ten seconds' worth of data before it throttles a producer.
    harness.throttle(&format!("walpost-{name}"), 100_000).await;
    let rows = 800;
    harness
        .execute(&format!(
            "select outbox.emit('{SCHEMA}', 'w0-0', json_build_object('n', n, 'pad', repeat('x', 2000))) \
             from generate_series(1, {rows}) n"
        ))
        .await;
    let properties = r#""transaction.timeout.ms" = 6000, "compression.type" = "none", "batch.size" = 50000"#;
    let config = exact_with(&harness, properties, "").replace("name = \"exact\"", &format!("name = \"{name}\""));
    let mut relay = Relay::start_with(&config);
    published(&mut relay, rows).await;
    Verdict::of(&harness, SCHEMA).await.assert_exact();
    let log = relay.log();
    assert!(log.contains("kafka transaction aborted"), "the path was too fast for this test: {log}");
}
