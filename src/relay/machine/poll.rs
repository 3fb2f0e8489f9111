//! What the core asks for, and what it reports about itself.

use std::time::Instant;

use super::Core;
use crate::relay::boundary::{Checkpoint, ContractNumber, Lsn, Position, Refusal, Request, Ticket, Timestamp};
use crate::relay::delivery::ledger::Owed;
use crate::relay::publish::dropped::DroppedHeaders;
use crate::relay::publish::publisher::Publisher;
use crate::relay::replay::Replayed;
use crate::relay::report::{Counters, Notice};
use crate::relay::route::metadata_cache::ServiceLevel;

impl Core {
    /// A replay's progress.
    #[must_use]
    pub fn replayed(&self) -> Option<&Replayed> {
        self.replaying.as_ref().map(|replaying| &replaying.replayed)
    }

    /// The first position whose event, or one before it, may not be in Kafka.
    #[must_use]
    pub fn unfinished(&self) -> Position {
        let flushed = Position { commit: self.flush(), ordinal: 1 };
        match self.transaction {
            _ if self.owed().records > 0 => flushed,
            Some(open) => Position { commit: open.commit, ordinal: open.events + 1 },
            None => flushed.max(Position { commit: self.received, ordinal: 1 }),
        }
    }

    /// The open request; returned once.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.publisher.metadata.poll_request()
    }

    /// A notice for the log.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.publisher.notices.pop_front()
    }

    /// A table whose rows are ignored because the configuration does not name it; a notice for the log, at its first row.
    pub fn poll_ignored_table(&mut self) -> Option<String> {
        self.ignored.notices.pop_front()
    }

    /// Row headers that were dropped; a notice for the log, once per schema version.
    pub fn poll_dropped_headers(&mut self) -> Option<DroppedHeaders> {
        self.publisher.dropped.notices.pop_front()
    }

    /// When to call [`Self::poll`] even if nothing has arrived.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.publisher.wake_at(now)
    }

    /// Everything before this LSN is in Kafka and may be confirmed to the slot. Never moves backwards.
    #[must_use]
    pub fn flush(&self) -> Lsn {
        self.guard.map_or_else(|| self.publisher.ledger.flush(), |guard| guard.start())
    }

    /// How far everything would be in Kafka if this open ticket and all before it were acknowledged.
    #[must_use]
    pub fn checkpoint(&self, up_to: Ticket) -> Checkpoint {
        self.publisher.ledger.checkpoint(up_to)
    }

    /// How far everything is in Kafka; `None` while anything is owed or being skipped.
    #[must_use]
    pub fn settled(&self) -> Option<Checkpoint> {
        let Publisher { accepted: position, accepted_at: committed_at, .. } = self.publisher;
        let settled = Checkpoint { position, committed_at, flush: self.flush() };
        (self.owed().records == 0 && self.guard.is_none()).then_some(settled)
    }

    /// How far the stream has been read, counting complete transactions and keepalives.
    #[must_use]
    pub const fn received(&self) -> Lsn {
        self.received
    }

    /// What is in flight.
    #[must_use]
    pub fn owed(&self) -> Owed {
        self.publisher.ledger.owed()
    }

    /// When the transaction being read committed.
    #[must_use]
    pub fn transaction_committed_at(&self) -> Option<Timestamp> {
        self.transaction.map(|transaction| transaction.committed_at)
    }

    /// When the transaction of the oldest record in flight committed.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.publisher.ledger.oldest()
    }

    /// The records in flight from the oldest: their contracts and commit times. Dead letters are left out.
    pub fn in_flight(&self) -> impl Iterator<Item = (ContractNumber, Timestamp)> + '_ {
        self.publisher.ledger.in_flight()
    }

    /// The schema versions with statistics of their own, in the order of their [`ContractNumber`]s. Only grows.
    #[must_use]
    pub fn service_levels(&self) -> &[ServiceLevel] {
        self.publisher.metadata.service_levels()
    }

    /// The position of the last event taken.
    #[must_use]
    pub fn accepted(&self) -> Position {
        self.publisher.accepted
    }

    /// What has been done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.publisher.counters
    }

    /// The topic that blocks publishing, and why it is not writable.
    #[must_use]
    pub fn blocked_on(&self) -> Option<&(String, Refusal)> {
        self.publisher.blocked_on.as_ref()
    }
}
