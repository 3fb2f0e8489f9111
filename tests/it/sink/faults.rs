//! Faults of a mock cluster: errors per request, brokers that go down.

use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use walpost::relay::boundary::{RefusalCode, Ticket};
use walpost::sink::{KafkaSink, Sink, TopicFacts, TopicRules};

use super::{HASTY, feed, numbered, offer, record, values, values_of};

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// A mock cluster ignores sequence numbers: of two small batches in flight, the second would overtake a first one
/// that must be sent again, where a real broker rejects it.
fn sink(servers: &str, properties: &[(&str, &str)], rules: &TopicRules) -> KafkaSink {
    super::sink(servers, &[properties, &[("max.in.flight.requests.per.connection", "1")]].concat(), rules)
}

fn cluster(topics: &[&str]) -> Cluster {
    let cluster = MockCluster::new(1).expect("start a mock cluster");
    for topic in topics {
        cluster.create_topic(topic, 1, 1).expect("create a topic");
    }
    cluster
}

#[tokio::test]
async fn case_18_transient_errors_are_retried_in_order() {
    let cluster = cluster(&["t"]);
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ],
    );
    let servers = cluster.bootstrap_servers();
    let small_batches = [HASTY, &[("batch.num.messages", "50")]].concat();
    let mut sink = sink(&servers, &small_batches, &TopicRules::default());
    let records = numbered("t", 2_000, 20);
    let run = feed(&mut sink, records.clone()).await;
    assert_eq!((run.acked, run.returned, run.refused.len()), (2_000, 0, 0));
    assert_eq!(values(&servers, "t"), values_of(&records));
}

#[tokio::test]
async fn case_18_a_broker_away_longer_than_every_timeout_causes_no_loss_or_reordering() {
    let cluster = cluster(&["t"]);
    let servers = cluster.bootstrap_servers();
    let mut sink = sink(&servers, HASTY, &TopicRules::default());
    let records = numbered("t", 3_000, 20);
    let (before, after) = records.split_at(1_000);
    assert_eq!(feed(&mut sink, before.to_vec()).await.acked, 1_000);
    cluster.broker_down(-1).expect("stop the broker");
    let outage = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        cluster.broker_up(-1).expect("start the broker");
    };
    let (run, ()) = tokio::join!(feed(&mut sink, after.to_vec()), outage);
    assert_eq!((run.acked, run.returned, run.refused.len()), (2_000, 0, 0));
    assert_eq!(values(&servers, "t"), values_of(&records));
}

#[tokio::test]
async fn case_26_a_refused_batch_refuses_no_innocent_record() {
    let cluster = cluster(&["t", "other"]);
    let servers = cluster.bootstrap_servers();
    let mut sink = sink(&servers, &[("linger.ms", "50")], &TopicRules::default());
    let records = numbered("t", 60, 20);
    let (first, batch) = records.split_at(1);
    feed(&mut sink, first.to_vec()).await;
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let run = feed(&mut sink, batch.to_vec()).await;
    assert_eq!((run.acked, run.refused.len()), (59, 0));
    assert!(run.returned > 0, "the batch was refused and returned");
    assert_eq!(values(&servers, "t"), values_of(&records));
    assert_eq!(feed(&mut sink, numbered("other", 300, 20)).await.returned, 0, "the sink has recovered");
}

#[tokio::test]
async fn case_26_only_the_record_at_fault_is_refused_and_the_others_arrive_in_order() {
    let cluster = cluster(&["t"]);
    let servers = cluster.bootstrap_servers();
    let mut sink = sink(&servers, &[("linger.ms", "50")], &TopicRules::default());
    let records = numbered("t", 100, 20);
    let (first, batch) = records.split_at(1);
    feed(&mut sink, first.to_vec()).await;
    // The batch, then its first record alone.
    let invalid = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    cluster.request_errors(RDKafkaApiKey::Produce, &[invalid, invalid]);
    let run = feed(&mut sink, batch.to_vec()).await;
    assert_eq!(run.acked, 98);
    let [(refused, refusal)] = run.refused.as_slice() else { panic!("{:?}", run.refused) };
    assert_eq!((refused, refusal.code), (&records[1], RefusalCode::ContractViolation));
    assert_eq!(values(&servers, "t"), [values_of(first), values_of(&batch[1..])].concat());
}

