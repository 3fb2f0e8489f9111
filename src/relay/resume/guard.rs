//! The event at which an earlier run stopped: what comes before it is skipped, so it must be there.
//!
//! A database that was restored to an earlier state continues from there with the same LSNs for different events. All
//! of them up to the stored position would be skipped, and confirmed. The event at the position itself distinguishes
//! the two histories: by its place, and by the commit time of its transaction.

use crate::relay::boundary::{Checkpoint, Lsn, Position, Timestamp};
use crate::relay::halt::Halt;

/// The event at a stored position, until it has arrived again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    position: Position,
    committed_at: Option<Timestamp>,
    /// The slot's position: it must not be moved until it is known to belong to the same history.
    start: Lsn,
}

impl Guard {
    /// The guard for a stored checkpoint, with a slot at `start`. `None` if its transaction does not arrive again:
    /// Postgres sends those whose commit record does not start before the slot's position.
    #[must_use]
    pub fn ahead(stored: &Checkpoint, start: Lsn) -> Option<Self> {
        let Checkpoint { position, committed_at, .. } = *stored;
        (position.ordinal > 0 && position.commit >= start).then_some(Self { position, committed_at, start })
    }

    /// The slot's position.
    #[must_use]
    pub const fn start(&self) -> Lsn {
        self.start
    }

    /// Whether an event that arrived is the expected one.
    ///
    /// # Errors
    /// A different event takes its place, or the stream is past it.
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

    /// Everything before `end` has arrived.
    ///
    /// # Errors
    /// The event should have been among it.
    pub fn check_before(&self, end: Lsn) -> Result<(), Halt> {
        if end > self.position.commit { Err(self.displaced("the stream went past it")) } else { Ok(()) }
    }

    const fn displaced(&self, found: &'static str) -> Halt {
        Halt::Displaced { position: self.position, found }
    }
}
