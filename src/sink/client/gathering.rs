//! Whether records may wait for more of their partitions, so that a request carries many.
//!
//! They may while the relay works off a backlog, which their commit times tell, and while less than half of the window
//! is used: what waits must not be what the relay waits for. Far behind they wait for as long as many come: at 60,000
//! records a second, 20 ms bring two for each of 600 partitions.

use std::time::{Duration, Instant, SystemTime};

use crate::relay::boundary::Record;
use crate::relay::delivery::window::InFlightWindow;
use crate::relay::publish::encode;

/// How long ago a commit must be for the relay to count as behind, in milliseconds. A difference between the clocks of
/// the two servers costs a little time or a little batching, and nothing else.
const BEHIND_MILLIS: i64 = 100;
/// The same for it to count as far behind: then more time is spent on batching than a difference between the clocks
/// should cost.
const FAR_BEHIND_MILLIS: i64 = 1_000;
/// How long records wait for more, unless many come.
const PATIENCE: Duration = Duration::from_millis(20);
/// How many come in that time if the wait is worth it: a few thousand requests a second cost little.
const MANY: u64 = 200;
/// The longest wait.
const PATIENCE_MOST: Duration = Duration::from_millis(250);

/// What has gathered.
#[derive(Debug)]
pub(crate) struct Gathering {
    window: InFlightWindow,
    /// Bytes in flight.
    bytes: usize,
    /// When the last record's transaction committed, in milliseconds since the Unix epoch.
    newest_millis: i64,
}

impl Gathering {
    /// For a window of this size.
    pub(crate) fn new(window: InFlightWindow) -> Self {
        Self { window, bytes: 0, newest_millis: 0 }
    }

    /// A record was handed over. Returns its size in bytes.
    pub(crate) fn sent(&mut self, record: &Record<'_>) -> u32 {
        self.newest_millis = record.timestamp_millis;
        let bytes = u32::try_from(encode::size(record)).unwrap_or(u32::MAX);
        self.bytes += bytes as usize;
        bytes
    }

    /// A record of this size was answered.
    pub(crate) fn answered(&mut self, bytes: u32) {
        self.bytes -= bytes as usize;
    }

    /// Whether this many records in flight to so many partitions may wait for more.
    pub(crate) fn may_wait(&self, records: usize, partitions: usize) -> bool {
        let limit = self.window.limit(partitions);
        records < limit.records / 2 && self.bytes < limit.bytes / 2 && self.is_behind(SystemTime::now())
    }

    /// Whether the last record was committed a while ago.
    pub(crate) fn is_behind(&self, now: SystemTime) -> bool {
        self.lag_millis(now) > BEHIND_MILLIS
    }

    /// Whether the last record was committed a long while ago.
    pub(crate) fn is_far_behind(&self, now: SystemTime) -> bool {
        self.lag_millis(now) > FAR_BEHIND_MILLIS
    }

    fn lag_millis(&self, now: SystemTime) -> i64 {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now_millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        now_millis.saturating_sub(self.newest_millis)
    }
}

/// A wait for more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    begun: Instant,
    /// When it ends.
    pub(crate) until: Instant,
    /// How many records had been sent when that was decided.
    sent: u64,
}

impl Wait {
    /// A wait that begins after so many records were sent.
    pub(crate) fn begin(sent: u64, now: Instant) -> Self {
        Self { begun: now, until: now + PATIENCE, sent }
    }

    /// Extends it if many records were sent meanwhile. Returns whether it did.
    pub(crate) fn extend(&mut self, sent: u64, now: Instant) -> bool {
        let is_worth_it = sent - self.sent >= MANY;
        if is_worth_it {
            (self.sent, self.until) = (sent, (now + PATIENCE).min(self.begun + PATIENCE_MOST));
        }
        is_worth_it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_extended_while_many_records_arrive() {
        let start = Instant::now();
        let mut wait = Wait::begin(1_000, start);
        assert!(!wait.extend(1_000 + MANY - 1, start + PATIENCE / 2));
        assert_eq!(wait.until, start + PATIENCE);
        assert!(wait.extend(1_000 + MANY, start + PATIENCE / 2));
        assert_eq!(wait.until, start + PATIENCE / 2 + PATIENCE);
        assert!(!wait.extend(1_000 + MANY, start + PATIENCE));
        assert!(wait.extend(1_000_000, start + PATIENCE_MOST - PATIENCE / 2));
        assert_eq!(wait.until, start + PATIENCE_MOST);
    }

    #[test]
    fn records_wait_only_behind_a_backlog_and_while_the_window_is_not_half_full() {
        let mut gathering = Gathering::new(InFlightWindow::fixed(100, 1_000));
        let record = |timestamp_millis| Record {
            topic: "t",
            key: Some(b"key"),
            value: Some(&[0; 300]),
            headers: &[],
            timestamp_millis,
        };
        let size = gathering.sent(&record(1_000));
        assert_eq!(size, 303);
        assert!(gathering.may_wait(49, 1));
        assert!(!gathering.may_wait(50, 1));
        gathering.sent(&record(2_000));
        assert!(!gathering.may_wait(2, 1), "606 of 1,000 bytes");
        gathering.answered(size);
        assert!(gathering.may_wait(1, 1));
        gathering.answered(size);
        gathering.sent(&record(i64::MAX));
        assert!(!gathering.may_wait(1, 1), "the record is fresh");
    }
}
