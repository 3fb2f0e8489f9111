//! How far the slot may be confirmed: the one place that decides it.
//!
//! Postgres may remove what is confirmed, so an LSN is confirmed only when four parties agree:
//!
//! | party | what it says |
//! |---|---|
//! | the [ledger](super::delivery::ledger) | every record of every commit before the LSN is acknowledged |
//! | Kafka, with exactly-once delivery | the position is stored, so the next start finds it |
//! | the first backfill | it is noted in `outbox.relay` that every row from before the slot is published |
//! | `outbox.relay` | the LSN is within the limit noted there, so the next start can tell a slot that something else advanced |
//!
//! The gate decides; the driver writes the notes and sends the LSN. Nothing but a note that was written raises the limit.

use super::boundary::Lsn;

/// What this process has of the slot already, from streams that it has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// All rows from before the slot, which end here. Nothing is confirmed: some may still be on their way to Kafka.
    Backfilled(Lsn),
    /// Everything before this LSN, which it has confirmed: after a crash of Postgres the slot may stand before it, and must
    /// never stand past it.
    Confirmed(Lsn),
}

impl Resume {
    /// How far that is.
    #[must_use]
    pub const fn lsn(self) -> Lsn {
        match self {
            Self::Backfilled(lsn) | Self::Confirmed(lsn) => lsn,
        }
    }
}

/// How far everything is in Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// By the ledger: every commit that ends before it is acknowledged.
    pub settled: Lsn,
    /// By the position that Kafka has stored; `None` where no position is kept there.
    pub stored: Option<Lsn>,
}

impl Reached {
    /// Everything before this LSN is in Kafka, and the next start of a relay knows it.
    #[must_use]
    pub fn in_kafka(self) -> Lsn {
        self.stored.map_or(self.settled, |stored| stored.min(self.settled))
    }
}

/// Whether the limit must be noted before the slot is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notes {
    /// A relay's slot.
    Required,
    /// A replay's temporary copy of a slot, which nobody resumes.
    Unneeded,
}

/// What the driver is to write to `outbox.relay` next, on the lease's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// That every row from before the slot is published. Until then nothing is confirmed: a crash in between would publish
    /// them from a new slot, and lose what the old one had passed.
    Backfill,
    /// A limit of at least `flush`, in time before confirming reaches `noted`.
    Limit {
        /// Everything before it is in Kafka, or was confirmed already.
        flush: Lsn,
        /// The limit that is noted now.
        noted: Lsn,
    },
}

/// What may be done now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// To be confirmed to the slot: further than ever before.
    pub confirm: Option<Lsn>,
    /// To be written to `outbox.relay`.
    pub note: Option<Wanted>,
}

/// Which rows a stream that has just begun brings first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStart {
    /// All rows from before the slot, perhaps in another order than an earlier attempt had them.
    FirstRows,
    /// What comes after everything that this process has of the slot.
    Continued,
}

/// What has been confirmed of one slot, and what may be.
#[derive(Debug)]
pub struct Gate {
    notes: Notes,
    progress: Progress,
    is_streaming: bool,
    /// `outbox.relay` says that the slot may stand this far.
    noted: Lsn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing is known of the slot, or nothing may be confirmed to it any more.
    Nothing,
    /// The rows from before the slot come first, and end here; it is not noted that they are published.
    Backfill { end: Lsn, is_read: bool },
    /// Everything before this LSN is confirmed, on the stream or by the slot's own word.
    Confirmed(Lsn),
}

impl Gate {
    /// A gate for a slot of which nothing is known.
    #[must_use]
    pub const fn new(notes: Notes) -> Self {
        Self { notes, progress: Progress::Nothing, is_streaming: false, noted: Lsn(0) }
    }

    /// A stream begins at `start`, where the slot stands; or with the rows from before it, which end at `backfill_end`.
    pub fn handle_up(&mut self, start: Lsn, backfill_end: Option<Lsn>) -> StreamStart {
        self.is_streaming = true;
        let Some(end) = backfill_end else {
            let known = self.resume().map_or(start, Resume::lsn).max(start);
            self.progress = Progress::Confirmed(known);
            self.noted = self.noted.max(start);
            return StreamStart::Continued;
        };
        let is_read = self.resume() == Some(Resume::Backfilled(end));
        self.progress = Progress::Backfill { end, is_read };
        if is_read { StreamStart::Continued } else { StreamStart::FirstRows }
    }

