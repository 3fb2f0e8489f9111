//! A replay: which events of a stream are published again, where that ends, and what happened on the way.

use std::borrow::Cow;
use std::time::Instant;

use super::boundary::{Lsn, Position, Record, Refusal, Ticket, Timestamp};
use super::decode::event::Event;
use super::halt::{Halt, Idle};
use super::publish::encode::Encoder;
use super::publish::publisher::{EventOrigin, Offer, Publisher};
use crate::relay::limits::CLOCK_MARGIN_MICROS;

/// What to publish again, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// The header `outbox-replay` of every record.
    pub id: String,
    /// The topic for everything, instead of each event's own.
    pub topic: Option<String>,
    /// Which events.
    pub selection: ReplaySelection,
    /// Which time of an event counts.
    pub clock: Clock,
}

/// Which events are published again. An event must match every criterion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplaySelection {
    /// The first position.
    pub from: Position,
    /// The LSN of the last commit record.
    pub to: Lsn,
    /// The earliest time.
    pub since: Option<Timestamp>,
    /// The latest time.
    pub until: Option<Timestamp>,
    /// Schema names; empty for all.
    pub schemas: Vec<String>,
    /// Keys; empty for all.
    pub keys: Vec<String>,
}

/// Which time of an event counts, for the selection and as the record's timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// Its commit time.
    #[default]
    Committed,
    /// Its creation time, if the row has one: rows of a table do not tell when they were committed.
    Created,
}

/// An event that was published again, as reported to people: never its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub position: Position,
    /// Its time.
    pub at: Timestamp,
    /// The name of its schema.
    pub schema: Option<String>,
    pub key: Option<Vec<u8>>,
}

/// How far a replay is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Everything to be read has been read.
    pub is_complete: bool,
    /// Events that were not selected.
    pub left_out: u64,
    /// The first published event.
    pub first: Option<Sighting>,
    pub last: Option<Sighting>,
}

/// A running replay.
#[derive(Debug)]
pub(super) struct Replaying {
    replay: Replay,
    pub(super) replayed: Replayed,
}

impl Replaying {
    pub(super) const fn new(replay: Replay) -> Self {
        let replayed = Replayed { is_complete: false, left_out: 0, first: None, last: None };
        Self { replay, replayed }
    }

    /// A transaction starts; returns whether it is past the end.
    pub(super) fn ends_before(&mut self, commit: Lsn, at: Timestamp) -> bool {
        let ReplaySelection { to, until, .. } = self.replay.selection;
        let is_later = self.replay.clock == Clock::Committed
            && until.is_some_and(|until| at.0 > until.0.saturating_add(CLOCK_MARGIN_MICROS));
        self.replayed.is_complete |= commit > to || is_later;
        self.replayed.is_complete
    }

    /// Every commit record before `end` has been read; returns whether that is all.
    pub(super) fn ends_at(&mut self, end: Lsn) -> bool {
        self.replayed.is_complete |= end > self.replay.selection.to;
        self.replayed.is_complete
    }

    /// Publishes an event if it is selected. `None` if it was published or left out; otherwise it must be passed
    /// again.
    pub(super) fn publish(
        &mut self,
        publisher: &mut Publisher,
        encoder: &Encoder,
        origin: EventOrigin<'_>,
        (mut event, refusal): (Event<'_>, Option<Refusal>),
        now: Instant,
        offer: &mut impl FnMut(Ticket, &Record<'_>) -> Offer,
    ) -> Result<Option<Idle>, Halt> {
        let at = match self.replay.clock {
            Clock::Committed => origin.committed_at,
            Clock::Created => event.created_at.unwrap_or(origin.committed_at),
        };
        if !self.replay.selection.takes(origin.position, at, &event) {
            self.replayed.left_out += 1;
            publisher.accepted = origin.position;
            return Ok(None);
        }
        if let Some(topic) = &self.replay.topic {
            event.topic = Some(Cow::Borrowed(topic));
        }
        let idle =
            publisher.publish(encoder, EventOrigin { committed_at: at, ..origin }, (&event, refusal), now, offer)?;
        if idle.is_none() {
            self.replayed.note(origin.position, at, &event);
        }
        Ok(idle)
    }
}

impl ReplaySelection {
    fn takes(&self, position: Position, at: Timestamp, event: &Event<'_>) -> bool {
        let schema = event.schema.as_ref().map(|(name, _)| name.as_ref());
        let key = event.key.as_deref();
        position >= self.from
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at <= until)
            && (self.schemas.is_empty() || self.schemas.iter().any(|wanted| schema == Some(wanted)))
            && (self.keys.is_empty() || self.keys.iter().any(|wanted| key == Some(wanted.as_bytes())))
    }
}

impl Replayed {
    /// An event was published.
    fn note(&mut self, position: Position, at: Timestamp, event: &Event<'_>) {
        let sighting = Sighting {
            position,
            at,
            schema: event.schema.as_ref().map(|(name, _)| name.to_string()),
            key: event.key.as_deref().map(<[u8]>::to_vec),
        };
        if self.first.is_none() {
            self.first = Some(sighting.clone());
        }
        self.last = Some(sighting);
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
