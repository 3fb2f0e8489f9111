//! Whether Kafka is reachable, for readiness and metrics.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rdkafka::types::RDKafkaErrorCode as Code;

/// The state of the connection to Kafka; shared by everything that talks to it, and read by `/readyz` and `/metrics`.
///
/// Up after an acknowledged record, an answered request or a statistics report with a broker in state `UP`; down when
/// librdkafka reports that all brokers are down.
#[derive(Debug, Default)]
pub struct Connection {
    up: AtomicBool,
    /// In milliseconds since the Unix epoch; 0 before the first contact.
    last_contact: AtomicU64,
    outstanding: AtomicUsize,
    restarts: AtomicU64,
    failure: Mutex<Option<ConnectFailure>>,
    traffic: Mutex<Traffic>,
}

/// Why no broker could be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectFailure {
    /// The cause with its broker's address, in librdkafka's words, which contain no secrets.
    pub cause: String,
    /// Whether the next attempt may succeed: not if the broker refuses the credentials, or TLS fails.
    pub may_pass: bool,
}

impl ConnectFailure {
    /// `reason` is librdkafka's, for an error with this code.
    pub(crate) fn new(reason: &str, code: Option<Code>) -> Self {
        let is_refused = matches!(code, Some(Code::Authentication | Code::SSL | Code::SaslAuthenticationFailed));
        Self { cause: cause(reason).to_owned(), may_pass: !is_refused }
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

/// What the current producer has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Produce requests. Each carries one batch of one partition.
    pub requests: u64,
    /// Records in them; a repeated request counts again.
    pub records: u64,
}

impl Connection {
    /// Whether a broker can be reached.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// When a broker last sent something, as of librdkafka's last statistics and of the last answer to a request.
    #[must_use]
    pub fn last_contact(&self) -> Option<SystemTime> {
        let millis = Some(self.last_contact.load(Ordering::Relaxed)).filter(|millis| *millis > 0)?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
    }

    /// Number of records taken and not yet answered.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// How often the producer was replaced after a failure.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Why the last attempt to reach a broker failed; `None` if none has failed since Kafka was reachable.
    #[must_use]
    pub fn last_failure(&self) -> Option<ConnectFailure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the current producer has sent, as of librdkafka's last statistics.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_traffic(&self, traffic: Traffic) {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner) = traffic;
    }

    /// Keeps an error that names the cause.
    pub(crate) fn note_failure(&self, reason: &str, code: Option<Code>) {
        let failure = ConnectFailure::new(reason, code);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// A lost connection, according to librdkafka's log: kept if there is no better reason.
    pub(crate) fn note_disconnected(&self, line: &str) {
        // The line starts with a thread name.
        let reason = line.split_once("]: ").map_or(line, |(_, reason)| reason);
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| ConnectFailure::new(reason, None));
    }

    /// A broker has answered a request.
    pub(crate) fn note_answer(&self) {
        self.note_contact(Duration::ZERO);
        self.mark_up();
    }

    /// A broker sent something this long ago.
    pub(crate) fn note_contact(&self, ago: Duration) {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().saturating_sub(ago);
        self.last_contact.fetch_max(u64::try_from(at.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn mark_up(&self) {
        // Called for every record: a load is cheaper than a store, which claims the cache line.
        if !self.is_up() && !self.up.swap(true, Ordering::Relaxed) {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
            tracing::info!("kafka is reachable");
        }
    }

    pub(crate) fn mark_down(&self) {
        if self.up.swap(false, Ordering::Relaxed) {
            let reason = self.last_failure().map(|failure| failure.cause);
            tracing::warn!(reason, "kafka is unreachable; records are waiting");
        }
    }

    pub(crate) fn set_outstanding(&self, records: usize) {
        self.outstanding.store(records, Ordering::Relaxed);
    }

    pub(crate) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }
}

/// Strips the duration and the number of identical failures, which follow the cause in parentheses.
fn cause(reason: &str) -> &str {
    reason.split_once(" (after ").map_or(reason, |(cause, _)| cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_failure_is_kept_without_counts_until_kafka_is_reachable() {
        let connection = Connection::default();
        let reason = "a:1/bootstrap: Connect failed: Connection refused (after 0ms in state CONNECT)";
        connection.note_failure(reason, Some(Code::BrokerTransportFailure));
        let cause = "a:1/bootstrap: Connect failed: Connection refused".to_owned();
        assert_eq!(connection.last_failure(), Some(ConnectFailure { cause, may_pass: true }));
        connection.note_failure("a:1/bootstrap: SASL PLAIN authentication failed", Some(Code::Authentication));
        assert!(connection.last_failure().is_some_and(|failure| !failure.may_pass));
        connection.mark_up();
        assert_eq!(connection.last_failure(), None);
    }
}
