//! A broker that for a moment lists no brokers at all, as Kafka's do while they are fenced.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use walpost::relay::boundary::TopicSettings;
use walpost::sink::{TopicRules, Topics};

use super::scripted_broker::{Broker, TOPIC};
use super::{PATIENCE, feed, numbered, options, sink};

#[tokio::test(flavor = "multi_thread")]
async fn case_18_a_producer_recovers_when_kafka_listed_no_brokers() {
    let broker = Broker::start(1).await;
    let mut sink = sink(&broker.address(), &[], &TopicRules::default());
    for round in 1..=10 {
        let run = feed(&mut sink, numbered(TOPIC, 1, 10)).await;
        assert_eq!((run.acked, run.returned), (1, 0), "round {round}");
        broker.is_deposed.store(true, Ordering::SeqCst);
        let run = feed(&mut sink, numbered(TOPIC, 1, 10)).await;
        assert_eq!((run.acked, run.returned), (1, 0), "round {round}");
        assert_eq!(broker.listed_none.load(Ordering::SeqCst), round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_18_topics_are_looked_up_again_after_kafka_listed_no_brokers() {
    let broker = Broker::start(1).await;
    let options = options(&broker.address(), &[]);
    let topics = Topics::new(&options, TopicRules::default(), Arc::default()).expect("a client").without_admin_api();
    for round in 1..=3 {
        broker.lists_none.store(true, Ordering::SeqCst);
        let is_found = async { while topics.ensure(TOPIC, &TopicSettings::default(), false).await.is_err() {} };
        tokio::time::timeout(PATIENCE, is_found).await.expect("Kafka answers");
        assert_eq!(broker.listed_none.load(Ordering::SeqCst), round);
    }
}
