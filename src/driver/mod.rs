//! Carries values between the edges and the core. The relay's loop, and its only `select!`, is here.
//!
//! | arm | waits for | hands it to |
//! |---|---|---|
//! | 1 | the order to stop | the core, which reads the open transaction to its end |
//! | 2 | deliveries of the sink, and how far it was at an earlier run | the core's ledger |
//! | 3 | the answer to a look-up | the core's catalogue |
//! | 4 | the note that the first backfill is published | the link, which confirms from then on |
//! | 5 | the replication connection, when the core wants input or there is none | the core |
//! | 6 | the core's own time, or a second | the core, and the telemetry |
//! | 7 | the end of the time for stopping | the caller |
//!
//! Every arm is cancel-safe, and none goes before another: with deliveries always first, a busy Kafka would keep the relay from
//! reading until the window is empty.

mod anchor;
mod assemble;
mod backfill_note;
mod link;
mod lookup;
mod storing;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::config::{Config, Delivery};
use crate::fault::{Fault, chain};
use crate::relay::boundary::{Lsn, Record, Ticket, Timestamp};
use crate::relay::{Core, Idle, Offer};
use crate::sink::{Connection as KafkaConnection, Deliveries, SendError, Sink, SinkError, Urgency};
use crate::source::SourceError;
use crate::telemetry::{Progress, Side, Telemetry};

pub use anchor::PositionError;

use assemble::Parts;
use backfill_note::BackfillNote;
use link::{Confirm, Link, LinkEvent};
use lookup::Lookup;
use storing::Storing;

/// How often progress is written to the telemetry at most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// How long the loop waits at most, so that the telemetry tells of an outage in which nothing moves.
const TURN_INTERVAL: Duration = Duration::from_secs(1);

/// Where nothing bounds an LSN.
const LIMITLESS: Lsn = Lsn(u64::MAX);

/// Runs a relay until `shutdown` or a fault.
///
/// On shutdown no transaction is begun any more; what is at Kafka is waited for, for `relay.shutdown_timeout` at most, and
/// the slot is left at the last commit that Kafka has whole.
///
/// # Errors
/// [`Fault`]: why the relay can't go on, with what to do and the exit code.
pub async fn run(config: &Config, telemetry: Arc<Telemetry>, shutdown: CancellationToken) -> Result<(), Fault> {
    let reached = assemble::reach(config).await?;
    match config.kafka.delivery {
        Delivery::AtLeastOnce => {
            let sink = reached.at_least_once()?;
            stream(assemble::relay(config, &telemetry, reached, sink), config, shutdown).await
        }
        Delivery::ExactlyOnce => {
            let sink = reached.exactly_once(config);
            stream(assemble::relay(config, &telemetry, reached, sink), config, shutdown).await
        }
    }
}

async fn stream<S: Sink + Send>(parts: Parts<S>, config: &Config, shutdown: CancellationToken) -> Result<(), Fault> {
    let upkeep = tokio::spawn(parts.upkeep.run());
    let outcome = parts.driver.run(shutdown, config.relay.shutdown_timeout).await;
    upkeep.abort();
    outcome
}

/// The relay's moving parts.
struct Driver<S> {
    core: Core,
    sink: S,
    link: Link,
    backfill_note: BackfillNote,
    lookup: Lookup,
    storing: Storing,
    kafka: Arc<KafkaConnection>,
    telemetry: Arc<Telemetry>,
    /// Where the server's WAL ends, as the upkeep last saw it.
    server_end: Arc<AtomicU64>,
    /// For the upkeep: whether old rows are of no more use.
    may_drop: Arc<AtomicBool>,
    /// Before this, progress is not written again.
    progress_at: Option<Instant>,
    kafka_restarts: u64,
    stray_messages: u64,
    /// Whether the replication connection has been up before.
    was_up: bool,
    blocked_on: Option<String>,
}

impl<S: Sink + Send> Driver<S> {
    async fn run(mut self, shutdown: CancellationToken, timeout: Duration) -> Result<(), Fault> {
        let mut stop_by = None;
        let outcome = self.stream(&shutdown, timeout, &mut stop_by).await;
        let left = stop_by.map_or(timeout, |by: Instant| by.saturating_duration_since(Instant::now()));
        self.finish(outcome, left).await
    }

