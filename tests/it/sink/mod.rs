//! The sink against brokers: a mock cluster for faults, a real Kafka for everything else.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use walpost::relay::boundary::{Header, OwnedRecord, Record, Refusal, Ticket, Verdict};
use walpost::relay::delivery::window::InFlightWindow;
use walpost::sink::{Compression, Deliveries, KafkaSink, ProducerOptions, SendError, Sink, TopicFacts, TopicRules};

mod broker;
mod faults;
mod implied;
mod no_brokers;
mod outage;
mod partitions;
mod scripted_broker;
mod warmup;

/// Time limit of every wait.
const PATIENCE: Duration = Duration::from_secs(90);

/// Timeouts that are short enough for a test to exceed all of them.
const HASTY: &[(&str, &str)] = &[
    ("socket.timeout.ms", "500"),
    ("request.timeout.ms", "300"),
    ("retry.backoff.ms", "10"),
    ("retry.backoff.max.ms", "50"),
];

fn options(servers: &str, properties: &[(&str, &str)]) -> ProducerOptions {
    ProducerOptions {
        bootstrap_servers: servers.to_owned(),
        client_id: "walpost-test".to_owned(),
        compression: Compression::default(),
        properties: properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        window: InFlightWindow::fixed(10_000, 32 * 1024 * 1024),
    }
}

fn sink(servers: &str, properties: &[(&str, &str)], rules: &TopicRules) -> KafkaSink {
    KafkaSink::new(options(servers, properties), rules.clone(), std::sync::Arc::default()).expect("start a producer")
}

/// Rules that know a topic with so many partitions.
fn rules(topic: &str, partitions: u32) -> TopicRules {
    let rules = TopicRules::default();
    rules.learn(topic, TopicFacts { max_message_bytes: 1_000_000, is_compacted: Some(false), partitions });
    rules
}

fn record(topic: &str, key: &str, value: impl Into<Vec<u8>>) -> OwnedRecord {
    OwnedRecord {
        topic: topic.to_owned(),
        key: Some(key.as_bytes().to_vec()),
        value: Some(value.into()),
        headers: vec![("position".to_owned(), Some(b"0/1/1".to_vec()))],
        timestamp_millis: 1_700_000_000_123,
    }
}

/// `count` records with one key whose values are their numbers, padded to `bytes`.
fn numbered(topic: &str, count: usize, bytes: usize) -> Vec<OwnedRecord> {
    (0..count).map(|number| record(topic, "key", format!("{number:0>bytes$}"))).collect()
}

/// The outcome of a run.
#[derive(Debug, Default)]
struct Run {
    acked: usize,
    returned: usize,
    refused: Vec<(OwnedRecord, Refusal)>,
    full: usize,
}

/// Sends records like the core: in order, the same again after `Full`, returned ones first, in ticket order and
/// under their tickets.
/// Ends when all are acknowledged or refused.
async fn feed(sink: &mut KafkaSink, records: Vec<OwnedRecord>) -> Run {
    tokio::time::timeout(PATIENCE, feed_patiently(sink, records)).await.expect("everything is answered in time")
}

async fn feed_patiently(sink: &mut KafkaSink, records: Vec<OwnedRecord>) -> Run {
    let mut waiting: VecDeque<(Ticket, OwnedRecord)> = (0..).map(Ticket).zip(records).collect();
    let (mut run, mut deliveries) = (Run::default(), Deliveries::default());
    loop {
        while let Some((ticket, next)) = waiting.front() {
            match offer(sink, *ticket, next) {
                Ok(()) => drop(waiting.pop_front()),
                Err(SendError::Full) => {
                    run.full += 1;
                    break;
                }
                Err(SendError::Refused(refusal)) => {
                    let (_, record) = waiting.pop_front().expect("it was offered");
                    run.refused.push((record, refusal));
                }
                Err(SendError::Fatal(error)) => panic!("{error}"),
            }
        }
        if waiting.is_empty() && sink.outstanding() == 0 {
            return run;
        }
        sink.deliveries(&mut deliveries).await.expect("the sink continues");
        run.acked += deliveries.acked.len();
        assert!(deliveries.failed.is_empty() || sink.outstanding() == 0, "failures come when nothing is outstanding");
        assert!(deliveries.failed.is_sorted_by_key(|failure| failure.ticket));
        let mut returned = VecDeque::new();
        for failure in deliveries.failed.drain(..) {
            match failure.verdict {
                Verdict::Refused(refusal) => run.refused.push((failure.record, refusal)),
                Verdict::Returned(_) | Verdict::Along => returned.push_back((failure.ticket, failure.record)),
            }
        }
        run.returned += returned.len();
        returned.append(&mut waiting);
        waiting = returned;
        deliveries.clear();
    }
}

fn offer(sink: &mut KafkaSink, ticket: Ticket, record: &OwnedRecord) -> Result<(), SendError> {
    let headers: Vec<_> = record.headers.iter().map(|(name, value)| Header { name, value: value.as_deref() }).collect();
    let borrowed = Record {
        topic: &record.topic,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
        timestamp_millis: record.timestamp_millis,
    };
    sink.send(ticket, &borrowed)
}

/// The end of a partition, which may have lost its leader just now.
fn end_of(consumer: &BaseConsumer, topic: &str, partition: i32) -> i64 {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match consumer.fetch_watermarks(topic, partition, PATIENCE) {
            Ok((_, end)) => return end,
            Err(error) => assert!(Instant::now() < give_up, "read the end of {topic}/{partition}: {error}"),
        }
    }
}

/// Everything in a topic, by partition, in order.
fn read(servers: &str, topic: &str) -> Vec<(i32, OwnedRecord)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "50")
        .set("enable.sparse.connections", "false")
        .create()
        .expect("create a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("read metadata");
    let partitions: Vec<i32> = metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect();
    let mut records = Vec::new();
    for partition in partitions {
        let end = end_of(&consumer, topic, partition);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset to start at");
        consumer.assign(&list).expect("assign the partition");
        let mut at = 0;
        while at < end {
            let message = consumer.poll(PATIENCE).expect("a record before the end").expect("read a record");
            at = message.offset() + 1;
            records.push((partition, owned(&message)));
        }
    }
    records
}

fn owned(message: &impl Message) -> OwnedRecord {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    OwnedRecord {
        topic: message.topic().to_owned(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
        timestamp_millis: message.timestamp().to_millis().expect("a timestamp"),
    }
}

fn values(servers: &str, topic: &str) -> Vec<String> {
    let text = |record: OwnedRecord| String::from_utf8(record.value.expect("a value")).expect("text");
    read(servers, topic).into_iter().map(|(_, record)| text(record)).collect()
}

/// The values of records, to compare with what is read back.
fn values_of(records: &[OwnedRecord]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8(r.value.clone().expect("a value")).expect("text")).collect()
}
