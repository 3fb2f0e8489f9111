//! The consumer: reads all partitions of both topics from the beginning, as a downstream service would, and enters every record in
//! the audit.

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
/// How long one question to a broker may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long the last reading goes on without a record before the end of a partition is reached.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);

/// The consumer's thread. Dropping this ends it.
#[derive(Debug)]
pub(super) struct Consumer {
    thread: Option<JoinHandle<Result<(), KafkaError>>>,
    orders: Arc<Orders>,
}

/// What the thread is told.
#[derive(Debug, Default)]
struct Orders {
    /// Read to the end of every partition, and then end.
    finish: AtomicBool,
    /// End.
    stop: AtomicBool,
    /// What was committed before this moment is left out of the latencies, in milliseconds since the epoch; 0: all is.
    measure_from_millis: AtomicI64,
}

/// What the thread works with.
struct RecordReader {
    consumer: BaseConsumer<Silent>,
    /// Asks where partitions end. Not the one that reads: a broker answers a connection's requests in turn, and each fetch waits for
    /// half a second where there is nothing to read.
    asker: BaseConsumer<Silent>,
    /// The topics' names, each with what it is.
    topics: [(String, Topic); 2],
    /// How far Postgres's clock, which stamps the records, is ahead of ours.
    clock_ahead_millis: i64,
    audit: SharedAudit,
    orders: Arc<Orders>,
}

/// The end of each partition.
type Ends = Vec<((String, i32), i64)>;

/// What the consumer looks at in a payload.
#[derive(Deserialize)]
struct Payload {
    sequence: u64,
}

impl Consumer {
    /// Starts reading as soon as the topics are there.
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
        // A group's name is asked for, but nobody joins the group: the partitions are assigned here.
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

    /// Takes the latencies of what is committed from this long after now.
    pub(super) fn measure_after(&self, wait: Duration) {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        self.orders.measure_from_millis.store(unix_millis().saturating_add(wait), Ordering::Relaxed);
    }

    /// Reads to the end of every partition, and ends.
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

    /// All partitions of both topics from their beginning; none if it was told to end before the relay made the topics.
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

    /// Where each partition ends now, for readers of committed records.
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
            // Nothing was read from it yet.
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
            // A broker that is away comes back, and the client with it; only a fatal error is its end.
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
