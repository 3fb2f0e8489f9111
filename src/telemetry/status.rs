//! The relay's state at a moment, as in `/status` and `/readyz`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::contracts::ContractStatus;
use super::identity::Identity;
use super::metrics::{Metrics, ProgressReport};
use super::sides::Side;
use super::unsendable::{Unsendable, UnsendableStatus};
use crate::relay::boundary::{Position, RefusalCode};

/// How long the flush LSN may stay unchanged, while something is owed or waiting to be sent to Kafka, before the
/// relay is not ready.
pub(crate) const STALL: Duration = Duration::from_secs(60);

/// How long nobody may stream from the slot before a standby relay is not ready: a takeover takes a few seconds.
pub(crate) const IDLE_SLOT: Duration = Duration::from_secs(10);

/// Everything that a relay reports about itself, shared between the driver, which writes, and the HTTP server, which
/// reads.
#[derive(Debug)]
pub struct Telemetry {
    /// The numbers.
    pub metrics: Metrics,
    identity: Identity,
    started: Instant,
    /// When the flush LSN last moved or nothing was owed or waiting, in milliseconds since `started`.
    moved_millis: AtomicU64,
    /// Whether something waits that is not in flight.
    waits: AtomicBool,
    /// What rarely changes or is not a number.
    words: Mutex<Words>,
}

#[derive(Debug, Default)]
struct Words {
    position: Position,
    last_error: Option<LastError>,
    /// Why each side is not connected.
    failures: [Option<String>; Side::ALL.len()],
    /// The topic that blocks publishing, and why.
    blocked_on: Option<String>,
    /// The open request that blocks publishing, and why it has no answer yet.
    waiting_for: Option<String>,
    /// Another relay holds the slot.
    is_standby: bool,
    /// Since when nobody streams from the slot that this relay stands by for.
    idle_since: Option<Instant>,
    /// The slot retains more WAL than it should.
    excess_wal: Option<String>,
    /// Why the last call of `outbox.maintain` failed.
    maintain_failure: Option<String>,
    rewind: Option<RewindStatus>,
    /// Commits in the cluster wait for the relay.
    is_synchronous: bool,
    /// The transaction that Postgres can't send.
    unsendable: Option<Unsendable>,
}

/// The last error that the relay retries or has recovered from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// The error in words, without secrets.
    pub message: String,
    /// When it happened, in milliseconds since the Unix epoch.
    pub at_unix_millis: u64,
}

/// The rewind window: positions that can be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewindStatus {
    pub slot: String,
    /// The earliest position that it holds.
    pub from_lsn: String,
    /// How far back it reaches, in seconds.
    pub seconds: u64,
    /// WAL that it retains on the server, in bytes.
    pub retained_wal_bytes: u64,
}

/// A snapshot of the relay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RelayStatus {
    pub version: String,
    /// `relay.name`.
    pub relay: String,
    pub slot: String,
    pub publication: String,
    pub database: String,
    /// How often a record may reach Kafka: `at-least-once` or `exactly-once`.
    pub delivery: String,
    /// Seconds since the relay started.
    pub uptime_seconds: u64,
    /// Whether another relay holds the slot, and this one waits to take over.
    pub standby: bool,
    /// Whether `/readyz` returns 200.
    pub ready: bool,
    /// Why not, one reason per item.
    pub not_ready: Vec<String>,
    /// Whether the replication connection is up; on a standby relay, whether Postgres answers it.
    pub postgres_connected: bool,
    /// Whether a broker is connected.
    pub kafka_connected: bool,
    /// When Postgres last sent something, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub postgres_last_contact_unix_millis: Option<u64>,
    /// When Kafka last sent something, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub kafka_last_contact_unix_millis: Option<u64>,
    /// The position of the last event taken, `<commit LSN>/<ordinal>`.
    pub position: String,
    /// How far the stream has been read.
    pub received_lsn: String,
    /// How far everything is in Kafka, including its position if positions are stored there: what may be confirmed to
    /// the slot.
    pub flush_lsn: String,
    /// WAL between the flush LSN and the end of the server's WAL, in bytes; none while that is unknown.
    pub lag_bytes: Option<u64>,
    /// Age of the oldest event that is not in Kafka, in seconds; none while that is unknown.
    pub lag_seconds: Option<f64>,
    /// WAL that the slot retains on the server, in bytes; none while that is unknown.
    pub retained_wal_bytes: Option<u64>,
    /// Records acknowledged by Kafka, including dead letters.
    pub events: u64,
    pub bytes: u64,
    /// Records sent and not yet acknowledged.
    pub in_flight_records: u64,
    pub in_flight_bytes: u64,
    /// Dead letters by code; codes without any are left out.
    pub dead_letters: BTreeMap<String, u64>,
    /// Records that violate their contract and were published anyway.
    #[serde(default)]
    pub violations: u64,
    /// Records returned by the client and sent again.
    pub returned: u64,
    /// Reconnections to Postgres.
    pub postgres_reconnects: u64,
    /// Reconnections to Kafka.
    pub kafka_reconnects: u64,
    /// Upper bound of the median latency from commit to acknowledgement, in milliseconds.
    pub latency_p50_millis: Option<f64>,
    /// The same for 99 % of records.
    pub latency_p99_millis: Option<f64>,
    /// The service level of each contract version that the relay has met, by name and version.
    #[serde(default)]
    pub contracts: Vec<ContractStatus>,
    /// The last error that the relay retries or has recovered from.
    pub last_error: Option<LastError>,
    /// The rewind window, if there is one.
    pub rewind: Option<RewindStatus>,
    /// Whether every commit in the cluster waits for the relay, which Postgres treats as a synchronous standby.
    #[serde(default)]
    pub synchronous_standby: bool,
    /// The transaction that Postgres can't send, if there is one.
    #[serde(default)]
    pub unsendable: Option<UnsendableStatus>,
}