    /// Streams until everything is drained after `shutdown`, or until a fault. Sets `stop_by` at the shutdown.
    async fn stream(
        &mut self,
        shutdown: &CancellationToken,
        timeout: Duration,
        stop_by: &mut Option<Instant>,
    ) -> Result<(), Fault> {
        let mut deliveries = Deliveries::default();
        loop {
            let idle = self.poll()?;
            // A server that shuts down takes no question any more, and waits for the stream while that waits for the answer.
            if self.link.is_up() && self.lookup.was_turned_away() {
                let lost = self.link.give_way();
                self.handle_link(lost)?;
            }
            self.seal(stop_by.is_some());
            if self.link.confirm(self.confirmable(self.sink.stored())) == Confirm::NoteBackfill {
                self.backfill_note.write();
            }
            if idle == Idle::Drained && self.is_settled() {
                return Ok(());
            }
            let turn = Instant::now() + TURN_INTERVAL;
            let wake = Some(self.core.poll_timeout(Instant::now()).map_or(turn, |at| at.min(turn)));
            let may_receive = if self.link.is_up() {
                idle == Idle::Input && self.storing.is_open()
            } else {
                !self.backfill_note.is_writing()
            };
            tokio::select! {
                // 1. No transaction is begun any more.
                () = shutdown.cancelled(), if stop_by.is_none() => {
                    tracing::info!(records = self.core.owed().records, "stopping: waiting for what is in flight");
                    *stop_by = Some(Instant::now() + timeout);
                    self.core.stop_intake();
                }
                // 2. What Kafka has, and what it gave back.
                outcome = self.sink.deliveries(&mut deliveries) => {
                    outcome?;
                    settle(&mut self.core, &self.telemetry, &mut deliveries);
                    if let Some(opened) = deliveries.opened.take() {
                        self.storing.handle_opened(opened, &mut self.core).await?;
                    }
                }
                // 3. The core waits for one answer at a time.
                answer = self.lookup.answered() => self.core.handle_answer(answer, Instant::now()),
                // 4. From then on the slot moves.
                noted = self.backfill_note.written() => self.handle_backfill(noted),
                // 5. Not read while the window is full: Postgres holds the backlog.
                event = self.link.next(), if may_receive => self.handle_link(event)?,
                // 6. Records that came back may go out again.
                () = sleep_until(wake) => {}
                // 7. What is in flight stays unconfirmed.
                () = sleep_until(*stop_by) => {
                    // A position that could not be stored is found again from the slot's.
                    if self.core.owed().records == 0 {
                        return Ok(());
                    }
                    return Err(Fault::ShutdownTimeout { records: self.core.owed().records });
                }
            }
        }
    }

