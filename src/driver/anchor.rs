//! Exactly-once delivery and the slot: where a relay begins by what it finds in Kafka, and when it stores a position there with
//! no record to go with it.

use std::time::{Duration, Instant};

use crate::relay::boundary::{Checkpoint, Lsn, Position};
use crate::sink::{POSITIONS_TOPIC, StoredPosition};

/// How often a position is stored without a record at most: the slot of an idle outbox in a busy database is confirmed as
/// often, and keeps so much log.
const STORE_INTERVAL: Duration = Duration::from_secs(10);
/// The first and the longest wait before a position that could not be stored is given to the sink again.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The slot and the position in Kafka do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// The slot was moved, or recreated, or used by a relay that did not keep the position.
    #[error(
        "slot {slot} stands at {start}, past the {flush} that topic {POSITIONS_TOPIC} has for this relay: events committed between the two may be in Kafka not at all; compare them with the outbox table and publish what is missing; then write a null value under the key {key} to the topic and start again: the relay begins where the slot stands"
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
        "the server's WAL ends at {end}, before the {flush} that topic {POSITIONS_TOPIC} has for this relay: the database was restored from a backup; check what was published since, then write a null value under the key {key} to the topic and start again: the relay begins where the slot stands"
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
        "topic {POSITIONS_TOPIC} has nothing under the key {key}, though the relay of slot {slot} has stored positions there: the topic was deleted, or its records expired or were lost, or [relay] name was changed. Events committed after the slot's position {start} may be in Kafka already; restore the record if you can; else compare what was published after {start}, write a null value under the key {key} to the topic and start again: the relay begins where the slot stands, and what is in Kafka already is published twice"
    )]
    Lost {
        /// The slot.
        slot: String,
        /// Where it stands.
        start: Lsn,
        /// The key of the position.
        key: String,
    },
    /// The log has gone on from an earlier state, and has other events where the position is.
    #[error(
        "topic {POSITIONS_TOPIC} has the position {position} for this relay, and that event is not in the WAL behind slot {slot}: {found}; the database was restored to an earlier state and has gone on from there, or [postgres] publication names another one now. Nothing was published or confirmed: of the events committed after {start} some may be in Kafka not at all, and Kafka may have some that the database has lost; compare what was published with the outbox table; then write a null value under the key {key} to the topic and start again: the relay begins where the slot stands and publishes everything after {start}"
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
pub(super) struct Started {
    /// The slot's name.
    pub(super) slot: String,
    /// Everything before this had been confirmed.
    pub(super) start: Lsn,
    /// Where the server's log ends; not before what it has confirmed.
    pub(super) end: Lsn,
}

impl Started {
    /// Up to where everything is in Kafka, by a position under `key`.
    ///
    /// # Errors
    /// [`PositionError`]: going on could pass over events for good.
    pub(super) fn resume(&self, stored: &StoredPosition, key: &str) -> Result<Position, PositionError> {
        let Checkpoint { position, flush, .. } = stored.checkpoint;
        let key = key.to_owned();
        if flush > self.end {
            return Err(PositionError::Rewound { end: self.end, flush, key });
        }
        if flush < self.start {
            return Err(PositionError::Gap { slot: self.slot.clone(), start: self.start, flush, key });
        }
        Ok(position)
    }
}

/// When the next position is stored without a record.
#[derive(Debug, Default)]
pub(super) struct Anchor {
    last: Option<Storing>,
}

/// A position that was given to the sink.
#[derive(Clone, Copy, Debug)]
struct Storing {
    flush: Lsn,
    at: Instant,
    /// How long the next attempt waits, should this one fail.
    back_off: Duration,
}

/// What an attempt to store a position is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The one before has succeeded, or there was none.
    First,
    /// The one before has failed.
    Again,
}

impl Anchor {
    /// What is to be stored now: everything is in Kafka up to `settled`, and `stored` is what is kept there. Whoever is in a
    /// hurry does not wait for the interval, but for the back-off where storing has failed.
    pub(super) fn due(
        &self,
        settled: Option<Checkpoint>,
        stored: Option<Lsn>,
        hurry: bool,
        now: Instant,
    ) -> Option<Checkpoint> {
        let is_time = match self.last {
            None => true,
            Some(last) if stored < Some(last.flush) => now >= last.at + last.back_off,
            Some(last) => hurry || now >= last.at + STORE_INTERVAL,
        };
        settled.filter(|settled| is_time && stored.is_some_and(|stored| stored < settled.flush))
    }

