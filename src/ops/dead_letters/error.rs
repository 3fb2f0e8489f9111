//! Errors of redrive and discard.

use std::time::Duration;

use super::dead_letter_reader::DeadLetterReadError;
use super::marks::REDRIVEN_TOPIC;
use crate::contracts::registered::RegistryError;
use crate::exit::{self, EndsCommand};
use crate::relay::boundary::Refusal;
use crate::sink::{BatchError, TopicsError};

/// How often to try a batch that Kafka aborts, and the wait in between.
pub(super) const TRIES: u32 = 3;
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// A redrive or discard did not finish. What it published is marked, so the next run does not publish it again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedriveError {
    /// Dead letters or marks can't be read.
    #[error(transparent)]
    DeadLetterReader(#[from] DeadLetterReadError),
    /// The contracts can't be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A topic can't be described.
    #[error(transparent)]
    Topics(#[from] TopicsError),
    /// The topic of marks can't be used.
    #[error(
        "cannot use topic {REDRIVEN_TOPIC}, which marks redriven and discarded dead letters: {}; create it with cleanup.policy=compact and one partition, or allow this client to create, describe, read and write it",
        .0.detail
    )]
    NoMarks(Refusal),
    /// Kafka aborted every attempt.
    #[error("Kafka aborted {TRIES} transactions in a row: {reason}; {redriven} dead letters were done before that")]
    Aborted {
        /// Kafka's last reason.
        reason: String,
        /// How many were redriven or discarded before that.
        redriven: u64,
    },
    /// The producer failed.
    #[error("the command failed after {redriven} dead letters")]
    BatchOutcome {
        /// The producer's error.
        source: BatchError,
        /// How many were redriven or discarded before that.
        redriven: u64,
    },
}

impl EndsCommand for RedriveError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::DeadLetterReader(error) => error.exit_code(),
            Self::Registry(error) => error.exit_code(),
            Self::BatchOutcome { source: BatchError::Sink(error), .. } => error.exit_code(),
            Self::Topics(_) | Self::NoMarks(_) | Self::Aborted { .. } | Self::BatchOutcome { .. } => exit::UNAVAILABLE,
        }
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::DeadLetterReader(error) => error.may_pass(),
            Self::Registry(error) => error.may_pass(),
            Self::BatchOutcome { source: BatchError::Sink(error), .. } => error.may_pass(),
            Self::NoMarks(_) => false,
            Self::Topics(_) | Self::Aborted { .. } | Self::BatchOutcome { .. } => true,
        }
    }
}

impl EndsCommand for DeadLetterReadError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Sink(error) => error.exit_code(),
            Self::Reading(_) | Self::Hidden => exit::UNAVAILABLE,
        }
    }

    fn may_pass(&self) -> bool {
        matches!(self, Self::Reading(_))
    }
}
