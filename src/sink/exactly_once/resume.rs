//! Where a relay begins by what it finds in Kafka, and whether that goes with its slot.

use super::positions::POSITIONS_TOPIC;
use crate::relay::boundary::{Checkpoint, Lsn, Position};

/// The slot and the position in Kafka do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// The slot was moved, or recreated, or used by a relay that did not keep the position.
    #[error(
        "slot {slot} stands at {start}, past the {flush} that topic {POSITIONS_TOPIC} has for this relay: events committed between the two may be in Kafka not at all; compare them with the outbox table and publish what is missing; then run `walpost slot adopt --forget-position` (it is under the key {key}): the relay begins where the slot stands"
    )]
    Gap {
        /// The slot.
        slot: String,
        /// Where it stands.
        start: Lsn,
        /// Up to where everything is in Kafka.
        flush: Lsn,
        /// The key of the position.
        key: String,
    },
    /// The position is further than the server's log.
    #[error(
        "the server's WAL ends at {end}, before the {flush} that topic {POSITIONS_TOPIC} has for this relay: the database was restored from a backup; check what was published since, then run `walpost slot adopt --forget-position` (it is under the key {key}): the relay begins where the slot stands"
    )]
    Rewound {
        /// Where the log ends.
        end: Lsn,
        /// Up to where everything is in Kafka.
        flush: Lsn,
        /// The key of the position.
        key: String,
    },
    /// The relay has stored positions, and there is none.
    #[error(
        "topic {POSITIONS_TOPIC} has nothing under the key {key}, though the relay of slot {slot} has stored positions there: the topic was deleted, or its records expired or were lost, or [relay] name was changed. If [relay] name is not set, and this relay ran before its default was the database's name, write name = \"walpost\" under [relay]: that was the default, and the position is under walpost/{slot}. Events committed after the slot's position {start} may be in Kafka already; restore the record if you can; else compare what was published after {start}, and run `walpost slot adopt --forget-position`: the relay begins where the slot stands, and what is in Kafka already is published twice"
    )]
    Lost {
        /// The slot.
        slot: String,
        /// Where it stands.
        start: Lsn,
        /// The key of the position.
        key: String,
    },
    /// The relay has stored a later position than the one that is there.
    #[error(
        "topic {POSITIONS_TOPIC} has {flush} for this relay under the key {key}, before the {noted} that outbox.relay says was stored there: an old record was written again, or Kafka has lost one. Events between the two are in Kafka already, or were lost with the record; compare them with the outbox table, then run `walpost slot adopt --forget-position`: the relay begins where slot {slot} stands"
    )]
    Behind {
        /// The slot.
        slot: String,
        /// Up to where everything is in Kafka, by the topic.
        flush: Lsn,
        /// By the database.
        noted: Lsn,
        /// The key of the position.
        key: String,
    },
    /// The position is gone by a null value, and the database does not know of that.
    #[error(
        "topic {POSITIONS_TOPIC} has a null value under the key {key}, though outbox.relay says that the relay of slot {slot} has a position there: it was not `walpost slot adopt --forget-position` that wrote it, or that did not finish. Events committed after {start} may be in Kafka already; compare what was published, and run `walpost slot adopt --forget-position`: the relay begins where the slot stands"
    )]
    Removed {
        /// The slot.
        slot: String,
        /// Where it stands.
        start: Lsn,
        /// The key of the position.
        key: String,
    },
    /// The log has gone on from an earlier state, and has other events where the position is.
    #[error(
        "topic {POSITIONS_TOPIC} has the position {position} for this relay, and that event is not in the WAL behind slot {slot}: {found}; the database was restored to an earlier state and has gone on from there, or [postgres] publication names another one now. Nothing was published or confirmed: of the events committed after {start} some may be in Kafka not at all, and Kafka may have some that the database has lost; compare what was published with the outbox table; then run `walpost slot adopt --forget-position` (it is under the key {key}): the relay begins where the slot stands and publishes everything after {start}"
    )]
    Displaced {
        /// The position.
        position: Position,
        /// What is there instead.
        found: &'static str,
        /// The slot.
        slot: String,
        /// Where it stands.
        start: Lsn,
        /// The key of the position.
        key: String,
    },
}

