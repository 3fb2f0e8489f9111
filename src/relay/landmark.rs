//! The event at which an earlier run ended: what comes before it is passed over, so it must be there.
//!
//! A database that was restored to an earlier state goes on from there with the same LSNs for other events. All of them up to
//! the stored position would be passed over, and confirmed. The event that stands at the position itself tells the two
//! histories apart: by its place, and by the time at which its transaction committed.

use super::Halt;
use super::boundary::{Checkpoint, Lsn, Position, Timestamp};

/// The event at a stored position, until it has come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Landmark {
    position: Position,
    committed_at: Option<Timestamp>,
    /// Where the slot stood: not to be moved before it is known to be of the same history.
    start: Lsn,
}

impl Landmark {
    /// That of a stored checkpoint, for a slot that stands at `start`. `None` where its transaction does not come again:
    /// Postgres sends those whose commit record does not begin before the slot's position.
    pub(super) fn ahead(stored: &Checkpoint, start: Lsn) -> Option<Self> {
        let Checkpoint { position, committed_at, .. } = *stored;
        (position.ordinal > 0 && position.commit >= start).then_some(Self { position, committed_at, start })
    }

    /// Where the slot stood.
    pub(super) const fn start(&self) -> Lsn {
        self.start
    }

    /// Whether an event that has come is the one.
    ///
    /// # Errors
    /// It stands in the one's place, or behind it.
    pub(super) fn is(&self, position: Position, committed_at: Timestamp) -> Result<bool, Halt> {
        if position.commit == self.position.commit && self.committed_at.is_some_and(|expected| expected != committed_at)
        {
            return Err(self.displaced("a transaction that committed at another time is in its place"));
        }
        if position > self.position {
            return Err(self.displaced("the stream went past it"));
        }
        Ok(position == self.position)
    }

    /// Everything before `end` has come.
    ///
    /// # Errors
    /// The event should have been in it.
    pub(super) fn check_before(&self, end: Lsn) -> Result<(), Halt> {
        if end > self.position.commit { Err(self.displaced("the stream went past it")) } else { Ok(()) }
    }

    const fn displaced(&self, found: &'static str) -> Halt {
        Halt::Displaced { position: self.position, found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(commit: u64, ordinal: u64) -> Position {
        Position { commit: Lsn(commit), ordinal }
    }

    fn landmark(committed_at: Option<i64>) -> Landmark {
        let stored = Checkpoint { position: at(100, 3), committed_at: committed_at.map(Timestamp), flush: Lsn(90) };
        Landmark::ahead(&stored, Lsn(50)).expect("it comes again")
    }

    #[test]
    fn what_does_not_come_again_is_not_waited_for() {
        let stored = |position| Checkpoint { position, committed_at: None, flush: Lsn(130) };
        assert!(Landmark::ahead(&stored(at(100, 1)), Lsn(100)).is_some());
        assert_eq!(Landmark::ahead(&stored(at(100, 1)), Lsn(101)), None, "its transaction is confirmed");
        assert_eq!(Landmark::ahead(&stored(Position::default()), Lsn(0)), None, "nothing was taken yet");
    }

    #[test]
    fn only_the_event_at_the_position_with_its_commit_time_is_the_one() {
        let landmark = landmark(Some(7));
        assert_eq!(landmark.is(at(60, 9), Timestamp(1)), Ok(false));
        assert_eq!(landmark.is(at(100, 2), Timestamp(7)), Ok(false));
        assert_eq!(landmark.is(at(100, 3), Timestamp(7)), Ok(true));
        for (position, committed_at) in [(at(100, 1), 8), (at(100, 3), 8), (at(100, 4), 7), (at(101, 1), 7)] {
            let found = landmark.is(position, Timestamp(committed_at));
            assert!(matches!(found, Err(Halt::Displaced { .. })), "{position}: {found:?}");
        }
    }

    #[test]
    fn a_position_without_a_commit_time_is_told_by_its_place() {
        assert_eq!(landmark(None).is(at(100, 3), Timestamp(8)), Ok(true));
        assert!(landmark(None).is(at(100, 4), Timestamp(8)).is_err());
    }

    #[test]
    fn a_stream_that_is_past_the_position_has_not_got_the_event() {
        assert_eq!(landmark(None).check_before(Lsn(100)), Ok(()));
        assert!(landmark(None).check_before(Lsn(101)).is_err());
    }
}
