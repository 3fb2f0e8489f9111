//! Required ACLs.

use walpost::lab::sandbox::KafkaOptions;

use super::{Commands, NAMED, counts, produce, refused, remaining};
use crate::harness::{Harness, config};

#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_topic_blocks_only_its_own_dead_letters() {
    let options = KafkaOptions { users: vec!["relay".to_owned()], ..KafkaOptions::default() };
    let mut harness = Harness::with_own_kafka("redrive acls", options).await;
    harness.migrate().await;
    let dead_letters = harness.topic("dead-letter");
    let topics = ["order.placed", "order.secret"].map(|schema| harness.topic(schema));
    for (schema, topic) in ["order.placed", "order.secret"].iter().zip(&topics) {
        harness.register(schema).await;
        crate::refusals::create_topic(&harness, topic, &[]).await;
    }
    crate::refusals::create_topic(&harness, &dead_letters, &[]).await;
    for (id, schema, topic) in [("1", "order.secret", &topics[1]), ("2", "order.placed", &topics[0])] {
        produce(&harness, &dead_letters, Some("{}"), &refused(schema, id, "not_authorized", topic));
    }
    let everyone = ["--add", "--allow-principal", "User:*", "--operation", "All"];
    let resources = ["--topic", &topics[1], "--topic", "walpost.redriven", "--topic", &dead_letters];
    let kafka = harness.own_kafka();
    kafka.acl(&[&everyone[..], &resources].concat()).await.expect("ACLs are kept");
    let denied = ["--add", "--deny-principal", "User:relay", "--operation"];
    kafka.acl(&[&denied[..], &["Write", "--topic", &topics[1]]].concat()).await.expect("ACLs are kept");

    let login = harness.kafka_login("relay");
    let properties: Vec<String> = login.iter().map(|(name, value)| format!("'{name}' = '{value}'")).collect();
    let properties = format!("properties = {{ {} }}\n[http]", properties.join(", "));
    let commands = Commands::with(&config(&harness, NAMED).replace("[http]", &properties));
    let ended = commands.redrive(&["--all"]);
    assert_eq!((ended.code(), counts(&ended)), (Some(65), [1, 1, 0]), "{ended:?}");
    assert_eq!(remaining(&ended), [("0/0".to_owned(), "not_authorized".to_owned())]);
    assert_eq!(harness.consume(&topics[0], 1).await.len(), 1);

    let kafka = harness.own_kafka();
    kafka.acl(&[&denied[..], &["Write", "--topic", "walpost.redriven"]].concat()).await.expect("ACLs are kept");
    produce(&harness, &dead_letters, Some("{}"), &refused("order.placed", "3", "not_authorized", &topics[0]));
    let ended = commands.redrive(&["--all"]);
    assert_eq!(ended.code(), Some(69), "{ended:?}");
    assert!(ended.stderr.contains("cannot use topic walpost.redriven"), "{ended:?}");
    assert_eq!(harness.consume(&topics[0], 1).await.len(), 1, "nothing is published that can't be marked");

    let kafka = harness.own_kafka();
    kafka.acl(&[&denied[..], &["Read", "--topic", &dead_letters]].concat()).await.expect("ACLs are kept");
    let ended = commands.run(&["list"]);
    assert_eq!(ended.code(), Some(69), "{ended:?}");
    assert!(ended.stderr.contains("does not allow this client to read topic"), "{ended:?}");
}
