//! How many partitions the records in flight go to.
//!
//! librdkafka sends one partition in a request. So this number tells whether there is always another partition to send
//! while some wait for their answers, and how large a window has to be for requests of more than a few records.

use std::time::{Duration, Instant};

use super::routes::PartitionIndex;

/// How long a broker certainly remembers a producer that sends nothing: a day, by default
/// (`producer.id.expiration.ms`).
const REMEMBERED: Duration = Duration::from_secs(600);

/// Where a record goes, and what is known there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) index: PartitionIndex,
    /// The partition, if it had acknowledged a record of this producer: see [`super::warmup`].
    pub(crate) warm: Option<i32>,
}

/// Counts records by partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionLoad {
    partitions: Vec<PartitionCount>,
    busy: usize,
    /// Which stretch of records [`Self::touched`] is about.
    stretch: u32,
    touched: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct PartitionCount {
    in_flight: u32,
    /// The last stretch in which a record was sent.
    stretch: u32,
    /// When Kafka last acknowledged a record.
    acknowledged: Option<Instant>,
}

impl PartitionLoad {
    /// A record was handed over.
    pub(crate) fn sent(&mut self, index: PartitionIndex) {
        let place = index.0 as usize;
        if place >= self.partitions.len() {
            let none = PartitionCount { stretch: self.stretch.wrapping_sub(1), ..PartitionCount::default() };
            self.partitions.resize(place + 1, none);
        }
        let count = &mut self.partitions[place];
        self.busy += usize::from(count.in_flight == 0);
        count.in_flight += 1;
        self.touched += usize::from(count.stretch != self.stretch);
        count.stretch = self.stretch;
    }

    /// A record was answered.
    pub(crate) fn answered(&mut self, index: PartitionIndex) {
        let count = &mut self.partitions[index.0 as usize];
        count.in_flight -= 1;
        self.busy -= usize::from(count.in_flight == 0);
    }

    /// Kafka acknowledged a record.
    pub(crate) fn acknowledged(&mut self, index: PartitionIndex, now: Instant) {
        self.partitions[index.0 as usize].acknowledged = Some(now);
    }

    /// Whether the broker of this partition, to which a record went, certainly knows the producer.
    pub(crate) fn is_known(&self, route: Route, partition: i32, now: Instant) -> bool {
        let acknowledged = self.partitions[route.index.0 as usize].acknowledged;
        let is_recent = acknowledged.is_some_and(|at| now.duration_since(at) < REMEMBERED);
        route.warm == Some(partition) && is_recent
    }

    /// Partitions with records in flight.
    pub(crate) fn busy(&self) -> usize {
        self.busy
    }

    /// Partitions that records were sent to since the last [`Self::begin`].
    pub(crate) fn touched(&self) -> usize {
        self.touched
    }

    /// Begins another stretch of records.
    pub(crate) fn begin(&mut self) {
        self.stretch = self.stretch.wrapping_add(1);
        self.touched = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_producer_is_known_where_a_record_was_acknowledged_lately() {
        let (mut load, now) = (PartitionLoad::default(), Instant::now());
        let route = Route { index: PartitionIndex(1), warm: Some(0) };
        load.sent(route.index);
        assert!(!load.is_known(route, 0, now));
        load.acknowledged(route.index, now);
        assert!(load.is_known(route, 0, now + REMEMBERED / 2));
        assert!(!load.is_known(route, 3, now), "the topic has more partitions now");
        assert!(!load.is_known(Route { warm: None, ..route }, 0, now), "it was the first, or has no key");
        assert!(!load.is_known(route, 0, now + REMEMBERED));
    }

    #[test]
    fn a_partition_is_busy_while_a_record_of_it_is_in_flight() {
        let mut load = PartitionLoad::default();
        [3, 0, 3].map(PartitionIndex).into_iter().for_each(|index| load.sent(index));
        assert_eq!((load.busy(), load.touched()), (2, 2));
        load.answered(PartitionIndex(3));
        assert_eq!(load.busy(), 2);
        load.answered(PartitionIndex(3));
        assert_eq!((load.busy(), load.touched()), (1, 2));
        load.begin();
        assert_eq!((load.busy(), load.touched()), (1, 0));
        load.sent(PartitionIndex(0));
        assert_eq!((load.busy(), load.touched()), (1, 1));
    }
}
