//! Reading the records of one key in the topic of positions.

use std::ops::{Deref, Range};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::relay::route::destination::POSITIONS_TOPIC;
use crate::sink::client::options::{ProducerOptions, admin_config};

/// How often it is looked whether somebody still waits.
const TICK: Duration = Duration::from_millis(50);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum ReadError {
    /// Transient: ask again.
    Passing(KafkaError),
    /// Kafka does not let this client read the topic.
    NotAuthorized,
    /// The record is not a position.
    Malformed,
    /// A position that no relay of this database wrote.
    Forged,
    /// A position that is there twice.
    Copied,
    /// A position of another epoch.
    Forgotten,
    /// The topic has several partitions, so the last position in one is not the last overall.
    Partitioned(usize),
    /// Nobody waits for the answer any more.
    Stopped,
}

impl From<KafkaError> for ReadError {
    fn from(error: KafkaError) -> Self {
        use rdkafka::types::RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed) => Self::NotAuthorized,
            _ => Self::Passing(error),
        }
    }
}

/// Where positions under a key are.
pub(super) struct Place<'a> {
    pub(super) partition: i32,
    pub(super) key: &'a str,
    /// When reading is given up.
    pub(super) deadline: Instant,
}

impl Place<'_> {
    /// The last value of the key between two offsets, if there is one.
    pub(super) fn last(
        &self,
        consumer: &BaseConsumer<Quiet>,
        offsets: Range<i64>,
        stopped: &impl Fn() -> bool,
    ) -> Result<Option<Option<Vec<u8>>>, ReadError> {
        let mut last = None;
        self.scan(consumer, offsets, stopped, |value| last = Some(value.map(<[u8]>::to_vec)))?;
        Ok(last)
    }

    /// How many records of the key have this value between two offsets.
    pub(super) fn count(
        &self,
        consumer: &BaseConsumer<Quiet>,
        offsets: Range<i64>,
        wanted: &[u8],
        stopped: &impl Fn() -> bool,
    ) -> Result<usize, ReadError> {
        let mut count = 0;
        self.scan(consumer, offsets, stopped, |value| count += usize::from(value == Some(wanted)))?;
        Ok(count)
    }

    /// Calls `each` with the values of the key between two offsets.
    fn scan(
        &self,
        consumer: &BaseConsumer<Quiet>,
        Range { start, end }: Range<i64>,
        stopped: &impl Fn() -> bool,
        mut each: impl FnMut(Option<&[u8]>),
    ) -> Result<(), ReadError> {
        if start >= end {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(POSITIONS_TOPIC, self.partition, Offset::Offset(start))?;
        consumer.assign(&list)?;
        // Up to the end as it is now: what was committed before the call is before it.
        loop {
            match consumer.poll(TICK) {
                Some(Ok(message)) => {
                    if message.key() == Some(self.key.as_bytes()) {
                        each(message.payload());
                    }
                    if message.offset() + 1 >= end {
                        break;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) => return Err(error.into()),
                None => {}
            }
            if stopped() {
                return Err(ReadError::Stopped);
            }
            if Instant::now() >= self.deadline {
                return Err(KafkaError::MessageConsumption(rdkafka::types::RDKafkaErrorCode::OperationTimedOut).into());
            }
        }
        Ok(())
    }
}

/// A consumer, whose end takes a tenth of a second that nobody need wait for but the end of the runtime.
pub(super) struct Consuming(Option<BaseConsumer<Quiet>>);

impl Deref for Consuming {
    type Target = BaseConsumer<Quiet>;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Consuming {
    fn drop(&mut self) {
        let consumer = self.0.take();
        drop(tokio::task::spawn_blocking(move || drop(consumer)));
    }
}

/// A consumer's errors come as answers, too; the end of a partition is none.
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = %error, reason, "kafka consumer");
    }
}

impl ConsumerContext for Quiet {}

pub(super) fn consumer(options: &ProducerOptions, isolation: &str) -> Result<Consuming, KafkaError> {
    let mut config: ClientConfig = admin_config(options);
    config
        .set("group.id", format!("{}-positions", options.client_id))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        // The end is told by an empty answer.
        .set("fetch.wait.max.ms", "5")
        .set("isolation.level", isolation);
    config.create_with_context(Quiet).map(|consumer| Consuming(Some(consumer)))
}
