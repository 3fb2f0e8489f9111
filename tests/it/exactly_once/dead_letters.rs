//! Dead letters are written in the same transactions.

use super::{exact, ready};
use crate::harness::{Harness, Relay};
use crate::refusals::too_large::{LIMIT, burst, check};
use crate::refusals::{alter_topic, register_with};

#[tokio::test(flavor = "multi_thread")]
async fn rows_refused_only_by_the_broker_become_dead_letters_without_duplicating_others() {
    let harness = Harness::migrated("exact_limit").await;
    register_with(&harness, "order.placed", r#"{"partitions": 1}"#).await;
    let mut relay = ready(&harness).await;
    harness.execute(&burst(1, 10, 1_000)).await;
    harness.consume(&harness.topic("order.placed"), 10).await;
    alter_topic(&harness, &harness.topic("order.placed"), "max.message.bytes", LIMIT).await;
    harness.execute(&burst(11, 600, 150)).await;
    check(&harness, 600, |number| number > 10 && number % 150 == 0).await;
    assert!(relay.log().contains("kafka transaction aborted"), "{}", relay.log());
    assert_eq!(relay.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_arrive_once_even_if_the_relay_is_killed() {
    const BAD: usize = 300;
    let harness = Harness::migrated("exact_letters").await;
    register_with(&harness, "order.placed", r#"{"partitions": 1}"#).await;
    // Half of the bad rows have no contract, half violate theirs.
    let small = "select outbox.register_schema_version('order.small', '1', null, schema => '{\"maximum\": 0}')";
    harness.execute(small).await;
    let config = exact(&harness, "max_in_flight = 50\n");
    let rows = format!(
        "insert into outbox.event (schema_name, schema_version, key, payload) \
         select case when n % 20 = 0 then 'order.unknown' when n % 10 = 0 then 'order.small' else 'order.placed' end, \
         '1', 'k', to_json(n) from generate_series(1, {}) n",
        BAD * 10
    );
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    harness.execute(&rows).await;
    for _ in 0..4 {
        relay.wait_for("some events", |status| status["events"].as_u64() > Some(300)).await;
        relay.kill();
        relay = Relay::start_with(&config);
    }
    let good = harness.consume(&harness.topic("order.placed"), BAD * 9).await;
    let numbers = |records: &[crate::harness::Received]| {
        records.iter().filter_map(|record| record.value_text()?.parse().ok()).collect::<Vec<usize>>()
    };
    let expected = |bad: bool| (1..=BAD * 10).filter(|n| (n % 10 == 0) == bad).collect::<Vec<_>>();
    assert_eq!(numbers(&good), expected(false));
    let dead_letters = harness.consume(&harness.topic("dead-letter"), BAD).await;
    assert_eq!(numbers(&dead_letters), expected(true));
    let violations =
        dead_letters.iter().filter(|dead_letter| dead_letter.header("outbox-error") == Some("contract_violation"));
    assert_eq!(violations.count(), BAD / 2);
}