    /// Storing everything up to `flush` has begun. The sink does one thing after the other, so that the last one has failed if
    /// it is not in what is stored.
    pub(super) fn begun(&mut self, flush: Lsn, stored: Option<Lsn>, now: Instant) -> Attempt {
        let failed = self.last.filter(|last| stored < Some(last.flush));
        let back_off = failed.map_or(BACK_OFF.0, |failed| (failed.back_off * 2).min(BACK_OFF.1));
        self.last = Some(Storing { flush, at: now, back_off });
        if failed.is_some() { Attempt::Again } else { Attempt::First }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Cluster;

    fn started(start: u64, end: u64) -> Started {
        Started { slot: "s".to_owned(), start: Lsn(start), end: Lsn(end) }
    }

    fn stored(flush: u64) -> StoredPosition {
        let position = Position { commit: Lsn(flush + 5), ordinal: 2 };
        let cluster = Cluster { system_identifier: "7".to_owned(), timeline: 1 };
        let checkpoint = Checkpoint { position, committed_at: None, flush: Lsn(flush) };
        StoredPosition { checkpoint, cluster, transaction: uuid::Uuid::nil() }
    }

    #[test]
    fn a_slot_behind_the_position_is_resumed_and_one_ahead_of_it_is_a_gap() {
        for start in [50, 100] {
            let resumed = started(start, 900).resume(&stored(100), "k").expect("no gap");
            assert_eq!(resumed, Position { commit: Lsn(105), ordinal: 2 });
        }
        let gap = started(101, 900).resume(&stored(100), "r/s").expect_err("a gap").to_string();
        assert!(gap.starts_with("slot s stands at 0/65, past the 0/64") && gap.contains("key r/s"), "{gap}");
    }

    #[test]
    fn a_position_past_the_end_of_the_log_is_no_place_to_begin() {
        assert!(matches!(started(50, 99).resume(&stored(100), "k"), Err(PositionError::Rewound { .. })));
    }

    #[test]
    fn a_position_is_stored_alone_when_the_slot_could_move_and_not_too_often() {
        let now = Instant::now();
        let settled = Some(Checkpoint { flush: Lsn(10), ..Checkpoint::default() });
        let mut anchor = Anchor::default();
        assert_eq!(anchor.due(settled, Some(Lsn(9)), false, now), settled, "the first at once");
        anchor.begun(Lsn(9), Some(Lsn(8)), now);
        assert_eq!(anchor.due(settled, Some(Lsn(9)), false, now), None);
        assert_eq!(anchor.due(settled, Some(Lsn(9)), true, now), settled);
        assert_eq!(anchor.due(settled, Some(Lsn(9)), false, now + STORE_INTERVAL), settled);
        assert_eq!(anchor.due(settled, Some(Lsn(10)), true, now), None, "it is stored");
        assert_eq!(anchor.due(None, Some(Lsn(9)), true, now), None, "something is owed");
        assert_eq!(anchor.due(settled, None, true, now), None, "nothing is kept in Kafka");
    }

    #[test]
    fn a_position_that_can_not_be_stored_is_tried_less_and_less_often() {
        let (mut now, stored) = (Instant::now(), Some(Lsn(9)));
        let settled = Some(Checkpoint { flush: Lsn(10), ..Checkpoint::default() });
        let mut anchor = Anchor::default();
        assert_eq!(anchor.begun(Lsn(10), stored, now), Attempt::First);
        for millis in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            let back_off = Duration::from_millis(millis);
            assert_eq!(anchor.due(settled, stored, true, now + back_off - Duration::from_millis(1)), None);
            assert_eq!(anchor.due(settled, stored, true, now + back_off), settled);
            now += back_off;
            assert_eq!(anchor.begun(Lsn(10), stored, now), Attempt::Again);
        }
        let settled = Some(Checkpoint { flush: Lsn(11), ..Checkpoint::default() });
        assert_eq!(anchor.due(settled, Some(Lsn(10)), true, now), settled, "it was stored at last");
        assert_eq!(anchor.begun(Lsn(11), Some(Lsn(10)), now), Attempt::First);
    }
}
