//! The event at which an earlier run ended: what comes before it is skipped, so it must be there.
//!
//! A database that was restored to an earlier state goes on from there with the same LSNs for other events. All of them up to
//! the stored position would be skipped, and confirmed. The event that stands at the position itself tells the two histories
//! apart: by its place, and by the time at which its transaction committed.

use crate::relay::Halt;
use crate::relay::boundary::{Checkpoint, Lsn, Position, Timestamp};

/// The event at a stored position, until it has come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    position: Position,
    committed_at: Option<Timestamp>,
    /// Where the slot stood: not to be moved before it is known to be of the same history.
    start: Lsn,
}

impl Guard {
    /// That of a stored checkpoint, for a slot that stands at `start`. `None` where its transaction does not come again:
    /// Postgres sends those whose commit record does not begin before the slot's position.
    #[must_use]
    pub fn ahead(stored: &Checkpoint, start: Lsn) -> Option<Self> {
        let Checkpoint { position, committed_at, .. } = *stored;
        (position.ordinal > 0 && position.commit >= start).then_some(Self { position, committed_at, start })
    }

    /// Where the slot stood.
    #[must_use]
    pub const fn start(&self) -> Lsn {
        self.start
    }

    /// Whether an event that has come is the one.
    ///
    /// # Errors
    /// It stands in the one's place, or behind it.
    pub fn is(&self, position: Position, committed_at: Timestamp) -> Result<bool, Halt> {
        if position.commit == self.position.commit && self.committed_at.is_some_and(|expected| expected != committed_at)
        {
            return Err(self.displaced("a transaction with a different commit time is in its place"));
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
    pub fn check_before(&self, end: Lsn) -> Result<(), Halt> {
        if end > self.position.commit { Err(self.displaced("the stream went past it")) } else { Ok(()) }
    }

    const fn displaced(&self, found: &'static str) -> Halt {
        Halt::Displaced { position: self.position, found }
    }
}
