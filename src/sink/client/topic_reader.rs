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

use super::message::CopiedMessage;
use super::options::{ProducerOptions, admin_config};
use crate::relay::boundary::OwnedRecord;
use crate::sink::error::SinkError;
use crate::sink::limits::{READ_AHEAD_KIB, READ_SILENCE, READ_TICK};

/// Which records of transactions are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Committed records, up to the oldest open transaction.
    Committed,
    /// Everything.
    Uncommitted,
}

/// What a topic is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicLayout {
    /// Its partitions, in order.
    pub partitions: Vec<i32>,
    /// The smallest number of replicas of a partition.
    pub replicas: Option<usize>,
    /// The number of brokers in the cluster.
    pub brokers: usize,
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
    #[error("no record arrived from topic {topic}, partition {partition}, within {} s: the partition has no leader, or a transaction stays open", READ_SILENCE.as_secs())]
    Silent {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// Nobody waits for the records any more.
    #[error("reading topic {topic} was interrupted")]
    Stopped {
        /// The topic.
        topic: String,
    },
}

/// Reads topics. Its calls block.
pub struct TopicReader {
    committed: Client,
    uncommitted: Client,
    group: String,
    answer: Duration,
}

impl TopicReader {
    /// A reader that joins no group; `group` is the one that ACLs refer to. A request to a broker may take as long as
    /// `answer`. Does not wait for a broker.
    ///
    /// # Errors
    /// [`SinkError::Create`].
    pub fn new(options: &ProducerOptions, group: &str, answer: Duration) -> Result<Self, SinkError> {
        Ok(Self {
            committed: Client::new(options, group, "read_committed")?,
            uncommitted: Client::new(options, group, "read_uncommitted")?,
            group: group.to_owned(),
            answer,
        })
    }

    /// What the topic is made of; `None` if there is no such topic.
    ///
    /// # Errors
    /// [`ReadingError`].
    pub fn layout(&self, topic: &str) -> Result<Option<TopicLayout>, ReadingError> {
        let failed = |source| self.failed(topic, source);
        let metadata = self.committed.get().fetch_metadata(Some(topic), self.answer).map_err(failed)?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
        match found.error().map(Code::from) {
            None | Some(Code::NoError) => {}
            Some(Code::UnknownTopicOrPartition) => return Ok(None),
            Some(code) => return Err(failed(KafkaError::MetadataFetch(code))),
        }
        let mut partitions: Vec<i32> = found.partitions().iter().map(|partition| partition.id()).collect();
        partitions.sort_unstable();
        let replicas = found.partitions().iter().map(|partition| partition.replicas().len()).min();
        Ok(Some(TopicLayout { partitions, replicas, brokers: metadata.brokers().len() }))
    }

    /// What the topic's partitions hold now, by number; nothing if there is no such topic.
    ///
    /// # Errors
    /// [`ReadingError`].
    pub fn spans(&self, topic: &str, isolation: Isolation) -> Result<Vec<Span>, ReadingError> {
        let partitions = self.layout(topic)?.map(|layout| layout.partitions).unwrap_or_default();
        partitions.into_iter().map(|partition| self.span(topic, partition, isolation)).collect()
    }

    /// What a partition holds now.
    ///
    /// # Errors
    /// [`ReadingError`].
    pub fn span(&self, topic: &str, partition: i32, isolation: Isolation) -> Result<Span, ReadingError> {
        let watermarks = self.client(isolation).fetch_watermarks(topic, partition, self.answer);
        let (start, end) = watermarks.map_err(|source| self.failed(topic, source))?;
        Ok(Span { partition, start, end })
    }

    /// The committed records of a partition, once no open transaction hides any before the end of `all`. Asks
    /// `goes_on` while it waits; `None` if that says no.
    ///
    /// # Errors
    /// [`ReadingError`].
    pub fn committed_to(
        &self,
        topic: &str,
        all: Span,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Span>, ReadingError> {
        loop {
            let shown = self.span(topic, all.partition, Isolation::Committed)?;
            if shown.end >= all.end {
                return Ok(Some(shown));
            }
            if !goes_on() {
                return Ok(None);
            }
            std::thread::sleep(READ_TICK);
        }
    }

    /// Passes on what is in a span, in order, until `each` has enough or `stopped` says that nobody waits any more.
    /// Records that were compacted or have expired are missing.
    ///
    /// # Errors
    /// [`ReadingError`].
    pub fn read(
        &self,
        topic: &str,
        span: Span,
        isolation: Isolation,
        stopped: &dyn Fn() -> bool,
        each: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<(), ReadingError> {
        if span.start >= span.end {
            return Ok(());
        }
        let failed = |source| self.failed(topic, source);
        let client = self.client(isolation);
        self.seek(topic, span, isolation)?;
        let (mut heard, mut rest, mut is_last_pass) = (Instant::now(), span, false);
        loop {
            match client.poll(READ_TICK) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let offset = message.offset();
                    if offset >= span.end || each(found(&message)).is_break() || offset + 1 >= span.end {
                        return Ok(());
                    }
                    rest.start = offset + 1;
                }
                Some(Err(KafkaError::PartitionEOF(_))) if is_last_pass => return Ok(()),
                // A new leader reports an early end until it knows what is committed. What it has shown once it knows counts.
                Some(Err(KafkaError::PartitionEOF(_))) if heard.elapsed() < READ_SILENCE => {
                    is_last_pass = self.span(topic, span.partition, isolation)?.end >= span.end;
                    self.seek(topic, rest, isolation)?;
                }
                None | Some(Err(KafkaError::PartitionEOF(_))) if heard.elapsed() >= READ_SILENCE => {
                    return Err(ReadingError::Silent { topic: topic.to_owned(), partition: span.partition });
                }
                // An outage from which the client recovers by itself is reported as an error too.
                Some(Err(error)) if heard.elapsed() >= READ_SILENCE || is_denial(&error) => return Err(failed(error)),
                Some(Err(_)) | None => {}
            }
            if stopped() {
                return Err(ReadingError::Stopped { topic: topic.to_owned() });
            }
        }
    }

    /// Makes the next records those of a span.
    fn seek(&self, topic: &str, span: Span, isolation: Isolation) -> Result<(), ReadingError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, span.partition, Offset::Offset(span.start))
            .and_then(|()| self.client(isolation).assign(&list))
            .map_err(|source| self.failed(topic, source))
    }

    fn client(&self, isolation: Isolation) -> &BaseConsumer<Quiet> {
        match isolation {
            Isolation::Committed => self.committed.get(),
            Isolation::Uncommitted => self.uncommitted.get(),
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
    let CopiedMessage { record, is_text } = CopiedMessage::of(message);
    Found { partition: message.partition(), offset: message.offset(), record, is_text }
}

/// One consumer. Its end takes a tenth of a second, for which nobody waits but the end of the runtime.
struct Client(Option<BaseConsumer<Quiet>>);

impl Client {
    fn new(options: &ProducerOptions, group: &str, isolation: &str) -> Result<Self, SinkError> {
        let mut config = admin_config(options);
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", READ_AHEAD_KIB)
            // An empty answer reports the end of a partition.
            .set("fetch.wait.max.ms", "5")
            // A follower may lag behind the offsets that the leader gives.
            .set("client.rack", "")
            .set("isolation.level", isolation);
        let consumer = config.create_with_context(Quiet).map_err(SinkError::Create)?;
        Ok(Self(Some(consumer)))
    }

    fn get(&self) -> &BaseConsumer<Quiet> {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let consumer = self.0.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(consumer)));
        }
    }
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
