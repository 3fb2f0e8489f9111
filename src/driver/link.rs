//! The replication connection over its lifetime: connecting, streaming, lost, reconnecting.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Instant;

use super::publication::PublicationWatch;
use super::repeats::Repeats;
use crate::driver::limits::{FIRST_CONNECTION, RECONNECT_BACK_OFF, STANDBY_INTERVAL};
use crate::fault::chain;
use crate::postgres::{self, sqlstate};
use crate::relay::back_off::BackOff;
use crate::relay::boundary::{Batch, Lsn};
use crate::relay::confirm::{Gate, Notes, Reached, Resume, StreamStart, Wanted};
use crate::relay::decode::text_encoding::Encoding;
use crate::source::{self, Feed, Lease, Origin, Secrets, Source, SourceError, SourceOptions, StreamEvent};

/// An event of the connection.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// The stream has started.
    Up(Beginning),
    /// Messages.
    Batch(Batch),
    /// The connection was lost or could not be made; another attempt follows.
    Lost(SourceError),
    /// As `Lost`, at the same place as before: Postgres can't send what comes next.
    Stuck(SourceError),
    /// There will be no connection.
    Dead(SourceError),
}

/// How a stream starts.
#[derive(Debug)]
pub(super) struct Beginning {
    /// Everything before this LSN is confirmed; 0 during a backfill.
    pub(super) start: Lsn,
    /// Where the slot streams from.
    pub(super) slot_lsn: Lsn,
    /// Where the server's log ended then.
    pub(super) wal_end: Lsn,
    /// A stored position that is recorded in the database.
    pub(super) noted: Option<Lsn>,
    /// The encoding of its text.
    pub(super) encoding: Encoding,
    /// The server that streams.
    pub(super) origin: Origin,
    /// Which rows come first.
    pub(super) first: StreamStart,
    /// The backfill is a recovery of a lost slot that was at this LSN.
    pub(super) recovered: Option<Lsn>,
    /// Keys to check messages and positions with.
    pub(super) secrets: Secrets,
    /// The OIDs of the outbox tables, in the order of the configuration.
    pub(super) tables: Vec<u32>,
}

type Attempt<T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send>>;

enum State {
    Waiting(Instant),
    Connecting(Attempt<Source>),
    Up(Box<Source>),
}

/// One slot's connection, reestablished as often as needed.
pub(super) struct Link {
    options: SourceOptions,
    lease: Arc<Lease>,
    /// What a replay reads instead of the slot.
    feed: Option<Feed>,
    state: State,
    /// What this process knows of the slot, and how far it may be confirmed.
    pub(super) gate: Gate,
    back_off: BackOff,
    /// The server of the last stream. The core skips positions that it has seen, and on another timeline the same
    /// positions may belong to other rows.
    last: Option<Origin>,
    /// What was confirmed when Postgres last reported something missing that the stream needs.
    undecodable_after: Option<Lsn>,
    repeats: Repeats,
    /// Commits in the cluster wait for confirmation.
    is_waited_for: bool,
    /// Until when the first connection is tried; `None` once there was one.
    give_up: Option<Instant>,
    publication: Arc<PublicationWatch>,
}

impl Link {
    pub(super) fn new(options: SourceOptions, lease: Arc<Lease>, publication: Arc<PublicationWatch>) -> Self {
        let now = Instant::now();
        Self {
            options,
            lease,
            feed: None,
            state: State::Waiting(now),
            gate: Gate::new(Notes::Required),
            back_off: RECONNECT_BACK_OFF,
            last: None,
            undecodable_after: None,
            repeats: Repeats::default(),
            is_waited_for: false,
            give_up: Some(now + FIRST_CONNECTION),
            publication,
        }
    }

    /// A link for a replay. Nothing that it confirms reaches the slot.
    pub(super) fn replaying(
        options: SourceOptions,
        feed: Feed,
        lease: Arc<Lease>,
        publication: Arc<PublicationWatch>,
    ) -> Self {
        Self { feed: Some(feed), gate: Gate::new(Notes::Unneeded), ..Self::new(options, lease, publication) }
    }

    /// The next event.
    ///
    /// Cancel-safe: an attempt in progress continues with the next call.
    pub(super) async fn next(&mut self) -> LinkEvent {
        loop {
            match &mut self.state {
                State::Waiting(until) => {
                    tokio::time::sleep_until(*until).await;
                    let (options, resume, last) = (self.options.clone(), self.gate.resume(), self.last.clone());
                    let (lease, feed) = (Arc::clone(&self.lease), self.feed);
                    let attempt = async move {
                        match (feed, last) {
                            (Some(feed), last) => source::connect_replay(&options, feed, resume, last.as_ref()).await,
                            (None, None) => source::connect(&options, &lease, resume).await,
                            (None, Some(last)) => source::reconnect(&options, &lease, resume, &last).await,
                        }
                    };
                    self.state = State::Connecting(Box::pin(attempt));
                }
                State::Connecting(attempt) => {
                    return match attempt.await {
                        Ok(source) => self.connected(source),
                        Err(error) => self.failed(error, false),
                    };
                }
                State::Up(source) => match source.stream.next().await {
                    StreamEvent::Batch(batch) => {
                        self.back_off.reset();
                        return LinkEvent::Batch(batch);
                    }
                    StreamEvent::Lost(error) => {
                        let has_all = source.stream.is_backfilled();
                        return self.failed(error, has_all);
                    }
                },
            }
        }
    }

