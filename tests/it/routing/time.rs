//! Case 3: a record's timestamp is the commit time.

use super::register_ordered;
use crate::harness::{Harness, Received, Relay};

/// In milliseconds, truncated like a record's timestamp.
const CLOCK: &str = "select floor(extract(epoch from clock_timestamp()) * 1000)::bigint";

#[tokio::test(flavor = "multi_thread")]
async fn case_03_the_timestamp_is_the_commit_time_shared_by_a_transaction() {
    let harness = Harness::migrated("commit_time").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let client = harness.session().await;
    let clock = async || -> i64 { client.query_one(CLOCK, &[]).await.expect("a clock").get(0) };
    client.batch_execute("begin; select outbox.emit('order.placed', 'k', '1')").await.expect("an event");
    // Time must pass between the rows and their commit to tell the two apart.
    client
        .batch_execute("select pg_sleep(0.05); select outbox.emit_message('order.placed', 'k', '2')")
        .await
        .expect("an event");
    client.batch_execute("select pg_sleep(0.05)").await.expect("a pause");
    let before = clock().await;
    client.batch_execute("commit").await.expect("a commit");
    let after = clock().await;
    client
        .batch_execute("select pg_sleep(0.05); select outbox.emit('order.placed', 'k', '3')")
        .await
        .expect("an event");
    let records = harness.consume(&topic, 3).await;
    let times: Vec<i64> = records.iter().map(|record| record.timestamp_ms.expect("a timestamp")).collect();
    assert!((before..=after).contains(&times[0]), "{} is not within {before} and {after}", times[0]);
    assert_eq!(times[0], times[1]);
    assert!(times[2] > after, "{} is not after {after}", times[2]);
    assert!(records[0].header("ce_time") < records[2].header("ce_time"));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_03_ce_time_is_when_the_event_was_created() {
    let harness = Harness::migrated("ce_time").await;
    let topic = register_ordered(&harness, "order.placed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let insert = |time: &str| {
        format!(
            "insert into outbox.event (schema_name, schema_version, payload, created_at) values \
             ('order.placed', '1', '1', '{time}')"
        )
    };
    for time in ["2026-02-28 23:59:59.999999+00", "2000-02-29 12:00:00.5+05:30"] {
        harness.execute(&insert(time)).await;
    }
    let records = harness.consume(&topic, 2).await;
    let times: Vec<_> = records.iter().map(|record| record.header("ce_time")).collect();
    assert_eq!(times, [Some("2026-02-28T23:59:59.999999Z"), Some("2000-02-29T06:30:00.500000Z")]);
    assert!(records.iter().map(|record: &Received| record.timestamp_ms).is_sorted());
}
