//! The upper bound of Kafka: a plain librdkafka producer that has the relay's records in memory. It is idempotent, with
//! `acks=all`, and produces them once with each of a few values of `linger.ms`; the best counts.
//!
//! A relay without Kafka collects the records, so they have the relay's topics, keys and headers.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::util::Timeout;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::backlog::{Backlog, drop_slot};
use super::child::{Child, own_cpu};
use super::error::BenchError;
use super::relay;
use super::report::RunReport;
use super::stage::Stage;
use super::without_kafka;
use crate::config::{Config, Delivery};
use crate::exit::{CommandError, Context};
use crate::relay::boundary::{OwnedRecord, Record, Ticket};
use crate::sink::{Accepted, Closed, Deliveries, SendError, Sink, SinkError};

/// The name of the hidden command for [`run`].
const COMMAND: &str = "bench-producer";
/// Values of `linger.ms` to try.
const LINGERS_MS: [u32; 3] = [5, 20, 50];
/// Limit of librdkafka's queue, in records.
const QUEUE: usize = 50_000;
/// Maximum records to keep, and their maximum bytes; for a longer backlog they are repeated.
const KEPT_RECORDS: usize = 200_000;
const KEPT_BYTES: usize = 256 * 1024 * 1024;
/// Records to send beforehand, so that connecting and fetching metadata are not measured.
const WARM_UP: usize = 100;
/// Time limit for a backlog.
const LIMIT: Duration = Duration::from_secs(3_600);
/// Time limit for delivering what is in the queue.
const FLUSH_LIMIT: Duration = Duration::from_secs(300);
/// How long to wait when the queue is full.
const FULL_PAUSE: Duration = Duration::from_micros(500);

/// The fastest run of the plain producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProducerReport {
    /// Its `linger.ms`.
    pub linger_ms: u32,
    /// From the first record to the last acknowledgement.
    pub seconds: f64,
    /// User and system time, in microseconds per record.
    pub cpu_micros_per_event: f64,
}

/// Collects a backlog's records from the benchmark's slot, then produces them once with each `linger.ms`.
///
/// # Errors
/// The slot does not belong to the benchmark ([`BenchError::ForeignSlot`]), Kafka does not accept the records, or as
/// `walpost run`.
pub(crate) async fn run(
    path: Option<&Path>,
    events: u64,
    interrupts: CancellationToken,
) -> Result<ProducerReport, CommandError> {
    let config = without_kafka::config(path)?;
    let kept = Arc::new(Mutex::new(Vec::new()));
    let done = interrupts.child_token();
    let sink = Collector {
        accepted: Accepted::default(),
        bytes: 0,
        seen: 0,
        expected: events,
        kept: Arc::clone(&kept),
        done: done.clone(),
    };
    without_kafka::run(sink, &config, done).await?;
    if interrupts.is_cancelled() {
        return Err(BenchError::Interrupted.into());
    }
    let records = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    let produced = tokio::task::spawn_blocking(move || fastest(&config, &records, events)).await;
    Ok(produced.context("run the plain producer")??)
}

/// Reads the backlog once and produces it, in a separate process.
pub(super) async fn measure(stage: &Stage, backlog: &Backlog) -> Result<RunReport, BenchError> {
    let slot = backlog.slot(stage).await?;
    let settings = stage.relay_settings(&slot, backlog.content.payload, Some(Delivery::AtLeastOnce));
    let mut command: Command = relay::command(&settings)?;
    command.arg(COMMAND).arg("--events").arg(backlog.events.to_string());
    let ended = Child::spawn("the plain producer", command, &stage.workspace)?.end(LIMIT).await?;
    drop_slot(stage, &slot).await?;
    let report: ProducerReport = serde_json::from_str(&ended.printed).unwrap_or_default();
    Ok(RunReport {
        start_millis: None,
        seconds: report.seconds,
        events_per_second: backlog.events as f64 / report.seconds.max(1e-6),
        cpu_micros_per_event: report.cpu_micros_per_event,
        peak_rss_bytes: ended.peak_rss_bytes,
        linger_ms: Some(report.linger_ms),
    })
}

