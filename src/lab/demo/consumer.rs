//! The consumer reads all partitions of both topics from the beginning, like a downstream service, and reports every record to the
//! audit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;
use uuid::Uuid;

use super::audit::{Event, Topic};
use super::error::DemoError;
use super::service::SharedAudit;
use super::stage::Stage;
use crate::lab::environment::{Servers, Silent};

/// How long one poll waits for a record.
const POLL: Duration = Duration::from_millis(50);
/// Time limit for one request to a broker.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long the final reading waits without a record before the end of a partition is reached.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);

/// The consumer's thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Consumer {
    thread: Option<JoinHandle<Result<(), KafkaError>>>,
    orders: Arc<Orders>,
}

/// Commands to the thread.
#[derive(Debug, Default)]
struct Orders {
    /// Read to the end of every partition, then exit.
    finish: AtomicBool,
    /// Exit.
    stop: AtomicBool,
    /// Commits before this time, in milliseconds since the epoch, are excluded from the latencies; 0: all commits.
    measure_from_millis: AtomicI64,
}

/// The thread's state.
struct RecordReader {
    consumer: BaseConsumer<Silent>,
    /// Queries the ends of partitions. Not the consumer that reads: a broker answers the requests of a connection in order, and a fetch
    /// blocks for half a second if there is nothing to read.
    asker: BaseConsumer<Silent>,
    /// The topics' names, and what each holds.
    topics: [(String, Topic); 2],
    /// How far Postgres's clock, which stamps the records, is ahead of ours.
    clock_ahead_millis: i64,
    audit: SharedAudit,
    orders: Arc<Orders>,
}

/// The end offset of each partition.
type Ends = Vec<((String, i32), i64)>;

/// The part of a payload that the consumer parses.
#[derive(Deserialize)]
struct Payload {
    sequence: u64,
}

impl Consumer {
    /// Starts reading as soon as the topics exist.
    pub(super) fn start(
        servers: &Servers,
        stage: &Stage,
        clock_ahead_millis: i64,
        audit: &SharedAudit,
    ) -> Result<Self, DemoError> {
        let mut config = servers.kafka().client_config();
        config.set("isolation.level", "read_committed");
        config.set("enable.auto.commit", "false");
        config.set("allow.auto.create.topics", "false");
        // A group id is required, but nobody joins the group: the partitions are assigned here.
        config.set("group.id", "walpost-demo");
        let orders = Arc::new(Orders::default());
        let reader = RecordReader {
            consumer: servers.kafka().client(&config)?,
            asker: servers.kafka().client(&config)?,
            topics: [Topic::Orders, Topic::Payments].map(|topic| (stage.topic(topic).to_owned(), topic)),
            clock_ahead_millis,
            audit: audit.clone(),
            orders: Arc::clone(&orders),
        };
        let thread = std::thread::Builder::new().name("demo-consumer".to_owned()).spawn(move || reader.run());
        Ok(Self { thread: Some(thread.expect("the system has a thread left")), orders })
    }

    /// Includes commits in the latencies from this long after now.
    pub(super) fn measure_after(&self, wait: Duration) {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        self.orders.measure_from_millis.store(unix_millis().saturating_add(wait), Ordering::Relaxed);
    }

