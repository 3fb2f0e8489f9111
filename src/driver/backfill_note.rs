//! The note in `outbox.relay` that the rows from before the slot are published.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::source::{self, SourceError, SourceOptions};

/// How long after a failure the next attempt waits. Nothing is confirmed meanwhile, and nothing else is held up.
const BACK_OFF: Duration = Duration::from_secs(1);

type Attempt = Pin<Box<dyn Future<Output = Result<(), SourceError>> + Send>>;

/// Writes that the rows from before the slot are published.
pub(super) struct BackfillNote {
    options: SourceOptions,
    writing: Option<Attempt>,
    /// After a failure, when to try again.
    not_before: Instant,
}

impl BackfillNote {
    pub(super) fn new(options: SourceOptions) -> Self {
        Self { options, writing: None, not_before: Instant::now() }
    }

    /// Begins, unless it is under way or has just failed.
    pub(super) fn write(&mut self) {
        if self.writing.is_none() && Instant::now() >= self.not_before {
            let options = self.options.clone();
            self.writing = Some(Box::pin(async move { source::backfill_done(&options).await }));
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
