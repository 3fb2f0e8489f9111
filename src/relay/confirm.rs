//! How far the slot may be confirmed: the one place that decides it.
//!
//! Postgres may remove what is confirmed, so an LSN is confirmed only if four parties agree:
//!
//! | party | what it says |
//! |---|---|
//! | the [ledger](super::delivery::ledger) | every record of every commit before the LSN is acknowledged |
//! | Kafka, with exactly-once delivery | the position is stored, so the next start finds it |
//! | the initial backfill | `outbox.relay` notes that every row from before the slot is published |
//! | `outbox.relay` | the LSN is within the limit noted there, so the next start can recognize a slot that something else advanced |
//!
//! The gate decides; the driver writes the notes and sends the LSN. Only a note that was written raises the limit.

use super::boundary::Lsn;

/// What this process knows of the slot from streams that it has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// It has the whole backfill, which ends here. Nothing is confirmed: some rows may still be on their way to Kafka.
    Backfilled(Lsn),
    /// It has confirmed everything before this LSN: after a crash of Postgres the slot may be before it, but must
    /// never be past it.
    Confirmed(Lsn),
}

impl Resume {
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
    /// By the position stored in Kafka; `None` if none is stored there.
    pub stored: Option<Lsn>,
}

impl Reached {
    /// Everything before this LSN is in Kafka, and the next start of a relay will know.
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

/// What the driver must write to `outbox.relay` next, on the lease's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// That the backfill is published. Until then nothing is confirmed: a crash in between would publish those rows
    /// again from a new slot, and lose what the old one had passed.
    Backfill,
    /// A limit of at least `flush`, early enough that confirming does not have to wait for `noted`.
    Limit {
        /// Everything before it is in Kafka, or was already confirmed.
        flush: Lsn,
        /// The limit noted so far.
        noted: Lsn,
    },
}

/// What may be done now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateStep {
    /// To confirm to the slot: further than ever before.
    pub confirm: Option<Lsn>,
    /// To write to `outbox.relay`.
    pub note: Option<Wanted>,
}

/// Which rows a newly started stream brings first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStart {
    /// The whole backfill, perhaps in a different order than in an earlier attempt.
    FirstRows,
    /// What follows everything that this process has of the slot.
    Continued,
}

/// What has been confirmed of one slot, and what may be.
#[derive(Debug)]
pub struct Gate {
    notes: Notes,
    progress: Progress,
    is_streaming: bool,
    /// `outbox.relay` says that the slot may be at most here.
    noted: Lsn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing is known of the slot, or nothing may be confirmed to it any more.
    Nothing,
    /// The backfill comes first and ends here; it is not noted yet that it is published.
    Backfill { end: Lsn, is_read: bool },
    /// Everything before this LSN is confirmed, on the stream or according to the slot itself.
    Confirmed(Lsn),
}

impl Gate {
    /// A gate for a slot of which nothing is known.
    #[must_use]
    pub const fn new(notes: Notes) -> Self {
        Self { notes, progress: Progress::Nothing, is_streaming: false, noted: Lsn(0) }
    }

    /// A stream starts at `start`, the slot's position; or with the backfill, which ends at `backfill_end`.
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

    /// The stream is lost. `has_all` if the core has the whole backfill, if there was one.
    pub fn handle_lost(&mut self, has_all: bool) {
        self.is_streaming = false;
        if let Progress::Backfill { end, is_read } = self.progress {
            self.progress = match is_read || has_all {
                true => Progress::Backfill { end, is_read: true },
                false => Progress::Nothing,
            };
        }
    }

    /// There will be no stream any more, and this slot may not be the one that was streamed from: nothing is
    /// confirmed to it.
    pub fn handle_dead(&mut self) {
        self.is_streaming = false;
        self.progress = Progress::Nothing;
    }

    /// It is noted that the backfill is published.
    pub fn handle_backfill_noted(&mut self) {
        if let (true, Progress::Backfill { end, .. }) = (self.is_streaming, self.progress) {
            self.progress = Progress::Confirmed(end);
        }
    }

    /// It is noted that the slot may be confirmed up to `limit`.
    pub fn handle_noted(&mut self, limit: Lsn) {
        self.noted = self.noted.max(limit);
    }

    /// What may be confirmed and what must be noted for what has `reached` Kafka. An LSN it returns counts as
    /// confirmed.
    ///
    /// # Panics
    /// If an LSN would be confirmed that is past what one of the parties says, or before an earlier one: a bug that
    /// would lose rows.
    pub fn poll(&mut self, reached: Reached) -> GateStep {
        let in_kafka = reached.in_kafka();
        let before = match self.progress {
            Progress::Nothing => return GateStep::default(),
            Progress::Backfill { end, .. } => {
                let is_published = self.is_streaming && in_kafka >= end;
                return GateStep { confirm: None, note: is_published.then_some(Wanted::Backfill) };
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
        // If nothing of this stream is in Kafka yet, the slot is where it was confirmed.
        let note = is_noted.then_some(Wanted::Limit { flush: in_kafka.max(before), noted: self.noted });
        GateStep { confirm, note }
    }

    /// How far another connection must advance the slot once there is no stream, with `reached` as the final state.
    /// It notes the limit first.
    #[must_use]
    pub fn last(&self, reached: Reached) -> Option<Lsn> {
        match self.progress {
            Progress::Confirmed(before) => Some(before.max(reached.in_kafka())),
            Progress::Nothing | Progress::Backfill { .. } => None,
        }
    }

    /// Where the next stream continues.
    #[must_use]
    pub const fn resume(&self) -> Option<Resume> {
        match self.progress {
            Progress::Nothing | Progress::Backfill { is_read: false, .. } => None,
            Progress::Backfill { end, is_read: true } => Some(Resume::Backfilled(end)),
            Progress::Confirmed(lsn) => Some(Resume::Confirmed(lsn)),
        }
    }

    /// Where the backfill ends, until it is noted that it is published.
    #[must_use]
    pub const fn backfill_end(&self) -> Option<Lsn> {
        match (self.is_streaming, self.progress) {
            (true, Progress::Backfill { end, .. }) => Some(end),
            _ => None,
        }
    }

    /// The same, also while there is no stream, if this process has all of the backfill.
    #[must_use]
    pub const fn unnoted_backfill(&self) -> Option<Lsn> {
        match self.progress {
            Progress::Backfill { end, is_read } if is_read || self.is_streaming => Some(end),
            _ => None,
        }
    }

    /// Whether the slot streams and the backfill is published: its rows are then no longer read from the outbox
    /// tables.
    #[must_use]
    pub const fn is_past_backfill(&self) -> bool {
        self.is_streaming && matches!(self.progress, Progress::Confirmed(_))
    }
}

#[cfg(test)]
#[path = "confirm_tests.rs"]
mod tests;
