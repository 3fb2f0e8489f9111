//! Topics, their sizes, and ACLs.

use expect_test::expect;
use rdkafka::admin::{AdminOptions, NewPartitions};
use walpost::lab::sandbox::KafkaOptions;

use super::{changed, examine};
use crate::harness::{Harness, Relay, config};
use crate::refusals::{admin, alter_topic, create_topic};

#[tokio::test(flavor = "multi_thread")]
async fn case_24_missing_and_unfit_topics_are_reported() {
    let harness = Harness::migrated("doctor_topics").await;
    let (orders, letters) = (harness.topic("order.placed"), harness.topic("dead-letter"));
    harness.register("order.placed").await;
    let (config, closed) = (config(&harness, ""), config(&harness, "create_topics = false\n"));
    let before = examine(&closed);
    let mut reported =
        [before.of(&harness, "topic"), before.of(&harness, "dead_letter_topic")].concat().join("\n") + "\n";
    create_topic(&harness, &orders, &[]).await;
    create_topic(&harness, &letters, &[("retention.ms", "-1")]).await;
    let well = examine(&closed);
    assert_eq!((well.code, well.not_ok()), (Some(0), vec![("max_slot_wal_keep_size", "warning")]), "{well:?}");
    assert!(well.of(&harness, "topic")[0].contains("1 partition, records up to 1.00 MiB, writable"), "{well:?}");

    // Each change undoes the previous one.
    for (topic, property, value, fixed, back) in [
        (&orders, "min.insync.replicas", "2", "min.insync.replicas", "1"),
        (&letters, "cleanup.policy", "compact", "retention.ms", "-1"),
        (&letters, "retention.ms", "604800000", "retention.ms", "-1"),
        (&orders, "max.message.bytes", "2000000", "max.message.bytes", "1048588"),
    ] {
        alter_topic(&harness, topic, property, value).await;
        wait_for(&harness, topic, property, value).await;
        reported += &changed(&harness, &well, &examine(&config));
        alter_topic(&harness, topic, fixed, back).await;
        wait_for(&harness, topic, fixed, back).await;
    }
    let small = config.replace("[http]", "properties = { 'message.max.bytes' = '1000000' }\n[http]");
    reported += &changed(&harness, &well, &examine(&small));
    expect![[r#"
        failure: db.order.placed does not exist, and [relay] create_topics is false: run `kafka-topics.sh --bootstrap-server SERVERS --create --topic db.order.placed`
        failure: db.dead-letter does not exist, and [relay] create_topics is false: run `kafka-topics.sh --bootstrap-server SERVERS --create --topic db.dead-letter --config retention.ms=-1`
        topic: failure: db.order.placed has 1 replicas but min.insync.replicas is 2, so Kafka refuses all writes to it: run `kafka-configs.sh --bootstrap-server SERVERS --alter --topic db.order.placed --add-config min.insync.replicas=1`, or give it more replicas
        dead_letter_topic: warning: db.dead-letter is compacted: it refuses dead letters without a key, which blocks the relay, and keeps only the last one per key: run `kafka-configs.sh --bootstrap-server SERVERS --alter --topic db.dead-letter --add-config cleanup.policy=delete`
        dead_letter_topic: warning: db.dead-letter keeps records for 7 days (retention.ms), so dead letters that are not redriven by then are lost: run `kafka-configs.sh --bootstrap-server SERVERS --alter --topic db.dead-letter --add-config retention.ms=-1,retention.bytes=-1`
        message_size: warning: db.dead-letter allows records up to 1048588 bytes but db.order.placed up to 2000000: a larger dead letter loses its value: run `kafka-configs.sh --bootstrap-server SERVERS --alter --topic db.dead-letter --add-config max.message.bytes=2000000`
        message_size: warning: "message.max.bytes" in [kafka] properties is 1000000, but topic db.order.placed allows 1048588: records in between become dead letters: remove the property
    "#]]
    .assert_eq(&reported.replace(harness.kafka(), "SERVERS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_49_an_advertised_address_that_cannot_be_reached_is_named() {
    let properties = vec![("advertised.listeners".to_owned(), "BROKER://127.0.0.1:1".to_owned())];
    let options = KafkaOptions { properties, ..KafkaOptions::default() };
    let harness = Harness::with_own_kafka("doctor_advertised", options).await;
    harness.migrate().await;
    let config = config(&harness, "");
    let found = examine(&config);
    let line = &found.of(&harness, "brokers")[0];
    let told = "the cluster advertises 127.0.0.1:1, which this machine can't reach (127.0.0.1:1/1: ";
    assert!(found.code == Some(69) && line.starts_with(&format!("failure: {told}")), "{found:?}");
    let mut relay = Relay::start_with(&config);
    let is_told = |status: &serde_json::Value| {
        let reason = status["not_ready"][0].as_str().unwrap_or_default();
        reason.starts_with(&format!("not connected to Kafka: {told}")) && status["last_error"]["message"] == reason
    };
    relay.wait_for("not ready", is_told).await;
    let log = relay.log();
    let is_told = |line: &str| line.contains("kafka is unreachable; records are waiting") && line.contains(told);
    assert!(log.lines().any(is_told), "{log}");
}

/// Brokers apply a change a moment later.
async fn wait_for(harness: &Harness, topic: &str, property: &str, value: &str) {
    let since = std::time::Instant::now();
    while harness.topic_property(topic, property).await.as_deref() != Some(value) {
        assert!(since.elapsed() < crate::harness::PATIENCE, "{topic} never has {property}={value}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_missing_acls_and_an_unfit_positions_topic_are_reported() {
    let options = KafkaOptions { users: vec!["relay".to_owned()], ..KafkaOptions::default() };
    let mut harness = Harness::with_own_kafka("doctor acls", options).await;
    harness.migrate().await;
    for schema in ["order.placed", "order.unmade"] {
        harness.register(schema).await;
    }
    let [placed, unmade, letters] = ["order.placed", "order.unmade", "dead-letter"].map(|name| harness.topic(name));
    create_topic(&harness, &placed, &[]).await;
    create_topic(&harness, &letters, &[("retention.ms", "-1")]).await;
    create_topic(&harness, "walpost.positions", &[("cleanup.policy", "compact")]).await;
    let login = harness.kafka_login("relay");
    let properties: Vec<String> = login.iter().map(|(name, value)| format!("'{name}' = '{value}'")).collect();
    let properties = format!("delivery = 'exactly-once'\nproperties = {{ {} }}\n[http]", properties.join(", "));
    let config = config(&harness, "").replace("[http]", &properties);

    // An ACL denies everyone that it does not name, so everyone is allowed first.
    let everyone = ["--add", "--allow-principal", "User:*", "--operation", "All"];
    let resources =
        ["--cluster", "--topic", &placed, "--topic", &unmade, "--topic", &letters, "--topic", "walpost.positions"];
    harness.own_kafka().acl(&[&everyone[..], &resources].concat()).await.expect("ACLs are kept");
    let well = examine(&config);
    assert_eq!((well.code, well.not_ok()), (Some(0), vec![("max_slot_wal_keep_size", "warning")]), "{well:?}");

    let mut reported = String::new();
    for (operation, resource) in [
        ("Write", &["--topic", placed.as_str()][..]),
        ("Describe", &["--topic", &placed]),
        ("Write", &["--topic", &letters]),
        ("Create", &["--cluster", "--topic", &unmade]),
        ("Read", &["--topic", "walpost.positions"]),
    ] {
        let denied = [&["--deny-principal", "User:relay", "--operation", operation][..], resource].concat();
        harness.own_kafka().acl(&[&["--add"], &denied[..]].concat()).await.expect("ACLs are kept");
        reported += &changed(&harness, &well, &examine(&config));
        harness.own_kafka().acl(&[&["--remove", "--force"], &denied[..]].concat()).await.expect("ACLs are kept");
    }
    alter_topic(&harness, "walpost.positions", "cleanup.policy", "delete").await;
    reported += &changed(&harness, &well, &examine(&config));
    expect![[r#"
        topic: failure: this client is not authorized to write to topic db.order.placed: run `kafka-acls.sh --bootstrap-server SERVERS --add --allow-principal User:... --operation Write --topic db.order.placed`
        topic: failure: this client is not authorized to describe topic db.order.placed: run `kafka-acls.sh --bootstrap-server SERVERS --add --allow-principal User:... --operation Describe --topic db.order.placed`
        dead_letter_topic: failure: this client is not authorized to write to topic db.dead-letter: run `kafka-acls.sh --bootstrap-server SERVERS --add --allow-principal User:... --operation Write --topic db.dead-letter`
        topic: failure: db.order.unmade does not exist, and this client can't create it (TopicAuthorizationFailed (Broker: Topic authorization failed)): create it with another client, or run `kafka-acls.sh --bootstrap-server SERVERS --add --allow-principal User:... --operation Create --topic db.order.unmade`
        positions_topic: failure: this client is not authorized to read topic walpost.positions: run `kafka-acls.sh --bootstrap-server SERVERS --add --allow-principal User:... --operation Read --topic walpost.positions`
        positions_topic: warning: walpost.positions is not compacted, so positions may expire: run `kafka-configs.sh --bootstrap-server SERVERS --alter --topic walpost.positions --add-config cleanup.policy=compact`
    "#]]
    .assert_eq(&reported.replace(harness.kafka(), "SERVERS"));
    let more = [NewPartitions::new("walpost.positions", 2)];
    let grown = admin(&harness).create_partitions(&more, &AdminOptions::new()).await.expect("kafka answers");
    assert!(grown[0].is_ok(), "{grown:?}");
    let since = std::time::Instant::now();
    while !examine(&config).of(&harness, "positions_topic")[0].starts_with("failure") {
        assert!(since.elapsed() < crate::harness::PATIENCE, "the topic never has two partitions");
    }
    let line = changed(&harness, &well, &examine(&config));
    assert!(line.starts_with("positions_topic: failure: walpost.positions has 2 partitions"), "{line}");
    let password = &login.iter().find(|(name, _)| name == "sasl.password").expect("a user has a password").1;
    assert!(!format!("{:?}", examine(&config)).contains(password.as_str()), "a password is shown");
}
