//! The result of a redrive.

use std::collections::BTreeSet;

use super::dead_letter::DeadLetterId;
use super::resolve::NotRedriven;
use super::selection::Others;

/// Most dead letters listed per kind; counts include all.
const LISTED: usize = 1_000;

/// The result of a redrive.
#[derive(Debug, Default)]
pub(crate) struct RedriveOutcome {
    /// How many were redriven, or would be in a dry run.
    pub redriven: u64,
    /// The first of them; bounded.
    pub redriven_records: Vec<Redriven>,
    /// How many can't be redriven.
    pub stays: u64,
    /// The first of them; bounded.
    pub remaining: Vec<Remaining>,
    /// How many were already redriven.
    pub before: u64,
    /// How many were skipped as discarded.
    pub discarded_before: u64,
    /// Ids that were given and do not exist.
    pub missing: BTreeSet<DeadLetterId>,
    /// Dead letters skipped because they belong to other relays.
    pub others: Others,
}

/// A redriven dead letter.
#[derive(Clone, Debug)]
pub(crate) struct Redriven {
    pub dead_letter: DeadLetterId,
    /// The event's id.
    pub event: Option<String>,
    pub topic: String,
    /// The schema version it was redriven as.
    pub version: Option<String>,
}

/// A dead letter that was not redriven.
#[derive(Clone, Debug)]
pub(crate) struct Remaining {
    pub dead_letter: DeadLetterId,
    /// The event's id.
    pub event: Option<String>,
    /// Why it can't be redriven.
    pub reason: NotRedriven,
}

impl RedriveOutcome {
    pub(super) fn redriven(&mut self, redriven: Redriven) {
        self.redriven += 1;
        if self.redriven_records.len() < LISTED {
            self.redriven_records.push(redriven);
        }
    }

    pub(super) fn stays(&mut self, remaining: Remaining) {
        self.stays += 1;
        if self.remaining.len() < LISTED {
            self.remaining.push(remaining);
        }
    }
}
