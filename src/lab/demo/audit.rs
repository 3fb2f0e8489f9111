//! The check: compares committed and read events one by one.
//!
//! Pure bookkeeping, without clock and I/O. The order service reports commits and the consumer reports reads, in any order: a
//! record may be read before the service learns that its commit succeeded. Memory is a few numbers per stream, the events that are
//! committed but not read yet, and the ids of those that were rolled back.

use std::collections::{BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::latency::Latencies;

/// The topics that the demo writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    /// Orders placed and cancelled.
    Orders,
    /// Payments made.
    Payments,
}

/// One event, as both its writer and its reader know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) topic: Topic,
    /// Its customer; the record's key.
    pub(super) customer: u32,
    /// Its ordinal among the committed events of this topic and customer, from 1 without gaps.
    pub(super) sequence: u64,
    /// The id that `outbox.emit` returned.
    pub(super) id: Uuid,
}

/// A snapshot of the check. Counts are of events unless stated otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Transactions that committed.
    pub(super) transactions: u64,
    /// Transactions that rolled back, including failed ones.
    pub(super) transactions_rolled_back: u64,
    /// In committed transactions.
    pub(super) committed: u64,
    /// Rolled back, with their transaction or to a savepoint.
    pub(super) rolled_back: u64,
    /// Records that the consumer read, of any kind.
    pub(super) read: u64,
    /// Committed and not read: in flight while the demo runs, lost at its end.
    pub(super) missing: u64,
    /// Read again.
    pub(super) duplicated: u64,
    /// Read after a later event of the same topic and key.
    pub(super) out_of_order: u64,
    /// Read, although no transaction committed them.
    pub(super) invented: u64,
}

/// The bookkeeping.
#[derive(Debug, Default)]
pub(super) struct Audit {
    figures: Figures,
    /// Events of which only one side is known so far.
    open: HashMap<Uuid, Side>,
    /// Events that must never be read.
    undone: HashSet<Uuid>,
    /// Events whose transaction lost its connection during the commit: only the database knows whether it succeeded.
    uncertain: Vec<Vec<Event>>,
    streams: HashMap<(Topic, u32), Stream>,
    latencies: Latencies,
}

/// The known side of an open event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Committed,
    Read,
}

/// The events of one topic and key, by their sequence.
#[derive(Debug, Default)]
struct Stream {
    /// All up to this one have been read.
    through: u64,
    /// Read beyond that, after a gap.
    beyond: BTreeSet<u64>,
}

/// How a sequence number relates to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// Later than all previous ones.
    InOrder,
    /// New, but a later one was read before it.
    Late,
    /// Read before.
    Again,
}

impl Audit {
    /// A transaction with these events has committed.
    pub(super) fn committed(&mut self, events: &[Event]) {
        self.figures.transactions += 1;
        for event in events {
            self.figures.committed += 1;
            match self.open.remove(&event.id) {
                Some(Side::Read) => {}
                Some(Side::Committed) | None => {
                    self.open.insert(event.id, Side::Committed);
                }
            }
        }
    }

    /// A transaction with these events is about to roll back.
    pub(super) fn rolled_back(&mut self, events: &[Event]) {
        self.figures.transactions_rolled_back += 1;
        self.undo(events);
    }

    /// These events were rolled back to a savepoint of a transaction that continues.
    pub(super) fn undo(&mut self, events: &[Event]) {
        self.figures.rolled_back += count(events.len());
        self.undone.extend(events.iter().map(|event| event.id));
    }

    /// A transaction with these events lost its connection during the commit.
    pub(super) fn uncertain(&mut self, events: Vec<Event>) {
        self.uncertain.push(events);
    }

    /// The consumer has read a record this many milliseconds after its commit; `None` excludes it from the latencies.
    pub(super) fn read(&mut self, event: &Event, latency_millis: Option<u64>) {
        self.figures.read += 1;
        if self.undone.contains(&event.id) {
            self.figures.invented += 1;
            return;
        }
        let arrival = self.streams.entry((event.topic, event.customer)).or_default().arrive(event.sequence);
        match (self.open.get(&event.id), arrival) {
            (Some(Side::Committed), _) => {
                self.open.remove(&event.id);
            }
            (Some(Side::Read), _) | (None, Arrival::Again) => {
                self.figures.duplicated += 1;
                return;
            }
            (None, Arrival::InOrder | Arrival::Late) => {
                self.open.insert(event.id, Side::Read);
            }
        }
        self.figures.out_of_order += u64::from(arrival == Arrival::Late);
        if let Some(millis) = latency_millis {
            self.latencies.add(millis);
        }
    }

    /// The consumer has read a record that is not one of the demo's events.
    pub(super) fn read_stranger(&mut self) {
        self.figures.read += 1;
        self.figures.invented += 1;
    }

    /// Events that only the database can explain: of interrupted transactions, or read without a commit.
    pub(super) fn unexplained(&self) -> Vec<Uuid> {
        let read = self.open.iter().filter(|(_, side)| **side == Side::Read).map(|(id, _)| *id);
        read.chain(self.uncertain.iter().flatten().map(|event| event.id)).collect()
    }

    /// Resolves [`Self::unexplained`], given those that are in the database.
    pub(super) fn explain(&mut self, stored: &HashSet<Uuid>) {
        for events in std::mem::take(&mut self.uncertain) {
            if events.iter().any(|event| stored.contains(&event.id)) {
                self.committed(&events);
            } else {
                self.rolled_back(&events);
            }
        }
        let is_unknown = |id: &Uuid, side: Side| side == Side::Read && !stored.contains(id);
        self.figures.invented += count(self.open.iter().filter(|(id, side)| is_unknown(id, **side)).count());
        self.open.retain(|_, side| *side == Side::Committed);
    }

