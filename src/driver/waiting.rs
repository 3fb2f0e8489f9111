//! What the relay is waiting for, and whether it has finished.

use super::event_loop::Driver;
use super::reporting::Standing;
use crate::relay::Idle;
use crate::sink::Sink;

impl<S: Sink + Send> Driver<S> {
    /// What the relay is waiting for other than records in flight, in words.
    pub(super) fn waits_for(&self, idle: Idle) -> Option<String> {
        if let Some(reason) = self.reporter.blocked_on() {
            return Some(reason.to_owned());
        }
        match idle {
            Idle::Answer => self.lookup.question(),
            Idle::Input if self.link.is_up() => Some("the rest of a transaction from Postgres".to_owned()),
            Idle::Input => Some("a replication connection, in the middle of a transaction".to_owned()),
            Idle::Drained if self.awaits_backfill_note() => {
                Some("outbox.relay to record that the initial backfill is published".to_owned())
            }
            Idle::Drained | Idle::Window | Idle::Sink | Idle::Returned | Idle::Turn => None,
        }
    }

    /// How far the slot is or may be confirmed, and whether anything is waiting to go further.
    pub(super) fn standing(&self, idle: Idle) -> Standing {
        let flush = self.reached().in_kafka().max(self.storing.start());
        let is_held_up = matches!(idle, Idle::Sink | Idle::Window | Idle::Returned);
        let is_opening = self.storing.is_opening();
        // Records in flight were committed before what is read now.
        let next =
            matches!(idle, Idle::Answer | Idle::Sink | Idle::Window).then(|| self.core.transaction_committed_at());
        let oldest = self.core.oldest().or_else(|| next.flatten());
        Standing { flush, waits: is_held_up || is_opening || flush < self.core.flush(), oldest }
    }

    /// Whether nothing is left to do before the end.
    pub(super) fn is_settled(&self) -> bool {
        let reached = self.reached();
        let is_stored = !self.storing.is_open() || !self.link.is_up() || reached.in_kafka() == reached.settled;
        self.core.owed().records == 0 && is_stored && !self.awaits_backfill_note()
    }

    /// Whether the whole backfill is in Kafka and that is still to be noted, which takes a stream: a relay that ended before
    /// would publish it again.
    pub(super) fn awaits_backfill_note(&self) -> bool {
        self.link.gate.unnoted_backfill().is_some_and(|end| self.core.flush() >= end)
    }
}