    /// Lets the core work until it waits for something.
    fn poll(&mut self) -> Result<Idle, Fault> {
        let now = Instant::now();
        let sink = &mut self.sink;
        let mut fatal: Option<SinkError> = None;
        let idle = self.core.poll(now, |ticket: Ticket, record: &Record<'_>| match sink.send(ticket, record) {
            Ok(()) => Offer::Taken,
            Err(SendError::Full) => Offer::Full,
            Err(SendError::Refused(refusal)) => Offer::Refused(refusal),
            Err(SendError::Fatal(error)) => {
                fatal = Some(error);
                Offer::Full
            }
        })?;
        if let Some(error) = fatal {
            return Err(error.into());
        }
        if let Some(request) = self.core.poll_request() {
            self.lookup.ask(request);
        }
        while let Some(notice) = self.core.poll_notice() {
            tracing::warn!(
                position = %notice.position.map(|position| position.to_string()).unwrap_or_default(),
                table = notice.table.as_deref().unwrap_or_default(),
                code = notice.refusal.code.as_str(),
                reason = %notice.refusal.detail,
                "event was refused and goes to the dead-letter topic"
            );
        }
        if self.progress_at.is_none_or(|at| now >= at) {
            self.progress_at = Some(now + PROGRESS_INTERVAL);
            self.report(now);
        }
        Ok(idle)
    }

    /// Ends the open transaction, if it is time; or stores a position that no record goes with.
    fn seal(&mut self, is_stopping: bool) {
        if let Some(last) = self.sink.sealing(Urgency::WhenDue) {
            self.sink.seal(self.core.checkpoint(last));
            return;
        }
        let hurry = is_stopping || !self.link.is_backfilled();
        let now = Instant::now();
        if self.link.is_up()
            && let Some(settled) = self.storing.due(self.core.settled(), self.sink.stored(), hurry, now)
            && self.sink.seal(settled)
        {
            self.storing.begun(now);
        }
    }

    /// What may be confirmed to the slot: not more than is stored in Kafka, where positions are.
    fn confirmable(&self, stored: Option<Lsn>) -> Lsn {
        self.core.flush().min(stored.unwrap_or(LIMITLESS))
    }

    /// Whether nothing is left to do before the end.
    fn is_settled(&self) -> bool {
        let stored = self.sink.stored();
        let is_stored = !self.storing.is_open() || !self.link.is_up() || self.confirmable(stored) == self.core.flush();
        self.core.owed().records == 0 && is_stored && self.link.is_settled(self.confirmable(stored))
    }

    fn handle_backfill(&mut self, noted: Result<(), SourceError>) {
        match noted {
            Ok(()) => {
                self.link.handle_backfill_noted();
                tracing::info!("rows from before the slot are published");
            }
            // Nothing is confirmed before it is noted, so the next round tries again.
            Err(error) => tracing::warn!(error = %error, "the end of the first backfill could not be noted"),
        }
    }

    fn handle_link(&mut self, event: LinkEvent) -> Result<(), Fault> {
        let metrics = &self.telemetry.metrics;
        match event {
            LinkEvent::Batch(batch) => self.core.handle_batch(batch),
            LinkEvent::Up { start, origin, from_the_first } => {
                if from_the_first {
                    self.core.handle_first_rows();
                }
                self.core.handle_connected(start);
                self.storing.handle_up(start, &origin, from_the_first, &mut self.sink);
                metrics.set_connected(Side::Postgres, true);
                if std::mem::replace(&mut self.was_up, true) {
                    metrics.count_reconnect(Side::Postgres);
                }
                tracing::info!(lsn = %start, "streaming");
            }
            LinkEvent::Lost(error) => {
                self.core.handle_disconnected();
                metrics.set_connected(Side::Postgres, false);
                let error = chain(&error);
                tracing::warn!(error, "no replication connection, it is tried again");
                self.telemetry.note_error(error);
            }
            LinkEvent::Dead(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn report(&mut self, now: Instant) {
        let (telemetry, clock) = (&self.telemetry, SystemTime::now());
        self.may_drop.store(self.link.is_up() && self.link.is_backfilled(), Ordering::Relaxed);
        let received = self.core.received();
        let progress = Progress {
            position: self.core.accepted(),
            received,
            flush: self.core.flush(),
            server_end: Lsn(self.server_end.load(Ordering::Relaxed)).max(received),
            owed: self.core.owed(),
            lag: self.core.oldest().map(|oldest| age(oldest, clock)).unwrap_or_default(),
        };
        telemetry.set_progress(&progress, now);
        let counters = self.core.counters();
        telemetry.metrics.set_counters(&counters);
        if counters.stray_messages > self.stray_messages {
            self.stray_messages = counters.stray_messages;
            tracing::warn!(
                messages = counters.stray_messages,
                "logical messages outside of a transaction are no events; write them with outbox.emit_message"
            );
        }
        telemetry.metrics.set_connected(Side::Kafka, self.kafka.is_up());
        for _ in self.kafka_restarts..self.kafka.restarts() {
            telemetry.metrics.count_reconnect(Side::Kafka);
        }
        self.kafka_restarts = self.kafka.restarts();
        let blocked = self.core.blocked_on().map(|(topic, why)| format!("topic {topic}: {}", why.detail));
        if blocked != self.blocked_on {
            match &blocked {
                Some(reason) => tracing::error!(reason, "nothing goes on before this topic can be written to"),
                None => tracing::info!("the topic can be written to again"),
            }
            telemetry.set_blocked_on(blocked.clone());
            self.blocked_on = blocked;
        }
    }

    /// Waits for what Kafka still owes, confirms it, and ends both edges.
    async fn finish(mut self, outcome: Result<(), Fault>, left: Duration) -> Result<(), Fault> {
        // What was sent before the end is not to be sent again after it.
        if let Some(last) = self.sink.sealing(Urgency::Now) {
            self.sink.seal(self.core.checkpoint(last));
        }
        let mut closed = self.sink.close(left).await;
        settle(&mut self.core, &self.telemetry, &mut closed.deliveries);
        let flush = self.core.flush().min(closed.stored.unwrap_or(LIMITLESS));
        self.link.confirm(flush);
        let confirmed = self.link.stop().await;
        tracing::info!(lsn = %flush, unacknowledged = closed.unanswered, "stopped");
        outcome?;
        confirmed.map_err(|source| Fault::Unconfirmed { lsn: flush, source })
    }
}

/// Hands what became of records to the core, and their latency to the telemetry.
fn settle(core: &mut Core, telemetry: &Telemetry, deliveries: &mut Deliveries) {
    let clock = SystemTime::now();
    let observe = |commit: Option<(Timestamp, u64)>| {
        if let Some((committed_at, records)) = commit {
            telemetry.metrics.publish_latency.observe(age(committed_at, clock), records);
        }
    };
    let mut bytes = 0;
    let mut commit: Option<(Timestamp, u64)> = None;
    for ticket in deliveries.acked.drain(..) {
        let settled = core.handle_acknowledged(ticket);
        bytes += settled.bytes as u64;
        // Records of one transaction are one observation.
        commit = match commit {
            Some((at, records)) if at == settled.committed_at => Some((at, records + 1)),
            other => {
                observe(other);
                Some((settled.committed_at, 1))
            }
        };
    }
    observe(commit);
    telemetry.metrics.add_bytes(bytes);
    let now = Instant::now();
    for failure in deliveries.failed.drain(..) {
        core.handle_failure(failure, now);
    }
}

/// How long ago a transaction committed, by two clocks that may differ.
fn age(committed_at: Timestamp, clock: SystemTime) -> Duration {
    let committed_at = Duration::from_micros(u64::try_from(committed_at.0).unwrap_or(0));
    clock.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().saturating_sub(committed_at)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
