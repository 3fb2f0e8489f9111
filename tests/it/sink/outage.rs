//! Brokers that are killed, stopped, replaced or deny access, under load.

use std::time::Duration;

use walpost::lab::sandbox::{Kafka, KafkaOptions, KafkaSource, Progress};
use walpost::relay::boundary::{OwnedRecord, RefusalCode, TopicSettings};
use walpost::sink::{KafkaSink, TopicRules, Topics};

use super::{HASTY, Run, feed, numbered, options, sink, values, values_of};

async fn start(options: KafkaOptions) -> Kafka {
    let options = KafkaOptions { source: KafkaSource::Java, ..options };
    Kafka::start(options, &Progress::silent()).await.expect("a separate Kafka: Java 17 is required")
}

async fn create(kafka: &Kafka, topic: &str, replicas: i16) -> TopicRules {
    let rules = TopicRules::default();
    let properties = kafka.client_properties("admin");
    let properties: Vec<_> = properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let topics = Topics::new(&options(&kafka.bootstrap(), &properties), rules.clone(), std::sync::Arc::default());
    let settings = TopicSettings {
        partitions: Some(1),
        replication_factor: Some(replicas),
        config: [("min.insync.replicas".to_owned(), (replicas.max(2) - 1).to_string())].into(),
    };
    let topic = topics.expect("an admin client").ensure(topic, &settings, true).await;
    topic.expect("kafka answers").expect("the topic is created");
    rules
}

/// Feeds parts of the records one after the other, so that a fault in between hits a working producer.
async fn feed_slowly(sink: &mut KafkaSink, records: &[OwnedRecord]) -> Run {
    let mut sum = Run::default();
    for part in records.chunks(50) {
        let run = feed(sink, part.to_vec()).await;
        sum.acked += run.acked;
        sum.returned += run.returned;
        sum.refused.extend(run.refused);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sum
}

#[tokio::test]
async fn case_18_a_killed_or_stopped_broker_causes_no_loss_reordering_or_duplicates() {
    let mut kafka = start(KafkaOptions::default()).await;
    let servers = kafka.bootstrap();
    let rules = create(&kafka, "t", 1).await;
    let mut sink = sink(&servers, HASTY, &rules);
    let records = numbered("t", 6_000, 20);
    let faults = async {
        for kill in [true, false] {
            tokio::time::sleep(Duration::from_millis(300)).await;
            if kill { kafka.kill().await } else { kafka.stop().await }.expect("the broker ends");
            // Longer than every timeout of the client.
            tokio::time::sleep(Duration::from_secs(3)).await;
            kafka.start_again().await.expect("the broker comes back");
        }
    };
    let (run, ()) = tokio::join!(feed_slowly(&mut sink, &records), faults);
    assert_eq!((run.acked, run.returned, run.refused.len()), (6_000, 0, 0));
    assert_eq!(values(&servers, "t"), values_of(&records));
}

#[tokio::test]
async fn case_18_a_killed_leader_causes_no_loss_reordering_or_duplicates() {
    let mut kafka = start(KafkaOptions { brokers: 3, ..KafkaOptions::default() }).await;
    let servers = kafka.bootstrap();
    let rules = create(&kafka, "t", 3).await;
    let mut sink = sink(&servers, HASTY, &rules);
    let records = numbered("t", 6_000, 20);
    let faults = async {
        for broker in 1..=3 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            kafka.kill_broker(broker).expect("a broker to kill");
            tokio::time::sleep(Duration::from_secs(1)).await;
            kafka.start_broker(broker).await.expect("the broker comes back");
        }
    };
    let (run, ()) = tokio::join!(feed_slowly(&mut sink, &records), faults);
    assert_eq!((run.acked, run.returned, run.refused.len()), (6_000, 0, 0));
    assert_eq!(values(&servers, "t"), values_of(&records));
}

#[tokio::test]
async fn case_26_only_records_for_an_unauthorized_topic_are_refused() {
    let mut kafka = start(KafkaOptions { users: vec!["relay".to_owned()], ..KafkaOptions::default() }).await;
    let servers = kafka.bootstrap();
    let rules = create(&kafka, "open", 1).await;
    create(&kafka, "closed", 1).await;
    kafka.deny_write("relay", "closed").await.expect("kafka keeps ACLs");
    let properties = kafka.client_properties("relay");
    let properties: Vec<_> = properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut sink = sink(&servers, &properties, &rules);
    let (open, closed) = (numbered("open", 1_000, 10), numbered("closed", 1_000, 10));
    let mixed = open.iter().zip(&closed).flat_map(|(open, closed)| [open.clone(), closed.clone()]);
    let run = feed(&mut sink, mixed.collect()).await;
    assert_eq!((run.acked, run.refused.len()), (1_000, 1_000));
    let (refused, refusals): (Vec<_>, Vec<_>) = run.refused.into_iter().unzip();
    assert!(refusals.iter().all(|refusal| refusal.code == RefusalCode::NotAuthorized));
    assert_eq!(refused, closed);
}
