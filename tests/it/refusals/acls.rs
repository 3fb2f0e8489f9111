//! Topics that the relay's user may not write to, create, or use for dead letters.

use expect_test::expect;
use walpost::lab::sandbox::KafkaOptions;

use super::blocked::{confirmed_after_two_reports, nothing_was_confirmed_past, wait_blocked};
use super::{create_topic, dead_letter, emit, values};
use crate::harness::{Harness, Relay, config};

const USER: &str = "relay";

#[tokio::test(flavor = "multi_thread")]
async fn case_26_and_27_access_control_refuses_topics_and_then_the_dead_letter_topic() {
    let options = KafkaOptions { users: vec![USER.to_owned()], ..KafkaOptions::default() };
    let mut harness = Harness::with_own_kafka("acls", options).await;
    harness.migrate().await;
    for schema in ["order.placed", "order.secret", "order.unmade"] {
        harness.register(schema).await;
    }
    let [placed, secret, unmade, dead_letters] =
        ["order.placed", "order.secret", "order.unmade", "dead-letter"].map(|name| harness.topic(name));
    for topic in [&placed, &secret, &dead_letters] {
        create_topic(&harness, topic, &[]).await;
    }
    // An ACL closes a resource to everyone it does not name, so everyone is allowed first.
    let everyone = ["--add", "--allow-principal", "User:*", "--operation", "All"];
    let resources = ["--cluster", "--topic", &secret, "--topic", &unmade, "--topic", &dead_letters];
    let denied = ["--add", "--deny-principal", "User:relay", "--operation"];
    let kafka = harness.own_kafka();
    kafka.acl(&[&everyone[..], &resources].concat()).await.expect("ACLs are kept");
    kafka.acl(&[&denied[..], &["Write", "--topic", &secret]].concat()).await.expect("ACLs are kept");
    kafka.acl(&[&denied[..], &["Create", "--cluster", "--topic", &unmade]].concat()).await.expect("ACLs are kept");

    let login = harness.kafka_login(USER);
    let password = login.iter().find(|(name, _)| name == "sasl.password").expect("a user has a password").1.clone();
    let properties: Vec<String> = login.iter().map(|(name, value)| format!("'{name}' = '{value}'")).collect();
    let properties = format!("properties = {{ {} }}\n[http]", properties.join(", "));
    let mut relay = Relay::start_with(&config(&harness, "").replace("[http]", &properties));
    relay.ready().await;
    let rows = |from: u32| {
        let topics = ["order.placed", "order.secret", "order.placed", "order.unmade", "order.placed"];
        let rows = topics.iter().zip(from..).map(|(schema, number)| emit(schema, "k", &number.to_string()));
        rows.collect::<Vec<_>>().join(";")
    };
    harness.execute(&rows(1)).await;
    let refused = harness.consume(&dead_letters, 2).await;
    let mut reported: Vec<String> = refused.iter().map(|record| dead_letter(&harness, record)).collect();
    // Records that the broker refuses become dead letters later than those that the relay knows to be refused.
    reported.sort();
    expect![[r#"
        not_authorized: kafka does not allow this client to write to the topic
          for db.order.secret, key Some("k"), value Some("2")
        unknown_topic: the topic db.order.unmade does not exist, and kafka does not allow this client to create it
          for db.order.unmade, key Some("k"), value Some("4")
    "#]]
    .assert_eq(&reported.concat());
    assert_eq!(values(&harness.consume(&placed, 3).await), ["1", "3", "5"]);

    // Case 27: now the dead-letter topic is denied too.
    let close = [&denied[..], &["Write", "--topic", &dead_letters]].concat();
    harness.own_kafka().acl(&close).await.expect("ACLs are kept");
    harness.execute(&rows(11)).await;
    wait_blocked(&mut relay, &dead_letters).await;
    let before = confirmed_after_two_reports(&harness).await;
    let open = ["--remove", "--deny-principal", "User:relay", "--operation", "Write", "--topic", &dead_letters];
    harness.own_kafka().acl(&open).await.expect("ACLs are kept");
    let refused = harness.consume(&dead_letters, 4).await;
    nothing_was_confirmed_past(&harness, &before, refused[2].header("outbox-position")).await;
    assert_eq!(values(&harness.consume(&placed, 6).await), ["1", "3", "5", "11", "13", "15"]);
    relay.ready().await;
    let reported = |text: &str| relay.log().matches(text).count();
    assert_eq!(reported("publishing blocked: topic is not writable"), 1, "not once per attempt");
    let (status, log) = (relay.get("/status").await.expect("the relay answers").1, relay.log());
    assert!(!status.contains(&password) && !log.contains(&password), "the password is shown");
    assert_eq!(relay.terminate().await.code(), Some(0));
}
