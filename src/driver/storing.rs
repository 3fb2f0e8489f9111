//! What the driver keeps of a sink that stores positions: whether it has found the last one, and when the next is due.

use std::time::Instant;

use super::checkpoint_timer::{Attempt, CheckpointTimer};
use super::link::Beginning;
use crate::fault::Fault;
use crate::relay::boundary::{Ancestry, Checkpoint, Lsn};
use crate::relay::confirm::StreamStart;
use crate::relay::{Core, Halt};
use crate::sink::{Cluster, Opened, PositionEntry, PositionError, PositionKeys, Sink, Started};

/// Where the relay is with the positions in Kafka. For a sink that stores none it is always open.
pub(super) struct Storing {
    slot: String,
    /// The key of the position, for messages.
    key: String,
    state: State,
    /// As the last connection found it.
    start: Lsn,
    wal_end: Lsn,
    noted: Option<Lsn>,
    from_the_first: bool,
    ancestry: Ancestry,
    timer: CheckpointTimer,
}

enum State {
    /// There was no connection yet.
    Closed,
    /// Kafka was asked when the slot was ours.
    Opening,
    Open,
}

impl Storing {
    pub(super) fn new(slot: String, key: String) -> Self {
        let (state, timer) = (State::Closed, CheckpointTimer::default());
        Self {
            slot,
            key,
            state,
            start: Lsn::default(),
            wal_end: Lsn::default(),
            noted: None,
            from_the_first: false,
            ancestry: Ancestry::default(),
            timer,
        }
    }

    /// Whether events may be taken: it is known up to where they are in Kafka.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Where the slot stood when the last connection was made.
    pub(super) const fn start(&self) -> Lsn {
        self.start
    }

    /// The slot is ours.
    pub(super) fn handle_up(&mut self, beginning: &Beginning, sink: &mut impl Sink) {
        let Beginning { start, wal_end, noted, origin, first, .. } = beginning;
        (self.start, self.wal_end, self.noted) = (*start, *wal_end, *noted);
        if matches!(self.state, State::Closed) {
            let cluster = Cluster { system_identifier: origin.system_identifier.clone(), timeline: origin.timeline };
            self.from_the_first = *first == StreamStart::FirstRows;
            if self.from_the_first {
                sink.disown_stored();
            }
            self.ancestry = origin.ancestry.clone();
            let keys = PositionKeys {
                keys: beginning.secrets.positions.clone(),
                must_be_signed: beginning.secrets.position_signed,
            };
            self.state = if sink.open(&cluster, &origin.ancestry, &keys) { State::Opening } else { State::Open };
        }
    }

    /// The slot may be another's before Kafka has said anything: who has it then must not be fenced by this one, and what Kafka
    /// says may be his.
    pub(super) fn handle_lost(&mut self, sink: &mut impl Sink) {
        if matches!(self.state, State::Opening) {
            self.state = State::Closed;
            sink.withdraw();
        }
    }

    /// Kafka has said up to where everything is there.
    ///
    /// # Errors
    /// [`Fault::Position`]: that does not go with the slot.
    pub(super) fn handle_opened(&mut self, opened: Opened, core: &mut Core) -> Result<(), Fault> {
        let State::Opening = std::mem::replace(&mut self.state, State::Open) else { return Ok(()) };
        match opened.stored {
            PositionEntry::Nothing if self.noted.is_some() && !self.from_the_first => {
                let (slot, start, key) = (self.slot.clone(), self.start, self.key.clone());
                return Err(PositionError::Lost { slot, start, key }.into());
            }
            PositionEntry::Nothing => {
                tracing::info!(key = self.key, "no position in kafka: it begins where the slot stands")
            }
            PositionEntry::TakenBack if self.noted.is_some() && !self.from_the_first => {
                let (slot, start, key) = (self.slot.clone(), self.start, self.key.clone());
                return Err(PositionError::Removed { slot, start, key }.into());
            }
            PositionEntry::TakenBack => {
                tracing::info!(key = self.key, "the position in kafka was taken back: it begins where the slot stands");
            }
            // Rows from before a slot have no place that a later attempt finds again.
            PositionEntry::Position(_) if self.from_the_first => {
                tracing::info!(key = self.key, "the position in kafka is not of this slot, which is new");
            }
            PositionEntry::Position(stored) => {
                let (slot, start, end) = (self.slot.clone(), self.start, self.wal_end);
                let started = Started { slot, start, end, noted: self.noted };
                let parted = self.ancestry.end_of(stored.cluster.timeline);
                let checkpoint = started.resume(stored.checkpoint, parted, &self.key)?;
                core.handle_stored(&checkpoint);
                tracing::info!(
                    position = %checkpoint.position,
                    lsn = %checkpoint.flush,
                    "events up to the position in kafka are passed over"
                );
            }
        }
        Ok(())
    }

    /// Why the core does not go on, in the words of whoever has to decide how it goes on.
    pub(super) fn explain(&self, halt: Halt) -> Fault {
        match halt {
            Halt::Displaced { position, found } => {
                let (slot, start, key) = (self.slot.clone(), self.start, self.key.clone());
                PositionError::Displaced { position, found, slot, start, key }.into()
            }
            other => other.into(),
        }
    }

    /// Stores what is settled with no record to go with it, if it is [due](CheckpointTimer::due).
    pub(super) fn store(&mut self, settled: Option<Checkpoint>, hurry: bool, sink: &mut impl Sink) {
        let (stored, now) = (sink.stored(), Instant::now());
        if self.is_open()
            && let Some(settled) = self.timer.due(settled, stored, hurry, now)
            && sink.seal(settled)
            && self.timer.begun(settled.flush, stored, now) == Attempt::Again
        {
            let lsn = settled.flush;
            tracing::warn!(key = self.key, %lsn, "the position could not be stored in kafka, it is tried again");
        }
    }
}
