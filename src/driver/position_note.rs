//! The note in `outbox.relay` that positions are kept in Kafka for the slot: with it, a position that is not there was lost.

use std::time::{Duration, Instant};

use super::backfill_note::Attempt;
use crate::fault::chain;
use crate::relay::boundary::Lsn;
use crate::source::{self, SourceError, SourceOptions};

/// How long after a failure the next attempt waits. Nothing is held up meanwhile.
const BACK_OFF: Duration = Duration::from_secs(5);

/// Keeps the note as it should be.
pub(super) struct PositionNote {
    options: SourceOptions,
    /// What the database has; not known before the first connection.
    noted: Option<Option<Lsn>>,
    writing: Option<(Option<Lsn>, Attempt)>,
    /// After a failure, when to try again.
    not_before: Instant,
}

impl PositionNote {
    pub(super) fn new(options: SourceOptions) -> Self {
        Self { options, noted: None, writing: None, not_before: Instant::now() }
    }

    /// A connection has found this note.
    pub(super) fn handle_up(&mut self, noted: Option<Lsn>) {
        self.noted = Some(noted);
    }

    /// Begins to write what should be noted, if something else is: that the position is kept since `stored`, of which a sink that keeps
    /// none has none. Which of several positions it is does not matter, so it is written once.
    pub(super) fn keep(&mut self, stored: Option<Lsn>, now: Instant) {
        let is_due = match (self.noted, stored) {
            (None, _) => false,
            // Nothing is stored yet: the note may be of the position that is about to be replaced.
            (Some(_), Some(Lsn(0))) => false,
            (Some(noted), stored) => noted.is_some() != stored.is_some(),
        };
        if is_due && self.writing.is_none() && now >= self.not_before {
            let options = self.options.clone();
            let attempt = async move { source::note_positions(&options, stored).await };
            self.writing = Some((stored, Box::pin(attempt)));
        }
    }

    /// Waits until it is written, or has failed, which is told and tried again. Cancel-safe.
    pub(super) async fn written(&mut self) {
        let Some((note, attempt)) = &mut self.writing else { return std::future::pending().await };
        let (note, outcome): (_, Result<(), SourceError>) = (*note, attempt.await);
        self.writing = None;
        match outcome {
            Ok(()) => self.noted = Some(note),
            Err(error) => {
                self.not_before = Instant::now() + BACK_OFF;
                tracing::warn!(error = chain(&error), "that positions are kept in kafka could not be noted");
            }
        }
    }
}
