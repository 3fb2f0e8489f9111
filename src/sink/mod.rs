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
//! 2. **Every record taken is answered**, once: with its ticket in [`Deliveries::acked`] or as a
//!    [`Failure`](crate::relay::boundary::Failure).
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
//!   one that failed. So the first record of a partition is sent alone, and those behind it are held (`warmup.rs`);
//!   with transactions, the one in which it happens is aborted.
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

mod boundary;
mod limits;
mod client;
mod topics;
mod refusals;
mod refusal_isolation;
mod delivery_loop;
mod at_least_once;
mod stored_position;
mod exactly_once;
mod memory;
mod accepted;
mod error;

pub(crate) use accepted::Accepted;
pub use at_least_once::KafkaSink;
pub use boundary::{Closed, Deliveries, Opened, Sink, Urgency};
pub use client::authorized::operations;
pub use client::compression::Compression;
pub use client::connection::{Brokers, ConnectFailure, Connection, Traffic};
pub use client::options::{COMPRESSION_PROPERTIES, ProducerOptions, TopicFacts, TopicRules};
pub use client::partition::partition_of;
pub use client::properties::{PropertyError, PropertyFault, validate_properties};
pub use client::reachability::why_unreachable;
pub use client::topic_reader::{Found, Isolation, ReadingError, Span, TopicLayout, TopicReader};
pub use error::{SendError, SinkError, TransactionsError};
pub(crate) use exactly_once::look_at_position;
pub use exactly_once::{
    BatchError, BatchOutcome, BatchWriter, POSITIONS_TOPIC, PositionError, PositionSkip, SkipError, SkipStored,
    TransactionSize, TransactionalSink, TransactionsOptions,
};
pub(crate) use limits::{BATCH_TIMEOUT, FIRST_ANSWER};
pub use memory::{MemoryBroker, MemorySink, Taken};
pub use stored_position::{Cluster, PositionEntry, StoredPosition};
pub use topics::{Topics, TopicsError};
