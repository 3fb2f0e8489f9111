//! How many partitions the records in flight go to.
//!
//! librdkafka sends one partition in a request. So this number tells whether there is always another partition to send
//! while some wait for their answers, and how large a window has to be for requests of more than a few records.

/// A partition of a topic, or all records without a key of a topic, by a number of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartitionIndex(pub(crate) u32);

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
}

impl PartitionLoad {
    /// A record was handed over.
    pub(crate) fn sent(&mut self, index: PartitionIndex) {
        let place = index.0 as usize;
        if place >= self.partitions.len() {
            let none = PartitionCount { in_flight: 0, stretch: self.stretch.wrapping_sub(1) };
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
