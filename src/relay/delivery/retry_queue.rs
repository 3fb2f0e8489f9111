//! Records returned by Kafka, and dead letters on their way.
//!
//! While there are returned records, no new one is sent: first every record in flight must be answered, then the
//! returned ones are sent again in their original order. So an outage never reorders a key. Dead letters have no
//! order to keep and are sent as soon as possible.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use crate::relay::back_off::BackOff;
use crate::relay::boundary::{OwnedRecord, Ticket};
use crate::relay::limits::RETRY_BACK_OFF;

/// Records that are owed to Kafka and not in flight.
#[derive(Debug)]
pub struct RetryQueue {
    returned: BTreeMap<Ticket, OwnedRecord>,
    dead_letters: VecDeque<(Ticket, OwnedRecord)>,
    /// Dead letters sent from here and not answered yet. They keep no order, so nothing waits for them: a sink that
    /// writes transactions answers them only once the records returned together with them have been sent too.
    dead_letters_out: BTreeSet<Ticket>,
    /// Nothing is sent before this time.
    not_before: Option<Instant>,
    back_off: BackOff,
    /// Records are being sent again, and none has been returned since.
    resending: bool,
}

impl Default for RetryQueue {
    fn default() -> Self {
        Self {
            returned: BTreeMap::new(),
            dead_letters: VecDeque::new(),
            dead_letters_out: BTreeSet::new(),
            not_before: None,
            back_off: RETRY_BACK_OFF,
            resending: false,
        }
    }
}

impl RetryQueue {
    /// Whether no record is owed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.dead_letters.is_empty()
    }

    /// How many records are owed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.returned.len() + self.dead_letters.len()
    }

    /// A record was returned and must be sent again.
    pub fn give_back(&mut self, ticket: Ticket, record: OwnedRecord, now: Instant) {
        self.dead_letters_out.remove(&ticket);
        self.returned.insert(ticket, record);
        self.resending = false;
        if self.not_before.is_none_or(|at| at <= now) {
            self.not_before = Some(now + self.back_off.wait());
        }
    }

    /// A record was refused and is now a dead letter.
    pub fn push_dead_letter(&mut self, ticket: Ticket, dead_letter: OwnedRecord) {
        self.dead_letters_out.remove(&ticket);
        self.dead_letters.push_back((ticket, dead_letter));
    }

    /// Kafka acknowledged something: the outage is over.
    pub fn calm(&mut self, acknowledged: Ticket) {
        self.dead_letters_out.remove(&acknowledged);
        self.back_off.reset();
    }

    /// When records may be sent, if that is in the future.
    #[must_use]
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|at| *at > now && !self.returned.is_empty())
    }

    /// The next record to send, given how many records are in flight.
    pub fn next(&mut self, at_kafka: usize, now: Instant) -> Option<(Ticket, &OwnedRecord)> {
        if let Some((ticket, dead_letter)) = self.dead_letters.front() {
            return Some((*ticket, dead_letter));
        }
        if self.wake_at(now).is_some() {
            return None;
        }
        // Records in flight while resending were sent from here, in order.
        self.resending |= at_kafka == self.dead_letters_out.len();
        let (ticket, record) = self.returned.first_key_value()?;
        self.resending.then_some((*ticket, record))
    }

    /// The record returned by [`Self::next`] was sent, or became something else.
    pub fn take(&mut self, ticket: Ticket) -> Option<OwnedRecord> {
        if self.dead_letters.front().is_some_and(|(front, _)| *front == ticket) {
            self.dead_letters_out.insert(ticket);
            return self.dead_letters.pop_front().map(|(_, dead_letter)| dead_letter);
        }
        let record = self.returned.remove(&ticket);
        self.resending &= !self.returned.is_empty();
        record
    }

    /// The topics of all returned records.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.returned.values().map(|record| record.topic.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::limits::{RETRY_FIRST, RETRY_LONGEST};

    fn record(topic: &str) -> OwnedRecord {
        OwnedRecord { topic: topic.to_owned(), key: None, value: None, headers: Vec::new(), timestamp_millis: 0 }
    }

    #[test]
    fn returned_records_are_resent_in_order_when_nothing_is_in_flight() {
        let start = Instant::now();
        let mut retries = RetryQueue::default();
        retries.give_back(Ticket(2), record("b"), start);
        retries.give_back(Ticket(1), record("a"), start);
        assert!(retries.next(1, start).is_none(), "the wait is not over");
        let later = start + RETRY_FIRST;
        assert!(retries.next(1, later).is_none(), "a record is still at Kafka");
        assert_eq!(retries.next(0, later).map(|(ticket, _)| ticket), Some(Ticket(1)));
        retries.take(Ticket(1));
        assert_eq!(retries.next(1, later).map(|(ticket, _)| ticket), Some(Ticket(2)));
        retries.take(Ticket(2));
        assert!(retries.is_empty());
    }

    #[test]
    fn a_record_returned_while_resending_stops_the_resending() {
        let start = Instant::now();
        let mut retries = RetryQueue::default();
        retries.give_back(Ticket(1), record("a"), start);
        retries.give_back(Ticket(2), record("a"), start);
        let later = start + RETRY_FIRST;
        assert!(retries.next(0, later).is_some());
        retries.take(Ticket(1));
        retries.give_back(Ticket(1), record("a"), later);
        let wake = retries.wake_at(later).expect("it waits again");
        assert!(wake - later > RETRY_FIRST, "the wait grows");
        assert!(retries.next(1, wake).is_none(), "and for what is at Kafka");
        assert_eq!(retries.next(0, wake).map(|(ticket, _)| ticket), Some(Ticket(1)));
    }

    #[test]
    fn a_dead_letter_does_not_wait() {
        let now = Instant::now();
        let mut retries = RetryQueue::default();
        retries.give_back(Ticket(1), record("a"), now);
        retries.push_dead_letter(Ticket(5), record("dead"));
        assert_eq!(retries.next(7, now).map(|(ticket, _)| ticket), Some(Ticket(5)));
        retries.take(Ticket(5));
        let later = now + RETRY_FIRST;
        assert!(retries.next(2, later).is_none(), "another record is still at Kafka");
        assert_eq!(
            retries.next(1, later).map(|(ticket, _)| ticket),
            Some(Ticket(1)),
            "the letter alone is not waited for"
        );
    }

    #[test]
    fn the_wait_grows_to_its_limit_and_resets() {
        let mut now = Instant::now();
        let mut retries = RetryQueue::default();
        for ticket in 0..20 {
            retries.give_back(Ticket(ticket), record("a"), now);
            now = retries.wake_at(now).expect("a wait");
        }
        retries.give_back(Ticket(20), record("a"), now);
        assert_eq!(retries.wake_at(now), Some(now + RETRY_LONGEST));
        retries.calm(Ticket(20));
        let now = now + RETRY_LONGEST;
        retries.give_back(Ticket(21), record("a"), now);
        assert_eq!(retries.wake_at(now), Some(now + RETRY_FIRST));
    }
}