    /// The stream is lost. `has_all` if the core has every row from before the slot, where the stream brought them.
    pub fn handle_lost(&mut self, has_all: bool) {
        self.is_streaming = false;
        if let Progress::Backfill { end, is_read } = self.progress {
            self.progress = match is_read || has_all {
                true => Progress::Backfill { end, is_read: true },
                false => Progress::Nothing,
            };
        }
    }

    /// There will be no stream any more, and this slot may not be the one that was streamed from: nothing is confirmed to it.
    pub fn handle_dead(&mut self) {
        self.is_streaming = false;
        self.progress = Progress::Nothing;
    }

    /// It is noted that the rows from before the slot are published.
    pub fn handle_backfill_noted(&mut self) {
        if let (true, Progress::Backfill { end, .. }) = (self.is_streaming, self.progress) {
            self.progress = Progress::Confirmed(end);
        }
    }

    /// It is noted that the slot may be confirmed up to `limit`.
    pub fn handle_noted(&mut self, limit: Lsn) {
        self.noted = self.noted.max(limit);
    }

    /// What may be confirmed and what is to be noted, with so much in Kafka. What it says may be confirmed counts as confirmed.
    ///
    /// # Panics
    /// If an LSN would be confirmed that is past what one of the parties says, or before one that was confirmed: a bug that
    /// would lose rows.
    pub fn poll(&mut self, reached: Reached) -> Step {
        let in_kafka = reached.in_kafka();
        let before = match self.progress {
            Progress::Nothing => return Step::default(),
            Progress::Backfill { end, .. } => {
                let is_published = self.is_streaming && in_kafka >= end;
                return Step { confirm: None, note: is_published.then_some(Wanted::Backfill) };
            }
            Progress::Confirmed(before) => before,
        };
        let limit = match self.notes {
            Notes::Required => in_kafka.min(self.noted),
            Notes::Unneeded => in_kafka,
        };
        let confirm = (limit > before).then_some(limit);
        if let Some(lsn) = confirm {
            assert!(lsn > before, "a confirmed LSN never moves backwards: {lsn} after {before}");
            assert!(lsn <= reached.settled, "{lsn} is not settled: {reached:?}");
            assert!(reached.stored.is_none_or(|stored| lsn <= stored), "{lsn} is not stored: {reached:?}");
            assert!(self.notes == Notes::Unneeded || lsn <= self.noted, "{lsn} is past the noted limit: {self:?}");
            self.progress = Progress::Confirmed(lsn);
        }
        let is_noted = self.is_streaming && self.notes == Notes::Required;
        // Where nothing of this stream is in Kafka yet, the slot stands where it was confirmed.
        let note = is_noted.then_some(Wanted::Limit { flush: in_kafka.max(before), noted: self.noted });
        Step { confirm, note }
    }

    /// How far another connection is to move the slot once there is no stream, with `reached` as the last word. It notes the
    /// limit first.
    #[must_use]
    pub fn last(&self, reached: Reached) -> Option<Lsn> {
        match self.progress {
            Progress::Confirmed(before) => Some(before.max(reached.in_kafka())),
            Progress::Nothing | Progress::Backfill { .. } => None,
        }
    }

    /// What the next stream goes on from.
    #[must_use]
    pub const fn resume(&self) -> Option<Resume> {
        match self.progress {
            Progress::Nothing | Progress::Backfill { is_read: false, .. } => None,
            Progress::Backfill { end, is_read: true } => Some(Resume::Backfilled(end)),
            Progress::Confirmed(lsn) => Some(Resume::Confirmed(lsn)),
        }
    }

    /// Where the rows from before the slot end, while it is not noted that they are published.
    #[must_use]
    pub const fn backfill_end(&self) -> Option<Lsn> {
        match (self.is_streaming, self.progress) {
            (true, Progress::Backfill { end, .. }) => Some(end),
            _ => None,
        }
    }

    /// Whether a stream from the slot runs, and all rows from before it are published: what the outbox tables have of them is
    /// not read any more.
    #[must_use]
    pub const fn is_past_backfill(&self) -> bool {
        self.is_streaming && matches!(self.progress, Progress::Confirmed(_))
    }
}

#[cfg(test)]
#[path = "confirm_tests.rs"]
mod tests;
