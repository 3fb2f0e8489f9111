//! The replication connection over its whole life: connecting, streaming, lost, connecting again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::publication::PublicationWatch;
use super::repeats::Repeats;
use crate::fault::chain;
use crate::postgres::{self, sqlstate};
use crate::relay::boundary::{Batch, Lsn};
use crate::relay::confirm::{Gate, Notes, Reached, Resume, StreamStart, Wanted};
use crate::relay::decode::text_encoding::Encoding;
use crate::relay::delivery::back_off::BackOff;
use crate::source::{self, Event, Feed, Lease, Origin, Secrets, Source, SourceError, SourceOptions};

/// How long the next attempt to connect waits.
const BACK_OFF: BackOff = BackOff::new(Duration::from_millis(100), Duration::from_secs(5));

/// How often a relay that stands by asks whether it is its turn. Once it is, it needs a connection and Kafka's word for the rest.
const STANDBY_INTERVAL: Duration = Duration::from_millis(250);

/// How long the first connection is tried for. Later ones are tried for ever; a relay that has never reached its
/// database is more likely to be configured wrongly than to meet an outage.
const FIRST_CONNECTION: Duration = Duration::from_secs(10);

/// What became of the connection.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// The stream has begun.
    Up(Beginning),
    /// Messages.
    Batch(Batch),
    /// The connection was lost, or could not be made; the next attempt follows.
    Lost(SourceError),
    /// As `Lost`, and at the same place as before: Postgres can't send what comes next.
    Stuck(SourceError),
    /// There will be no connection.
    Dead(SourceError),
}

/// How a stream begins.
#[derive(Debug)]
pub(super) struct Beginning {
    /// Everything before this LSN is confirmed; 0 during a backfill.
    pub(super) start: Lsn,
    /// Where the slot streams from.
    pub(super) slot_lsn: Lsn,
    /// Where the server's log ended then.
    pub(super) wal_end: Lsn,
    /// A position in Kafka that is noted in the database.
    pub(super) noted: Option<Lsn>,
    /// How it sends text.
    pub(super) encoding: Encoding,
    /// Whose stream it is.
    pub(super) origin: Origin,
    /// Which rows it brings first.
    pub(super) first: StreamStart,
    /// Those rows are brought again, because a slot was lost that stood here.
    pub(super) recovered: Option<Lsn>,
    /// What messages and positions are checked with.
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

/// One slot's connection, made anew as often as it takes.
pub(super) struct Link {
    options: SourceOptions,
    lease: Arc<Lease>,
    /// What a replay reads, in place of the slot.
    feed: Option<Feed>,
    state: State,
    /// What this process has of the slot, and how far it may be confirmed.
    pub(super) gate: Gate,
    back_off: BackOff,
    /// Whose the last stream was. The core passes over positions that it has seen, and another timeline may give the same
    /// positions to other rows.
    last: Option<Origin>,
    /// What was confirmed when Postgres last missed something that the stream needs.
    undecodable_after: Option<Lsn>,
    repeats: Repeats,
    /// Commits in the cluster wait until they are confirmed.
    is_waited_for: Arc<AtomicBool>,
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
            back_off: BACK_OFF,
            last: None,
            undecodable_after: None,
            repeats: Repeats::default(),
            is_waited_for: Arc::default(),
            give_up: Some(now + FIRST_CONNECTION),
            publication,
        }
    }

    /// Confirms at once while this is so.
    pub(super) fn in_a_hurry_when(mut self, is_waited_for: &Arc<AtomicBool>) -> Self {
        self.is_waited_for = Arc::clone(is_waited_for);
        self
    }

    /// A link to what a replay reads. Nothing that it confirms reaches the slot.
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
    /// Cancel-safe: an attempt that is under way goes on with the next call.
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
                    Event::Batch(batch) => {
                        self.back_off.reset();
                        return LinkEvent::Batch(batch);
                    }
                    Event::Lost(error) => {
                        let has_all = source.stream.is_backfilled();
                        return self.failed(error, has_all);
                    }
                },
            }
        }
    }

    /// Confirms to the slot what the gate lets pass, with so much in Kafka; what is to be noted before more may be confirmed. Where
    /// there is no stream, that is kept for the next one, or for the end.
    pub(super) fn confirm(&mut self, reached: Reached) -> Option<Wanted> {
        let step = self.gate.poll(reached);
        if let (Some(lsn), State::Up(source)) = (step.confirm, &mut self.state) {
            match self.is_waited_for.load(Ordering::Relaxed) {
                true => source.stream.confirm_now(lsn),
                false => source.stream.confirm(lsn),
            }
        }
        step.note
    }

    /// Ends the stream, and connects again after a while. The core has read up to `received`: what is on its way to it is dropped.
    pub(super) fn give_way(&mut self, received: Lsn) -> LinkEvent {
        let has_all = self.gate.backfill_end().is_some_and(|end| received >= end);
        self.failed(postgres::Error::Closed { source: None }.into(), has_all)
    }

    /// Whether there is a stream.
    pub(super) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// Ends the stream in order, so that the slot stands at the last LSN that was confirmed. Where there is no stream, or
    /// the server does not answer on it, the slot is moved by another connection, to what is in Kafka. The lease goes last. A replay's
    /// copy ends with its stream.
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

    /// No connection any more, and no confirmation: this slot may not be the one that was streamed from.
    fn dead(&mut self, error: SourceError) -> LinkEvent {
        self.gate.handle_dead();
        LinkEvent::Dead(error)
    }

    /// `has_all` if the core has taken every row from before the slot, where the stream brought them.
    fn failed(&mut self, error: SourceError, has_all: bool) -> LinkEvent {
        let held = matches!(error, SourceError::SlotHeld { .. });
        if held {
            // The database was reached: from here on an outage is an outage.
            self.give_up = None;
        }
        let out_of_patience = self.give_up.is_some_and(|until| Instant::now() >= until) && !held;
        let was_up = matches!(self.state, State::Up(_));
        if was_up {
            self.gate.handle_lost(has_all);
        }
        // Postgres' own word on a lost stream is worth another attempt: what stands in the way shows when connecting. What stands
        // in the way of reading the rows from before the slot shows only while reading them, and what the source has found out
        // is final.
        let was_streaming = was_up && self.gate.resume().is_some();
        let may_pass = error.is_transient() || (was_streaming && matches!(error, SourceError::Postgres(_)));
        if let Some(gap) = self.publication_gap(&error, was_up) {
            return self.dead(gap);
        }
        let stuck = self.repeats.note(&error);
        // The tables give their rows in another order the next time.
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
    /// The publication is there when connecting and missing when streaming, at the same place as before: Postgres decodes
    /// each row by the catalog of its own time, and then there was none. No attempt ever gets past that.
    fn publication_gap(&mut self, error: &SourceError, was_up: bool) -> Option<SourceError> {
        // The error of a publication that is not found; its warning, from Postgres 18 on.
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
