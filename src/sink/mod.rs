//! Edge 2: Kafka. Takes records with tickets, answers with deliveries, and makes topics.
//!
//! ```text
//!   core -- Record, Ticket --> Sink::send --> librdkafka --> brokers
//!   core <-- Deliveries ------ Sink::deliveries <-- delivery reports
//! ```
//!
//! # What the core may rely on
//!
//! 1. **Nothing overtakes.** Records of one topic and partition reach Kafka in the order in which [`Sink::send`] took them.
//!    A record that was answered with [`SendError::Full`] was not taken: it is offered again before any other.
//! 2. **Every record that was taken is answered**, once: with its ticket in [`Deliveries::acked`] or as a [`Failure`].
//! 3. **Failures come when nothing is outstanding.** From the first failure on, `send` says `Full` until every record that was
//!    taken has been answered, and then all failures come at once, by ascending ticket. Sending again what was returned, in
//!    that order and before anything newer, therefore keeps the order.
//! 4. **A refusal is about that record alone.** Kafka refuses whole batches; a record is called refused only when it was named or
//!    stood alone in its batch, otherwise it is returned. What is known to be refused is refused when it is offered (`refusals.rs`).
//! 5. **An outage is no failure**: it is retried for ever, and shows as `Full` once the window is full.
//!
//! Exactly-once is behind the same trait ([`TransactionalSink`]): `send` opens a transaction when there is none, the driver seals it with
//! the position that it reaches, and the tickets are acknowledged once its commit has succeeded; an aborted transaction
//! returns all of its records, which is rule 3. One that was to blame is refused when it is offered again: so dead letters keep their
//! place among the records, and a transaction can end behind any of them.
//!
//! # What librdkafka does, and what follows (2.12, read in its source and seen against Kafka 4.3)
//!
//! - When a batch fails for good, librdkafka renumbers what follows and goes on: later records of the partition overtake what
//!   the core would send again. `enable.gapless.guarantee` turns that into a fatal error at once, in the thread that saw the
//!   failure. The producer is then replaced and what it held comes back (`generation.rs`).
//! - A broker that knows nothing of a producer accepts any first sequence number (Kafka's `ProducerAppendInfo.checkSequence`), so in
//!   the first moments of a producer a second batch can pass a first one that failed. So the first record of a partition
//!   goes alone (`warmup.rs`).
//! - A batch above the topic's `max.message.bytes` is refused whole (`MSG_SIZE_TOO_LARGE`); librdkafka does not split it as the
//!   Java client does. `batch.size` is per producer, so it follows the smallest limit among the topics in use ([`TopicRules`]).
//! - While a partition's request is on its way and records behind it are older than `linger.ms`, its thread polls without a pause,
//!   a core's worth of work. So the linger is long, and batches that are not full are sent by `pulse.rs`.
//! - A delivery report of a failed record has no timestamp, so it is kept beside (`manifest.rs`).
//! - A topic that is deleted fails what is queued for it with `UNKNOWN_TOPIC_OR_PART`, and the client goes on refusing that topic
//!   until its metadata is read again: a new producer sees the new topic at once.
//! - A client with sparse connections (the default) connects when a record waits, but an idempotent producer asks for its id
//!   first, on a timer of 500 ms: the first record took half a second to a second, and takes 2 ms with a connection to every broker.
//!
//! # What is left open
//!
//! - A batch that is on its way when the producer fails fatally and the connection breaks too may have been written: it is
//!   returned, and then stands twice. Nobody can know; exactly-once delivery is for those who can't have it.
//! - A topic that is deleted and made again under a running producer starts without memory of it, as does a broker after
//!   `producer.id.expiration.ms` (a day) without a record: for the next batch of fewer than five records the order rests on its
//!   not failing.

use std::future::Future;
use std::time::Duration;

use crate::relay::boundary::{Ancestry, Checkpoint, Failure, Lsn, Record, Refusal, Ticket};

mod client;
mod topics;
mod refusals;
mod refusal_isolation;
mod at_least_once;
mod exactly_once;
mod memory;

pub use at_least_once::KafkaSink;
pub use client::authorized::operations;
pub use client::compression::Compression;
pub use client::connection::Connection;
pub use client::options::{
    COMPRESSION_PROPERTIES, ProducerOptions, PropertyError, PropertyFault, TopicFacts, TopicRules, validate_properties,
};
pub use client::partition::partition_of;
pub use client::topic_reader::{Found, Isolation, ReadingError, Span, TopicReader};
pub use exactly_once::{
    BatchError, BatchOutcome, BatchWriter, Cluster, POSITIONS_TOPIC, PositionEntry, PositionError, PositionKeys,
    StepError, StepPast, SteppedPast, StoredPosition, TransactionSize, TransactionalSink, TransactionsError,
    TransactionsOptions,
};
pub use memory::{MemoryBroker, MemorySink, Taken};
pub use topics::{Topics, TopicsError};

