//! The note in `outbox.relay` that the rows from before the slot are published, written by the one who has the lease.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::source::{Lease, SourceError};

/// How long after a failure the next attempt waits. Nothing is confirmed meanwhile, and nothing else is held up.
const BACK_OFF: Duration = Duration::from_secs(1);

type Attempt = Pin<Box<dyn Future<Output = Result<(), SourceError>> + Send>>;

/// Writes that the rows from before the slot are published.
pub(super) struct BackfillNote {
    lease: Arc<Lease>,
    writing: Option<Attempt>,
    /// After a failure, when to try again.
    not_before: Instant,
}

impl BackfillNote {
    pub(super) fn new(lease: Arc<Lease>) -> Self {
        Self { lease, writing: None, not_before: Instant::now() }
    }

    /// Begins, unless it is under way or has just failed.
    pub(super) fn write(&mut self) {
        if self.writing.is_none() && Instant::now() >= self.not_before {
            let lease = Arc::clone(&self.lease);
            self.writing = Some(Box::pin(async move { lease.note_backfill().await }));
        }
    }

    /// Whether it is under way. The link must not connect then: it could begin a backfill anew that this note is not about.
    pub(super) const fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// How it went. Cancel-safe.
    pub(super) async fn written(&mut self) -> Result<(), SourceError> {
        let Some(writing) = &mut self.writing else { return std::future::pending().await };
        let outcome = writing.await;
        self.writing = None;
        self.not_before = Instant::now() + BACK_OFF;
        outcome
    }
}
