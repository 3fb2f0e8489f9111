//! What the core reports: counters, and notices for the log.

use crate::relay::boundary::{Position, Refusal, RefusalCode};

/// What happened to an event that violates its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    DeadLetter,
    /// It is published anyway, as its contract says.
    Published,
}

/// An event violates its contract: a notice for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The event's position.
    pub position: Option<Position>,
    pub table: Option<String>,
    /// Why it was refused, or would have been.
    pub refusal: Refusal,
    /// What happened to it.
    pub outcome: Disposition,
}

/// What the core has done since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records accepted by the sink for the first time, including dead letters.
    pub published: u64,
    /// Acknowledged records, including dead letters.
    pub acknowledged: u64,
    /// Records that Kafka returned to be sent again.
    pub returned: u64,
    /// Events skipped because they had been taken before a reconnection.
    pub skipped: u64,
    /// Non-transactional logical messages with the prefix of events, which are ignored.
    pub stray_messages: u64,
    /// Logical messages with the prefix of events that `outbox.emit_message` did not write.
    pub forged_messages: u64,
    /// Rows of tables that are in the publication and not in the configuration.
    pub ignored_rows: u64,
    /// Records that violate their contract and were published anyway.
    pub violations: u64,
    /// Dead letters by [`RefusalCode`], in the order of `RefusalCode::ALL`.
    pub dead_letters: [u64; RefusalCode::ALL.len()],
}
