//! Limits the size of transactions, so that they commit long before Kafka times them out.
//!
//! A transaction that times out is sent again completely. On a path that carries less than a whole transaction within
//! `transaction.timeout.ms`, a fixed size would never get through. So the size follows what the path carries: halved
//! after a transaction that took too long, whether it committed or not, and raised by a quarter after a full one that
//! was quick.

use crate::sink::limits::TIMEOUT_SHARE;
use std::time::Duration;

/// The size at which a transaction ends.
#[derive(Clone, Debug)]
pub struct TransactionSize {
    records: usize,
    bytes: usize,
    most_records: usize,
    most_bytes: usize,
    /// How long a transaction may take before the next ones are made smaller.
    budget: Duration,
}

impl TransactionSize {
    /// At most this many records and bytes, for this `transaction.timeout.ms`. Nothing is known of the path yet.
    #[must_use]
    pub fn new(most_records: usize, most_bytes: usize, timeout: Duration) -> Self {
        let (most_records, most_bytes) = (most_records.max(1), most_bytes.max(1));
        let budget = timeout / TIMEOUT_SHARE;
        Self { records: most_records, bytes: most_bytes, most_records, most_bytes, budget }
    }

    /// Whether a transaction of this size is full. An empty one always takes a record.
    #[must_use]
    pub const fn is_reached(&self, records: usize, bytes: usize) -> bool {
        records >= self.records || bytes >= self.bytes
    }

    /// A transaction was committed; `took` is the time from its beginning to the answer.
    pub fn committed(&mut self, records: usize, bytes: usize, took: Duration) {
        if took > self.budget {
            self.halve(records, bytes);
        } else if took < self.budget / 2 && self.is_reached(records, bytes) {
            let raise = |size: usize, most: usize| size.saturating_add(size / 4 + 1).min(most);
            (self.records, self.bytes) = (raise(self.records, self.most_records), raise(self.bytes, self.most_bytes));
        }
    }

    /// A transaction was aborted at this age. Returns whether it ran out of time.
    pub fn aborted(&mut self, records: usize, bytes: usize, age: Duration) -> bool {
        let is_late = age > self.budget;
        if is_late {
            self.halve(records, bytes);
        }
        is_late
    }

    /// The current maximum of records and bytes.
    #[must_use]
    pub const fn limit(&self) -> (usize, usize) {
        (self.records, self.bytes)
    }

    /// Of what the transaction held, or the limit, whichever is less.
    fn halve(&mut self, records: usize, bytes: usize) {
        self.records = (self.records.min(records) / 2).max(1);
        self.bytes = (self.bytes.min(bytes) / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// Sends `backlog` records of `size` bytes over a path that carries this many bytes a second. Returns how many
    /// transactions were aborted, and the size of the last one in records.
    fn send(backlog: usize, size: usize, bytes_per_second: usize) -> (u32, usize) {
        let mut limit = TransactionSize::new(15_000, 48 << 20, TIMEOUT);
        let (mut left, mut aborted, mut last) = (backlog, 0, 0);
        while left > 0 {
            let mut records = 0;
            while records < left && !limit.is_reached(records, records * size) {
                records += 1;
            }
            let took = Duration::from_secs_f64((records * size) as f64 / bytes_per_second as f64);
            // Records time out after half of the transaction's time.
            if took > TIMEOUT / 2 {
                assert!(limit.aborted(records, records * size, TIMEOUT / 2));
                aborted += 1;
            } else {
                limit.committed(records, records * size, took);
                (left, last) = (left - records, records);
            }
            assert!(aborted < 100, "no progress");
        }
        (aborted, last)
    }

    #[test]
    fn case_35_the_size_follows_what_the_path_carries() {
        let (aborted, last) = send(160_000, 1_500, 200_000);
        assert_eq!(aborted, 2, "15,000 records, then 7,500, take longer than 30 s");
        assert!((500..2_000).contains(&last), "about what takes a quarter of the time-out: {last}");
        assert_eq!(send(160_000, 240, 50_000_000), (0, 10_000), "a fast path takes whole windows");
    }

    #[test]
    fn a_recovered_path_gets_large_transactions_again() {
        let mut limit = TransactionSize::new(10_000, 1_000_000, TIMEOUT);
        for _ in 0..30 {
            let (records, bytes) = limit.limit();
            limit.aborted(records, bytes, TIMEOUT);
        }
        assert_eq!(limit.limit(), (1, 1), "there is always room for one record");
        assert!(!limit.is_reached(0, 0));
        for _ in 0..100 {
            let (records, bytes) = limit.limit();
            limit.committed(records, bytes, Duration::from_millis(5));
        }
        assert_eq!(limit.limit(), (10_000, 1_000_000));
    }

    #[test]
    fn aborts_unrelated_to_time_change_nothing() {
        let mut limit = TransactionSize::new(100, 1_000, TIMEOUT);
        assert!(!limit.aborted(50, 500, Duration::from_secs(1)), "a refused record");
        limit.committed(3, 30, Duration::from_millis(5));
        assert_eq!(limit.limit(), (100, 1_000));
        limit.committed(80, 800, TIMEOUT / 2);
        assert_eq!(limit.limit(), (40, 400), "it was committed, but late");
        limit.committed(3, 30, Duration::from_millis(5));
        assert_eq!(limit.limit(), (40, 400), "a small one says nothing about a large one");
    }

    proptest! {
        /// Whatever a path carries, if it carries a single record in time.
        #[test]
        fn case_35_every_backlog_gets_through(size in 1_usize..20_000, rate in 1_000_usize..10_000_000) {
            prop_assume!(size <= rate * 30);
            send(20_000, size, rate);
        }
    }
}
