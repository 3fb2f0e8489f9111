//! Introduces a producer to the partitions it writes to, one record at a time.
//!
//! A broker that does not know a producer accepts any first sequence number. So if the first batch of a partition
//! fails, for whatever transient reason, and a second is already in flight, the second is accepted. librdkafka
//! concludes that the first is in Kafka too, and reports it as delivered (`rd_kafka_dr_implicit_ack` of 2.12). A record
//! with a key is therefore sent alone until its partition has acknowledged one: one round trip per partition and
//! producer. Records without a key have no order and don't wait; where they go is known only afterwards. So unless a
//! partition certainly knows the producer ([`super::partition_load`]), only acknowledgements by Kafka itself count
//! ([`super::producer_client`]); a record without one is returned, and sent again.

use std::collections::HashMap;

use super::partition::partition_of;
use super::partition_load::{PartitionIndex, Route};
use crate::relay::boundary::Ticket;

/// Which partitions know this producer.
#[derive(Debug, Default)]
pub(crate) struct Warmup {
    /// The index of each topic in `topics`.
    places: HashMap<String, usize>,
    topics: Vec<Topic>,
    /// How many partitions the topics have.
    partitions: u32,
    /// The index of the topic that was looked up last.
    last: usize,
    /// The first records of partitions that are in flight, each with its topic's index and its partition.
    probes: HashMap<Ticket, (usize, usize)>,
}

#[derive(Debug)]
struct Topic {
    name: String,
    partitions: Vec<Partition>,
    /// The index of its records without a key; those of its partitions follow.
    index: u32,
    /// Number of partitions that are not warm.
    cold: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Partition {
    Cold,
    Probing,
    Warm,
}

/// What may be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Send it.
    Free(Route),
    /// Send it and report it to [`Warmup::sent`]: it is the first of its partition.
    First { topic: usize, partition: usize, index: PartitionIndex },
    /// The first record of its partition is in flight.
    Wait,
}

impl Admission {
    /// Where the record goes.
    pub(crate) fn route(self) -> Route {
        match self {
            Self::Free(route) => route,
            Self::First { index, .. } => Route { index, warm: None },
            Self::Wait => Route::default(),
        }
    }
}

impl Warmup {
    /// What may be done with a record; `partitions` returns the topic's number of partitions if the topic is new here.
    ///
    /// A record without a key goes to any partition and has no order to keep.
    pub(crate) fn admit(&mut self, topic: &str, key: Option<&[u8]>, partitions: impl FnOnce() -> u32) -> Admission {
        if self.topics.get(self.last).is_none_or(|last| last.name != topic) {
            self.last = self.places.get(topic).copied().unwrap_or_else(|| self.add(topic, partitions()));
        }
        let place = self.last;
        let topic = &self.topics[place];
        let without_key = Route { index: PartitionIndex(topic.index), warm: None };
        let Some(key) = key else { return Admission::Free(without_key) };
        let count = u32::try_from(topic.partitions.len()).expect("the number of partitions came as a u32");
        let number = partition_of(key, count);
        let (index, partition) = (PartitionIndex(topic.index + 1 + number), number as usize);
        match topic.partitions[partition] {
            Partition::Warm => Admission::Free(Route { index, warm: i32::try_from(number).ok() }),
            Partition::Cold => Admission::First { topic: place, partition, index },
            Partition::Probing => Admission::Wait,
        }
    }

    /// A record was sent under this admission.
    pub(crate) fn sent(&mut self, ticket: Ticket, admission: Admission) {
        if let Admission::First { topic, partition, .. } = admission {
            self.topics[topic].partitions[partition] = Partition::Probing;
            self.probes.insert(ticket, (topic, partition));
        }
    }

    /// These records were acknowledged.
    pub(crate) fn acked(&mut self, tickets: &[Ticket]) {
        if self.probes.is_empty() {
            return;
        }
        for ticket in tickets {
            if let Some((topic, partition)) = self.probes.remove(ticket) {
                self.topics[topic].partitions[partition] = Partition::Warm;
                self.topics[topic].cold -= 1;
            }
        }
    }

    fn add(&mut self, topic: &str, partitions: u32) -> usize {
        let (index, count) = (self.partitions, partitions.max(1));
        self.partitions += count + 1;
        let partitions = vec![Partition::Cold; count as usize];
        self.topics.push(Topic { name: topic.to_owned(), cold: partitions.len(), partitions, index });
        self.places.insert(topic.to_owned(), self.topics.len() - 1);
        self.topics.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_of_a_partition_goes_alone_and_opens_it() {
        let mut warmup = Warmup::default();
        let admit = |warmup: &mut Warmup, key: &str| warmup.admit("t", Some(key.as_bytes()), || 2);
        let first = admit(&mut warmup, "foobar");
        assert!(matches!(first, Admission::First { .. }));
        warmup.sent(Ticket(1), first);
        assert_eq!(admit(&mut warmup, "foobar"), Admission::Wait);
        let other =
            (0..100).map(|n| n.to_string()).find(|key| partition_of(key.as_bytes(), 2) != partition_of(b"foobar", 2));
        let other = other.expect("a hash that spreads");
        let second = admit(&mut warmup, &other);
        assert!(matches!(second, Admission::First { .. }), "the other partition is another matter");
        warmup.sent(Ticket(2), second);
        warmup.acked(&[Ticket(7), Ticket(1)]);
        assert!(matches!(admit(&mut warmup, "foobar"), Admission::Free(_)));
        assert_eq!(admit(&mut warmup, &other), Admission::Wait);
        warmup.acked(&[Ticket(2)]);
        assert!(matches!(admit(&mut warmup, &other), Admission::Free(_)));
        assert_ne!(admit(&mut warmup, &other).route(), admit(&mut warmup, "foobar").route());
    }

    #[test]
    fn a_record_without_key_never_waits() {
        let mut warmup = Warmup::default();
        let first = warmup.admit("t", Some(b"k"), || 1);
        warmup.sent(Ticket(0), first);
        assert!(matches!(warmup.admit("t", None, || 1), Admission::Free(_)));
        assert_eq!(warmup.admit("t", Some(b"other"), || 1), Admission::Wait);
    }
}
