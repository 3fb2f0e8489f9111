//! How much may be in flight: more, the more partitions the records go to.
//!
//! Kafka's client sends the records of one partition in a request, and a broker answers a few thousand requests a
//! second. So what counts is records a request, and with that records a partition: a window that is ample for one
//! partition leaves a handful of records for each of 600.

use super::ledger::Owed;

/// What each partition in use adds to a window that grows. At about 1.2 kB of memory a record (a small event, its
/// headers and librdkafka's overhead), 600 partitions add about 20 MB.
const STEP: Owed = Owed { records: 30, bytes: 30 * 1024 };
/// What the partitions add at most, however many they are.
const STEPS_MOST: usize = 1_500;

/// The limit of what is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlightWindow {
    base: Owed,
    step: Owed,
}

impl InFlightWindow {
    /// A window that is as large however many partitions are in use.
    #[must_use]
    pub const fn fixed(records: usize, bytes: usize) -> Self {
        Self { base: Owed { records, bytes }, step: Owed { records: 0, bytes: 0 } }
    }

    /// A window of this size that grows with the number of partitions in use.
    #[must_use]
    pub const fn growing(records: usize, bytes: usize) -> Self {
        Self { base: Owed { records, bytes }, step: STEP }
    }

    /// A window that is so many times as large for one partition, and grows as much.
    #[must_use]
    pub const fn times(self, factor: usize) -> Self {
        Self { base: times(self.base, factor), step: self.step }
    }

    /// The limit while records go to so many partitions.
    #[must_use]
    pub fn limit(&self, partitions: usize) -> Owed {
        // One partition is in every window.
        let more = times(self.step, partitions.saturating_sub(1).min(STEPS_MOST));
        let Owed { records, bytes } = self.base;
        Owed { records: records.saturating_add(more.records), bytes: bytes.saturating_add(more.bytes) }
    }

    /// The largest limit.
    #[must_use]
    pub fn most(&self) -> Owed {
        self.limit(usize::MAX)
    }
}

const fn times(owed: Owed, factor: usize) -> Owed {
    Owed { records: owed.records.saturating_mul(factor), bytes: owed.bytes.saturating_mul(factor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grows_with_the_partitions_up_to_a_limit() {
        let window = InFlightWindow::growing(10_000, 16 << 20);
        assert_eq!(window.limit(0), Owed { records: 10_000, bytes: 16 << 20 });
        assert_eq!(window.limit(1), window.limit(0));
        assert_eq!(window.limit(600), Owed { records: 27_970, bytes: (16 << 20) + 599 * 30 * 1024 });
        assert_eq!(window.limit(1_000_000), window.most());
        assert_eq!(window.most().records, 55_000);
        assert_eq!(window.times(2).limit(2).records, 20_030);
    }

    #[test]
    fn a_fixed_window_never_grows() {
        let window = InFlightWindow::fixed(7, 70);
        assert_eq!((window.limit(600), window.most()), (Owed { records: 7, bytes: 70 }, window.limit(1)));
    }
}
