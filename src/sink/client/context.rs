//! librdkafka's callbacks: delivery reports, errors, statistics, logs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::bindings::RD_KAFKA_OFFSET_INVALID;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use serde::Deserialize;
use tokio::sync::Notify;

use super::connection::{Brokers, Connection, Traffic};
use super::message::CopiedMessage;
use super::native::Bootstrap;
use crate::relay::boundary::OwnedRecord;

/// How long a repeated line of librdkafka's log is suppressed, so that a broker that is down does not flood the log.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// The offset of a record that Kafka has not answered.
const NO_OFFSET: i64 = RD_KAFKA_OFFSET_INVALID as i64;

/// Delivery reports of one producer, from its polling thread to the sink.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    reports: Mutex<Reports>,
    /// Wakes the sink when the first report arrives.
    pub(crate) filled: Notify,
    broken: AtomicBool,
}

/// Reports not yet taken.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    /// Numbers in the in-flight table.
    pub(crate) acked: Vec<usize>,
    pub(crate) failed: Vec<Report>,
    /// Records that librdkafka takes for delivered because a later one was.
    pub(crate) implied: Vec<Report>,
}

/// A record that was not acknowledged.
#[derive(Debug)]
pub(crate) struct Report {
    /// The record's number in the in-flight table.
    pub(crate) slot: usize,
    /// The record, without its timestamp.
    pub(crate) record: OwnedRecord,
    pub(crate) partition: i32,
    pub(crate) code: RDKafkaErrorCode,
}

impl Inbox {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Reports> {
        // Nothing panics while holding the lock, and a vector is consistent at any time.
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a record or the producer has failed: nothing more may be sent through it.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    pub(crate) fn break_off(&self) {
        self.broken.store(true, Ordering::Release);
        self.filled.notify_one();
    }

    /// Everything that failed was returned, and the producer is usable again.
    pub(crate) fn recover(&self) {
        self.broken.store(false, Ordering::Release);
    }

    pub(crate) fn fail(&self, report: Report) {
        // Set before the report is visible: no record may be sent after this one has failed.
        self.broken.store(true, Ordering::Release);
        self.lock().failed.push(report);
        self.filled.notify_one();
    }

    fn imply(&self, report: Report) {
        self.lock().implied.push(report);
        self.filled.notify_one();
    }

    fn acknowledge(&self, slot: usize) {
        let mut reports = self.lock();
        let was_empty = reports.acked.is_empty();
        reports.acked.push(slot);
        drop(reports);
        if was_empty {
            self.filled.notify_one();
        }
    }
}

/// The callbacks of one producer.
pub(crate) struct Context {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) log: LogGate,
    pub(crate) bootstrap: Bootstrap,
}

