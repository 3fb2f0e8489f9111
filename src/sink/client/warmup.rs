//! Introduces a producer to the partitions it writes to, one record at a time.
//!
//! A broker that does not know a producer accepts any first sequence number. So if the first batch of a partition
//! fails, for whatever transient reason, and a second is already in flight, the second is accepted. librdkafka
//! concludes that the first is in Kafka too, and reports it as delivered (`rd_kafka_dr_implicit_ack` of 2.12). A record
//! with a key is therefore sent alone until its partition has acknowledged one: one round trip per partition and
//! producer. What follows it in its partition is held here meanwhile, so that the other partitions go on: with one
//! round trip after another, a thousand partitions would take seconds. Records without a key have no order and don't
//! wait; where they go is known only afterwards. So unless a partition certainly knows the producer
//! ([`super::partition_load`]), only acknowledgements by Kafka itself count ([`super::producer_client`]); a record
//! without one is returned, and sent again.

use std::collections::{HashMap, VecDeque};

use super::partition_load::Route;
use super::routes::{Destination, PartitionIndex};
use crate::relay::boundary::{OwnedRecord, Ticket};

/// Which partitions know this producer, and the records that wait until theirs does.
#[derive(Debug, Default)]
pub(crate) struct Warmup {
    /// By [`PartitionIndex`].
    partitions: Vec<State>,
    /// The first records of partitions that are in flight.
    probes: HashMap<Ticket, Destination>,
    /// The records of each partition that is [`State::Probing`], if it has any.
    held: HashMap<PartitionIndex, VecDeque<(Ticket, OwnedRecord)>>,
    held_records: usize,
    /// Partitions with held records that know the producer.
    released: VecDeque<Destination>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Cold,
    /// Its first record is in flight, or records are held that must be sent before any other.
    Probing,
    Warm,
}

/// What may be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Send it.
    Free(Route),
    /// Send it and report it to [`Warmup::sent`]: it is the first of its partition.
    First(Destination),
    /// Pass it to [`Warmup::hold`].
    Held(Destination),
}

impl Warmup {
    /// What may be done with a record.
    pub(crate) fn admit(&mut self, to: Destination) -> Admission {
        // A record without a key goes to any partition and has no order to keep.
        if to.partition.is_none() {
            return Admission::Free(Route { index: to.index, warm: None });
        }
        match self.state(to.index) {
            State::Warm => Admission::Free(warm(to)),
            State::Cold => Admission::First(to),
            State::Probing => Admission::Held(to),
        }
    }

    /// The first record of a partition was sent.
    pub(crate) fn sent(&mut self, ticket: Ticket, to: Destination) {
        *self.state(to.index) = State::Probing;
        self.probes.insert(ticket, to);
    }

    /// Keeps a record until its partition knows the producer.
    pub(crate) fn hold(&mut self, ticket: Ticket, record: OwnedRecord, to: Destination) {
        assert!(*self.state(to.index) == State::Probing, "a record is held only behind the first of its partition");
        self.held.entry(to.index).or_default().push_back((ticket, record));
        self.held_records += 1;
    }

    /// These records were acknowledged.
    pub(crate) fn acked(&mut self, tickets: &[Ticket]) {
        if self.probes.is_empty() {
            return;
        }
        for ticket in tickets {
            let Some(to) = self.probes.remove(ticket) else { continue };
            match self.held.contains_key(&to.index) {
                true => self.released.push_back(to),
                false => *self.state(to.index) = State::Warm,
            }
        }
    }

    /// The next held record that may be sent now. It stays here until it [was](Self::pop_released).
    pub(crate) fn next_released(&self) -> Option<(Ticket, &OwnedRecord, Route)> {
        let to = self.released.front()?;
        let (ticket, record) = self.held.get(&to.index)?.front()?;
        Some((*ticket, record, warm(*to)))
    }

    /// That record was sent.
    pub(crate) fn pop_released(&mut self) {
        let Some(to) = self.released.front().copied() else { return };
        let held = self.held.get_mut(&to.index).expect("a released partition has held records");
        held.pop_front();
        self.held_records -= 1;
        if held.is_empty() {
            self.held.remove(&to.index);
            self.released.pop_front();
            *self.state(to.index) = State::Warm;
        }
    }

    /// Whether a partition's first record is in flight.
    pub(crate) fn is_probing(&self) -> bool {
        !self.probes.is_empty()
    }