    /// Reads to the end of every partition, then exits.
    pub(super) async fn finish(mut self) -> Result<(), KafkaError> {
        self.orders.finish.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("the thread is taken only here and when this is dropped");
        let join = move || thread.join().expect("the consumer does not panic");
        tokio::task::spawn_blocking(join).await.expect("the consumer does not panic")
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.orders.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl RecordReader {
    fn run(self) -> Result<(), KafkaError> {
        let Some(partitions) = self.await_topics() else { return Ok(()) };
        self.consumer.assign(&partitions)?;
        while !self.is_told(&self.orders.stop) && !self.is_told(&self.orders.finish) {
            self.poll()?;
        }
        let ends = match self.is_told(&self.orders.stop) {
            true => return Ok(()),
            false => self.ends(&partitions)?,
        };
        let mut last_record = Instant::now();
        while !self.is_told(&self.orders.stop) && last_record.elapsed() < SILENCE_LIMIT && !self.is_at(&ends)? {
            if self.poll()? {
                last_record = Instant::now();
            }
        }
        Ok(())
    }

    /// All partitions of both topics from their beginning; none if it was stopped before the relay created the topics.
    fn await_topics(&self) -> Option<TopicPartitionList> {
        let mut partitions = TopicPartitionList::new();
        for (name, _) in &self.topics {
            loop {
                let found = self.asker.fetch_metadata(Some(name), ANSWER_LIMIT);
                let count = found.ok().and_then(|metadata| Some(metadata.topics().first()?.partitions().len()));
                if let Some(count) = count.filter(|count| *count > 0) {
                    for partition in 0..i32::try_from(count).unwrap_or(i32::MAX) {
                        let added = partitions.add_partition_offset(name, partition, Offset::Beginning);
                        added.expect("the beginning is an offset");
                    }
                    break;
                }
                if self.is_told(&self.orders.stop) || self.is_told(&self.orders.finish) {
                    return None;
                }
                std::thread::sleep(POLL);
            }
        }
        Some(partitions)
    }

    /// The current end of each partition for `read_committed` readers.
    fn ends(&self, partitions: &TopicPartitionList) -> Result<Ends, KafkaError> {
        let end = |(topic, partition): (String, i32)| {
            let (_, end) = self.asker.fetch_watermarks(&topic, partition, ANSWER_LIMIT)?;
            Ok(((topic, partition), end))
        };
        partitions.to_topic_map().into_keys().map(end).collect()
    }

    fn is_at(&self, ends: &Ends) -> Result<bool, KafkaError> {
        let position = self.consumer.position()?.to_topic_map();
        Ok(ends.iter().all(|(partition, end)| match position.get(partition) {
            Some(Offset::Offset(position)) => position >= end,
            // Nothing has been read from it yet.
            _ => *end == 0,
        }))
    }

    /// Reads a record if there is one.
    fn poll(&self) -> Result<bool, KafkaError> {
        match self.consumer.poll(POLL) {
            None => Ok(false),
            Some(Ok(record)) => {
                self.enter(&record);
                Ok(true)
            }
            // The client reconnects to a broker that is down; only a fatal error ends it.
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => Err(error),
            Some(Err(error)) => {
                tracing::debug!(error = %error, "the demo's consumer waits for kafka");
                Ok(false)
            }
        }
    }

    fn enter(&self, record: &BorrowedMessage<'_>) {
        let Some(event) = self.parse(record) else {
            self.audit.lock().read_stranger();
            return;
        };
        let committed = record.timestamp().to_millis().unwrap_or_default() - self.clock_ahead_millis;
        let from = self.orders.measure_from_millis.load(Ordering::Relaxed);
        let latency = (from > 0 && committed >= from).then(|| (unix_millis() - committed).max(0).unsigned_abs());
        self.audit.lock().read(&event, latency);
    }

    fn parse(&self, record: &BorrowedMessage<'_>) -> Option<Event> {
        let (_, topic) = self.topics.iter().find(|(name, _)| name == record.topic())?;
        let header = record.headers()?.iter().find(|header| header.key == "ce_id")?.value?;
        let id = Uuid::try_parse_ascii(header).ok()?;
        let customer = std::str::from_utf8(record.key()?).ok()?.parse().ok()?;
        let Payload { sequence } = serde_json::from_slice(record.payload()?).ok()?;
        Some(Event { topic: *topic, customer, sequence, id })
    }

    fn is_told(&self, order: &AtomicBool) -> bool {
        order.load(Ordering::Relaxed)
    }
}

/// This machine's clock.
pub(super) fn unix_millis() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
