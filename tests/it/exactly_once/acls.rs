//! The required ACLs, and the relay's errors without them.

use std::time::{Duration, Instant};

use walpost::lab::sandbox::KafkaOptions;

use super::{POSITIONS, exact_with};
use crate::harness::{Harness, PATIENCE, Relay};
use crate::lifecycle::{SCHEMA, emit, published};

const USER: &str = "relay";

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_access_to_its_transactional_id_or_topic_exits_with_the_reason() {
    let options = KafkaOptions { users: vec![USER.to_owned()], ..KafkaOptions::default() };
    let mut harness = Harness::with_own_kafka("exact acls", options).await;
    harness.migrate().await;
    harness.register(SCHEMA).await;
    harness.execute(&emit("w0-0", 0, 10)).await;
    let properties: Vec<String> =
        harness.kafka_login(USER).iter().map(|(name, value)| format!("'{name}' = '{value}'")).collect();
    let config = exact_with(&harness, &properties.join(", "), "");

    let id = format!("walpost.exact.{}", harness.name());
    let denied = ["--deny-principal", "User:relay", "--operation"];
    let on_id = [&denied[..], &["Write", "--transactional-id", &id]].concat();
    harness.own_kafka().acl(&[&["--add"], &on_id[..]].concat()).await.expect("ACLs are kept");
    let mut relay = Relay::start_with(&config);
    assert_eq!(relay.exit().await.code(), Some(69), "{}", relay.log());
    assert!(
        relay.log().contains(&format!("does not allow this client to use the transactional id {id}")),
        "{}",
        relay.log()
    );
    harness.own_kafka().acl(&[&["--remove", "--force"], &on_id[..]].concat()).await.expect("ACLs are kept");

    let on_topic = [&denied[..], &["Read", "--topic", POSITIONS]].concat();
    harness.own_kafka().acl(&[&["--add"], &on_topic[..]].concat()).await.expect("ACLs are kept");
    let mut relay = Relay::start_with(&config);
    assert_eq!(relay.exit().await.code(), Some(69), "{}", relay.log());
    assert!(relay.log().contains("needs the topic walpost.positions"), "{}", relay.log());
    harness.own_kafka().acl(&[&["--remove", "--force"], &on_topic[..]].concat()).await.expect("ACLs are kept");

    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    published(&mut relay, 10).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
}

/// A client that may do everything except write to `topic`.
async fn deny_writes(harness: &mut Harness, topic: &str) {
    let all = ["--add", "--allow-principal", "User:*", "--operation", "All", "--topic", topic];
    harness.own_kafka().acl(&all).await.expect("ACLs are kept");
    let denied = ["--add", "--deny-principal", "User:relay", "--operation", "Write", "--topic", topic];
    harness.own_kafka().acl(&denied).await.expect("ACLs are kept");
}

/// A refusal is remembered for longer than it costs to detect, and Kafka is asked whether it has ended instead of
/// trying.
#[tokio::test(flavor = "multi_thread")]
async fn case_26_an_unauthorized_topic_costs_one_transaction_and_other_topics_continue() {
    let options = KafkaOptions { users: vec![USER.to_owned()], ..KafkaOptions::default() };
    let mut harness = Harness::with_own_kafka("exact denied", options).await;
    harness.migrate().await;
    for schema in ["order.placed", "order.secret"] {
        harness.register(schema).await;
        harness.execute(&format!("select outbox.emit('{schema}', 'k', '0')")).await;
    }
    let properties: Vec<String> =
        harness.kafka_login(USER).iter().map(|(name, value)| format!("'{name}' = '{value}'")).collect();
    let config = exact_with(&harness, &properties.join(", "), "");
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    published(&mut relay, 2).await;

    let secret = harness.topic("order.secret");
    deny_writes(&mut harness, &secret).await;
    harness.execute("select outbox.emit('order.secret', 'k', '1')").await;
    harness.execute("select outbox.emit('order.placed', 'k', '2')").await;
    let refused = |status: &serde_json::Value| {
        status["dead_letters"]["not_authorized"] == 1 && status["events"].as_u64() >= Some(4)
    };
    relay.wait_for("a dead letter and the record after it", refused).await;
    let (since, mut events, mut number) = (Instant::now(), 4, 10);
    while since.elapsed() < Duration::from_secs(13) {
        harness.execute(&format!("select outbox.emit('order.secret', 'k', '{number}')")).await;
        harness.execute(&format!("select outbox.emit('order.placed', 'k', '{number}')")).await;
        (events, number) = (events + 2, number + 1);
        published(&mut relay, events).await;
    }
    let aborted = |relay: &Relay| relay.log().matches("kafka transaction aborted").count();
    assert_eq!(aborted(&relay), 1, "{}", relay.log());
    let open = ["--remove", "--force", "--deny-principal", "User:relay", "--operation", "Write", "--topic", &secret];
    harness.own_kafka().acl(&open).await.expect("ACLs are kept");
    let denied = |status: serde_json::Value| status["dead_letters"]["not_authorized"].as_u64();
    loop {
        let before = denied(relay.status().await);
        harness.execute(&format!("select outbox.emit('order.secret', 'k', '{number}')")).await;
        (events, number) = (events + 1, number + 1);
        published(&mut relay, events).await;
        if denied(relay.status().await) == before {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "the topic is never written to again: {}", relay.log());
    }
    assert_eq!(aborted(&relay), 1, "{}", relay.log());

    deny_writes(&mut harness, POSITIONS).await;
    harness.execute("select outbox.emit('order.placed', 'k', '3')").await;
    assert_eq!(relay.exit().await.code(), Some(69), "{}", relay.log());
    assert!(relay.log().contains("needs the topic walpost.positions"), "{}", relay.log());
}
