//! Whether Kafka can be reached, for readiness and metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What is known of the connection to Kafka; shared by everything that talks to it, and read by `/readyz` and `/metrics`.
///
/// Up after an acknowledged record, an answered request or a statistics report with a broker in state `UP`; down when
/// librdkafka reports that all brokers are down.
#[derive(Debug, Default)]
pub struct Connection {
    up: AtomicBool,
    outstanding: AtomicUsize,
    restarts: AtomicU64,
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

    pub(super) fn mark_up(&self) {
        // Called for every record: a load is cheaper than a store that claims the cache line.
        if !self.is_up() && !self.up.swap(true, Ordering::Relaxed) {
            tracing::info!("kafka is reachable");
        }
    }

    pub(super) fn mark_down(&self) {
        if self.up.swap(false, Ordering::Relaxed) {
            tracing::warn!("kafka is not reachable, records wait");
        }
    }

    pub(super) fn set_outstanding(&self, records: usize) {
        self.outstanding.store(records, Ordering::Relaxed);
    }

    pub(super) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }
}
