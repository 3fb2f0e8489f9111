//! A gap in a slot's history as an error.

use crate::relay::resume::Gap;
use crate::source::boundary::gap_report::Unpublished;
use crate::source::error::SourceError;

impl SourceError {
    /// A slot's gap, worded for the person who has to decide what to do; `look` finds what may be missing.
    pub(crate) fn of(gap: Gap, slot: &str, look: impl FnOnce() -> Unpublished) -> Self {
        let slot = slot.to_owned();
        let look = || Box::new(look());
        match gap {
            Gap::SystemChanged { known: stored, found } => {
                Self::SystemChanged { slot, stored, found, unpublished: look() }
            }
            Gap::TimelineChanged { before, now } => Self::TimelineChanged { before, now },
            Gap::TimelineForeign { before, now } => Self::TimelineForeign { slot, before, now },
            Gap::ServerRewound { found, expected } => Self::ServerRewound { found, expected },
            Gap::SlotMissing => Self::SlotMissing { slot, unpublished: look() },
            Gap::SlotLost { confirmed: confirmed_flush, reason } => {
                Self::SlotLost { slot, reason, confirmed_flush, unpublished: look() }
            }
            Gap::SlotAdvanced { found, expected } => Self::SlotAdvanced { slot, found, expected, unpublished: look() },
        }
    }
}
