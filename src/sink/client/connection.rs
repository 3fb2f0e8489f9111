//! Whether Kafka is reachable, for readiness and metrics.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rdkafka::types::RDKafkaErrorCode as Code;

/// How many statistics reports, one a second, may show no advertised broker connected before Kafka counts as unreachable:
/// connecting takes a moment.
const UNREACHABLE_REPORTS: u32 = 5;

/// The state of the connection to Kafka; shared by everything that talks to it, and read by `/readyz` and `/metrics`.
///
/// Up after an acknowledged record, an answered request or a statistics report with a broker in state `UP`; down when
/// librdkafka reports that all brokers are down, or if only bootstrap servers can be reached.
#[derive(Debug, Default)]
pub struct Connection {
    up: AtomicBool,
    /// In milliseconds since the Unix epoch; 0 before the first contact.
    last_contact: AtomicU64,
    outstanding: AtomicUsize,
    restarts: AtomicU64,
    failure: Mutex<Option<ConnectFailure>>,
    traffic: Mutex<Traffic>,
    brokers: Mutex<Brokers>,
    /// Addresses of brokers that were connected at some time.
    known: Mutex<BTreeSet<String>>,
    /// For how many statistics reports in a row no advertised address could be reached.
    unreachable: AtomicU32,
}

/// Why no broker could be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectFailure {
    /// The cause with its broker's address, in librdkafka's words, which contain no secrets.
    pub cause: String,
    /// Whether the next attempt may succeed: not if the broker refuses the credentials, or TLS fails.
    pub may_pass: bool,
    /// Whether the broker refused the credentials.
    pub is_login: bool,
}

impl ConnectFailure {
    /// `reason` is librdkafka's, for an error with this code.
    pub(crate) fn new(reason: &str, code: Option<Code>) -> Self {
        let is_login = matches!(code, Some(Code::Authentication | Code::SaslAuthenticationFailed));
        let is_refused = is_login || code == Some(Code::SSL);
        Self { cause: cause(reason).to_owned(), may_pass: !is_refused, is_login }
    }

    /// What Kafka did within this time and how to fix it, to follow "Kafka at a:9092".
    pub(crate) fn describe(within: Duration, failure: Option<&Self>) -> String {
        let why = failure.map(|failure| format!(" ({failure})")).unwrap_or_default();
        match failure.is_some_and(|failure| failure.is_login) {
            true => format!(
                "rejected the credentials{why}: correct sasl.username and sasl.password in [kafka.properties], or sasl.mechanism"
            ),
            false => format!(
                "did not answer within {} s{why}: start it, or correct bootstrap_servers and, if the cluster requires them, security.protocol and sasl.* in [kafka]",
                within.as_secs()
            ),
        }
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

/// The brokers that the cluster lists, by the addresses that it advertises for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brokers {
    /// Those with a working connection.
    pub up: Vec<String>,
    /// The others.
    pub down: Vec<String>,
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
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !self.is_stranded() {
            return failure;
        }
        let cause = self.why_unreachable(&self.brokers().down);
        let (may_pass, is_login) = failure.map_or((true, false), |failure| (failure.may_pass, failure.is_login));
        Some(ConnectFailure { cause, may_pass, is_login })
    }

    /// Why addresses that brokers advertise can't be used.
    #[must_use]
    pub fn why_unreachable(&self, addresses: &[String]) -> String {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reason = failure.map(|failure| format!(" ({failure})")).unwrap_or_default();
        format!(
            "the cluster advertises {}, which this machine can't reach{reason}: correct advertised.listeners of the brokers, \
             or name resolution and firewalls here",
            addresses.join(", ")
        )
    }