    /// How many records are held.
    pub(crate) fn held_records(&self) -> usize {
        self.held_records
    }

    /// Gives up: returns the held records.
    pub(crate) fn end(self) -> impl Iterator<Item = (Ticket, OwnedRecord)> {
        self.held.into_values().flatten()
    }

    fn state(&mut self, index: PartitionIndex) -> &mut State {
        let place = index.0 as usize;
        if place >= self.partitions.len() {
            self.partitions.resize(place + 1, State::Cold);
        }
        &mut self.partitions[place]
    }
}

/// The way to a partition that has acknowledged a record.
fn warm(to: Destination) -> Route {
    Route { index: to.index, warm: to.partition.and_then(|partition| i32::try_from(partition).ok()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Destination = Destination { index: PartitionIndex(1), partition: Some(0) };
    const OTHER: Destination = Destination { index: PartitionIndex(2), partition: Some(1) };

    fn record(value: u8) -> OwnedRecord {
        let (topic, headers) = ("t".to_owned(), Vec::new());
        OwnedRecord { topic, key: Some(b"k".to_vec()), value: Some(vec![value]), headers, timestamp_millis: 0 }
    }

    /// Sends what may be sent, at most `most` records. Returns their tickets.
    fn send(warmup: &mut Warmup, most: usize) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Some((ticket, record, route)) = warmup.next_released().filter(|_| sent.len() < most) {
            let number = u8::try_from(ticket.0).expect("a small ticket");
            assert_eq!((record.value.as_deref(), route.warm), (Some(&[number][..]), Some(0)));
            sent.push(ticket.0);
            warmup.pop_released();
        }
        sent
    }

    #[test]
    fn the_first_record_of_a_partition_goes_alone_and_opens_it() {
        let mut warmup = Warmup::default();
        assert_eq!(warmup.admit(ONE), Admission::First(ONE));
        assert_eq!(warmup.admit(ONE), Admission::First(ONE), "the first one was not accepted");
        warmup.sent(Ticket(1), ONE);
        assert_eq!(warmup.admit(ONE), Admission::Held(ONE));
        assert_eq!(warmup.admit(OTHER), Admission::First(OTHER), "the other partition is another matter");
        warmup.sent(Ticket(2), OTHER);
        warmup.acked(&[Ticket(7), Ticket(1)]);
        assert_eq!(warmup.admit(ONE), Admission::Free(Route { index: ONE.index, warm: Some(0) }));
        assert_eq!(warmup.admit(OTHER), Admission::Held(OTHER));
        assert!(warmup.is_probing());
        warmup.acked(&[Ticket(2)]);
        assert_eq!(warmup.admit(OTHER), Admission::Free(Route { index: OTHER.index, warm: Some(1) }));
        assert!(!warmup.is_probing());
    }

    #[test]
    fn nothing_overtakes_held_records() {
        let mut warmup = Warmup::default();
        warmup.sent(Ticket(0), ONE);
        [1, 2, 3].into_iter().for_each(|value| warmup.hold(Ticket(value.into()), record(value), ONE));
        assert_eq!((send(&mut warmup, 9), warmup.held_records()), (vec![], 3));
        warmup.acked(&[Ticket(0)]);
        assert_eq!(send(&mut warmup, 2), [1, 2]);
        assert_eq!(warmup.admit(ONE), Admission::Held(ONE), "one is still here");
        warmup.hold(Ticket(4), record(4), ONE);
        assert_eq!((send(&mut warmup, 9), warmup.held_records()), (vec![3, 4], 0));
        assert!(matches!(warmup.admit(ONE), Admission::Free(_)));
    }

    #[test]
    fn held_records_are_returned_at_the_end() {
        let mut warmup = Warmup::default();
        warmup.sent(Ticket(0), ONE);
        warmup.sent(Ticket(1), OTHER);
        warmup.hold(Ticket(2), record(2), OTHER);
        warmup.hold(Ticket(3), record(3), ONE);
        let mut tickets: Vec<_> = warmup.end().map(|(ticket, _)| ticket.0).collect();
        tickets.sort_unstable();
        assert_eq!(tickets, [2, 3]);
    }

    #[test]
    fn a_record_without_key_never_waits() {
        let mut warmup = Warmup::default();
        let without_key = Destination { index: PartitionIndex(0), partition: None };
        warmup.sent(Ticket(0), ONE);
        assert_eq!(warmup.admit(without_key), Admission::Free(Route { index: without_key.index, warm: None }));
    }
}
