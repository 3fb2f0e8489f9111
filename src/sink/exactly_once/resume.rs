//! Why a relay does not start with what it finds in Kafka, worded for the person who has to decide what to do.

use crate::relay::boundary::{Lsn, Position};
use crate::relay::resume::{OtherOrigin, PositionGap, Stored, StoredAt};
use crate::relay::route::destination::POSITIONS_TOPIC;
use crate::sink::error::TransactionsError;
use crate::sink::stored_position::{Cluster, PositionEntry, StoredPosition};

/// The slot and the position in Kafka do not match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// The position belongs to another cluster or timeline.
    #[error(transparent)]
    Origin(TransactionsError),
    /// The slot was moved or recreated, or used by a relay that did not store positions.
    #[error(
        "slot {slot} is at {start}, past the position {flush} stored in topic {POSITIONS_TOPIC} (key {key}). If this relay ran at least once in between, that is the likely cause, and nothing is missing: run `walpost slot adopt --forget-position`. Otherwise events committed between the two may be missing from Kafka; compare them with the outbox table and publish what is missing, then run `walpost slot adopt --forget-position`, and the relay starts at the slot's confirmed_flush_lsn"
    )]
    Gap {
        slot: String,
        start: Lsn,
        /// How far everything is in Kafka.
        flush: Lsn,
        key: String,
    },
    /// The position is past the end of the server's WAL.
    #[error(
        "the server's WAL ends at {end}, before the position {flush} stored in topic {POSITIONS_TOPIC} (key {key}): the database was restored from a backup; check what was published since, then run `walpost slot adopt --forget-position`, and the relay starts at the slot's confirmed_flush_lsn"
    )]
    Rewound {
        /// Where the log ends.
        end: Lsn,
        /// How far everything is in Kafka.
        flush: Lsn,
        key: String,
    },
    /// The relay has stored positions, and there is none.
    #[error(
        "topic {POSITIONS_TOPIC} has no record with key {key}, although the relay of slot {slot} has stored positions there: the topic was deleted, its records expired or were lost, or [relay] name was changed. If [relay] name is not set, and this relay first ran when its default was not yet the database name, set name = \"walpost\" under [relay]: that was the default, and the position is under walpost/{slot}. Events committed after the slot's position {start} may be in Kafka already: restore the record if you can; otherwise compare what was published after {start}, and run `walpost slot adopt --forget-position`: the relay then starts at the slot's confirmed_flush_lsn and publishes again what is in Kafka already"
    )]
    Lost { slot: String, start: Lsn, key: String },
    /// The relay has stored a later position than the one in Kafka.
    #[error(
        "topic {POSITIONS_TOPIC} has position {flush} under key {key}, before {noted}, which outbox.relay says was stored there: an old record was written again, or Kafka has lost one. Events between the two are in Kafka already, or were lost with the record; compare them with the outbox table, then run `walpost slot adopt --forget-position`, and the relay starts at the confirmed_flush_lsn of slot {slot}"
    )]
    Behind {
        slot: String,
        /// How far everything is in Kafka, according to the topic.
        flush: Lsn,
        /// According to the database.
        noted: Lsn,
        key: String,
    },
    /// A null value removed the position, and the database does not know that.
    #[error(
        "topic {POSITIONS_TOPIC} has a null value under key {key}, although outbox.relay says that the relay of slot {slot} has stored a position there: something other than `walpost slot adopt --forget-position` wrote it, or that command did not finish. Events committed after {start} may be in Kafka already; compare what was published, then run `walpost slot adopt --forget-position`, and the relay starts at the slot's confirmed_flush_lsn"
    )]
    Forgotten { slot: String, start: Lsn, key: String },
    /// The WAL continued from an earlier state, and has different events at the position.
    #[error(
        "topic {POSITIONS_TOPIC} has position {position} for this relay (key {key}), but the WAL of slot {slot} does not have that event: {found}; the database was restored to an earlier state and has been written to since, or [postgres] publication now names a different publication. Nothing was published or confirmed: events committed after {start} may be missing from Kafka, and Kafka may have events that the database has lost; compare what was published with the outbox table, then run `walpost slot adopt --forget-position`, and the relay publishes everything after the slot's confirmed_flush_lsn {start}"
    )]
    Displaced {
        position: Position,
        /// What is there instead.
        found: &'static str,
        slot: String,
        start: Lsn,
        key: String,
    },
}

