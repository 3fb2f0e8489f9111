//! What every sink offers, and what it answers.

use std::future::Future;
use std::time::Duration;

use crate::relay::boundary::{
    Ancestry, Checkpoint, Failure, Lsn, PositionKey, PositionKeys, PositionProof, Record, Ticket,
};

use super::error::{SendError, SinkError};
use super::stored_position::{Cluster, PositionEntry};

/// Takes records and reports what became of them. See the rules of [`crate::sink`].
pub trait Sink {
    /// Takes a record, without waiting. The record is copied: nothing of it is borrowed after the call.
    ///
    /// # Errors
    /// [`SendError`]; the record was not taken.
    fn send(&mut self, ticket: Ticket, record: &Record<'_>) -> Result<(), SendError>;

    /// Waits until there is something to report and appends all of it to `into`. Nothing more is offered meanwhile,
    /// so what was taken does not wait for company.
    ///
    /// Also returns, perhaps with nothing, when an offer that was [`SendError::Full`] may succeed now. Waits for ever
    /// if nothing is outstanding. Cancel-safe: dropped before it is ready, it has moved nothing.
    ///
    /// # Errors
    /// [`SinkError`]: this sink has failed.
    fn deliveries(&mut self, into: &mut Deliveries) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Waits until everything taken is answered, for at most `timeout`, and closes the sink. What is unanswered then
    /// may or may not have reached Kafka; it is not sent any more.
    fn close(self, timeout: Duration) -> impl Future<Output = Closed> + Send;

    /// Number of partitions that the records in flight go to, as far as the sink can tell.
    fn partitions(&self) -> usize {
        1
    }

    /// The slot on this cluster is the relay's: the sink takes over from whoever wrote under the relay's name before.
    /// Called once, and only then, because a relay that waits for the slot must not fence the one that has it. A
    /// position of a timeline among its ancestry is taken over, too, if the two had not branched yet.
    ///
    /// Returns whether that takes time: nothing may then be sent before [`Deliveries::opened`] tells how far the
    /// predecessor came.
    fn open(&mut self, cluster: &Cluster, ancestry: &Ancestry, keys: &PositionKeys) -> bool {
        let _ = (cluster, ancestry, keys);
        false
    }

    /// The slot was lost before [`Deliveries::opened`]: what [`Self::open`] started is given up, and it may be called
    /// again.
    fn withdraw(&mut self) {}

    /// The last ticket of the open transaction, if it is to end now.
    fn sealing(&mut self, urgency: Urgency) -> Option<Ticket> {
        let _ = urgency;
        None
    }

    /// Commits the open transaction with this checkpoint in it, which is that of [`Self::sealing`]'s ticket; if none
    /// is open, one with the checkpoint alone. Returns whether that was started: not while another is being
    /// committed.
    fn seal(&mut self, checkpoint: Checkpoint) -> bool {
        let _ = checkpoint;
        false
    }

    /// The slot is new. A position that is found belongs to an earlier one: it does not count as stored, and the next
    /// one replaces it. Called before [`Self::open`].
    fn disown_stored(&mut self) {}

    /// `outbox.relay` says that a position was stored. If there is no place for positions, it is not created, and no
    /// position is found. Called before [`Self::open`].
    fn expect_stored(&mut self) {}

    /// What the position of [`Self::stored`] bears.
    fn stored_proof(&self) -> PositionProof {
        PositionProof::default()
    }

    /// The keys were replaced: what is stored from now on is signed with the first of these.
    fn renew_keys(&mut self, keys: &[PositionKey]) {
        let _ = keys;
    }

    /// The flush LSN stored in Kafka, past which the slot must not be confirmed; `None` if none is stored.
    fn stored(&self) -> Option<Lsn> {
        None
    }
}

/// When a transaction is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// At its age or size limit.
    WhenDue,
    /// The relay is stopping.
    Now,
}

/// What became of records since the last call.
#[derive(Debug, Default)]
pub struct Deliveries {
    /// Tickets of records that Kafka has acknowledged (`acks=all`), in no particular order.
    pub acked: Vec<Ticket>,
    /// Records that Kafka did not accept, in ticket order.
    pub failed: Vec<Failure>,
    /// The sink is open, as requested by [`Sink::open`].
    pub opened: Option<Opened>,
}

/// What a sink that stores positions has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// How far everything is already in Kafka.
    pub stored: PositionEntry,
}

impl Deliveries {
    /// Whether there is nothing to report.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.acked.is_empty() && self.failed.is_empty() && self.opened.is_none()
    }

    /// Clears everything, keeps the memory.
    pub fn clear(&mut self) {
        self.acked.clear();
        self.failed.clear();
        self.opened = None;
    }
}

/// How a sink was closed.
#[derive(Debug, Default)]
pub struct Closed {
    /// What was answered while closing.
    pub deliveries: Deliveries,
    /// Number of records that were taken and never answered.
    pub unanswered: usize,
    /// As [`Sink::stored`], at the end.
    pub stored: Option<Lsn>,
}
