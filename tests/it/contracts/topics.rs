//! Topics: altered, existing, refused.

use super::{Contracts, ID};
use crate::harness::{Harness, program};

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_other_settings_is_altered_and_keeps_its_other_properties() {
    let harness = Harness::migrated("contract_alter").await;
    let contracts = Contracts::new(&harness);
    let topic = harness.topic("order.placed");
    // Created by hand, with a setting that no contract has.
    harness.create_topic(&topic, 1, &[("retention.ms", "1000"), ("segment.ms", "777000")]).await;
    let keys = |retention: u32, partitions: u32| {
        format!(
            "  customProperties:\n  - {{property: topicConfiguration, value: {{retention.ms: {retention}, min.insync.replicas: 1}}}}\n  \
             - {{property: partitions, value: {partitions}}}\n"
        )
    };
    contracts.write("1.yaml", &contracts.contract("order.placed", "1", &keys(2000, 2), ID));
    let plan = contracts.run(&["plan"]);
    assert!(
        plan.stdout.contains(&format!("~ topic {topic}: partitions 1 -> 2, retention.ms 1000 -> 2000\n")),
        "{plan:?}"
    );
    assert!(plan.stdout.contains("warning: 1 to 2 partitions: keys move to other partitions"), "{plan:?}");
    let applied = contracts.run(&["apply"]);
    assert!(applied.stdout.ends_with("applied: 1 schema version registered, 1 topic altered\n"), "{applied:?}");
    assert_eq!(harness.partitions(&topic), 2);
    for (name, value) in [("retention.ms", "2000"), ("segment.ms", "777000")] {
        assert_eq!(harness.topic_property(&topic, name).await.as_deref(), Some(value), "{name}");
    }
    assert!(contracts.run(&["apply"]).stdout.ends_with("applied: no changes\n"));

    // A new version with other settings alters the topic; Kafka can't remove partitions.
    contracts.write("2.yaml", &contracts.contract("order.placed", "2", &keys(3000, 2), ID));
    assert_eq!(contracts.run(&["apply"]).code(), Some(0));
    assert_eq!(harness.topic_property(&topic, "retention.ms").await.as_deref(), Some("3000"));
    contracts.write("3.yaml", &contracts.contract("order.placed", "3", &keys(3000, 1), ID));
    let refused = contracts.run(&["apply"]);
    assert_eq!(refused.code(), Some(65));
    assert!(
        refused.stdout.contains("topic: it has 2 partitions, the contract says 1, and Kafka can't remove partitions\n"),
        "{refused:?}"
    );
    assert_eq!(contracts.registered().await, ["order.placed/1 active", "order.placed/2 active"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_settings_that_kafka_rejects_are_refused_before_any_change() {
    let harness = Harness::migrated("contract_refused").await;
    let contracts = Contracts::new(&harness);
    contracts.write("fine.yaml", &contracts.contract("a.fine", "1", "", ID));
    for (keys, reason) in [
        (
            "  customProperties: [{property: topicConfiguration, value: {retention.hours: 1}}]\n",
            "topicConfiguration has a property or value",
        ),
        (
            "  customProperties: [{property: topicConfiguration, value: {retention.ms: soon}}]\n",
            "topicConfiguration has a property or value",
        ),
        (
            "  customProperties: [{property: replicationFactor, value: 9}]\n",
            "replicationFactor exceeds the number of brokers",
        ),
    ] {
        contracts.write("wrong.yaml", &contracts.contract("b.wrong", "1", keys, ID));
        for command in ["plan", "apply"] {
            let refused = contracts.run(&[command]);
            assert_eq!(refused.code(), Some(65), "{refused:?}");
            let head = format!("    topic: Kafka refused to create topic {}", harness.topic("b.wrong"));
            assert!(refused.stdout.contains(&head) && refused.stdout.contains(reason), "{refused:?}");
            assert!(
                refused.stdout.contains("/wrong.yaml:10:3\n")
                    && refused.stdout.contains("1 topic to create; 1 refused\n"),
                "{refused:?}"
            );
        }
        assert_eq!(contracts.registered().await, [""; 0]);
        assert_eq!(harness.partitions(&harness.topic("a.fine")), 0);
    }
}

/// An apply that was killed between Kafka and the commit leaves topics without schema versions.
#[tokio::test(flavor = "multi_thread")]
async fn topics_created_by_a_killed_apply_are_unchanged_in_the_next() {
    let harness = Harness::migrated("contract_leftover").await;
    let contracts = Contracts::new(&harness);
    let keys = "  customProperties: [{property: partitions, value: 2}]\n";
    contracts.write("1.yaml", &contracts.contract("order.placed", "1", keys, ID));
    let topic = harness.topic("order.placed");
    harness.create_topic(&topic, 2, &[]).await;
    let plan = contracts.run(&["plan"]);
    assert!(plan.stdout.contains(&format!("= topic {topic}: unchanged\n")), "{plan:?}");
    assert!(contracts.run(&["apply"]).stdout.ends_with("applied: 1 schema version registered\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_nothing_is_registered_and_the_lock_is_released() {
    let harness = Harness::migrated("contract_no_kafka").await;
    let contracts = Contracts::new(&harness);
    contracts.write("1.yaml", &contracts.contract("order.placed", "1", "", ID));
    // A port without a listener: it was free a moment ago, and is not reused so soon.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let kafka = format!("127.0.0.1:{port}");
    let folder = contracts.folder().display().to_string();
    let refused = program::run("contract", &["apply", &folder, "--database-url", harness.url(), "--kafka", &kafka]);
    assert_eq!(refused.code(), Some(69), "{refused:?}");
    assert!(refused.stderr.contains(&format!("Kafka at {kafka} did not answer within 15 s")), "{refused:?}");
    assert_eq!(contracts.registered().await, [""; 0]);
    assert_eq!(contracts.run(&["apply"]).code(), Some(0));
}
