//! Records above their topic's limit, among bursts of valid ones.

use std::collections::BTreeMap;

use super::violations::register;
use super::{alter_topic, create_topic, register_with};
use crate::harness::{Harness, Received, Relay};

/// A topic's limit, in bytes.
pub(crate) const LIMIT: &str = "20000";

/// Rows of about a kilobyte with seven keys, among them every `nth` one above [`LIMIT`]. Numbers are from `first` to `last`.
pub(crate) fn burst(first: u32, last: u32, nth: u32) -> String {
    format!(
        "select outbox.emit('order.placed', 'k' || i % 7, json_build_object('n', i, 'pad', \
         (select string_agg(md5(i::text || j), '') from generate_series(1, case when i % {nth} = 0 then 1000 else 30 end) j))) \
         from generate_series({first}, {last}) i"
    )
}

fn number(record: &Received) -> u64 {
    let payload: serde_json::Value = serde_json::from_slice(record.value.as_deref().expect("a payload")).expect("JSON");
    payload["n"].as_u64().expect("a number")
}

/// Every small row arrives once, in order per key; every large one becomes a dead letter.
pub(crate) async fn check(harness: &Harness, last: u64, nth: impl Fn(u64) -> bool) {
    let large: Vec<u64> = (1..=last).filter(|number| nth(*number)).collect();
    let innocent = usize::try_from(last).expect("a small number") - large.len();
    let mut keys: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for record in harness.consume(&harness.topic("order.placed"), innocent).await {
        keys.entry(number(&record) % 7).or_default().push(number(&record));
    }
    for (key, numbers) in keys {
        let expected: Vec<u64> = (1..=last).filter(|number| number % 7 == key && !nth(*number)).collect();
        assert_eq!(numbers, expected, "key {key}");
    }
    let dead_letters = harness.consume(&harness.topic("dead-letter"), large.len()).await;
    assert!(
        dead_letters.iter().all(|dead_letter| dead_letter.header("outbox-error") == Some("too_large")),
        "{dead_letters:?}"
    );
    assert!(
        dead_letters
            .iter()
            .all(|dead_letter| dead_letter.header("outbox-topic") == Some(&harness.topic("order.placed")))
    );
    // Rows that only the broker refuses become dead letters later than those that the relay knows to be too large.
    let mut refused: Vec<u64> = dead_letters.iter().map(number).collect();
    refused.sort_unstable();
    assert_eq!(refused, large);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_26_only_rows_above_a_small_topic_limit_become_dead_letters() {
    let harness = Harness::migrated("small_limit").await;
    let settings = format!(r#"{{"partitions": 3, "config": {{"max.message.bytes": "{LIMIT}"}}}}"#);
    register_with(&harness, "order.placed", &settings).await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.execute(&burst(1, 2_000, 400)).await;
    check(&harness, 2_000, |number| number % 400 == 0).await;
    assert_eq!(relay.terminate().await.code(), Some(0));
}

/// The relay has looked up the limit before, so the broker refuses, and whole batches at that.
#[tokio::test(flavor = "multi_thread")]
async fn case_26_a_limit_lowered_at_runtime_refuses_only_rows_above_it() {
    let harness = Harness::migrated("lowered_limit").await;
    register_with(&harness, "order.placed", r#"{"partitions": 1}"#).await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.execute(&burst(1, 10, 1_000)).await;
    harness.consume(&harness.topic("order.placed"), 10).await;
    alter_topic(&harness, &harness.topic("order.placed"), "max.message.bytes", LIMIT).await;
    harness.execute(&burst(11, 600, 150)).await;
    check(&harness, 600, |number| number > 10 && number % 150 == 0).await;
    assert_eq!(relay.terminate().await.code(), Some(0));
}

/// Whether it conforms to its contract does not matter, and parsing it to find out would take many times its size in
/// memory.
#[tokio::test(flavor = "multi_thread")]
async fn case_38_a_payload_too_large_for_its_topic_is_not_validated() {
    let harness = Harness::migrated("large_unchecked").await;
    create_topic(&harness, &harness.topic("orders"), &[("max.message.bytes", LIMIT)]).await;
    register(&harness, "order.placed", "1", r#"{"type": "integer"}"#, "").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.execute("select outbox.emit('order.placed', 'k', to_json(repeat('x', 30000)))").await;
    // Headers are limited by the topic as well, and only the largest fail the writer's transaction.
    let headers =
        "select outbox.emit('order.placed', 'k', '1', headers => jsonb_build_object('h', repeat('x', 1000000)))";
    harness.execute(headers).await;
    let dead_letters = harness.consume(&harness.topic("dead-letter"), 2).await;
    assert!(dead_letters.iter().all(|dead_letter| dead_letter.header("outbox-error") == Some("too_large")));
    assert_eq!(relay.terminate().await.code(), Some(0));
}