impl ProducerContext for Context {
    /// The record's number in the in-flight table. An integer: a boxed value would cost an allocation per record.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, slot: usize) {
        let report = |message, code| {
            let CopiedMessage { record, .. } = CopiedMessage::of(message);
            Report { slot, record, partition: message.partition(), code }
        };
        match result {
            // Kafka's own answer sets an offset.
            Ok(message) if message.offset() == NO_OFFSET => {
                self.inbox.imply(report(message, RDKafkaErrorCode::Inconsistent));
            }
            Ok(_) => {
                self.connection.mark_up();
                self.inbox.acknowledge(slot);
            }
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                self.inbox.fail(report(message, code));
            }
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "FAIL" {
            self.connection.note_disconnected(message);
        }
        let Some(suppressed) = self.log.pass(facility, Instant::now()) else { return };
        match level {
            // It warns about settings that are chosen here deliberately.
            _ if facility == "CONFWARN" => tracing::debug!(target: "librdkafka", facility, "{message}"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", facility, suppressed, "{message}");
            }
            // librdkafka's errors are outages that it retries; what is final arrives as a delivery report.
            _ => tracing::warn!(target: "librdkafka", facility, suppressed, "{message}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice::<Statistics>(statistics) {
            Ok(statistics) => {
                let brokers = statistics.listed();
                // A bootstrap server, which librdkafka drops as soon as it knows brokers.
                let is_first = brokers.up.is_empty() && brokers.down.is_empty() && statistics.is_any_up();
                if is_first && !self.connection.is_stranded() {
                    self.connection.mark_up();
                }
                self.connection.note_brokers(brokers);
                if let Some(ago) = statistics.last_received() {
                    self.connection.note_contact(ago);
                }
                if statistics.knows_no_broker() {
                    tracing::debug!("kafka has listed no brokers; connecting to the bootstrap servers again");
                    self.bootstrap.add_again();
                }
                self.connection.note_traffic(statistics.traffic());
            }
            Err(error) => tracing::debug!(error = %error, "could not parse librdkafka statistics"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        match code {
            // It only counts what the errors before it name, and counts a bootstrap server as another broker.
            Some(RDKafkaErrorCode::AllBrokersDown) => return self.connection.mark_down(),
            Some(RDKafkaErrorCode::Fatal) => self.inbox.break_off(),
            _ => self.connection.note_failure(reason, code),
        }
        let facility = code.map_or_else(String::new, |code| format!("{code:?}"));
        if let Some(suppressed) = self.log.pass(&facility, Instant::now()) {
            tracing::warn!(error = %error, reason, suppressed, "kafka client error");
        }
    }
}

/// The part of librdkafka's statistics that is used:
/// <https://github.com/confluentinc/librdkafka/blob/master/STATISTICS.md>.
#[derive(Deserialize)]
struct Statistics {
    /// Records sent.
    txmsgs: u64,
    brokers: HashMap<String, BrokerStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    state: String,
    /// Microseconds since something was received on the current connection; -1 if nothing was.
    #[serde(default = "nothing_received")]
    rxidle: i64,
    /// As advertised, if the broker is one of the cluster's.
    nodename: String,
    /// -1 for a bootstrap server that is not known to be one of the cluster's brokers.
    nodeid: i32,
    /// `configured` or `learned`; `logical` and `internal` are not brokers.
    source: String,
    /// Requests sent, by kind.
    #[serde(default)]
    req: HashMap<String, u64>,
}

impl BrokerStatistics {
    fn is_up(&self) -> bool {
        self.state == "UP"
    }
}

impl Statistics {
    /// Whether the client has nothing left to connect to. While all brokers are fenced, as after a pause of Kafka,
    /// metadata lists none; librdkafka then drops those that it knew, and for lack of anybody to ask never learns of
    /// them again (<https://github.com/confluentinc/librdkafka/issues/5301>).
    fn knows_no_broker(&self) -> bool {
        !self.brokers.values().any(|broker| matches!(broker.source.as_str(), "configured" | "learned"))
    }

    /// The cluster's brokers.
    fn listed(&self) -> Brokers {
        let addresses = |is_up: bool| {
            let is_listed = |broker: &&BrokerStatistics| broker.nodeid >= 0 && broker.source != "logical";
            let brokers = self.brokers.values().filter(is_listed).filter(|broker| broker.is_up() == is_up);
            let mut addresses: Vec<String> = brokers.map(|broker| broker.nodename.clone()).collect();
            addresses.sort();
            addresses
        };
        Brokers { up: addresses(true), down: addresses(false) }
    }

    fn is_any_up(&self) -> bool {
        self.brokers.values().any(BrokerStatistics::is_up)
    }

    /// How long ago a broker last sent something.
    fn last_received(&self) -> Option<Duration> {
        let idle = self.brokers.values().filter_map(|broker| u64::try_from(broker.rxidle).ok());
        idle.min().map(Duration::from_micros)
    }

    fn traffic(&self) -> Traffic {
        let requests = self.brokers.values().filter_map(|broker| broker.req.get("Produce")).sum();
        Traffic { requests, records: self.txmsgs }
    }
}

const fn nothing_received() -> i64 {
    -1
}

/// Passes a kind of log line once per [`LOG_PAUSE`] and counts what it suppresses. Shared by all producers of a sink.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogGate(Arc<Mutex<HashMap<String, Line>>>);

#[derive(Debug)]
struct Line {
    written: Instant,
    suppressed: u64,
}

impl LogGate {
    /// `None`: not now. Otherwise the number of lines of this kind suppressed since the last one that passed.
    fn pass(&self, kind: &str, now: Instant) -> Option<u64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.get_mut(kind) {
            Some(line) if now.duration_since(line.written) < LOG_PAUSE => {
                line.suppressed += 1;
                None
            }
            Some(line) => {
                line.written = now;
                Some(std::mem::take(&mut line.suppressed))
            }
            None => {
                lines.insert(kind.to_owned(), Line { written: now, suppressed: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_log_line_is_suppressed_and_counted() {
        let gate = LogGate::default();
        let start = Instant::now();
        assert_eq!(gate.pass("FAIL", start), Some(0));
        assert_eq!(gate.pass("FAIL", start + LOG_PAUSE / 2), None);
        assert_eq!(gate.pass("ERROR", start + LOG_PAUSE / 2), Some(0));
        assert_eq!(gate.pass("FAIL", start + LOG_PAUSE), Some(1));
        assert_eq!(gate.pass("FAIL", start + LOG_PAUSE * 2), Some(0));
    }
}
