//! A consumer for assertions: all partitions from the beginning, until a condition holds.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::{PATIENCE, POLL};

/// How long one request to a broker may take before it is retried.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A record as stored in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// In sending order.
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since 1970.
    pub(crate) timestamp_ms: Option<i64>,
}

impl Received {
    /// The value of the first header with this name, if there is one and it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(found, _)| found == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    /// The key as text.
    pub(crate) fn key_text(&self) -> Option<&str> {
        self.key.as_deref().map(|key| std::str::from_utf8(key).expect("the test's key is text"))
    }

    /// The value as text.
    pub(crate) fn value_text(&self) -> Option<&str> {
        self.value.as_deref().map(|value| std::str::from_utf8(value).expect("the test's value is text"))
    }

    fn from_message(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
            timestamp_ms: message.timestamp().to_millis(),
        }
    }
}

/// Reads `topics` until `enough` is true, then to their end; panics after [`PATIENCE`]. `login` are additional
/// properties. Records of one partition are in order; only what `read_committed` shows is seen.
pub(super) async fn read(
    bootstrap: &str,
    login: &[(String, String)],
    topics: &[&str],
    wanted: &str,
    enough: impl FnMut(&[Received]) -> bool + Send + 'static,
) -> Vec<Received> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", bootstrap);
    for (name, value) in login {
        client.set(name, value);
    }
    let wanted = wanted.to_owned();
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let reading = tokio::task::spawn_blocking(move || read_blocking(&client, &topics, &wanted, enough));
    match reading.await {
        Ok(records) => records,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn read_blocking(
    client: &ClientConfig,
    topics: &[String],
    wanted: &str,
    mut enough: impl FnMut(&[Received]) -> bool,
) -> Vec<Received> {
    let deadline = Instant::now() + PATIENCE;
    let mut readers: Vec<Reader> = topics.iter().map(|topic| Reader::open(client, topic, deadline)).collect();
    let mut records = Vec::new();
    let mut satisfied = enough(&records);
    while !(satisfied && readers.iter().all(Reader::is_at_end)) {
        for reader in &mut readers {
            if let Some(record) = reader.poll() {
                records.push(record);
                satisfied = satisfied || enough(&records);
            }
        }
        assert!(
            Instant::now() < deadline,
            "after {PATIENCE:?} {topics:?} have {} records, not yet {wanted}; the last: {:?}; partitions at their end: {:?} of {:?}; {:?}",
            records.len(),
            records.last(),
            readers.iter().map(|reader| &reader.at_end).collect::<Vec<_>>(),
            readers.iter().map(|reader| reader.partitions).collect::<Vec<_>>(),
            places(&records),
        );
    }
    records
}

/// The places of the last records.
fn places(records: &[Received]) -> Vec<(i32, i64)> {
    records.iter().rev().take(10).map(|record| (record.partition, record.offset)).collect()
}

/// All partitions of one topic. One consumer per topic, because the end of a partition is reported without the
/// topic's name.
struct Reader {
    consumer: BaseConsumer,
    partitions: usize,
    at_end: HashSet<i32>,
}

impl Reader {
    /// Waits until the topic exists, and starts at the beginning of each partition.
    fn open(client: &ClientConfig, topic: &str, deadline: Instant) -> Self {
        let consumer: BaseConsumer = client
            .clone()
            .set("group.id", "walpost-tests")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "50")
            .set("reconnect.backoff.max.ms", "200")
            .create()
            .expect("a Kafka client");
        let mut list = TopicPartitionList::new();
        while list.count() == 0 {
            let metadata = consumer.fetch_metadata(Some(topic), ANSWER_LIMIT).ok();
            let found = metadata.as_ref().and_then(|metadata| metadata.topics().first());
            for partition in found.filter(|found| found.error().is_none()).map_or(&[][..], |found| found.partitions()) {
                list.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("a valid offset");
            }
            assert!(Instant::now() < deadline, "after {PATIENCE:?} there is no topic {topic}");
            if list.count() == 0 {
                std::thread::sleep(POLL);
            }
        }
        consumer.assign(&list).expect("partitions that exist");
        Self { consumer, partitions: list.count(), at_end: HashSet::new() }
    }

    fn is_at_end(&self) -> bool {
        self.at_end.len() == self.partitions
    }

    /// The next record, if one arrives soon.
    fn poll(&mut self) -> Option<Received> {
        match self.consumer.poll(POLL) {
            Some(Ok(message)) => {
                self.at_end.remove(&message.partition());
                return Some(Received::from_message(&message));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.at_end.insert(partition);
            }
            // The client reconnects to a broker that is down, or the deadline passes.
            Some(Err(_)) | None => {}
        }
        None
    }
}
