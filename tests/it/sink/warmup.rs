//! The first record of each partition goes alone, and only its own partition waits for it.

use std::sync::atomic::Ordering;

use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use walpost::relay::boundary::RefusalCode;
use walpost::sink::TopicFacts;

use super::scripted_broker::{Broker, TOPIC};
use super::{feed, numbered, record, rules, sink, values, values_of};

/// Each record is a batch.
const ALONE: (&str, &str) = ("batch.size", "1");

#[tokio::test(flavor = "multi_thread")]
async fn other_partitions_do_not_wait_for_the_first_record_of_one() {
    let broker = Broker::start(2).await;
    // It answers nothing before it has a record of each partition.
    broker.answers_from.store(2, Ordering::SeqCst);
    let mut sink = sink(&broker.address(), &[ALONE], &rules(TOPIC, 2));
    // The key "foobar" belongs to partition 0, "abc" to 1.
    let of_first = ["1", "2", "3"].map(|value| record(TOPIC, "foobar", value));
    let run = feed(&mut sink, [&of_first[..], &[record(TOPIC, "abc", "1")]].concat()).await;
    assert_eq!((run.acked, run.returned), (4, 0));
    let mut got = broker.got.lock().expect("the broker does not panic").clone();
    got[..2].sort_unstable();
    assert_eq!(got, [0, 1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_records_follow_in_order_when_the_first_is_refused() {
    let cluster = MockCluster::new(1).expect("start a mock cluster");
    cluster.create_topic(TOPIC, 1, 1).expect("create a topic");
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD]);
    let servers = cluster.bootstrap_servers();
    let mut sink = sink(&servers, &[], &rules(TOPIC, 1));
    let records = numbered(TOPIC, 200, 20);
    let run = feed(&mut sink, records.clone()).await;
    assert_eq!((run.acked, run.returned), (199, 199), "what was held is returned with the first one");
    let [(refused, refusal)] = run.refused.as_slice() else { panic!("{:?}", run.refused) };
    assert_eq!((refused, refusal.code), (&records[0], RefusalCode::ContractViolation));
    assert_eq!(values(&servers, TOPIC), values_of(&records[1..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn held_records_follow_in_order_when_the_first_is_retried() {
    let cluster = MockCluster::new(1).expect("start a mock cluster");
    cluster.create_topic(TOPIC, 1, 1).expect("create a topic");
    let not_leader = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    cluster.request_errors(RDKafkaApiKey::Produce, &[not_leader, not_leader]);
    let servers = cluster.bootstrap_servers();
    let mut sink = sink(&servers, &[("retry.backoff.ms", "10"), ("batch.num.messages", "7")], &rules(TOPIC, 1));
    let records = numbered(TOPIC, 200, 20);
    let run = feed(&mut sink, records.clone()).await;
    assert_eq!((run.acked, run.returned, run.refused.len()), (200, 0, 0));
    assert_eq!(values(&servers, TOPIC), values_of(&records));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_a_smaller_limit_returns_nothing_that_is_held() {
    let cluster = MockCluster::new(1).expect("start a mock cluster");
    [TOPIC, "small"].iter().for_each(|topic| cluster.create_topic(topic, 1, 1).expect("create a topic"));
    let servers = cluster.bootstrap_servers();
    let rules = rules(TOPIC, 1);
    let mut sink = sink(&servers, &[], &rules);
    let records = numbered(TOPIC, 200, 20);
    for (number, record) in (0..).zip(&records) {
        super::offer(&mut sink, walpost::relay::boundary::Ticket(number), record).expect("it is taken");
    }
    rules.learn("small", TopicFacts { max_message_bytes: 20_000, is_compacted: Some(false), partitions: 1 });
    // Under the tickets of their own.
    let mut deliveries = walpost::sink::Deliveries::default();
    let drained = async {
        while walpost::sink::Sink::deliveries(&mut sink, &mut deliveries).await.is_ok() && deliveries.acked.len() < 200
        {
            assert!(deliveries.failed.is_empty(), "{:?}", deliveries.failed.len());
        }
    };
    tokio::time::timeout(super::PATIENCE, drained).await.expect("everything is acknowledged in time");
    assert_eq!(values(&servers, TOPIC), values_of(&records));
    assert_eq!(feed(&mut sink, numbered("small", 100, 20)).await.acked, 100);
}
