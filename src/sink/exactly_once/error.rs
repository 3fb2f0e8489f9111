//! Why exactly-once delivery can't go on. Each message says what is wrong and what mends it.

use super::positions::POSITIONS_TOPIC;
use crate::relay::boundary::Position;

/// Why exactly-once delivery can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionsError {
    /// Another producer has taken the transactional id.
    #[error(
        "another relay took over: the transactional id {id} was fenced; nothing of this relay's open transaction is in Kafka. If no other was meant to run, look for one with the same [relay] name and [postgres] slot"
    )]
    Fenced {
        /// The transactional id.
        id: String,
    },
    /// The position of a relay on another cluster of Postgres.
    #[error(
        "topic {POSITIONS_TOPIC} has a position of relay and slot {key} on the Postgres cluster {stored}, but this is {found}: give this relay another [relay] name; or, if that cluster is gone for good, check what was published, write a null value under the key {key} to the topic, and start again"
    )]
    ForeignPosition {
        /// The key.
        key: String,
        /// The system identifier of the position.
        stored: String,
        /// The system identifier of the cluster that is streamed from.
        found: String,
    },
    /// Something else than a position stands under the relay's key.
    #[error(
        "the last record of topic {POSITIONS_TOPIC} under the key {key} is no position: another program writes there; compare what was published with the outbox table, then run `walpost slot adopt --forget-position`: the relay begins where the slot stands"
    )]
    Malformed {
        /// The key.
        key: String,
    },
    /// A position under the relay's key that it has not written.
    #[error(
        "the last record of topic {POSITIONS_TOPIC} under the key {key} has no valid proof: it was not written by a relay of this database, or by one of an earlier version that ended before it could note it in outbox.relay; restrict who may write to the topic, compare what was published with the outbox table, then run `walpost slot adopt --forget-position`: the relay begins where the slot stands"
    )]
    Forged {
        /// The key.
        key: String,
    },
    /// The topic of positions has no single order.
    #[error(
        "topic {POSITIONS_TOPIC} has {partitions} partitions, and positions must have one order: stop every relay that keeps positions there, delete the topic and create it with one partition and cleanup.policy=compact; each relay then says how it goes on"
    )]
    Partitioned {
        /// How many.
        partitions: usize,
    },
    /// The position is of another timeline, past where the server's parted from it.
    #[error(
        "topic {POSITIONS_TOPIC} has the position {position} of timeline {stored} under the key {key}, and the server is on timeline {found}, {parted}; compare what was published since the slot's confirmed_flush_lsn with the outbox table, then run `walpost slot adopt --forget-position`: the relay begins where the slot stands; or, if the original is still in use, give this relay another [relay] name"
    )]
    Timeline {
        /// The key.
        key: String,
        /// The position's.
        stored: u32,
        /// The server's.
        found: u32,
        /// The last event that is in Kafka.
        position: Position,
        /// Where the two parted, if they ever were one.
        parted: String,
    },
    /// The position could not be given up.
    #[error(
        "the position in topic {POSITIONS_TOPIC} could not be taken back: {reason}; the slot is as it was, and the command can be run again"
    )]
    NotTakenBack {
        /// Why not.
        reason: String,
    },
    /// Positions can't be kept.
    #[error(
        "exactly-once delivery needs the topic {POSITIONS_TOPIC}: {detail}; create it with cleanup.policy=compact, or allow this client to create, describe, read and write it"
    )]
    NoPositionsTopic {
        /// Why not.
        detail: String,
    },
    /// An ACL is missing.
    #[error(
        "kafka does not allow this client the transactional id {id}: add ACLs for Write and Describe on it, or write [kafka] delivery = \"at-least-once\""
    )]
    NotAuthorized {
        /// The transactional id.
        id: String,
    },
    /// The broker does not let a transaction live so long.
    #[error(
        "kafka does not take a transaction timeout of {millis} ms: set \"transaction.timeout.ms\" in [kafka] properties to at most the brokers' transaction.max.timeout.ms"
    )]
    Timeout {
        /// `transaction.timeout.ms`.
        millis: u128,
    },
    /// The broker knows no transactions.
    #[error("this Kafka has no transactions: write [kafka] delivery = \"at-least-once\"")]
    Unsupported,
}