#[tokio::test]
async fn case_26_a_record_that_was_alone_in_its_batch_is_refused_at_once() {
    let cluster = cluster(&["t"]);
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let servers = cluster.bootstrap_servers();
    let mut sink = sink(&servers, &[], &TopicRules::default());
    let records = numbered("t", 100, 20);
    let run = feed(&mut sink, records.clone()).await;
    assert_eq!((run.acked, run.refused.len()), (99, 1), "the first record of a partition goes alone");
    assert_eq!(values(&servers, "t"), values_of(&records[1..]));
}

#[tokio::test]
async fn case_26_only_records_for_a_topic_without_authorization_are_refused() {
    let cluster = cluster(&["t", "other"]);
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
    let servers = cluster.bootstrap_servers();
    let mut sink = sink(&servers, &[], &TopicRules::default());
    let run = feed(&mut sink, vec![record("t", "k", "1")]).await;
    assert_eq!(run.refused[0].1.code, RefusalCode::NotAuthorized);
    // The broker would accept it now; the sink remembers the refusal for a while and does not ask.
    let run = feed(&mut sink, [numbered("t", 10, 4), numbered("other", 10, 4)].concat()).await;
    assert_eq!((run.acked, run.refused.len()), (10, 10));
}

#[tokio::test]
async fn a_fatal_error_returns_everything_and_a_new_producer_continues() {
    let cluster = cluster(&["t"]);
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &[denied, denied]);
    let servers = cluster.bootstrap_servers();
    let mut sink = sink(&servers, HASTY, &TopicRules::default());
    let records = numbered("t", 500, 20);
    let run = feed(&mut sink, records.clone()).await;
    assert_eq!((run.acked, run.refused.len()), (500, 0));
    assert!(run.full > 0);
    assert_eq!(values(&servers, "t"), values_of(&records));
}

#[tokio::test]
async fn a_full_queue_reorders_nothing() {
    let cluster = cluster(&["t"]);
    let servers = cluster.bootstrap_servers();
    let mut sink = sink(&servers, &[("queue.buffering.max.messages", "20")], &TopicRules::default());
    let records = numbered("t", 2_000, 20);
    // What the first record holds up does not wait for the queue.
    assert_eq!(feed(&mut sink, records[..1].to_vec()).await.acked, 1);
    let run = feed(&mut sink, records[1..].to_vec()).await;
    assert_eq!((run.acked, run.returned), (1_999, 0));
    assert!(run.full > 0, "the queue was never full");
    assert_eq!(values(&servers, "t"), values_of(&records));
}

#[tokio::test]
async fn a_smaller_batch_limit_takes_effect_between_two_records() {
    let cluster = cluster(&["t"]);
    let servers = cluster.bootstrap_servers();
    let rules = TopicRules::default();
    let mut sink = sink(&servers, &[], &rules);
    let records = numbered("t", 200, 20);
    feed(&mut sink, records[..100].to_vec()).await;
    rules.learn("other", TopicFacts { max_message_bytes: 10_000, is_compacted: Some(false), partitions: 1 });
    let run = feed(&mut sink, records[100..].to_vec()).await;
    assert_eq!((run.acked, run.returned), (100, 0));
    assert_eq!(values(&servers, "t"), values_of(&records));
}

#[tokio::test]
async fn closing_waits_for_answers_and_counts_unanswered_records() {
    let cluster = cluster(&["t"]);
    let servers = cluster.bootstrap_servers();
    let mut open = sink(&servers, &[("linger.ms", "100")], &TopicRules::default());
    feed(&mut open, vec![record("t", "key", "the first goes alone")]).await;
    for (ticket, record) in (0..).zip(numbered("t", 100, 20)) {
        offer(&mut open, Ticket(ticket), &record).expect("there is room");
    }
    let closed = open.close(Duration::from_secs(30)).await;
    assert_eq!((closed.deliveries.acked.len(), closed.unanswered), (100, 0));

    cluster.broker_down(-1).expect("stop the broker");
    let mut open = sink(&servers, &[], &TopicRules::default());
    offer(&mut open, Ticket(0), &record("t", "k", "v")).expect("there is room");
    let closed = open.close(Duration::from_millis(200)).await;
    assert_eq!((closed.deliveries.acked.len(), closed.unanswered), (0, 1));
}