impl PositionEntry {
    /// What is stored, as input for planning a start.
    #[must_use]
    pub fn facts(&self) -> Stored {
        match self {
            Self::Nothing => Stored::Nothing,
            Self::Forgotten => Stored::Forgotten,
            Self::Position(stored) => Stored::At(stored.facts()),
        }
    }
}

impl StoredPosition {
    pub(super) fn facts(&self) -> StoredAt {
        let Cluster { system_identifier, timeline } = self.cluster.clone();
        StoredAt { system_identifier, timeline, checkpoint: self.checkpoint }
    }
}

impl TransactionsError {
    /// For a position under `key`.
    pub(super) fn of(other: OtherOrigin, key: String) -> Self {
        match other {
            OtherOrigin::System { stored, found } => Self::ForeignPosition { key, stored, found },
            OtherOrigin::Timeline { stored, found, position, parted } => {
                let parted = match parted {
                    Some(end) => format!("which branched off at {end}: Kafka has events that this database has lost"),
                    None => "which does not descend from it".to_owned(),
                };
                Self::Timeline { key, stored, found, position, parted }
            }
        }
    }
}

impl PositionError {
    /// For what is stored under `key`, and a slot at `start`.
    #[must_use]
    pub fn of(gap: PositionGap, slot: &str, start: Lsn, key: &str) -> Self {
        let (slot, key) = (slot.to_owned(), key.to_owned());
        match gap {
            PositionGap::Origin(other) => Self::Origin(TransactionsError::of(other, key)),
            PositionGap::Lost => Self::Lost { slot, start, key },
            PositionGap::Forgotten => Self::Forgotten { slot, start, key },
            PositionGap::Rewound { end, flush } => Self::Rewound { end, flush, key },
            PositionGap::Behind { start, flush } => Self::Gap { slot, start, flush, key },
            PositionGap::Old { flush, noted } => Self::Behind { slot, flush, noted, key },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(gap: PositionGap) -> String {
        PositionError::of(gap, "s", Lsn(101), "r/s").to_string()
    }

    #[test]
    fn a_gap_reports_slot_and_position() {
        let behind = text(PositionGap::Behind { start: Lsn(101), flush: Lsn(100) });
        assert!(
            behind.starts_with("slot s is at 0/65, past the position 0/64") && behind.contains("key r/s"),
            "{behind}"
        );
        let old = text(PositionGap::Old { flush: Lsn(100), noted: Lsn(101) });
        assert!(old.contains("has position 0/64 under key r/s, before 0/65"), "{old}");
        let rewound = text(PositionGap::Rewound { end: Lsn(99), flush: Lsn(100) });
        assert!(rewound.contains("ends at 0/63, before the position 0/64"), "{rewound}");
        for gap in [PositionGap::Lost, PositionGap::Forgotten] {
            let text = text(gap);
            assert!(
                text.contains("slot s") && text.contains("after the slot's position 0/65")
                    || text.contains("after 0/65"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_position_of_another_timeline_reports_the_branch_point() {
        for (parted, why) in [(Some(Lsn(100)), "which branched off at 0/64"), (None, "which does not descend from it")]
        {
            let position = Position { commit: Lsn(100), ordinal: 1 };
            let other = OtherOrigin::Timeline { stored: 1, found: 3, position, parted };
            let text = text(PositionGap::Origin(other));
            assert!(text.contains("of timeline 1") && text.contains(why), "{text}");
        }
    }
}
