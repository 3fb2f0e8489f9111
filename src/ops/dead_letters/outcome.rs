//! What became of the letters that were meant.

use std::collections::BTreeSet;

use super::dead_letter::DeadLetterId;
use super::resolve::Stay;
use super::selection::Others;

/// Letters that are listed in an outcome, of each kind; the counts are of all.
const LISTED: usize = 1_000;

/// What became of the letters.
#[derive(Debug, Default)]
pub struct RedriveOutcome {
    /// How many were redriven, or would be.
    pub redriven: u64,
    /// The first of them.
    pub redriven_letters: Vec<Redriven>,
    /// How many stay.
    pub stays: u64,
    /// The first of them.
    pub staying_letters: Vec<Staying>,
    /// How many had been redriven before.
    pub before: u64,
    /// How many had been discarded before.
    pub discarded_before: u64,
    /// Letters that were named and are not there.
    pub missing: BTreeSet<DeadLetterId>,
    /// Letters of other relays, which were passed over.
    pub others: Others,
}

/// A letter that was redriven.
#[derive(Clone, Debug)]
pub struct Redriven {
    /// The letter.
    pub dead_letter: DeadLetterId,
    /// The event's id.
    pub event: Option<String>,
    /// Where to.
    pub topic: String,
    /// As which schema version.
    pub version: Option<String>,
}

/// A letter that stays.
#[derive(Clone, Debug)]
pub struct Staying {
    /// The letter.
    pub dead_letter: DeadLetterId,
    /// The event's id.
    pub event: Option<String>,
    /// Why.
    pub stay: Stay,
}

impl RedriveOutcome {
    pub(super) fn redriven(&mut self, redriven: Redriven) {
        self.redriven += 1;
        if self.redriven_letters.len() < LISTED {
            self.redriven_letters.push(redriven);
        }
    }

    pub(super) fn stays(&mut self, staying: Staying) {
        self.stays += 1;
        if self.staying_letters.len() < LISTED {
            self.staying_letters.push(staying);
        }
    }
}