/// Takes records and says what became of them. See the module's rules.
pub trait Sink {
    /// Takes a record, without waiting. The record is copied: nothing of it is borrowed after the call.
    ///
    /// # Errors
    /// [`SendError`]; the record was not taken.
    fn send(&mut self, ticket: Ticket, record: &Record<'_>) -> Result<(), SendError>;

    /// Waits until there is something to report and moves all of it to the end of `into`. Nothing more is offered meanwhile, so what was
    /// taken does not wait for company.
    ///
    /// Also returns, perhaps with nothing, when an offer that was [`SendError::Full`] may succeed now. Waits for ever when nothing
    /// is outstanding. Cancel-safe: dropped before it is ready, it has moved nothing.
    ///
    /// # Errors
    /// [`SinkError`]: this sink is at its end.
    fn deliveries(&mut self, into: &mut Deliveries) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Waits until everything taken is answered, at most for `timeout`, and ends the sink. What is unanswered then may or may
    /// not have reached Kafka; it is not sent any more.
    fn close(self, timeout: Duration) -> impl Future<Output = Closed> + Send;

    /// The slot on this cluster is the relay's: the sink takes over from whoever wrote under the relay's name before. Once, and
    /// only then, as a relay that waits for the slot must not fence the one that has it. A position of a timeline among its
    /// ancestry is taken over, too, where the two had not parted yet.
    ///
    /// Whether that takes time: nothing may be sent then before [`Deliveries::opened`] tells how far the predecessor came.
    fn open(&mut self, cluster: &Cluster, ancestry: &Ancestry, keys: &PositionKeys) -> bool {
        let _ = (cluster, ancestry, keys);
        false
    }

    /// The slot is not the relay's any more, before [`Deliveries::opened`] has come: what [`Self::open`] began is given up, and it may
    /// be called again.
    fn withdraw(&mut self) {}

    /// The last ticket of the open transaction, if it is to end now.
    fn sealing(&mut self, urgency: Urgency) -> Option<Ticket> {
        let _ = urgency;
        None
    }

    /// Commits the open transaction with this checkpoint in it, which is that of [`Self::sealing`]'s ticket; where none is open, one of
    /// the checkpoint alone. Whether that was begun: not while another is being committed.
    fn seal(&mut self, checkpoint: Checkpoint) -> bool {
        let _ = checkpoint;
        false
    }

    /// The slot is new. A position that is found is of an earlier one: nothing of it counts as stored, and the next one replaces it.
    /// To be said before [`Self::open`].
    fn disown_stored(&mut self) {}

    /// Whether [`Self::stored`] bears a proof.
    fn is_stored_signed(&self) -> bool {
        false
    }

    /// The flush LSN that is stored in Kafka, past which the slot must not be confirmed; `None` where none is kept.
    fn stored(&self) -> Option<Lsn> {
        None
    }
}

/// When a transaction is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// At its age or size.
    WhenDue,
    /// The relay ends.
    Now,
}

/// Why a record was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No room now. The same record is to be offered again after [`Sink::deliveries`] has returned.
    #[error("the sink is full")]
    Full,
    /// This record can never be taken.
    #[error("{}: {}", .0.code, .0.detail)]
    Refused(Refusal),
    /// The sink takes nothing any more.
    #[error(transparent)]
    Fatal(#[from] SinkError),
}

/// The sink can't go on.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The client could not be created: its settings contradict each other, a file they name can't be read, or the system has
    /// no thread left.
    #[error("create the kafka client")]
    Create(#[source] rdkafka::error::KafkaError),
    /// The system has no thread left for the client.
    #[error("start a thread of the kafka client")]
    Thread(#[source] std::io::Error),
    /// Exactly-once delivery can't go on.
    #[error(transparent)]
    Transactions(#[from] TransactionsError),
    /// The sink was closed while it was at work.
    #[error("the kafka sink was closed")]
    Stopped,
}

/// What became of records since the last look.
#[derive(Debug, Default)]
pub struct Deliveries {
    /// Tickets of records that Kafka has acknowledged (`acks=all`), in no order.
    pub acked: Vec<Ticket>,
    /// Records that Kafka did not take, by ascending ticket.
    pub failed: Vec<Failure>,
    /// The sink is open, as [`Sink::open`] has asked it.
    pub opened: Option<Opened>,
}

/// What a sink that keeps positions has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// How far everything is in Kafka already.
    pub stored: PositionEntry,
}

impl Deliveries {
    /// Whether there is nothing to report.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.acked.is_empty() && self.failed.is_empty() && self.opened.is_none()
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.acked.clear();
        self.failed.clear();
        self.opened = None;
    }
}

/// How a sink ended.
#[derive(Debug, Default)]
pub struct Closed {
    /// What was answered while closing.
    pub deliveries: Deliveries,
    /// Number of records that were taken and never answered.
    pub unanswered: usize,
    /// As [`Sink::stored`], at the end.
    pub stored: Option<Lsn>,
}