    /// The current state of the check.
    pub(super) fn figures(&self) -> Figures {
        let missing = self.open.values().filter(|side| **side == Side::Committed).count();
        Figures { missing: count(missing), ..self.figures.clone() }
    }

    /// The latencies of all first reads.
    pub(super) fn latencies(&self) -> &Latencies {
        &self.latencies
    }
}

impl Stream {
    fn arrive(&mut self, sequence: u64) -> Arrival {
        if sequence <= self.through || self.beyond.contains(&sequence) {
            return Arrival::Again;
        }
        let latest = self.beyond.last().copied().unwrap_or(self.through);
        self.beyond.insert(sequence);
        while self.beyond.remove(&(self.through + 1)) {
            self.through += 1;
        }
        if sequence < latest { Arrival::Late } else { Arrival::InOrder }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: u64) -> Event {
        of_topic(Topic::Orders, sequence)
    }

    fn of_topic(topic: Topic, sequence: u64) -> Event {
        let id = Uuid::from_u64_pair(topic as u64, sequence);
        Event { topic, customer: 7, sequence, id }
    }

    fn committed(sequences: std::ops::RangeInclusive<u64>) -> Audit {
        let mut audit = Audit::default();
        sequences.for_each(|sequence| audit.committed(&[event(sequence)]));
        audit
    }

    fn read(audit: &mut Audit, sequences: impl IntoIterator<Item = u64>) {
        sequences.into_iter().for_each(|sequence| audit.read(&event(sequence), Some(5)));
    }

    #[test]
    fn events_in_order_are_no_finding() {
        let mut audit = committed(1..=4);
        read(&mut audit, 1..=4);
        audit.explain(&HashSet::new());
        let expected = Figures { transactions: 4, committed: 4, read: 4, ..Figures::default() };
        assert_eq!(audit.figures(), expected);
        assert_eq!(audit.latencies().quantile(0.5), Some(5));
    }

    #[test]
    fn a_committed_event_that_was_not_read_is_missing() {
        let mut audit = committed(1..=4);
        read(&mut audit, [1, 2, 4]);
        let figures = audit.figures();
        assert_eq!((figures.missing, figures.out_of_order, figures.duplicated), (1, 0, 0));
    }

    #[test]
    fn a_late_event_is_out_of_order_once_and_no_longer_lost() {
        let mut audit = committed(1..=5);
        read(&mut audit, [1, 4, 2, 3, 5]);
        let figures = audit.figures();
        assert_eq!((figures.missing, figures.out_of_order, figures.duplicated), (0, 2, 0));
    }

    #[test]
    fn a_record_that_is_read_again_is_a_duplicate_wherever_it_arrives() {
        let mut audit = committed(1..=3);
        read(&mut audit, [1, 1, 3, 3, 2, 1]);
        let figures = audit.figures();
        assert_eq!((figures.missing, figures.out_of_order, figures.duplicated, figures.read), (0, 1, 3, 6));
    }

    #[test]
    fn order_is_not_checked_between_topics_or_customers() {
        let mut audit = Audit::default();
        let mut other = event(1);
        (other.customer, other.id) = (8, Uuid::from_u64_pair(9, 9));
        audit.committed(&[event(1), event(2), of_topic(Topic::Payments, 1), other.clone()]);
        read(&mut audit, [1, 2]);
        audit.read(&other, None);
        audit.read(&of_topic(Topic::Payments, 1), None);
        let figures = audit.figures();
        assert_eq!((figures.missing, figures.out_of_order, figures.duplicated), (0, 0, 0));
    }

    #[test]
    fn a_record_may_be_read_before_its_commit_is_reported() {
        let mut audit = Audit::default();
        read(&mut audit, [1, 2, 1]);
        audit.committed(&[event(1), event(2)]);
        audit.explain(&HashSet::new());
        let figures = audit.figures();
        assert_eq!((figures.missing, figures.invented, figures.duplicated), (0, 0, 1));
    }

    #[test]
    fn a_rolled_back_event_that_is_read_is_invented() {
        let mut audit = Audit::default();
        let ghost = Event { id: Uuid::from_u64_pair(66, 1), ..event(1) };
        audit.rolled_back(std::slice::from_ref(&ghost));
        audit.read(&ghost, None);
        // The next transaction of this customer reuses the number.
        audit.committed(&[event(1)]);
        read(&mut audit, [1]);
        let figures = audit.figures();
        assert_eq!((figures.invented, figures.missing, figures.duplicated), (1, 0, 0));
        assert_eq!((figures.rolled_back, figures.transactions_rolled_back), (1, 1));
    }

    #[test]
    fn the_database_decides_about_an_interrupted_commit() {
        let mut audit = Audit::default();
        audit.uncertain(vec![event(1), event(2)]);
        audit.uncertain(vec![event(3)]);
        read(&mut audit, [1, 9]);
        let mut asked = audit.unexplained();
        asked.sort();
        let ids = [1, 1, 2, 3, 9].map(|sequence| event(sequence).id);
        assert_eq!(asked, ids);
        audit.explain(&HashSet::from([event(1).id, event(2).id]));
        let figures = audit.figures();
        assert_eq!((figures.committed, figures.rolled_back, figures.missing, figures.invented), (2, 1, 1, 1));
        assert_eq!(audit.unexplained(), Vec::<Uuid>::new());
    }
}
