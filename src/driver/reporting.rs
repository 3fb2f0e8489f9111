//! Reports the relay's progress to the log and the telemetry.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::freshness::{Freshness, Group, age};
use super::link::Link;
use crate::driver::limits::{PROGRESS_INTERVAL, STRAY_INTERVAL};
use crate::fault::chain;
use crate::relay::boundary::{Lsn, Timestamp};
use crate::relay::{Core, Counters};
use crate::sink::{Connection as KafkaConnection, Deliveries};
use crate::source::{PastBackfill, SourceError, StreamPlace};
use crate::telemetry::{ProgressReport, Side, Telemetry, Unsendable};

/// The part of the relay's progress that the core does not know.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    /// How far the slot may be confirmed.
    pub(super) flush: Lsn,
    /// Whether an event or a position is waiting for Kafka.
    pub(super) waits: bool,
    /// When the oldest event that is in flight, or held up by something, was committed.
    pub(super) oldest: Option<Timestamp>,
}

/// Ignored logical messages with the prefix of events. Any role can write them, so the log must not grow with their
/// number.
#[derive(Default)]
struct Stray {
    outside_transactions: u64,
    forged: u64,
    told_at: Option<Instant>,
}

impl Stray {
    fn tell(&mut self, counters: &Counters, now: Instant) {
        let Counters { stray_messages, forged_messages, .. } = *counters;
        let is_news = stray_messages > self.outside_transactions || forged_messages > self.forged;
        if !is_news || self.told_at.is_some_and(|told| now < told + STRAY_INTERVAL) {
            return;
        }
        self.told_at = Some(now);
        if stray_messages > self.outside_transactions {
            tracing::warn!(
                messages = stray_messages,
                "non-transactional logical messages ignored: use outbox.emit_message"
            );
        }
        if forged_messages > self.forged {
            tracing::warn!(
                messages = forged_messages,
                "logical messages with prefix outbox ignored: not written by outbox.emit_message"
            );
        }
        (self.outside_transactions, self.forged) = (stray_messages, forged_messages);
    }
}

/// What was reported, so that each thing is reported once.
pub(super) struct Reporter {
    telemetry: Arc<Telemetry>,
    kafka: Arc<KafkaConnection>,
    /// Where the server's WAL ends, as last seen by maintenance.
    server_end: Lsn,
    /// For maintenance: whether old rows are no longer needed.
    past_backfill: PastBackfill,
    /// Earliest time of the next progress update.
    progress_at: Option<Instant>,
    freshness: Freshness,
    kafka_restarts: u64,
    /// Why Kafka is unreachable.
    kafka_failure: Option<String>,
    /// Ignored messages as last logged, and when.
    stray: Stray,
    /// Whether the replication connection has been up before.
    was_up: bool,
    /// Whether Postgres has sent something since the last progress update.
    heard: bool,
    blocked_on: Option<String>,
    /// Where Postgres can't send what comes next.
    unsendable: Option<StreamPlace>,
}

impl Reporter {
    pub(super) fn new(telemetry: Arc<Telemetry>, kafka: Arc<KafkaConnection>, past_backfill: PastBackfill) -> Self {
        let (progress_at, kafka_restarts, kafka_failure, stray) = (None, 0, None, Stray::default());
        let (was_up, heard, blocked_on, unsendable) = (false, false, None, None);
        let freshness = Freshness::default();
        Self {
            telemetry,
            kafka,
            server_end: Lsn(0),
            past_backfill,
            progress_at,
            freshness,
            kafka_restarts,
            kafka_failure,
            stray,
            was_up,
            heard,
            blocked_on,
            unsendable,
        }
    }

    /// The topic that blocks publishing, and why.
    pub(super) fn blocked_on(&self) -> Option<&str> {
        self.blocked_on.as_deref()
    }

    pub(super) fn note_server_end(&mut self, lsn: Lsn) {
        self.server_end = self.server_end.max(lsn);
    }

    /// Postgres has sent something.
    pub(super) fn note_heard(&mut self) {
        self.heard = true;
    }

    pub(super) fn note_streaming(&mut self, lsn: Lsn) {
        self.heard = true;
        self.telemetry.metrics.sides.set_connected(Side::Postgres, true);
        self.telemetry.set_failure(Side::Postgres, None);
        self.telemetry.set_standby(false);
        if std::mem::replace(&mut self.was_up, true) {
            self.telemetry.metrics.sides.count_reconnect(Side::Postgres);
        }
        tracing::info!(%lsn, "streaming");
    }

    pub(super) fn note_lost(&mut self, error: &SourceError) {
        let is_held = matches!(error, SourceError::SlotHeld { .. });
        // Postgres has answered who holds the slot.
        self.heard |= is_held;
        self.telemetry.metrics.sides.set_connected(Side::Postgres, is_held);
        // What is unknown from now on is reported with the next turn.
        self.progress_at = None;
        let is_news = self.telemetry.set_standby(is_held);
        if let SourceError::SlotHeld { slot, pid } = error {
            self.telemetry.set_failure(Side::Postgres, None);
            if is_news {
                tracing::info!(slot, pid, "standing by: another relay holds the slot");
            }
            return;
        }
        let error = chain(error);
        tracing::warn!(error, "replication connection failed; retrying");
        self.telemetry.set_failure(Side::Postgres, Some(error));
    }

