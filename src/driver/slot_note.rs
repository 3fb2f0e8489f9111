//! The notes in `outbox.relay` of how far the relay is. The slot is never confirmed past what is noted, so a later start can tell a
//! slot that somebody else has moved, and what that passed over.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fault::chain;
use crate::relay::boundary::Lsn;
use crate::source::{Extent, Lease, Note, SourceError};

/// How often is noted at most.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often is noted while nothing but a little WAL that is no event's has come: a note is WAL too.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);
/// How often at most while commits wait for it. Each note is WAL that is to be confirmed, so this is also how often it is noted then.
pub(super) const HURRIED_INTERVAL: Duration = Duration::from_millis(50);
/// How much WAL is a little, in bytes.
const LITTLE: u64 = 4 * 1024;
/// How long the last note may take.
const END_TIMEOUT: Duration = Duration::from_secs(5);

type Writing = Pin<Box<dyn Future<Output = Result<Lsn, SourceError>> + Send>>;

/// How far everything is in Kafka.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    /// Everything before it.
    pub(super) flush: Lsn,
    /// How far the stream was read.
    pub(super) received: Lsn,
    /// The commit of the last event that was taken.
    pub(super) event: Lsn,
    /// A position that is stored in Kafka, where positions are.
    pub(super) stored: Option<Lsn>,
    /// Whether that bears a proof.
    pub(super) is_signed: bool,
}

/// Keeps the notes ahead of the slot.
pub(super) struct SlotNote {
    /// `None` at a replay, which reads from a copy: there is nothing to note, and nothing to wait for.
    lease: Option<Arc<Lease>>,
    /// Commits in the cluster wait until they are confirmed.
    is_waited_for: Arc<AtomicBool>,
    /// Up to where the slot may be confirmed.
    limit: Lsn,
    /// Where the slot stood when the last stream began.
    start: Lsn,
    /// A connection has begun, and nothing was noted since.
    is_due: bool,
    writing: Option<Writing>,
    /// When the last note was begun.
    last: Option<Instant>,
}

impl SlotNote {
    pub(super) fn new(lease: Option<Arc<Lease>>, is_waited_for: Arc<AtomicBool>) -> Self {
        Self {
            lease,
            is_waited_for,
            limit: Lsn::default(),
            start: Lsn::default(),
            is_due: false,
            writing: None,
            last: None,
        }
    }

    /// A stream begins at this LSN.
    pub(super) fn handle_up(&mut self, start: Lsn) {
        self.limit = self.limit.max(start);
        self.start = start;
        self.is_due = true;
    }

    /// What of it may be confirmed to the slot.
    pub(super) fn confirmable(&self, flush: Lsn) -> Lsn {
        if self.lease.is_some() { flush.min(self.limit) } else { flush }
    }

    /// Begins to write a note, if it is time for one.
    pub(super) fn keep(&mut self, reached: Reached, now: Instant) {
        let Some(lease) = &self.lease else { return };
        if self.writing.is_some() || !(self.is_due || reached.flush > self.limit) {
            return;
        }
        let is_little = reached.event < self.limit && reached.flush.0.saturating_sub(self.limit.0) < LITTLE;
        let interval = match self.is_waited_for.load(Ordering::Relaxed) {
            true => HURRIED_INTERVAL,
            false if is_little && !self.is_due => IDLE_INTERVAL,
            false => INTERVAL,
        };
        if self.last.is_some_and(|last| now < last + interval) {
            return;
        }
        self.last = Some(now);
        self.is_due = false;
        // Where nothing of this stream is in Kafka yet, the slot stands where it began.
        let reached = Reached { flush: reached.flush.max(self.start), ..reached };
        self.writing = Some(write(lease, reached, Extent::Ahead));
    }

    /// Whether commits in the cluster wait until they are confirmed.
    pub(super) fn is_waited_for(&self) -> bool {
        self.is_waited_for.load(Ordering::Relaxed)
    }

    /// Waits until a note is written, or has failed, which is tried again. Cancel-safe.
    pub(super) async fn written(&mut self) {
        let Some(writing) = &mut self.writing else { return std::future::pending().await };
        let outcome = writing.await;
        self.writing = None;
        match outcome {
            Ok(limit) => self.limit = self.limit.max(limit),
            // With the lease the stream ends, and begins anew with another.
            Err(error) => {
                self.is_due = true;
                tracing::debug!(error = %chain(&error), "how far the slot may be confirmed could not be noted");
            }
        }
    }

    /// Writes the last note: the slot will stand at `flush` and not past it. Whether that is noted now.
    pub(super) async fn end(&mut self, flush: Lsn, stored: Option<Lsn>, is_signed: bool) -> bool {
        let Some(lease) = self.lease.clone() else { return true };
        let reached = Reached { flush: flush.max(self.start), received: flush, event: flush, stored, is_signed };
        if self.writing.is_some() && tokio::time::timeout(END_TIMEOUT, self.written()).await.is_err() {
            return false;
        }
        let outcome = tokio::time::timeout(END_TIMEOUT, write(&lease, reached, Extent::Exact)).await;
        matches!(outcome, Ok(Ok(_)))
    }
}

fn write(lease: &Arc<Lease>, reached: Reached, extent: Extent) -> Writing {
    let lease = Arc::clone(lease);
    let Reached { flush, received, stored, is_signed, .. } = reached;
    let note = Note { flush, received, stored, is_signed, extent };
    Box::pin(async move { lease.note(note).await })
}