    /// The brokers, as of librdkafka's last statistics that list any.
    #[must_use]
    pub fn brokers(&self) -> Brokers {
        self.brokers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note_brokers(&self, brokers: Brokers) {
        if brokers.up.is_empty() && brokers.down.is_empty() {
            return;
        }
        let is_up = !brokers.up.is_empty();
        let is_outage = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.extend(brokers.up.iter().cloned());
            brokers.down.iter().any(|address| known.contains(address))
        };
        *self.brokers.lock().unwrap_or_else(PoisonError::into_inner) = brokers;
        let reports = if is_up || is_outage { 0 } else { self.unreachable.load(Ordering::Relaxed).saturating_add(1) };
        self.unreachable.store(reports, Ordering::Relaxed);
        if is_up {
            self.mark_up();
        } else if reports == UNREACHABLE_REPORTS {
            // It may be down already, for a reason that says less.
            self.up.store(false, Ordering::Relaxed);
            self.tell_down();
        }
    }

    /// Bootstrap servers answer, and none of the addresses that they give could ever be reached.
    pub(crate) fn is_stranded(&self) -> bool {
        self.unreachable.load(Ordering::Relaxed) >= UNREACHABLE_REPORTS
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
        self.keep_failure(ConnectFailure::new(reason, code));
    }

    pub(crate) fn keep_failure(&self, failure: ConnectFailure) {
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
        // A bootstrap server may have answered, and it is not enough.
        if !self.is_stranded() {
            self.mark_up();
        }
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
            self.tell_down();
        }
    }

    fn tell_down(&self) {
        let reason = self.last_failure().map(|failure| failure.cause);
        tracing::warn!(reason, "kafka is unreachable; records are waiting");
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
    fn case_49_a_bootstrap_server_alone_is_no_connection() {
        let connection = Connection::default();
        connection.note_answer();
        let told = Brokers { down: vec!["inner:9092".to_owned()], ..Brokers::default() };
        connection.note_failure("inner:9092/1: Failed to resolve 'inner:9092' (after 3ms)", Some(Code::Resolve));
        for _ in 1..UNREACHABLE_REPORTS {
            connection.note_brokers(told.clone());
            assert!(connection.is_up(), "connecting takes a moment");
        }
        connection.note_brokers(told.clone());
        connection.note_answer();
        // Its bootstrap servers are all that it has again.
        connection.note_brokers(Brokers::default());
        assert!(!connection.is_up());
        let cause = connection.last_failure().map(|failure| failure.cause);
        let expected = "the cluster advertises inner:9092, which this machine can't reach (inner:9092/1: Failed to resolve \
                        'inner:9092'): correct advertised.listeners of the brokers, or name resolution and firewalls here";
        assert_eq!(cause.as_deref(), Some(expected));
        connection.note_brokers(Brokers { up: told.down, ..Brokers::default() });
        assert!(connection.is_up() && connection.last_failure().is_none());
    }

    #[test]
    fn an_outage_of_all_brokers_blames_no_advertised_address() {
        let connection = Connection::default();
        connection.note_brokers(Brokers { up: vec!["a:9092".to_owned()], ..Brokers::default() });
        let away = Brokers { down: vec!["a:9092".to_owned()], ..Brokers::default() };
        (0..2 * UNREACHABLE_REPORTS).for_each(|_| connection.note_brokers(away.clone()));
        connection.mark_down();
        assert!(!connection.is_up() && connection.last_failure().is_none());
    }

    #[test]
    fn the_last_failure_is_kept_without_counts_until_kafka_is_reachable() {
        let connection = Connection::default();
        let reason = "a:1/bootstrap: Connect failed: Connection refused (after 0ms in state CONNECT)";
        connection.note_failure(reason, Some(Code::BrokerTransportFailure));
        let cause = "a:1/bootstrap: Connect failed: Connection refused".to_owned();
        assert_eq!(connection.last_failure(), Some(ConnectFailure { cause, may_pass: true, is_login: false }));
        connection.note_failure("a:1/bootstrap: SASL PLAIN authentication failed", Some(Code::Authentication));
        assert!(connection.last_failure().is_some_and(|failure| !failure.may_pass));
        connection.mark_up();
        assert_eq!(connection.last_failure(), None);
    }
}