/// A slot that streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The slot's name.
    pub slot: String,
    /// Everything before this had been confirmed.
    pub start: Lsn,
    /// Where the server's log ends; not before what it has confirmed.
    pub end: Lsn,
    /// A position that was stored for sure, by the database.
    pub noted: Option<Lsn>,
}

impl Started {
    /// Up to where everything is in Kafka, by what is stored under `key`. `parted` is where the timeline that it was stored on ended, if
    /// the server has come from an earlier one: what Kafka has of it after that tells nothing of this one.
    ///
    /// # Errors
    /// [`PositionError`]: going on could pass over events for good.
    pub fn resume(&self, stored: Checkpoint, parted: Option<Lsn>, key: &str) -> Result<Checkpoint, PositionError> {
        let flush = parted.map_or(stored.flush, |parted| stored.flush.min(parted));
        let key = key.to_owned();
        if flush > self.end {
            return Err(PositionError::Rewound { end: self.end, flush, key });
        }
        if flush < self.start {
            return Err(PositionError::Gap { slot: self.slot.clone(), start: self.start, flush, key });
        }
        // A start begins at the slot's position, so the first positions after it have an earlier LSN again, of later events.
        let is_old = |noted: &Lsn| flush < *noted && stored.position.commit < *noted;
        if let Some(noted) = self.noted.filter(is_old) {
            return Err(PositionError::Behind { slot: self.slot.clone(), flush, noted, key });
        }
        Ok(Checkpoint { flush, ..stored })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(start: u64, end: u64) -> Started {
        Started { slot: "s".to_owned(), start: Lsn(start), end: Lsn(end), noted: None }
    }

    fn stored(flush: u64) -> Checkpoint {
        let position = Position { commit: Lsn(flush - 5), ordinal: 2 };
        Checkpoint { position, committed_at: None, flush: Lsn(flush) }
    }

    #[test]
    fn a_slot_behind_the_position_is_resumed_and_one_ahead_of_it_is_a_gap() {
        for start in [50, 100] {
            assert_eq!(started(start, 900).resume(stored(100), None, "k"), Ok(stored(100)));
        }
        let gap = started(101, 900).resume(stored(100), None, "r/s").expect_err("a gap").to_string();
        assert!(gap.starts_with("slot s stands at 0/65, past the 0/64") && gap.contains("key r/s"), "{gap}");
    }

    #[test]
    fn case_39_a_position_before_one_that_is_noted_is_an_old_one() {
        let noted = |lsn| Started { noted: Some(Lsn(lsn)), ..started(50, 900) };
        assert_eq!(noted(100).resume(stored(100), None, "k"), Ok(stored(100)));
        let error = noted(101).resume(stored(100), None, "r/s").expect_err("an old one").to_string();
        assert!(error.contains("has 0/64 for this relay under the key r/s, before the 0/65"), "{error}");
        let later = Checkpoint { position: Position { commit: Lsn(101), ordinal: 1 }, ..stored(100) };
        assert_eq!(noted(101).resume(later, None, "k"), Ok(later), "of an event behind the noted LSN, after a restart");
    }

    #[test]
    fn past_the_end_of_its_timeline_a_position_tells_nothing() {
        let resumed = started(50, 900).resume(stored(100), Some(Lsn(98)), "k").expect("it is resumed");
        assert_eq!(resumed, Checkpoint { flush: Lsn(98), ..stored(100) });
        assert_eq!(started(50, 900).resume(stored(100), Some(Lsn(200)), "k"), Ok(stored(100)));
        assert!(matches!(
            started(99, 900).resume(stored(100), Some(Lsn(98)), "k"),
            Err(PositionError::Gap { flush: Lsn(98), .. })
        ));
    }

    #[test]
    fn a_position_past_the_end_of_the_log_is_no_place_to_begin() {
        assert!(matches!(started(50, 99).resume(stored(100), None, "k"), Err(PositionError::Rewound { .. })));
    }
}
