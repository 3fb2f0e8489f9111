//! Why a command that writes dead letters or marks can't go on.

use std::time::Duration;

use super::dead_letter_reader::DeadLetterReadError;
use super::marks::REDRIVEN_TOPIC;
use crate::contracts::registered::RegistryError;
use crate::relay::boundary::Refusal;
use crate::sink::{BatchError, TopicsError};

/// How often a batch that Kafka aborts is tried, and the wait in between.
pub(super) const TRIES: u32 = 3;
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// A redrive or discard was not finished. What it published before is marked, and not published again by the next.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// Letters or marks can't be read.
    #[error(transparent)]
    DeadLetterReader(#[from] DeadLetterReadError),
    /// The contracts can't be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A topic can't be looked at.
    #[error(transparent)]
    Topics(#[from] TopicsError),
    /// Marks can't be kept.
    #[error(
        "marking dead letters needs the topic {REDRIVEN_TOPIC}: {}; create it with cleanup.policy=compact and one partition, or allow this client to create, describe, read and write it",
        .0.detail
    )]
    NoMarks(Refusal),
    /// Kafka does not take what is written, for reasons of its own.
    #[error(
        "Kafka aborted {TRIES} transactions one after the other: {reason}; {redriven} dead letters were done before"
    )]
    Aborted {
        /// Kafka's reason.
        reason: String,
        /// How many were redriven or discarded before.
        redriven: u64,
    },
    /// Nothing more can be written.
    #[error("the command ended after {redriven} dead letters")]
    BatchOutcome {
        /// Why.
        source: BatchError,
        /// How many were redriven or discarded before.
        redriven: u64,
    },
}
