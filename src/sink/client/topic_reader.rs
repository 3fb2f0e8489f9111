//! Reads a topic from its beginning to its current end, one partition after the other.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::native;
use super::options::{ProducerOptions, admin_config};
use crate::relay::boundary::OwnedRecord;
use crate::sink::SinkError;

/// How long one request to a broker may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long to wait for a record before giving up.
const SILENCE: Duration = Duration::from_secs(30);
/// How long one poll waits for a record.
const TICK: Duration = Duration::from_millis(50);
/// KiB that the client prefetches at most.
const AHEAD_KIB: &str = "16384";

/// Which records of transactions are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Committed records, up to the oldest open transaction.
    Committed,
    /// Everything.
    Uncommitted,
}

/// Offsets of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub start: i64,
    /// One past the last.
    pub end: i64,
}

/// A consumed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The record. Its timestamp is -1 where it has none.
    pub record: OwnedRecord,
    /// Whether all header names are UTF-8: others can't be written again unchanged.
    pub is_text: bool,
}

/// A topic can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// Kafka does not let this client read.
    #[error(
        "kafka does not allow this client to read topic {topic}: add ACLs for Read and Describe on it, and for Read on the consumer group {group}"
    )]
    NotAuthorized {
        /// The topic.
        topic: String,
        /// The consumer group.
        group: String,
    },
    /// Kafka does not answer.
    #[error("can't read topic {topic}")]
    Failed {
        /// The topic.
        topic: String,
        /// What the client says.
        #[source]
        source: KafkaError,
    },
    /// Records stopped arriving.
    #[error("no record arrived from topic {topic}, partition {partition}, within {} s: the partition has no leader, or a transaction stays open", SILENCE.as_secs())]
    Silent {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
}

/// Reads topics. Its calls block.
pub struct TopicReader {
    consumer: BaseConsumer<Quiet>,
    group: String,
}

impl TopicReader {
    /// A client that joins no group; `group` is the one that ACLs refer to.
    ///
    /// # Errors
    /// [`SinkError::Create`].
    pub fn new(options: &ProducerOptions, group: &str, isolation: Isolation) -> Result<Self, SinkError> {
        let mut config = admin_config(options);
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", AHEAD_KIB)
            .set("fetch.wait.max.ms", "50")
            .set(
                "isolation.level",
                match isolation {
                    Isolation::Committed => "read_committed",
                    Isolation::Uncommitted => "read_uncommitted",
                },
            );
        let consumer = config.create_with_context(Quiet).map_err(SinkError::Create)?;
        Ok(Self { consumer, group: group.to_owned() })
    }

    /// What the topic's partitions hold now, by number; `None` if there is no such topic.
    ///
    /// # Errors
    /// [`ReadingError`].
    pub fn spans(&self, topic: &str) -> Result<Option<Vec<Span>>, ReadingError> {
        let failed = |source| self.failed(topic, source);
        let metadata = self.consumer.fetch_metadata(Some(topic), ANSWER).map_err(failed)?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
        match found.error().map(Code::from) {
            None | Some(Code::NoError) => {}
            Some(Code::UnknownTopicOrPartition) => return Ok(None),
            Some(code) => return Err(failed(KafkaError::MetadataFetch(code))),
        }
        let mut partitions: Vec<i32> = found.partitions().iter().map(|partition| partition.id()).collect();
        partitions.sort_unstable();
        let span = |partition| {
            let (start, end) = self.consumer.fetch_watermarks(topic, partition, ANSWER).map_err(failed)?;
            Ok(Span { partition, start, end })
        };
        partitions.into_iter().map(span).collect::<Result<_, _>>().map(Some)
    }

    /// Passes on what is in a span, in order, until `each` has enough. Records that were compacted or have expired
    /// are missing.
    ///
    /// # Errors
    /// [`ReadingError`].
    pub fn read(
        &self,
        topic: &str,
        span: Span,
        each: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<(), ReadingError> {
        if span.start >= span.end {
            return Ok(());
        }
        let failed = |source| self.failed(topic, source);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, span.partition, Offset::Offset(span.start)).map_err(failed)?;
        self.consumer.assign(&list).map_err(failed)?;
        let mut heard = Instant::now();
        loop {
            match self.consumer.poll(TICK) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let offset = message.offset();
                    if offset >= span.end || each(found(&message)).is_break() || offset + 1 >= span.end {
                        return Ok(());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                // An outage from which the client recovers by itself is reported as an error too.
                Some(Err(error)) if heard.elapsed() >= SILENCE || is_denial(&error) => return Err(failed(error)),
                Some(Err(_)) => {}
                None if heard.elapsed() >= SILENCE => {
                    return Err(ReadingError::Silent { topic: topic.to_owned(), partition: span.partition });
                }
                None => {}
            }
        }
    }

    fn failed(&self, topic: &str, source: KafkaError) -> ReadingError {
        match is_denial(&source) {
            true => ReadingError::NotAuthorized { topic: topic.to_owned(), group: self.group.clone() },
            false => ReadingError::Failed { topic: topic.to_owned(), source },
        }
    }
}

fn is_denial(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed))
}

fn found(message: &BorrowedMessage<'_>) -> Found {
    let mut is_text = true;
    let headers = native::headers(message).into_iter().map(|(name, value)| {
        let name = String::from_utf8(name).unwrap_or_else(|error| {
            is_text = false;
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        });
        (name, value)
    });
    let record = OwnedRecord {
        topic: message.topic().to_owned(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.collect(),
        timestamp_millis: message.timestamp().to_millis().unwrap_or(-1),
    };
    Found { partition: message.partition(), offset: message.offset(), record, is_text }
}

/// A consumer's errors are also returned as answers.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = %error, reason, "kafka consumer");
    }
}

impl ConsumerContext for Quiet {}
