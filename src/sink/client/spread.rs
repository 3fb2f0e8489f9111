//! How many partitions the records in flight go to.
//!
//! librdkafka sends one partition in a request. So this number tells whether there is always another partition to send
//! while some wait for their answers, and how large a window has to be for requests of more than a few records.

/// A partition of a topic, or all records without a key of a topic, by a number of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lane(pub(crate) u32);

/// Counts records by partition.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    lanes: Vec<LaneCount>,
    busy: usize,
    /// Which stretch of records [`Self::touched`] is about.
    stretch: u32,
    touched: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct LaneCount {
    in_flight: u32,
    /// The last stretch in which a record was sent.
    stretch: u32,
}

impl Spread {
    /// A record was handed over.
    pub(crate) fn sent(&mut self, lane: Lane) {
        let place = lane.0 as usize;
        if place >= self.lanes.len() {
            let none = LaneCount { in_flight: 0, stretch: self.stretch.wrapping_sub(1) };
            self.lanes.resize(place + 1, none);
        }
        let count = &mut self.lanes[place];
        self.busy += usize::from(count.in_flight == 0);
        count.in_flight += 1;
        self.touched += usize::from(count.stretch != self.stretch);
        count.stretch = self.stretch;
    }

    /// A record was answered.
    pub(crate) fn answered(&mut self, lane: Lane) {
        let count = &mut self.lanes[lane.0 as usize];
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
        let mut spread = Spread::default();
        [3, 0, 3].map(Lane).into_iter().for_each(|lane| spread.sent(lane));
        assert_eq!((spread.busy(), spread.touched()), (2, 2));
        spread.answered(Lane(3));
        assert_eq!(spread.busy(), 2);
        spread.answered(Lane(3));
        assert_eq!((spread.busy(), spread.touched()), (1, 2));
        spread.begin();
        assert_eq!((spread.busy(), spread.touched()), (1, 0));
        spread.sent(Lane(0));
        assert_eq!((spread.busy(), spread.touched()), (1, 1));
    }
}
