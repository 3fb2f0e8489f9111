//! When to store a position in Kafka without a record.

use std::time::{Duration, Instant};

use crate::driver::limits::{STORE_BACK_OFF, STORE_INTERVAL};
use crate::relay::back_off::BackOff;
use crate::relay::boundary::{Checkpoint, Lsn};

/// When the next position is stored without a record.
#[derive(Debug, Default)]
pub(super) struct CheckpointTimer {
    last: Option<Attempted>,
}

/// A position given to the sink.
#[derive(Clone, Copy, Debug)]
struct Attempted {
    flush: Lsn,
    at: Instant,
    back_off: BackOff,
    /// How long the next attempt waits if this one fails.
    wait: Duration,
}

/// What an attempt to store a position is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The previous attempt succeeded, or there was none.
    First,
    /// The previous attempt failed.
    Again,
}

impl CheckpointTimer {
    /// What to store now: everything is in Kafka up to `settled`, and `stored` is the position stored there. A caller
    /// in a hurry skips the interval, but not the back-off after a failure.
    pub(super) fn due(
        &self,
        settled: Option<Checkpoint>,
        stored: Option<Lsn>,
        hurry: bool,
        now: Instant,
    ) -> Option<Checkpoint> {
        let is_time = match self.last {
            None => true,
            Some(last) if stored < Some(last.flush) => now >= last.at + last.wait,
            Some(last) => hurry || now >= last.at + STORE_INTERVAL,
        };
        settled.filter(|settled| is_time && stored.is_some_and(|stored| stored < settled.flush))
    }

    /// Storing everything up to `flush` has begun. The sink does one thing at a time, so the previous attempt failed
    /// if it is not in `stored`.
    pub(super) fn begun(&mut self, flush: Lsn, stored: Option<Lsn>, now: Instant) -> Attempt {
        let failed = self.last.filter(|last| stored < Some(last.flush));
        let mut back_off = failed.map_or(STORE_BACK_OFF, |failed| failed.back_off);
        let wait = back_off.wait();
        self.last = Some(Attempted { flush, at: now, back_off, wait });
        if failed.is_some() { Attempt::Again } else { Attempt::First }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_stored_alone_when_the_slot_could_move_and_not_too_often() {
        let now = Instant::now();
        let settled = Some(Checkpoint { flush: Lsn(10), ..Checkpoint::default() });
        let mut timer = CheckpointTimer::default();
        assert_eq!(timer.due(settled, Some(Lsn(9)), false, now), settled, "the first at once");
        timer.begun(Lsn(9), Some(Lsn(8)), now);
        assert_eq!(timer.due(settled, Some(Lsn(9)), false, now), None);
        assert_eq!(timer.due(settled, Some(Lsn(9)), true, now), settled);
        assert_eq!(timer.due(settled, Some(Lsn(9)), false, now + STORE_INTERVAL), settled);
        assert_eq!(timer.due(settled, Some(Lsn(10)), true, now), None, "it is stored");
        assert_eq!(timer.due(None, Some(Lsn(9)), true, now), None, "something is owed");
        assert_eq!(timer.due(settled, None, true, now), None, "nothing is kept in Kafka");
    }

    #[test]
    fn storing_a_position_is_retried_with_backoff() {
        let (mut now, stored) = (Instant::now(), Some(Lsn(9)));
        let settled = Some(Checkpoint { flush: Lsn(10), ..Checkpoint::default() });
        let mut timer = CheckpointTimer::default();
        assert_eq!(timer.begun(Lsn(10), stored, now), Attempt::First);
        for millis in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            let back_off = Duration::from_millis(millis);
            assert_eq!(timer.due(settled, stored, true, now + back_off - Duration::from_millis(1)), None);
            assert_eq!(timer.due(settled, stored, true, now + back_off), settled);
            now += back_off;
            assert_eq!(timer.begun(Lsn(10), stored, now), Attempt::Again);
        }
        let settled = Some(Checkpoint { flush: Lsn(11), ..Checkpoint::default() });
        assert_eq!(timer.due(settled, Some(Lsn(10)), true, now), settled, "it was stored at last");
        assert_eq!(timer.begun(Lsn(11), Some(Lsn(10)), now), Attempt::First);
    }
}
