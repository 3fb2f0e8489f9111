//! The driver's state for a sink that stores positions: whether the last position has been found, and when the next
//! is due.

use std::time::Instant;

use super::checkpoint_timer::{Attempt, CheckpointTimer};
use super::link::Beginning;
use crate::fault::Fault;
use crate::relay::boundary::{Checkpoint, Lsn};
use crate::relay::confirm::StreamStart;
use crate::relay::resume::{self, Begun, Server, Stored};
use crate::relay::{Core, Halt};
use crate::sink::{Cluster, Opened, PositionError, Sink};

/// The state of the positions in Kafka. Always open for a sink that stores none.
pub(super) struct Storing {
    slot: String,
    /// The key of the position, for messages.
    key: String,
    state: State,
    /// The stream that the last connection started.
    begun: Option<Begun>,
    timer: CheckpointTimer,
}

enum State {
    /// There was no connection yet.
    Closed,
    /// Kafka was asked once the slot was ours.
    Opening,
    Open,
}

impl Storing {
    pub(super) fn new(slot: String, key: String) -> Self {
        let (state, timer) = (State::Closed, CheckpointTimer::default());
        Self { slot, key, state, begun: None, timer }
    }

    /// Whether events may be taken: it is known how far they are in Kafka.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether Kafka has been asked and has not answered yet, as while another relay's transaction hides the position.
    pub(super) const fn is_opening(&self) -> bool {
        matches!(self.state, State::Opening)
    }

    /// Where the slot was when the last connection was made.
    pub(super) fn start(&self) -> Lsn {
        self.begun.as_ref().map(|begun| begun.start).unwrap_or_default()
    }

    /// The slot is ours.
    pub(super) fn handle_up(&mut self, beginning: &Beginning, sink: &mut impl Sink) {
        let Beginning { start, wal_end, noted, origin, first, .. } = beginning;
        let server = Server {
            system_identifier: origin.system_identifier.clone(),
            timeline: origin.timeline,
            ancestry: origin.ancestry.clone(),
            wal_end: *wal_end,
        };
        if matches!(self.state, State::Closed) {
            let cluster = Cluster { system_identifier: origin.system_identifier.clone(), timeline: origin.timeline };
            if *first == StreamStart::FirstRows {
                sink.disown_stored();
            } else if noted.is_some() {
                sink.expect_stored();
            }
            let keys = &beginning.secrets.positions;
            self.state = if sink.open(&cluster, &origin.ancestry, keys) { State::Opening } else { State::Open };
        }
        self.begun = Some(Begun { server, start: *start, noted: *noted, first: *first });
    }

    /// The slot may belong to another relay before Kafka has answered: this relay must not fence that one, and
    /// Kafka's answer may be about that one's position.
    pub(super) fn handle_lost(&mut self, sink: &mut impl Sink) {
        if matches!(self.state, State::Opening) {
            self.state = State::Closed;
            sink.withdraw();
        }
    }

    /// Kafka has answered how far everything is there.
    ///
    /// # Errors
    /// [`Fault::Position`]: the position does not match the slot.
    pub(super) fn handle_opened(&mut self, opened: Opened, core: &mut Core) -> Result<(), Fault> {
        let State::Opening = std::mem::replace(&mut self.state, State::Open) else { return Ok(()) };
        let Some(begun) = &self.begun else { return Ok(()) };
        let (stored, key) = (opened.stored.facts(), &self.key);
        let skipped = resume::skip_to(&stored, begun);
        match skipped.map_err(|gap| PositionError::of(gap, &self.slot, begun.start, key))? {
            Some(checkpoint) => {
                core.handle_stored(&checkpoint);
                let (position, lsn) = (&checkpoint.position, &checkpoint.flush);
                match checkpoint.position.commit {
                    Lsn(0) => tracing::info!(%lsn, "no event stored yet; continuing at the lsn stored in kafka"),
                    Lsn(_) => tracing::info!(%position, %lsn, "skipping events up to the position stored in kafka"),
                }
            }
            None => {
                let (start, reason) = (
                    begun.start,
                    match stored {
                        Stored::Nothing => "there is none",
                        Stored::Forgotten => "it was forgotten",
                        Stored::At(_) => "it belongs to an earlier slot",
                    },
                );
                tracing::info!(key, %start, reason, "no stored position to resume from: starting at the slot's confirmed_flush_lsn");
            }
        }
        Ok(())
    }

    /// Why the core does not continue, worded for the person who has to decide what to do.
    pub(super) fn explain(&self, halt: Halt) -> Fault {
        match halt {
            Halt::Displaced { position, found } => {
                let (slot, start, key) = (self.slot.clone(), self.start(), self.key.clone());
                PositionError::Displaced { position, found, slot, start, key }.into()
            }
            other => other.into(),
        }
    }

    /// Stores what is settled without a record, if it is [due](CheckpointTimer::due).
    pub(super) fn store(&mut self, settled: Option<Checkpoint>, hurry: bool, sink: &mut impl Sink) {
        let (stored, now) = (sink.stored(), Instant::now());
        if self.is_open()
            && let Some(settled) = self.timer.due(settled, stored, hurry, now)
            && sink.seal(settled)
            && self.timer.begun(settled.flush, stored, now) == Attempt::Again
        {
            let lsn = settled.flush;
            tracing::warn!(key = self.key, %lsn, "could not store the position in kafka; retrying");
        }
    }
}