    /// Confirms to the slot what the gate allows for what has `reached` Kafka; returns what must be noted before more
    /// may be confirmed. Without a stream, the limit is kept for the next stream or the end.
    pub(super) fn confirm(&mut self, reached: Reached) -> Option<Wanted> {
        let step = self.gate.poll(reached);
        if let (Some(lsn), State::Up(source)) = (step.confirm, &mut self.state) {
            match self.is_waited_for {
                true => source.stream.confirm_now(lsn),
                false => source.stream.confirm(lsn),
            }
        }
        step.note
    }

    /// Sets whether commits in the cluster wait for confirmation: then it is sent without delay.
    pub(super) fn set_waited_for(&mut self, waits: bool) {
        self.is_waited_for = waits;
    }

    /// Ends the stream and reconnects after a while. The core has read up to `received`; what is on its way to it is
    /// dropped.
    pub(super) fn give_way(&mut self, received: Lsn) -> LinkEvent {
        let has_all = self.gate.backfill_end().is_some_and(|end| received >= end);
        self.failed(postgres::Error::Closed { source: None }.into(), has_all)
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// Ends the stream cleanly, so that the slot is at the last confirmed LSN. Without a stream, or if the server
    /// does not answer on it, another connection advances the slot to what is in Kafka. The lease is released last. A
    /// replay's copy of the slot ends with its stream.
    pub(super) async fn stop(self, reached: Reached) -> Result<(), SourceError> {
        if self.feed.is_some() {
            return Ok(());
        }
        let lease = Arc::clone(&self.lease);
        let outcome = self.end(reached).await;
        lease.release();
        outcome
    }

    async fn end(self, reached: Reached) -> Result<(), SourceError> {
        if let State::Up(source) = self.state {
            match source.stream.stop().await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(error = %chain(&error), "replication stream was not closed cleanly"),
            }
        }
        match (self.gate.last(reached), &self.last) {
            (Some(lsn), Some(last)) => source::confirm_without_stream(&self.options, &self.lease, lsn, last).await,
            // Nothing was confirmed yet, or nothing may be.
            _ => Ok(()),
        }
    }

    fn connected(&mut self, source: Source) -> LinkEvent {
        self.give_up = None;
        self.publication.note_streaming();
        let encoding = source.server.text_encoding();
        let (origin, wal_end, noted) = (source.origin.clone(), source.wal_end, source.noted);
        let tables = source.tables.clone();
        let recovered = source.recovery.as_ref().map(|recovery| recovery.after);
        let secrets = source.secrets.clone();
        self.last = Some(origin.clone());
        let first = self.gate.handle_up(source.start, source.backfill_end);
        // Nothing counts as confirmed until the backfill is published.
        let slot_lsn = source.start;
        let start = if source.backfill_end.is_some() { Lsn(0) } else { slot_lsn };
        self.state = State::Up(Box::new(source));
        LinkEvent::Up(Beginning {
            start,
            slot_lsn,
            wal_end,
            noted,
            encoding,
            origin,
            first,
            recovered,
            secrets,
            tables,
        })
    }

    /// There is no connection any more, and nothing may be confirmed: this slot may not be the one that was streamed
    /// from.
    fn dead(&mut self, error: SourceError) -> LinkEvent {
        self.gate.handle_dead();
        LinkEvent::Dead(error)
    }

    /// `has_all` if the core has received the whole backfill, if there was one.
    fn failed(&mut self, error: SourceError, has_all: bool) -> LinkEvent {
        let held = matches!(error, SourceError::SlotHeld { .. });
        if held {
            // The database was reached: from now on a failure is an outage.
            self.give_up = None;
        }
        let out_of_patience = self.give_up.is_some_and(|until| Instant::now() >= until) && !held;
        let was_up = matches!(self.state, State::Up(_));
        if was_up {
            self.gate.handle_lost(has_all);
        }
        // An error reported by Postgres on a lost stream is worth another attempt: the cause shows when connecting. A
        // cause that prevents reading the backfill shows only while reading, and what the source has diagnosed is
        // final.
        let was_streaming = was_up && self.gate.resume().is_some();
        let may_pass = error.is_transient() || (was_streaming && matches!(error, SourceError::Postgres(_)));
        if let Some(gap) = self.publication_gap(&error, was_up) {
            return self.dead(gap);
        }
        let stuck = self.repeats.note(&error);
        // The tables return their rows in a different order next time.
        let is_unrepeatable = was_up && self.feed == Some(Feed::Tables);
        if out_of_patience || !may_pass || is_unrepeatable || (stuck.is_some() && self.feed.is_some()) {
            let error = self.publication.explain(error);
            return self.dead(error);
        }
        if let Some(wait) = stuck {
            self.state = State::Waiting(Instant::now() + wait);
            return LinkEvent::Stuck(error);
        }
        if held {
            self.back_off.reset();
        }
        let wait = if held { STANDBY_INTERVAL } else { self.back_off.wait() };
        self.state = State::Waiting(Instant::now() + wait);
        LinkEvent::Lost(error)
    }
}

impl Link {
    /// The publication exists when connecting but is missing when streaming, at the same place as before: Postgres
    /// decodes each row with the catalog of its own time, when there was no publication. No attempt ever gets past
    /// that.
    fn publication_gap(&mut self, error: &SourceError, was_up: bool) -> Option<SourceError> {
        // The error for a publication that is not found, and its warning from Postgres 18 on.
        let codes = [sqlstate::UNDEFINED_OBJECT, sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE];
        let is_undefined = |error: &postgres::Error| error.sqlstate().is_some_and(|code| codes.contains(&code));
        if !(was_up && error.postgres().is_some_and(is_undefined)) {
            return None;
        }
        let after = self.gate.resume().map(Resume::lsn).unwrap_or_default();
        (self.undecodable_after.replace(after) == Some(after)).then(|| SourceError::PublicationGap {
            publication: self.options.publication.clone(),
            slot: self.options.slot.clone(),
            after,
        })
    }
}
