//! Whether a relay has its slot and no longer needs the rows from before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the relay streams from its slot and the backfill is published. Until then no partition is dropped, because a
/// new slot may have to start with those rows, and what a standby relay knows of the slot is out of date.
#[derive(Clone, Debug, Default)]
pub(crate) struct PastBackfill(Arc<AtomicBool>);

impl PastBackfill {
    /// Set from the relay's gate.
    pub(crate) fn set(&self, is_past: bool) {
        self.0.store(is_past, Ordering::Relaxed);
    }

    /// As last set; false at first.
    #[must_use]
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
