//! Why a sink does not take a record, or has failed. Each message says what is wrong and how to fix it.

use crate::relay::boundary::{Position, Refusal};
use crate::relay::route::destination::POSITIONS_TOPIC;

/// Why a record was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No room now. Offer the same record again after [`Sink::deliveries`](super::Sink::deliveries) has returned.
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

/// Why exactly-once delivery can't continue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionsError {
    /// Another producer has taken over the transactional id.
    #[error(
        "another relay took over and fenced the transactional id {id}; this relay's open transaction was aborted. If only one relay should run, look for another with the same [relay] name and [postgres] slot"
    )]
    Fenced {
        /// The transactional id.
        id: String,
    },
    /// The position belongs to a relay on another Postgres cluster.
    #[error(
        "topic {POSITIONS_TOPIC} has a position for relay and slot {key} of Postgres cluster {stored}, but this is cluster {found}: give this relay another [relay] name; or, if that cluster is gone for good, check what was published, write a null value with key {key} to the topic, and restart"
    )]
    ForeignPosition {
        key: String,
        /// The system identifier of the position.
        stored: String,
        /// The system identifier of the cluster that is streamed from.
        found: String,
    },
    /// The last record under the relay's key is not a position.
    #[error(
        "the last record with key {key} in topic {POSITIONS_TOPIC} is not a position, so another program writes to the topic; compare what was published with the outbox table, then run `walpost slot adopt --forget-position`, and the relay starts at the slot's confirmed_flush_lsn"
    )]
    Malformed { key: String },
    /// A position under the relay's key that the relay did not write.
    #[error(
        "the last record with key {key} in topic {POSITIONS_TOPIC} has no valid signature: it was not written by a relay of this database, or an older version wrote it and stopped before recording it in outbox.relay; restrict who may write to the topic, compare what was published with the outbox table, then run `walpost slot adopt --forget-position`, and the relay starts at the slot's confirmed_flush_lsn"
    )]
    Forged { key: String },
    /// A copy of a position.
    #[error(
        "the last record with key {key} in topic {POSITIONS_TOPIC} is there twice: another program has copied it, and a copy can be of an old position or of an aborted transaction; restrict who may write to the topic, compare what was published with the outbox table, then run `walpost slot adopt --forget-position`, and the relay starts at the slot's confirmed_flush_lsn"
    )]
    Copied { key: String },
    /// A position that was forgotten is there again.
    #[error(
        "the last record with key {key} in topic {POSITIONS_TOPIC} is of another epoch than outbox.relay has: it was forgotten by `walpost slot adopt --forget-position` or `walpost slot recreate` and another program has written it again, or the database was restored to an earlier state; restrict who may write to the topic, compare what was published with the outbox table, then run `walpost slot adopt --forget-position`, and the relay starts at the slot's confirmed_flush_lsn"
    )]
    Forgotten { key: String },
    /// The positions topic has more than one partition.
    #[error(
        "topic {POSITIONS_TOPIC} has {partitions} partitions but must have one, to keep positions in order: stop every relay that stores positions there, delete the topic and create it with one partition and cleanup.policy=compact; each relay then reports how to continue"
    )]
    Partitioned {
        /// How many.
        partitions: usize,
    },
    /// The position belongs to another timeline, past where the server's branched off.
    #[error(
        "topic {POSITIONS_TOPIC} has position {position} of timeline {stored} under key {key}, but the server is on timeline {found}, {parted}; compare what was published since the slot's confirmed_flush_lsn with the outbox table, then run `walpost slot adopt --forget-position`, and the relay starts at the slot's confirmed_flush_lsn; or, if the original is still in use, give this relay another [relay] name"
    )]
    Timeline {
        key: String,
        /// The position's.
        stored: u32,
        /// The server's.
        found: u32,
        /// The last event that is in Kafka.
        position: Position,
        /// Where the two branched, if they have a common history.
        parted: String,
    },
    /// The position could not be forgotten.
    #[error(
        "could not forget the position in topic {POSITIONS_TOPIC}: {reason}; the slot is unchanged: run the command again"
    )]
    NotForgotten {
        /// Why not.
        reason: String,
    },
    /// A position past a transaction could not be stored.
    #[error(
        "the position past the transaction could not be stored in topic {POSITIONS_TOPIC}: {reason}; the slot is unchanged: run the command again"
    )]
    NotStored {
        /// Why not.
        reason: String,
    },
    /// Positions can't be stored.
    #[error(
        "exactly-once delivery needs the topic {POSITIONS_TOPIC}: {detail}; create it with cleanup.policy=compact, or allow this client to create, describe, read and write it"
    )]
    NoPositionsTopic {
        /// Why not.
        detail: String,
    },
    /// An ACL is missing.
    #[error(
        "Kafka does not allow this client to use the transactional id {id}: add ACLs for Write and Describe on it, or set [kafka] delivery = \"at-least-once\""
    )]
    NotAuthorized {
        /// The transactional id.
        id: String,
    },
    /// The broker does not allow such a long transaction timeout.
    #[error(
        "Kafka rejects a transaction timeout of {millis} ms: set \"transaction.timeout.ms\" in [kafka] properties to at most the brokers' transaction.max.timeout.ms"
    )]
    Timeout {
        /// `transaction.timeout.ms`.
        millis: u128,
    },
    /// The broker does not support transactions.
    #[error("this Kafka cluster does not support transactions: set [kafka] delivery = \"at-least-once\"")]
    Unsupported,
}
