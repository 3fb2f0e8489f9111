//! Edge 2: Kafka. Takes records with tickets, answers with deliveries, and creates topics.
//!
//! ```text
//!   core -- Record, Ticket --> Sink::send --> librdkafka --> brokers
//!   core <-- Deliveries ------ Sink::deliveries <-- delivery reports
//! ```
//!
//! # What the core may rely on
//!
//! 1. **Nothing overtakes.** Records of one topic and partition reach Kafka in the order in which [`Sink::send`] took
//!    them. A record answered with [`SendError::Full`] was not taken: it is offered again before any other.
//! 2. **Every record taken is answered**, once: with its ticket in [`Deliveries::acked`] or as a [`Failure`].
//! 3. **Failures are reported when nothing is outstanding.** From the first failure on, `send` returns `Full` until
//!    every record taken has been answered, and then all failures are reported at once, in ticket order. Sending
//!    again what was returned, under its tickets, in that order and before anything newer, therefore keeps the order.
//! 4. **A refusal is about that record alone.** Kafka refuses whole batches; a record counts as refused only if it
//!    was named or was alone in its batch, otherwise it is returned and then sent alone (`refusal_isolation.rs`).
//!    What is known to be refused is refused when it is offered (`refusals.rs`).
//! 5. **An outage is not a failure**: it is retried for ever, and shows as `Full` once the window is full.
//!
//! Exactly-once is behind the same trait ([`TransactionalSink`]): `send` begins a transaction if there is none, the
//! driver seals it with the position that it reaches, and the tickets are acknowledged once its commit has succeeded;
//! an aborted transaction returns all of its records, which is rule 3. A record at fault is refused when it is
//! offered again: so dead letters keep their place among the records, and a transaction can end after any of them.
//!
//! # What librdkafka does, and the consequences (2.12, from its source and observed against Kafka 4.3)
//!
//! - When a batch fails for good, librdkafka renumbers what follows and continues: later records of the partition
//!   overtake what the core would send again. `enable.gapless.guarantee` turns that into a fatal error at once, in
//!   the thread that saw the failure. The producer is then replaced and its records are returned
//!   (`producer_client.rs`).
//! - A broker that does not know a producer accepts any first sequence number (Kafka's
//!   `ProducerAppendInfo.checkSequence`), so in the first moments of a producer a second batch can overtake a first
//!   one that failed. So the first record of a partition is sent alone (`warmup.rs`).
//! - A batch above the topic's `max.message.bytes` is refused as a whole (`MSG_SIZE_TOO_LARGE`); librdkafka does not
//!   split it as the Java client does. `batch.size` is per producer, so it follows the smallest limit among the
//!   topics in use ([`TopicRules`]).
//! - While a partition's request is in flight and records behind it are older than `linger.ms`, its thread polls
//!   without a pause, which keeps a core busy. So the linger is long, and `flush.rs` sends incomplete batches.
//! - A delivery report of a failed record has no timestamp, so it is kept separately (`in_flight.rs`).
//! - A deleted topic fails what is queued for it with `UNKNOWN_TOPIC_OR_PART`, and the client keeps refusing that
//!   topic until its metadata is refreshed: a new producer sees a recreated topic at once.
//! - A client with sparse connections (the default) connects when a record waits, but an idempotent producer requests
//!   its id first, on a timer of 500 ms: the first record took half a second to a second, and takes 2 ms with a
//!   connection to every broker.
//!
//! # Known limitations
//!
//! - A batch that is in flight when the producer fails fatally and the connection breaks too may have been written:
//!   it is returned, and then published twice. Nobody can know; exactly-once delivery is for those who can't accept
//!   that.
//! - A topic that is deleted and recreated under a running producer starts without memory of it, as does a broker
//!   after `producer.id.expiration.ms` (a day) without a record: for the next batch of fewer than five records the
//!   order depends on its not failing.

use std::future::Future;
use std::time::Duration;

use crate::relay::boundary::{
    Ancestry, Checkpoint, Failure, Lsn, PositionKey, PositionKeys, PositionProof, Record, Refusal, Ticket,
};

mod limits;
mod client;
mod topics;
mod refusals;
mod refusal_isolation;
mod delivery_loop;
mod at_least_once;
mod exactly_once;
mod memory;
mod accepted;

pub(crate) use accepted::Accepted;
pub use at_least_once::KafkaSink;
pub use client::authorized::operations;
pub use client::compression::Compression;
pub use client::connection::{Connection, Traffic};
pub use client::options::{
    COMPRESSION_PROPERTIES, ProducerOptions, PropertyError, PropertyFault, TopicFacts, TopicRules, validate_properties,
};
pub use client::partition::partition_of;
pub use client::topic_reader::{Found, Isolation, ReadingError, Span, TopicLayout, TopicReader};
pub use exactly_once::{
    BatchError, BatchOutcome, BatchWriter, Cluster, POSITIONS_TOPIC, PositionEntry, PositionError, StepError, StepPast,
    SteppedPast, StoredPosition, TransactionSize, TransactionalSink, TransactionsError, TransactionsOptions,
};
pub use memory::{MemoryBroker, MemorySink, Taken};
pub use topics::{Topics, TopicsError};

/// Takes records and reports what became of them. See the module's rules.
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

/// Why a record was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No room now. Offer the same record again after [`Sink::deliveries`] has returned.
    #[error("the sink is full")]
    Full,
    /// This record can never be accepted.
    #[error("{}: {}", .0.code, .0.detail)]
    Refused(Refusal),
    /// The sink has failed.
    #[error(transparent)]
    Fatal(#[from] SinkError),
}

/// Why the sink has failed.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The client could not be created: its settings contradict each other, a file they name can't be read, or the
    /// system can't start a thread.
    #[error("create the kafka client")]
    Create(#[source] rdkafka::error::KafkaError),
    /// The system can't start a thread for the client.
    #[error("start a thread of the kafka client")]
    Thread(#[source] std::io::Error),
    /// Exactly-once delivery can't continue.
    #[error(transparent)]
    Transactions(#[from] TransactionsError),
    /// The sink was closed while it was working.
    #[error("the kafka sink was closed")]
    Stopped,
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
