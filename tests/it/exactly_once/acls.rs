//! What access control must allow, and what a relay says that is not allowed it.

use walpost::sandbox::KafkaOptions;

use super::exact_with;
use crate::harness::{Harness, Relay};
use crate::lifecycle::{SCHEMA, emit, published};

const USER: &str = "relay";

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_its_transactional_id_or_its_topic_ends_and_says_so() {
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
    assert!(relay.log().contains(&format!("does not allow this client the transactional id {id}")), "{}", relay.log());
    harness.own_kafka().acl(&[&["--remove", "--force"], &on_id[..]].concat()).await.expect("ACLs are kept");

    let on_topic = [&denied[..], &["Read", "--topic", "walpost.positions"]].concat();
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

#[tokio::test(flavor = "multi_thread")]
async fn positions_that_may_not_be_written_are_tried_less_and_less_often_until_they_may() {
    let options = KafkaOptions { users: vec![USER.to_owned()], ..KafkaOptions::default() };
    let mut harness = Harness::with_own_kafka("exact unwritten", options).await;
    harness.migrate().await;
    let properties: Vec<String> =
        harness.kafka_login(USER).iter().map(|(name, value)| format!("'{name}' = '{value}'")).collect();
    let config = exact_with(&harness, &properties.join(", "), "");
    let denied = ["--deny-principal", "User:relay", "--operation", "Write", "--topic", "walpost.positions"];
    let all = ["--add", "--allow-principal", "User:*", "--operation", "All", "--topic", "walpost.positions"];
    harness.own_kafka().acl(&all).await.expect("ACLs are kept");
    harness.own_kafka().acl(&[&["--add"], &denied[..]].concat()).await.expect("ACLs are kept");
    let mut relay = Relay::start_with(&config);
    relay.wait_for_log_times("the position could not be stored in kafka", 5).await;
    let replaced = relay.log().matches("is replaced").count();
    assert!(replaced < 20, "{replaced} producers: {}", relay.log());
    harness.own_kafka().acl(&[&["--remove", "--force"], &denied[..]].concat()).await.expect("ACLs are kept");
    relay.wait_for_log("rows from before the slot are published").await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
}
