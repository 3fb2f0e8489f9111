//! The relay's loop: a single `select!` that carries values between the edges and the core.
//!
//! | arm | waits for | hands it to |
//! |---|---|---|
//! | 1 | the shutdown request | the core, which reads the open transaction to its end |
//! | 2 | deliveries of the sink, and the position of an earlier run | the core's ledger |
//! | 3 | the answer to a lookup | the core's metadata cache |
//! | 4 | a note written to `outbox.relay` | the gate, which confirms from then on |
//! | 5 | the replication connection, when the core wants input or there is no connection | the core |
//! | 6 | the core's timer, or one second | the core, and the telemetry |
//! | 7 | an event of maintenance, the rewind window or the lookup | the reporter, the link, the caller |
//! | 8 | the loss of the lease | the link, which drops its stream |
//! | 9 | the shutdown timeout | the caller |
//!
//! Every arm is cancel-safe and none has priority: if deliveries always came first, a busy Kafka would keep the relay
//! from reading until the window is empty.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::limits::{HURRIED_INTERVAL, TURN_INTERVAL};
use super::link::{Link, LinkEvent};
use super::lookup::Lookup;
use super::notices::{self, Notices};
use super::reporting::Reporter;
use super::side_events::SideEvent;
use super::slot_note::{RelayProgress, SlotNote, Written};
use super::storing::Storing;
use crate::fault::Fault;
use crate::relay::boundary::{PositionProof, Record, Ticket};
use crate::relay::confirm::{Reached, StreamStart, Wanted};
use crate::relay::delivery::window::InFlightWindow;
use crate::relay::{Core, Idle, Offer};
use crate::sink::{Deliveries, SendError, Sink, SinkError, Urgency};
use crate::source::Lease;

/// A running relay.
pub(super) struct Driver<S> {
    pub(super) core: Core,
    pub(super) sink: S,
    pub(super) link: Link,
    pub(super) slot_note: SlotNote,
    pub(super) lease: Arc<Lease>,
    pub(super) lookup: Lookup,
    pub(super) notices: Notices,
    pub(super) storing: Storing,
    pub(super) reporter: Reporter,
    /// How much may be in flight.
    pub(super) window: InFlightWindow,
    pub(super) side_events: mpsc::Receiver<SideEvent>,
}

