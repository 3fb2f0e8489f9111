//! What the core asks for, and what it says of itself.

use std::time::Instant;

use super::Core;
use crate::relay::boundary::{Checkpoint, ContractNumber, Lsn, Position, Refusal, Request, Ticket, Timestamp};
use crate::relay::delivery::ledger::Owed;
use crate::relay::publish::publisher::Publisher;
use crate::relay::replay::Replayed;
use crate::relay::route::catalogue::ServiceLevel;
use crate::relay::{Counters, DroppedHeaders, Notice};

impl Core {
    /// How far a replay is.
    #[must_use]
    pub fn replayed(&self) -> Option<&Replayed> {
        self.replaying.as_ref().map(|replaying| &replaying.replayed)
    }

    /// The first position of which it is not known that Kafka has its event and all before it.
    #[must_use]
    pub fn unfinished(&self) -> Position {
        let flushed = Position { commit: self.flush(), ordinal: 1 };
        match self.transaction {
            _ if self.owed().records > 0 => flushed,
            Some(open) => Position { commit: open.commit, ordinal: open.events + 1 },
            None => flushed.max(Position { commit: self.received, ordinal: 1 }),
        }
    }

    /// The open question, once.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.publisher.catalogue.poll_request()
    }

    /// Something for the log.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.publisher.notices.pop_front()
    }

    /// Headers of rows that were left out: something for the log, once for each schema version.
    pub fn poll_dropped_headers(&mut self) -> Option<DroppedHeaders> {
        self.publisher.dropped.notices.pop_front()
    }

    /// When [`Self::poll`] is to be called though nothing has come in.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.publisher.wake_at(now)
    }

    /// Everything before this LSN is in Kafka, and may be confirmed to the slot. Never moves backwards.
    #[must_use]
    pub fn flush(&self) -> Lsn {
        self.guard.map_or_else(|| self.publisher.ledger.flush(), |guard| guard.start())
    }

    /// How far everything would be in Kafka if this ticket, which is open, and all before it were acknowledged.
    #[must_use]
    pub fn checkpoint(&self, up_to: Ticket) -> Checkpoint {
        self.publisher.ledger.checkpoint(up_to)
    }

    /// How far everything is in Kafka; `None` while anything is owed, or passed over.
    #[must_use]
    pub fn settled(&self) -> Option<Checkpoint> {
        let Publisher { accepted: position, accepted_at: committed_at, .. } = self.publisher;
        let settled = Checkpoint { position, committed_at, flush: self.flush() };
        (self.owed().records == 0 && self.guard.is_none()).then_some(settled)
    }

    /// How far the stream has been read, by whole transactions and keepalives.
    #[must_use]
    pub const fn received(&self) -> Lsn {
        self.received
    }

    /// What is in flight.
    #[must_use]
    pub fn owed(&self) -> Owed {
        self.publisher.ledger.owed()
    }

    /// When the transaction of the oldest record in flight committed.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.publisher.ledger.oldest()
    }

    /// The records in flight from the oldest: their contracts, and when their transactions committed. Dead letters are left out.
    pub fn in_flight(&self) -> impl Iterator<Item = (ContractNumber, Timestamp)> + '_ {
        self.publisher.ledger.in_flight()
    }

    /// The schema versions that are accounted for by themselves, in the order of their [`ContractNumber`]s. It only grows.
    #[must_use]
    pub fn service_levels(&self) -> &[ServiceLevel] {
        self.publisher.catalogue.service_levels()
    }

    /// The position of the last event that was taken.
    #[must_use]
    pub fn accepted(&self) -> Position {
        self.publisher.accepted
    }

    /// What has been done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.publisher.counters
    }

    /// A topic without which nothing goes on, and why it can't be written to.
    #[must_use]
    pub fn blocked_on(&self) -> Option<&(String, Refusal)> {
        self.publisher.blocked_on.as_ref()
    }
}