    /// Postgres can't send a transaction: no attempt gets past it until somebody acts.
    pub(super) fn note_stuck(&mut self, error: &SourceError) {
        self.telemetry.metrics.sides.set_connected(Side::Postgres, false);
        let SourceError::Unsendable { place, error: reason } = error else { return };
        let unsendable = Unsendable { place: *place, error: reason.to_string() };
        if self.unsendable.replace(*place) != Some(*place) {
            let (error, advice) = (&unsendable.error, unsendable.advice());
            tracing::error!(lsn = %place, error, advice, "streaming blocked: postgres can't send a transaction");
        }
        self.telemetry.set_unsendable(Some(unsendable));
    }

    fn report_progress(&mut self, received: Lsn) {
        if self.unsendable.is_some_and(|place| received > place.transaction.unwrap_or(place.after)) {
            self.unsendable = None;
            self.telemetry.set_unsendable(None);
            tracing::info!(lsn = %received, "streaming resumed past the transaction that postgres could not send");
        }
    }

    /// Reports the relay's progress, if it is due.
    pub(super) fn report(&mut self, core: &Core, link: &Link, standing: Standing, now: Instant) {
        if self.progress_at.is_some_and(|at| now < at) {
            return;
        }
        self.progress_at = Some(now + PROGRESS_INTERVAL);
        self.past_backfill.set(link.gate.is_past_backfill());
        let (received, clock) = (core.received(), SystemTime::now());
        self.report_progress(received);
        if std::mem::take(&mut self.heard) {
            self.telemetry.metrics.sides.note_contact(Side::Postgres, clock);
        }
        let oldest = standing.oldest.map(|oldest| age(oldest, clock));
        // Without a stream, events may wait in Postgres. A stream that Postgres fails in is not the only connection.
        let is_watched = link.is_up() || self.unsendable.is_some();
        let progress = ProgressReport {
            position: core.accepted(),
            received,
            flush: standing.flush,
            server_end: is_watched.then(|| self.server_end.max(received)),
            owed: core.owed(),
            waits: standing.waits,
            lag: oldest.or_else(|| link.is_up().then_some(Duration::ZERO)),
        };
        self.telemetry.set_progress(&progress, now);
        self.freshness.follow(core, &self.telemetry);
        self.freshness.count_overdue(core, clock);
        self.report_counts(core, now);
        self.report_block(core);
    }

    fn report_counts(&mut self, core: &Core, now: Instant) {
        let metrics = &self.telemetry.metrics;
        let counters = core.counters();
        metrics.set_counters(&counters);
        self.stray.tell(&counters, now);
        let is_up = self.kafka.is_up();
        metrics.sides.set_connected(Side::Kafka, is_up);
        let failure = if is_up { None } else { self.kafka.last_failure().map(|failure| failure.cause) };
        if failure != self.kafka_failure {
            self.telemetry.set_failure(Side::Kafka, failure.clone());
            self.kafka_failure = failure;
        }
        if let Some(at) = self.kafka.last_contact() {
            metrics.sides.note_contact(Side::Kafka, at);
        }
        for _ in self.kafka_restarts..self.kafka.restarts() {
            metrics.sides.count_reconnect(Side::Kafka);
        }
        self.kafka_restarts = self.kafka.restarts();
    }

    fn report_block(&mut self, core: &Core) {
        let blocked = core.blocked_on().map(|(topic, why)| format!("topic {topic}: {}", why.detail));
        if blocked == self.blocked_on {
            return;
        }
        match &blocked {
            Some(reason) => tracing::error!(reason, "publishing blocked: topic is not writable"),
            None => tracing::info!("publishing resumed: topic is writable again"),
        }
        self.telemetry.set_blocked_on(blocked.clone());
        self.blocked_on = blocked;
    }

    /// Passes the outcome of records to the core, and their latency to the telemetry.
    pub(super) fn settle(&mut self, core: &mut Core, deliveries: &mut Deliveries) {
        let clock = SystemTime::now();
        self.freshness.follow(core, &self.telemetry);
        let observe = |group: Option<(Group, u64)>| {
            if let Some((group, records)) = group {
                self.freshness.observe(group, records, &self.telemetry, clock);
            }
        };
        let mut bytes = 0;
        let mut together: Option<(Group, u64)> = None;
        for ticket in deliveries.acked.drain(..) {
            let settled = core.handle_acknowledged(ticket);
            bytes += settled.bytes as u64;
            let group = Group::of(&settled);
            together = match together {
                Some((same, records)) if same == group => Some((group, records + 1)),
                other => {
                    observe(other);
                    Some((group, 1))
                }
            };
        }
        observe(together);
        self.telemetry.metrics.add_bytes(bytes);
        let now = Instant::now();
        for failure in deliveries.failed.drain(..) {
            core.handle_failure(failure, now);
        }
    }
}
