//! Whether records may wait for more of their partitions, so that a request carries many.
//!
//! They may while the relay works off a backlog, which their commit times tell, and while less than half of the window
//! is used: what waits must not be what the relay waits for.

use std::time::{Duration, SystemTime};

use crate::relay::boundary::Record;
use crate::relay::delivery::window::InFlightWindow;
use crate::relay::publish::encode;

/// How long ago a commit must be for the relay to count as behind, in milliseconds. A difference between the clocks of
/// the two servers costs a little time or a little batching, and nothing else.
const BEHIND_MILLIS: i64 = 100;
/// The longest wait.
const PATIENCE: Duration = Duration::from_millis(20);

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

    /// The longest wait.
    pub(crate) fn patience(&self) -> Duration {
        PATIENCE
    }

    fn is_behind(&self, now: SystemTime) -> bool {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now_millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        now_millis.saturating_sub(self.newest_millis) > BEHIND_MILLIS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