impl Telemetry {
    /// A relay that starts now.
    #[must_use]
    pub fn new(identity: Identity, now: Instant) -> Self {
        let (metrics, moved_millis, words) = (Metrics::new(), AtomicU64::new(0), Mutex::default());
        Self { metrics, identity, started: now, moved_millis, waits: AtomicBool::new(false), words }
    }

    /// Sets the relay's progress.
    pub fn set_progress(&self, progress: &ProgressReport, now: Instant) {
        self.waits.store(progress.waits, Ordering::Relaxed);
        let is_idle = progress.owed.records == 0 && !progress.waits;
        if progress.flush > self.metrics.read().flush_lsn || is_idle {
            let millis = now.saturating_duration_since(self.started).as_millis();
            self.moved_millis.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        self.metrics.set_progress(progress);
        self.words().position = progress.position;
    }

    /// Sets why a side is not connected, without secrets, which is an error; `None`: it is, or why is not known.
    pub fn set_failure(&self, side: Side, failure: Option<String>) {
        if let Some(failure) = &failure {
            let name = side.name();
            self.note_error(format!("not connected to {name}: {failure}"));
        }
        self.words().failures[side as usize] = failure;
    }

    /// Records an error that the relay recovers from. The text must contain no secret and no payload.
    pub fn note_error(&self, message: impl Into<String>) {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at_unix_millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        self.words().last_error = Some(LastError { message: message.into(), at_unix_millis });
    }

    /// Sets the size of the rewind window; `None`: there is none.
    pub fn set_rewind(&self, rewind: Option<RewindStatus>) {
        let (bytes, seconds) = rewind.as_ref().map_or((0, 0), |rewind| (rewind.retained_wal_bytes, rewind.seconds));
        self.metrics.set_rewind(bytes, seconds);
        self.words().rewind = rewind;
    }

    /// Sets what blocks the relay altogether, such as a dead-letter topic that is not writable; `None`: nothing does.
    pub fn set_blocked_on(&self, reason: Option<String>) {
        self.words().blocked_on = reason;
    }

    /// Sets which lookup of a schema version, a topic or a type fails and is retried, and why; `None`: none does.
    pub fn set_waiting_for(&self, reason: Option<String>) {
        self.words().waiting_for = reason;
    }

    /// Sets the transaction that Postgres can't send; `None`: there is none.
    pub fn set_unsendable(&self, unsendable: Option<Unsendable>) {
        self.metrics.set_unsendable(unsendable.as_ref().map(Unsendable::lsn));
        self.words().unsendable = unsendable;
    }

    /// Sets whether commits in the cluster wait for the relay.
    pub fn set_synchronous_standby(&self, is_synchronous: bool) {
        self.words().is_synchronous = is_synchronous;
    }

    /// The transaction that Postgres can't send.
    #[must_use]
    pub fn unsendable(&self) -> Option<Unsendable> {
        self.words().unsendable.clone()
    }

    /// Sets whether another relay holds the slot; returns whether that changed.
    pub fn set_standby(&self, is_standby: bool) -> bool {
        let mut words = self.words();
        if !is_standby {
            words.idle_since = None;
        }
        std::mem::replace(&mut words.is_standby, is_standby) != is_standby
    }

    /// Whether another relay holds the slot.
    pub(crate) fn is_standby(&self) -> bool {
        self.words().is_standby
    }

    /// Sets whether something streams from the slot that this relay stands by for.
    pub fn set_slot_in_use(&self, in_use: bool, now: Instant) {
        let mut words = self.words();
        words.idle_since = if in_use { None } else { words.idle_since.or(Some(now)) };
    }

    /// Sets why `outbox.maintain` failed, if it did.
    pub fn set_maintain_failure(&self, failure: Option<String>) {
        if failure.is_some() {
            self.metrics.count_maintain_failure();
        }
        self.words().maintain_failure = failure;
    }

    /// Sets that the slot retains more WAL than it should, in words; returns whether that changed.
    pub fn set_excess_wal(&self, excess: Option<String>) -> bool {
        let before = std::mem::replace(&mut self.words().excess_wal, excess.clone());
        before.is_some() != excess.is_some()
    }

    /// Which lookup fails and is retried, and why.
    #[must_use]
    pub fn waiting_for(&self) -> Option<String> {
        self.words().waiting_for.clone()
    }

    /// Why the relay is not ready at `now`; empty if it is: connected on both sides, and the slot moves. A standby
    /// relay is ready to take over while the other one streams: otherwise a rolling update would wait for it for
    /// ever.
    #[must_use]
    pub fn not_ready(&self, now: Instant) -> Vec<String> {
        let mut reasons = Vec::new();
        let words = self.words();
        let (is_standby, is_stuck) = (words.is_standby, words.unsendable.is_some());
        for side in Side::ALL {
            if !(self.metrics.sides.is_connected(side) || (is_standby || is_stuck) && side == Side::Postgres) {
                let why = words.failures[side as usize].as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                reasons.push(format!("not connected to {}{why}", side.name()));
            }
        }
        reasons.extend(words.unsendable.iter().map(|unsendable| format!("{unsendable}; {}", unsendable.advice())));
        reasons.extend(words.blocked_on.iter().map(|reason| format!("blocked: {reason}")));
        reasons.extend(words.waiting_for.iter().map(|reason| format!("waiting: {reason}")));
        reasons.extend(words.excess_wal.clone());
        reasons.extend(words.maintain_failure.iter().map(|failure| format!("outbox.maintain failed: {failure}")));
        let idle = words.idle_since.filter(|_| is_standby).map(|since| now.saturating_duration_since(since));
        if let Some(idle) = idle.filter(|idle| *idle >= IDLE_SLOT) {
            let seconds = idle.as_secs();
            let slot = &self.identity.slot;
            reasons.push(format!("standing by, but no relay has streamed from slot {slot} for {seconds} s"));
        }
        drop(words);
        let owed = self.metrics.read().in_flight_records;
        let moved = self.started + Duration::from_millis(self.moved_millis.load(Ordering::Relaxed));
        let still = now.saturating_duration_since(moved);
        let meanwhile = match owed {
            0 if self.waits.load(Ordering::Relaxed) => Some("an event or a position is waiting for Kafka".to_owned()),
            0 => None,
            1 => Some("1 record is in flight".to_owned()),
            records => Some(format!("{records} records are in flight")),
        };
        if let Some(meanwhile) = meanwhile.filter(|_| still >= STALL) {
            reasons.push(format!("the slot has not moved for {} s while {meanwhile}", still.as_secs()));
        }
        reasons
    }

    /// The metrics, those included that are determined when they are read.
    #[must_use]
    pub fn metrics_at(&self, now: Instant) -> &Metrics {
        self.metrics.set_state(self.not_ready(now).is_empty(), self.is_standby());
        &self.metrics
    }

    /// The relay at `now`.
    #[must_use]
    pub fn status(&self, now: Instant) -> RelayStatus {
        let not_ready = self.not_ready(now);
        let reading = self.metrics.read();
        let words = self.words();
        let Identity { relay, slot, publication, database, delivery } = self.identity.clone();
        let dead_letters = RefusalCode::ALL.iter().zip(reading.dead_letters).filter(|(_, count)| *count > 0);
        let quantile = |share| self.metrics.publish_latency.quantile(share).map(|bound| bound.as_secs_f64() * 1_000.0);
        RelayStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            relay,
            slot,
            publication,
            database,
            delivery,
            uptime_seconds: now.saturating_duration_since(self.started).as_secs(),
            standby: words.is_standby,
            ready: not_ready.is_empty(),
            not_ready,
            postgres_connected: self.metrics.sides.is_connected(Side::Postgres),
            kafka_connected: self.metrics.sides.is_connected(Side::Kafka),
            postgres_last_contact_unix_millis: self.metrics.sides.last_contact_millis(Side::Postgres),
            kafka_last_contact_unix_millis: self.metrics.sides.last_contact_millis(Side::Kafka),
            position: words.position.to_string(),
            received_lsn: reading.received_lsn.to_string(),
            flush_lsn: reading.flush_lsn.to_string(),
            lag_bytes: reading.lag_bytes,
            lag_seconds: reading.lag_seconds,
            retained_wal_bytes: reading.retained_wal_bytes,
            events: reading.events,
            bytes: reading.bytes,
            in_flight_records: reading.in_flight_records,
            in_flight_bytes: reading.in_flight_bytes,
            dead_letters: dead_letters.map(|(code, count)| (code.to_string(), count)).collect(),
            violations: reading.violations,
            returned: reading.returned,
            postgres_reconnects: reading.reconnects[Side::Postgres as usize],
            kafka_reconnects: reading.reconnects[Side::Kafka as usize],
            latency_p50_millis: quantile(0.5),
            latency_p99_millis: quantile(0.99),
            contracts: self.metrics.contracts.status(),
            last_error: words.last_error.clone(),
            rewind: words.rewind.clone(),
            synchronous_standby: words.is_synchronous,
            unsendable: words.unsendable.as_ref().map(UnsendableStatus::from),
        }
    }

    fn words(&self) -> std::sync::MutexGuard<'_, Words> {
        // No writer can leave a value half written: each sets one field.
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
