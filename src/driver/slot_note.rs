//! Writes to `outbox.relay` what the [gate](crate::relay::confirm::Gate) asks for: that the backfill is published,
//! and how far the slot may be confirmed. This file decides how soon: a note costs a commit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use crate::driver::limits::{
    BACKFILL_NOTE_PAUSE, HURRIED_INTERVAL, IDLE_NOTE_INTERVAL, LAST_NOTE_TIMEOUT, LITTLE_WAL_BYTES, NOTE_INTERVAL,
};
use crate::fault::chain;
use crate::relay::boundary::{Lsn, PositionProof};
use crate::relay::confirm::Wanted;
use crate::source::{Lease, Note, NoteLimit, NoteTaken, SourceError};

/// The relay's progress that the gate does not know.
#[derive(Clone, Copy, Debug)]
pub(super) struct RelayProgress {
    /// How far the stream was read.
    pub(super) received: Lsn,
    /// The commit of the last event taken.
    pub(super) event: Lsn,
    /// A position stored in Kafka, if positions are stored there.
    pub(super) stored: Option<Lsn>,
    /// What that position bears.
    pub(super) proof: PositionProof,
}

/// What was written.
#[derive(Debug)]
pub(super) enum Written {
    /// That the backfill is published, or why noting that failed.
    Backfill(Result<(), SourceError>),
    /// How far the slot may be confirmed, and new keys; `None` if the note failed, which is retried.
    Limit(Option<NoteTaken>),
}

type Attempt<T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send>>;

enum Writing {
    Backfill(Attempt<()>),
    Limit(Attempt<NoteTaken>),
}

/// The only writer of `outbox.relay` while the slot streams.
pub(super) struct SlotNote {
    lease: Arc<Lease>,
    /// Commits in the cluster wait for confirmation.
    is_waited_for: bool,
    /// A connection has started, and nothing has been noted since.
    is_due: bool,
    writing: Option<Writing>,
    /// When the last note of a limit was started.
    last: Option<Instant>,
    /// After a failure, when to note the end of the backfill again.
    not_before: Instant,
}

impl SlotNote {
    pub(super) fn new(lease: Arc<Lease>) -> Self {
        Self { lease, is_waited_for: false, is_due: false, writing: None, last: None, not_before: Instant::now() }
    }

    /// A stream starts.
    pub(super) fn handle_up(&mut self) {
        self.is_due = true;
    }

    /// Starts to write what is asked for, if it is due and nothing else is being written.
    pub(super) fn write(&mut self, wanted: Wanted, progress: RelayProgress, now: Instant) {
        if self.writing.is_some() {
            return;
        }
        match wanted {
            Wanted::Backfill if now >= self.not_before => {
                let lease = Arc::clone(&self.lease);
                self.writing = Some(Writing::Backfill(Box::pin(async move { lease.note_backfill().await })));
            }
            Wanted::Limit { flush, noted } if self.is_time(flush, noted, progress.event, now) => {
                self.last = Some(now);
                self.is_due = false;
                self.writing = Some(Writing::Limit(limit(&self.lease, flush, progress, NoteLimit::Ahead)));
            }
            Wanted::Backfill | Wanted::Limit { .. } => {}
        }
    }

    fn is_time(&self, flush: Lsn, noted: Lsn, event: Lsn, now: Instant) -> bool {
        let is_little = event < noted && flush.0.saturating_sub(noted.0) < LITTLE_WAL_BYTES;
        let interval = match self.is_waited_for {
            true => HURRIED_INTERVAL,
            false if is_little && !self.is_due => IDLE_NOTE_INTERVAL,
            false => NOTE_INTERVAL,
        };
        (self.is_due || flush > noted) && self.last.is_none_or(|last| now >= last + interval)
    }

    /// Sets whether commits in the cluster wait for confirmation.
    pub(super) fn set_waited_for(&mut self, waits: bool) {
        self.is_waited_for = waits;
    }

    /// Whether commits in the cluster wait for confirmation.
    pub(super) const fn is_waited_for(&self) -> bool {
        self.is_waited_for
    }

    /// Whether the end of the backfill is being noted. The link must not connect then: it could start a new backfill,
    /// which this note is not about.
    pub(super) const fn is_noting_backfill(&self) -> bool {
        matches!(self.writing, Some(Writing::Backfill(_)))
    }

    /// Waits until something is written, or has failed. Cancel-safe.
    pub(super) async fn written(&mut self) -> Written {
        let written = match &mut self.writing {
            None => return std::future::pending().await,
            Some(Writing::Backfill(attempt)) => Written::Backfill(attempt.await),
            Some(Writing::Limit(attempt)) => match attempt.await {
                Ok(taken) => Written::Limit(Some(taken)),
                // The stream ends with the lease and restarts under another.
                Err(error) => {
                    self.is_due = true;
                    tracing::debug!(error = %chain(&error), "could not record the slot's confirm limit");
                    Written::Limit(None)
                }
            },
        };
        self.writing = None;
        if let Written::Backfill(_) = written {
            self.not_before = Instant::now() + BACKFILL_NOTE_PAUSE;
        }
        written
    }

    /// Writes the last note: the slot will be left at `flush`. Returns the noted limit; `None` if the note failed.
    pub(super) async fn end(&mut self, flush: Lsn, progress: RelayProgress) -> Option<Lsn> {
        if self.writing.is_some() && tokio::time::timeout(LAST_NOTE_TIMEOUT, self.written()).await.is_err() {
            return None;
        }
        let written = limit(&self.lease, flush, RelayProgress { received: flush, ..progress }, NoteLimit::Exact);
        Some(tokio::time::timeout(LAST_NOTE_TIMEOUT, written).await.ok()?.ok()?.limit)
    }
}

fn limit(lease: &Arc<Lease>, flush: Lsn, progress: RelayProgress, extent: NoteLimit) -> Attempt<NoteTaken> {
    let lease = Arc::clone(lease);
    let RelayProgress { received, stored, proof, .. } = progress;
    let note = Note { flush, received, stored, proof, extent };
    Box::pin(async move { lease.note(note).await })
}
