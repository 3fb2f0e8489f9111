//! Whether Kafka can be reached, for readiness and metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is known of the connection to Kafka; shared by everything that talks to it, and read by `/readyz` and `/metrics`.
///
/// Up after an acknowledged record, an answered request or a statistics report with a broker in state `UP`; down when
/// librdkafka reports that all brokers are down.
#[derive(Debug, Default)]
pub struct Connection {
    up: AtomicBool,
    outstanding: AtomicUsize,
    restarts: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Connection {
    /// Whether a broker can be reached.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
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

    /// Why the last attempt to reach a broker has failed, in librdkafka's words, which hold no secret; `None` if none has since
    /// Kafka was reachable.
    #[must_use]
    pub fn last_failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what says the cause.
    pub(crate) fn note_failure(&self, reason: &str) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause(reason).to_owned());
    }

    /// A connection was lost, which librdkafka's log tells: kept where there is no better reason.
    pub(crate) fn note_disconnected(&self, line: &str) {
        // The line starts with the name of a thread.
        let reason = line.split_once("]: ").map_or(line, |(_, reason)| reason);
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| cause(reason).to_owned());
    }

    pub(crate) fn mark_up(&self) {
        // Called for every record: a load is cheaper than a store that claims the cache line.
        if !self.is_up() && !self.up.swap(true, Ordering::Relaxed) {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
            tracing::info!("kafka is reachable");
        }
    }

    pub(crate) fn mark_down(&self) {
        if self.up.swap(false, Ordering::Relaxed) {
            tracing::warn!("kafka is unreachable; records are waiting");
        }
    }

    pub(crate) fn set_outstanding(&self, records: usize) {
        self.outstanding.store(records, Ordering::Relaxed);
    }

    pub(crate) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }
}

/// How long the attempt took, and how many others failed alike, stands in parentheses behind the cause.
fn cause(reason: &str) -> &str {
    reason.split_once(" (after ").map_or(reason, |(cause, _)| cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_failure_is_told_without_its_times_until_kafka_is_reachable() {
        let connection = Connection::default();
        connection.note_failure("a:1/bootstrap: Connect failed: Connection refused (after 0ms in state CONNECT)");
        assert_eq!(connection.last_failure().as_deref(), Some("a:1/bootstrap: Connect failed: Connection refused"));
        connection.mark_up();
        assert_eq!(connection.last_failure(), None);
    }
}
