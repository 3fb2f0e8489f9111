//! When a position is stored in Kafka with no record to go with it.

use std::time::{Duration, Instant};

use crate::relay::boundary::{Checkpoint, Lsn};
use crate::relay::delivery::back_off::BackOff;

/// How often a position is stored without a record at most: the slot of an idle outbox in a busy database is confirmed as
/// often, and keeps so much log.
const STORE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a position that could not be stored waits before it is given to the sink again.
const BACK_OFF: BackOff = BackOff::new(Duration::from_millis(100), Duration::from_secs(5));

/// When the next position is stored without a record.
#[derive(Debug, Default)]
pub(super) struct CheckpointTimer {
    last: Option<Attempted>,
}

/// A position that was given to the sink.
#[derive(Clone, Copy, Debug)]
struct Attempted {
    flush: Lsn,
    at: Instant,
    back_off: BackOff,
    /// How long the next attempt waits, should this one fail.
    wait: Duration,
}

/// What an attempt to store a position is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The one before has succeeded, or there was none.
    First,
    /// The one before has failed.
    Again,
}

impl CheckpointTimer {
    /// What is to be stored now: everything is in Kafka up to `settled`, and `stored` is what is kept there. Whoever is in a
    /// hurry does not wait for the interval, but for the back-off where storing has failed.
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

    /// Storing everything up to `flush` has begun. The sink does one thing after the other, so that the last one has failed if
    /// it is not in what is stored.
    pub(super) fn begun(&mut self, flush: Lsn, stored: Option<Lsn>, now: Instant) -> Attempt {
        let failed = self.last.filter(|last| stored < Some(last.flush));
        let mut back_off = failed.map_or(BACK_OFF, |failed| failed.back_off);
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
    fn a_position_that_can_not_be_stored_is_tried_less_and_less_often() {
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