impl<S: Sink + Send> Driver<S> {
    /// Runs to the end and returns the core's final state.
    pub(super) async fn run(mut self, shutdown: CancellationToken, timeout: Duration) -> (Core, Result<(), Fault>) {
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
            self.seal(stop_by.is_some());
            self.confirm();
            if idle == Idle::Drained && self.is_settled() {
                return Ok(());
            }
            let interval = match idle {
                Idle::Turn => Duration::ZERO,
                _ if self.slot_note.is_waited_for() => HURRIED_INTERVAL,
                _ => TURN_INTERVAL,
            };
            let turn = Instant::now() + interval;
            let wake = Some(self.core.poll_timeout(Instant::now()).map_or(turn, |at| at.min(turn)));
            let may_receive = if self.link.is_up() {
                idle == Idle::Input && self.storing.is_open()
            } else {
                !self.slot_note.is_noting_backfill()
            };
            tokio::select! {
                // 1. No new transaction is started.
                () = shutdown.cancelled(), if stop_by.is_none() => {
                    tracing::info!(records = self.core.owed().records, "stopping: waiting for records in flight");
                    *stop_by = Some(Instant::now() + timeout);
                    self.core.stop_intake();
                }
                // 2. What Kafka acknowledged, and what it returned.
                outcome = self.sink.deliveries(&mut deliveries) => {
                    outcome?;
                    self.reporter.settle(&mut self.core, &mut deliveries);
                    self.core.handle_window(self.window.limit(self.sink.partitions()));
                    if let Some(opened) = deliveries.opened.take() {
                        self.storing.handle_opened(opened, &mut self.core)?;
                    }
                }
                // 3. The core waits for one answer at a time.
                answers = self.lookup.answered() => {
                    let now = Instant::now();
                    answers.into_iter().for_each(|answer| self.core.handle_answer(answer, now));
                }
                // 4. The next turn confirms.
                written = self.slot_note.written() => self.handle_written(written),
                // 5. Not read while the window is full: Postgres holds the backlog.
                event = self.link.next(), if may_receive => self.handle_link(event)?,
                // 6. Returned records may be sent again.
                () = sleep_until(wake) => {}
                // 7. One at a time: each may end the stream or the relay.
                Some(event) = self.side_events.recv() => self.handle_side_event(event)?,
                // 8. Another relay may take the slot at any moment, even while nothing is being read.
                () = self.lease.lost(), if self.link.is_up() => self.give_way()?,
                // 9. What is in flight stays unconfirmed.
                () = sleep_until(*stop_by) => {
                    let (records, waits_for) = (self.core.owed().records, self.waits_for(idle));
                    // A position that could not be stored is recovered from the slot's.
                    if records == 0 && waits_for.is_none() {
                        return Ok(());
                    }
                    return Err(Fault::ShutdownTimeout { records, waits_for });
                }
            }
        }
    }

    /// Lets the core work until it has to wait.
    fn poll(&mut self) -> Result<Idle, Fault> {
        let now = Instant::now();
        let (sink, storing, lease) = (&mut self.sink, &self.storing, &self.lease);
        let mut fatal: Option<SinkError> = None;
        let idle = self.core.poll(now, |ticket: Ticket, record: &Record<'_>| {
            // Another relay may have published it already. The next heartbeat of the lease, or its loss, continues.
            if !lease.is_valid() {
                return Offer::Full;
            }
            match sink.send(ticket, record) {
                Ok(()) => Offer::Taken,
                Err(SendError::Full) => Offer::Full,
                Err(SendError::Refused(refusal)) => Offer::Refused(refusal),
                Err(SendError::Fatal(error)) => {
                    fatal = Some(error);
                    Offer::Full
                }
            }
        });
        let idle = idle.map_err(|halt| storing.explain(halt))?;
        if let Some(error) = fatal {
            return Err(error.into());
        }
        if let Some(request) = self.core.poll_request() {
            self.lookup.ask(request, &self.core);
        }
        while let Some(notice) = self.core.poll_notice() {
            self.notices.tell(&notice, now);
        }
        self.notices.sum_up(now);
        while let Some(table) = self.core.poll_ignored_table() {
            notices::tell_of_ignored_table(&table);
        }
        while let Some(dropped) = self.core.poll_dropped_headers() {
            tracing::warn!(
                schema_version = dropped.schema_version.as_deref().unwrap_or_default(),
                table = dropped.table,
                headers = dropped.names.join(", "),
                "row headers dropped: reserved, duplicated or null (logged once per schema version)"
            );
        }
        self.reporter.report(&self.core, &self.link, self.standing(idle), now);
        Ok(idle)
    }

    /// Seals the open transaction if it is due, or stores a position without a record.
    fn seal(&mut self, is_stopping: bool) {
        if let Some(last) = self.sink.sealing(Urgency::WhenDue) {
            self.sink.seal(self.core.checkpoint(last));
            return;
        }
        let hurry = is_stopping || self.link.gate.backfill_end().is_some();
        if self.link.is_up() {
            self.storing.store(self.core.settled(), hurry, &mut self.sink);
        }
    }

    /// Confirms what the gate allows, and writes the note it asks for.
    fn confirm(&mut self) {
        let progress = self.progress(self.sink.stored_proof());
        if let Some(wanted) = self.link.confirm(self.reached()) {
            self.slot_note.write(wanted, progress, Instant::now());
        }
    }

    /// How far everything is in Kafka.
    pub(super) fn reached(&self) -> Reached {
        Reached { settled: self.core.flush(), stored: self.sink.stored() }
    }

    fn progress(&self, proof: PositionProof) -> RelayProgress {
        let (received, event) = (self.core.received(), self.core.accepted().commit);
        RelayProgress { received, event, stored: self.sink.stored(), proof }
    }

    fn handle_written(&mut self, written: Written) {
        match written {
            Written::Limit(None) => {}
            Written::Limit(Some(taken)) => {
                self.link.gate.handle_noted(taken.limit);
                if let Some(keys) = taken.position_keys {
                    self.sink.renew_keys(&keys);
                }
            }
            Written::Backfill(Ok(())) => {
                self.link.gate.handle_backfill_noted();
                tracing::info!("initial backfill published");
            }
            // Retried: nothing is confirmed until it is noted.
            Written::Backfill(Err(error)) => {
                tracing::warn!(error = %error, "could not record the end of the initial backfill; retrying");
            }
        }
    }

    /// Ends the stream; the next one takes the lease first.
    fn give_way(&mut self) -> Result<(), Fault> {
        let lost = self.link.give_way(self.core.received());
        self.handle_link(lost)
    }

    fn handle_link(&mut self, event: LinkEvent) -> Result<(), Fault> {
        match event {
            LinkEvent::Batch(batch) => {
                self.reporter.note_heard();
                self.core.handle_batch(batch);
                self.lookup.handle_input();
            }
            LinkEvent::Up(beginning) => {
                if beginning.first == StreamStart::FirstRows {
                    self.core.handle_first_rows(beginning.recovered.map(|after| after.to_string()));
                }
                self.core.handle_connected(beginning.start);
                self.core.handle_message_keys(beginning.secrets.messages.clone());
                self.core.handle_tables(beginning.tables.clone());
                self.core.handle_encoding(beginning.encoding);
                self.storing.handle_up(&beginning, &mut self.sink);
                self.slot_note.handle_up();
                self.reporter.note_streaming(beginning.slot_lsn);
            }
            LinkEvent::Lost(error) => {
                self.core.handle_disconnected();
                self.storing.handle_lost(&mut self.sink);
                self.reporter.note_lost(&error);
            }
            LinkEvent::Stuck(error) => {
                self.core.handle_disconnected();
                self.storing.handle_lost(&mut self.sink);
                self.reporter.note_stuck(&error);
            }
            LinkEvent::Dead(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn handle_side_event(&mut self, event: SideEvent) -> Result<(), Fault> {
        match event {
            SideEvent::ServerEnd(lsn) => self.reporter.note_server_end(lsn),
            SideEvent::CommitsWait(waits) => {
                self.link.set_waited_for(waits);
                self.slot_note.set_waited_for(waits);
            }
            // A server that is shutting down accepts no more queries, and waits for the stream while the stream waits
            // for the answer to one.
            SideEvent::TurnedAway if self.link.is_up() => {
                self.lease.release();
                self.give_way()?;
            }
            SideEvent::TurnedAway => {}
            SideEvent::PublicationChanged(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Waits for the outstanding acknowledgements, confirms them, and closes both edges.
    async fn finish(mut self, outcome: Result<(), Fault>, left: Duration) -> (Core, Result<(), Fault>) {
        // What was sent before the end must not be sent again after it.
        if let Some(last) = self.sink.sealing(Urgency::Now) {
            self.sink.seal(self.core.checkpoint(last));
        }
        // If positions are stored, they are signed from now on.
        let progress = self.progress(self.sink.stored_proof());
        let mut closed = self.sink.close(left).await;
        self.reporter.settle(&mut self.core, &mut closed.deliveries);
        let reached = Reached { settled: self.core.flush(), stored: closed.stored };
        let progress = RelayProgress { stored: closed.stored, ..progress };
        if let Some(Wanted::Limit { flush, .. }) = self.link.confirm(reached) {
            match self.slot_note.end(flush, progress).await {
                Some(limit) => {
                    self.link.gate.handle_noted(limit);
                    self.link.confirm(reached);
                }
                // Use another connection.
                None => {
                    let lost = self.link.give_way(self.core.received());
                    tracing::debug!(?lost, "could not record the end of the initial backfill under the lease");
                }
            }
        }
        let confirmed = self.link.stop(reached).await;
        let lsn = reached.in_kafka();
        tracing::info!(%lsn, unacknowledged = closed.unanswered, "stopped");
        let confirmed = confirmed.map_err(|source| Fault::Unconfirmed { lsn, source });
        (self.core, outcome.and(confirmed))
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