fn fastest(config: &Config, records: &[OwnedRecord], events: u64) -> Result<ProducerReport, BenchError> {
    let reports: Result<Vec<_>, _> =
        LINGERS_MS.into_iter().map(|linger_ms| produce(config, linger_ms, records, events)).collect();
    let fastest = reports?.into_iter().min_by(|one, other| one.seconds.total_cmp(&other.seconds));
    Ok(fastest.expect("there is a linger.ms to try"))
}

fn produce(
    config: &Config,
    linger_ms: u32,
    records: &[OwnedRecord],
    events: u64,
) -> Result<ProducerReport, BenchError> {
    let failed = |action| move |source| BenchError::Produce { action, source };
    let mut client = ClientConfig::new();
    for (name, value) in config.kafka.properties.to_map() {
        client.set(name, value);
    }
    client.set("bootstrap.servers", &config.kafka.bootstrap_servers).set("linger.ms", linger_ms.to_string());
    client.set("compression.type", config.kafka.compression.as_str()).set("partitioner", "murmur2_random");
    client.set("enable.idempotence", "true").set("acks", "all").set("message.timeout.ms", "0");
    client.set("queue.buffering.max.messages", QUEUE.to_string()).set("enable.sparse.connections", "false");
    let failures = Arc::<AtomicU64>::default();
    let context = Failures(Arc::clone(&failures));
    let producer = ThreadedProducer::from_config_and_context(&client, context).map_err(failed("create"))?;
    for record in records.iter().take(WARM_UP) {
        send(&producer, record)?;
    }
    producer.flush(Timeout::After(FLUSH_LIMIT)).map_err(failed("flush"))?;
    let (start, cpu) = (Instant::now(), own_cpu());
    for record in records.iter().cycle().take(usize::try_from(events).unwrap_or(usize::MAX)) {
        send(&producer, record)?;
    }
    producer.flush(Timeout::After(FLUSH_LIMIT)).map_err(failed("flush"))?;
    let (took, cpu) = (start.elapsed(), own_cpu().saturating_sub(cpu));
    let undelivered = failures.load(Ordering::Relaxed);
    if undelivered > 0 {
        return Err(BenchError::Undelivered { records: undelivered });
    }
    let cpu_micros_per_event = cpu.as_secs_f64() * 1e6 / events as f64;
    Ok(ProducerReport { linger_ms, seconds: took.as_secs_f64(), cpu_micros_per_event })
}

fn send(producer: &ThreadedProducer<Failures>, record: &OwnedRecord) -> Result<(), BenchError> {
    let empty = OwnedHeaders::new_with_capacity(record.headers.len());
    let headers = record
        .headers
        .iter()
        .fold(empty, |headers, (name, value)| headers.insert(Header { key: name, value: value.as_deref() }));
    let mut next = BaseRecord::<[u8], [u8]>::to(&record.topic).headers(headers).timestamp(record.timestamp_millis);
    (next.key, next.payload) = (record.key.as_deref(), record.value.as_deref());
    loop {
        match producer.send(next) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                next = again;
                std::thread::sleep(FULL_PAUSE);
            }
            Err((source, _)) => return Err(BenchError::Produce { action: "send a record with", source }),
        }
    }
}

/// Counts undelivered records.
struct Failures(Arc<AtomicU64>);

impl ClientContext for Failures {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}
}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.0.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
    }
}

/// A sink that keeps records instead of sending them.
struct Collector {
    /// Acknowledgements since the last call.
    accepted: Accepted,
    bytes: usize,
    seen: u64,
    expected: u64,
    kept: Arc<Mutex<Vec<OwnedRecord>>>,
    done: CancellationToken,
}

impl Sink for Collector {
    fn send(&mut self, ticket: Ticket, record: &Record<'_>) -> Result<(), SendError> {
        self.accepted.push(ticket);
        self.seen += 1;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_RECORDS && self.bytes < KEPT_BYTES {
            let record = OwnedRecord::copy(record);
            self.bytes += record.size();
            kept.push(record);
        }
        if self.seen == self.expected {
            self.done.cancel();
        }
        Ok(())
    }

    async fn deliveries(&mut self, into: &mut Deliveries) -> Result<(), SinkError> {
        self.accepted.deliveries(into).await;
        Ok(())
    }

    async fn close(self, _timeout: Duration) -> Closed {
        self.accepted.close()
    }
}
